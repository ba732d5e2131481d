"""Badge and setup cell: rewritten in both states; the cell itself runs under IPython, with a real pip."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import commands, opening

ROOT = Path(__file__).resolve().parent.parent
REPO = "own-er/course.name_2"
STATES = [None, REPO]


def named(path):
    return path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()


# --- rewriting ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", commands.notebooks(ROOT), ids=named)
def test_a_notebook_goes_through_the_states_and_comes_back(path):
    with path.open(encoding="utf-8", newline="") as file:
        kept = file.read().replace("\r\n", "\n")
    unset = opening.rewrite(kept, None, named(path))
    named_one = opening.rewrite(unset, REPO, named(path))
    other = opening.rewrite(named_one, "else/where", named(path))
    assert opening.rewrite(unset, commands.current_repository(ROOT), named(path)) == kept
    assert opening.rewrite(other, REPO, named(path)) == named_one, "from one name to another and back"
    assert opening.rewrite(named_one, None, named(path)) == unset
    for state, text in ((None, unset), (REPO, named_one)):
        assert opening.rewrite(text, state, named(path)) == text, "doing it again changes nothing"
        first, second, *others = json.loads(text)["cells"]
        assert opening.badge(state, named(path)) in "".join(first["source"])
        assert "".join(second["source"]) == opening.setup(state, named(path))
        assert others == json.loads(kept)["cells"][2:]


def test_only_a_set_notebook_names_a_repository():
    texts = {state: opening.badge(state, "00_a") + opening.setup(state, "00_a") for state in STATES}
    assert texts[REPO].count(f"github.com/{REPO}@{opening.TAG}") == 1
    assert f"github/{REPO}/blob/{opening.TAG}/notebooks/00_a.ipynb" in texts[REPO]
    assert "github" not in texts[None] and opening.UPLOAD_PAGE not in texts[REPO]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ["00_a", "05_a"])
def test_the_setup_cell_is_short(state, name):
    assert len(opening.setup(state, name).splitlines()) <= 20


@pytest.mark.parametrize("name", ["05_a", "solutions/11_a", "00_a", "solutions/06_a"])
def test_a_gpu_is_asked_for_where_it_helps_and_only_there(name):
    text = json.dumps(GOOD | {"metadata": {"accelerator": "TPU", "kernelspec": {}, "a": 1}})
    metadata = json.loads(opening.rewrite(text, None, name))["metadata"]
    helps = name in ("05_a", "solutions/11_a")
    assert metadata.pop("accelerator", None) == ("GPU" if helps else None)
    assert metadata.pop("colab", None) == ({"gpuType": "T4"} if helps else None)
    assert metadata == {"kernelspec": {}, "a": 1}
    cell = opening.setup(None, name)
    assert ("GPU" in cell) == helps and (not helps or cell.index("GPU") < cell.index("%pip"))


GOOD = {
    "metadata": {},
    "cells": [{"source": [opening.badge(None, "00_a")]}, {"source": [], "metadata": {"tags": ["setup"]}}],
}


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([{"source": ["# Title"]}, GOOD["cells"][1]], "0 Colab badges"),
        ([{"source": [2 * (opening.badge(REPO, "00_a") + "\n")]}, GOOD["cells"][1]], "2 Colab badges"),
        ([GOOD["cells"][0], {"source": [], "metadata": {}}], "'setup'"),
        ([GOOD["cells"][0]], "title cell"),
        ("text", "title cell"),
    ],
)
def test_a_notebook_without_its_opening_is_refused(cells, words):
    opening.rewrite(json.dumps(GOOD), REPO, "00_a")
    with pytest.raises(opening.OpeningError, match=words):
        opening.rewrite(json.dumps({"metadata": {}, "cells": cells}), REPO, "00_a")


# --- running ------------------------------------------------------------------------------------------------

# Runs a cell and then an import, as Run All does. What leads to the checkout is taken away first: the folder
# itself, and the hook of an editable install.
DRIVER = """
import json, os, sys, types
sys.path = [p for p in sys.path if not os.path.isdir(os.path.join(p or ".", "d2lseg"))]
sys.meta_path = [f for f in sys.meta_path if "__editable__" not in getattr(f, "__module__", "")
                 and "__editable__" not in getattr(f, "__name__", "") and "Editable" not in str(f)]
sys.path.append(os.environ["PIP_TARGET"])
if sys.argv[1] == "colab":
    sys.modules["google.colab"] = types.ModuleType("google.colab")
if sys.argv[1] == "kaggle":
    os.environ["KAGGLE_KERNEL_RUN_TYPE"] = "Interactive"
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
ended = []
for source in (sys.argv[2], "import sys, d2lseg; assert d2lseg.__version__ == sys.argv[3]"):
    error = shell.run_cell(source).error_in_exec
    ended.append(None if error is None else [type(error).__name__, str(error)])
    if error is not None:
        break
