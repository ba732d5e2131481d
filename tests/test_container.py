"""The Dockerfile's steps, run as a script in a clean folder; the devcontainer's command."""

import json
import os
import re
import shutil
import subprocess
import venv
from fnmatch import fnmatch
from pathlib import Path

import fake_index
import pytest

from tools import commands

ROOT = Path(__file__).resolve().parent.parent
HOME = "/home/student/course"


def instructions():
    """List the Dockerfile's instructions, as pairs of a word and the rest."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def ignored(name):
    """Whether .dockerignore leaves a path out; the last pattern that fits decides."""
    verdict = False
    for pattern in (ROOT / ".dockerignore").read_text(encoding="utf-8").split():
        keep, pattern = pattern.startswith("!"), pattern.removeprefix("!").removeprefix("**/")
        if any(fnmatch(part, pattern) for part in (name, name.split("/")[-1])):
            verdict = not keep
    return verdict


def test_only_known_instructions_are_used_and_a_person_is_not_root():
    words = [word for word, _ in instructions()]
    assert set(words) <= {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE", "CMD"}
    assert words[0] == "FROM" and words.index("COPY") < words.index("USER") < words.index("CMD")
    assert ("USER", "student") in instructions() and ("WORKDIR", HOME) in instructions()


def test_the_images_python_is_one_that_ci_tests():
    version = re.fullmatch(r"python:(3\.\d+)-slim", dict(instructions())["FROM"])[1]
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert f'"{version}"' in workflow


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("data/README.md", False), ("data/emojivoc", True), (".venv", True), ("d2lseg", False),
        ("d2lseg/__pycache__", True), (".git", True), ("notebooks", False), ("dist", True),
    ],
)  # fmt: skip
def test_the_image_gets_what_it_needs_and_no_more(name, left_out):
    assert ignored(name) == left_out


def test_jupyterlab_opens_the_first_notebook():
    command = json.loads(dict(instructions())["CMD"])
    assert command[:2] == ["jupyter", "lab"] and "--ip=0.0.0.0" in command
    assert f"--LabApp.default_url=/lab/tree/{commands.START}" in command and (ROOT / commands.START).is_file()


def test_the_devcontainer_starts_a_command_that_exists():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    python, script, *arguments = settings["postCreateCommand"].split()
    assert python == "python3" and (ROOT / script).is_file()
    assert commands.parser().parse_args(arguments).command == "setup"
    place = settings["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    inside = place.replace("${containerWorkspaceFolder}", str(ROOT))
    assert os.name == "nt" or Path(inside) == commands.venv_python(ROOT)


def script(course, index):
    """Make a script of the steps: ARG and RUN as they stand, but another folder and no other user."""
    lines = ["set -eu"]
    for word, rest in instructions():
        if word == "ARG":
            lines.append(f"{rest.partition('=')[0]}={index}")
        elif word == "WORKDIR":
            lines.append(f"cd {course}")
        elif word == "RUN" and not rest.startswith("useradd"):  # only root may, and only once
            lines.append(rest.replace(HOME, str(course)))
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the image is Linux")
def test_the_steps_run_as_a_script_in_a_clean_folder(tmp_path, monkeypatch):
    """With real packages, but for PyTorch: its index is a stand-in, so the last step is left out."""
    course, room = tmp_path / "course", tmp_path / "room"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a clone: git cannot say which files belong to the course")
    for name in tracked.stdout.splitlines():
        if not any(ignored(part) for part in (name, name.split("/")[0])) and (ROOT / name).is_file():
            (course / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, course / name)
    fake_index.add(tmp_path / "cpu", "torch", "98.0+cpu")
    fake_index.add(tmp_path / "cpu", "torchvision", "98.0+cpu", needs=["torch"])
    venv.create(room, with_pip=True, symlinks=True)
    monkeypatch.setenv("PATH", f"{room / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    # as in an image, where pip has no settings of its own that would hide the stand-in
    (tmp_path / "none").mkdir()
    (tmp_path / "none.txt").touch()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "none"))
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "none.txt"))
    steps = script(course, (tmp_path / "cpu").as_uri())
    *first, weights = steps.splitlines()
    assert weights.startswith("python -c")
    script_of_all = ["bash", "-c", "\n".join(first)]
    done = subprocess.run(script_of_all, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    jupyter = subprocess.run(["jupyter", "lab", "--version"], capture_output=True, text=True, check=True)
    assert int(jupyter.stdout.split(".")[0]) >= 4
    code = "import d2lseg, torch; print(d2lseg.__file__, torch.__version__)"
    printed = subprocess.run(["python", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert printed.stdout.split() == [str(course / "d2lseg" / "__init__.py"), "98.0+cpu"]