print(json.dumps(ended))
"""


@pytest.fixture
def colab(tmp_path):
    """Run the setup cell in an empty folder, with a pip that installs into a folder of the test alone."""
    work, site, inputs = (tmp_path / name for name in ("content", "site", "inputs"))
    for folder in (work, site, inputs):
        folder.mkdir()
    git = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{(tmp_path / 'remote').as_uri()}.insteadOf"}
    git["GIT_CONFIG_VALUE_0"] = f"https://github.com/{REPO}"  # a clone never leaves this machine
    pip = {"PIP_TARGET": str(site), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PIP_REQUIRE_VIRTUALENV")}
    env |= git | pip | {"IPYTHONDIR": str(tmp_path / "ipython"), "MPLBACKEND": "Agg"}
    env.pop("KAGGLE_KERNEL_RUN_TYPE", None)

    def run(state, version="", on="colab", lines=None, name="00_a", gpu=False):
        cell = "\n".join(opening.setup(state, name).splitlines()[:lines])
        for place, stand_in in {"/kaggle/input": inputs, "/dev/nvidia0": work if gpu else "/nowhere"}.items():
            cell = cell.replace(place, Path(stand_in).as_posix())
        command = [sys.executable, "-c", DRIVER, on, cell, version]
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr

    run.work, run.site, run.inputs, run.remote = work, site, inputs, tmp_path / "remote"
    return run


def wheel(folder, version, age=0):
    """Make a small wheel in a folder, some seconds old."""
    path, info = folder / f"d2lseg-{version}-py3-none-any.whl", f"d2lseg-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("d2lseg/__init__.py", f"__version__ = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: d2lseg\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    os.utime(path, (path.stat().st_mtime - age,) * 2)


def stopped(ended, *words):
    """Check that the setup cell ended in one sentence, so that the next cell was not run."""
    ((name, message),) = ended
    assert name == "RuntimeError" and all(word in message for word in words), ended
    assert message.endswith(".") and ". " not in message and "\n" not in message


PLACES = ["colab", "kaggle", "bare"]


@pytest.mark.parametrize(("state", "on"), [(None, "colab"), (REPO, "kaggle"), (None, "bare")])
def test_an_installed_module_is_left_alone(colab, state, on):
    wheel(colab.work, "1.0")
    (colab.site / "d2lseg").mkdir()
    (colab.site / "d2lseg" / "__init__.py").write_text("__version__ = '3.0'\n")
    ended, said = colab(state, "3.0", on=on, name="05_a")
    assert ended == [None, None] and "GPU" not in said
    assert [path.name for path in colab.site.iterdir()] == ["d2lseg"]


@pytest.mark.slow
@pytest.mark.parametrize("on", PLACES)
@pytest.mark.parametrize("state", STATES)
def test_a_wheel_beside_the_notebook_is_installed_anywhere(colab, state, on):
    wheel(colab.work, "1.0")
    ended, said = colab(state, "1.0", on=on)
    assert ended == [None, None], said


@pytest.mark.slow
def test_on_kaggle_a_wheel_among_the_inputs_is_installed(colab):
    (colab.inputs / "datasets" / "somebody" / "d2lseg").mkdir(parents=True)
    wheel(colab.inputs / "datasets" / "somebody" / "d2lseg", "1.0")
    ended, said = colab(None, "1.0", on="kaggle")
    assert ended == [None, None], said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("on", "gpu"), [("colab", False), ("kaggle", False), ("bare", False), ("colab", True)]
)
def test_a_gpu_is_suggested_before_anything_else_where_there_is_none(colab, on, gpu):
    ended, said = colab(None, on=on, name="05_a", gpu=gpu)
    stopped(ended, "missing")
    assert ("Runtime > Change runtime type > T4 GPU" in said) == (on != "bare" and not gpu)


@pytest.mark.slow
def test_unset_the_newest_wheel_is_installed(colab):
    wheel(colab.work, "1.9", age=100)
    wheel(colab.work, "1.10", age=10)  # neither the first nor the last by name
    wheel(colab.work, "1.2", age=200)
    ended, said = colab(None, "1.10")
    assert ended == [None, None], said


def test_unset_without_a_wheel_the_cell_stops(colab):
    (colab.work / "other-1.0-py3-none-any.whl").touch()
    stopped(colab(None)[0], "upload", "wheel", "run this cell again", "tasks.py lab")


@pytest.mark.slow
def test_unset_with_a_damaged_wheel_the_cell_stops(colab):
    (colab.work / "d2lseg-1.0-py3-none-any.whl").write_bytes(b"half an upload")
    ended, said = colab(None)
    stopped(ended, "not installed", "pip")
    assert "ERROR" in said, "pip's own message is shown"
    ended, _ = colab(None, lines=-2)
    assert ended[0] is None and ended[1][0] == "ModuleNotFoundError", "the cell's last two lines are needed"


needs_git = pytest.mark.skipif(not shutil.which("git"), reason="pip clones with git")


@pytest.mark.slow
@needs_git
def test_set_the_repository_is_installed(colab):
    (colab.remote / "d2lseg").mkdir(parents=True)
    (colab.remote / "d2lseg" / "__init__.py").write_text("__version__ = '2.0'\n")
    build = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    (colab.remote / "pyproject.toml").write_text(f'{build}[project]\nname = "d2lseg"\nversion = "2.0"\n')
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=colab.remote, check=True)
    stopped(colab(REPO)[0], "not installed")  # the branch is there, the tag is not
    subprocess.run(["git", "tag", opening.TAG], cwd=colab.remote, check=True)
    (colab.remote / "d2lseg" / "__init__.py").write_text("__version__ = '2.1'\n")
    subprocess.run(["git", *who, "commit", "-qam", "later"], cwd=colab.remote, check=True)
    ended, said = colab(REPO, "2.0")
    assert ended == [None, None], said


@pytest.mark.slow
@needs_git
def test_set_but_not_to_be_had_the_cell_stops(colab):
    stopped(colab(REPO)[0], "not installed", "pip")
