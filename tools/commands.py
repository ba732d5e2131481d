"""The commands behind ``tasks.py``: set up, open, test, render, pack, and more. Standard library only.

Each command works from any folder, because it goes to the repository root first. What a reader can fix
stops a command with one sentence (``Stop``) and exit status 2; a failed check gives exit status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools import opening, torch_build

ROOT = Path(__file__).resolve().parent.parent
START = "notebooks/00_start_here.ipynb"
COVERAGE = 90  # per cent of branches
CELL_TIMEOUT = 900  # seconds; notebook 05 trains for minutes in one cell

# By the build of PyTorch. On Linux the default one brings CUDA's libraries: the environment takes about 6 GB
# with them, and pip unpacks beside it. Any other takes less than 2 GB.
DISK_GB = {"cpu": 3, "default": 8 if sys.platform == "linux" else 3}

# What pip is told to install, and which extras an environment has that was made for one of them.
REQUIREMENTS = {"lab": ("-e", ".[lab]"), "site": ("-e", ".[site]"), "dev": ("-r", "requirements.txt")}
INCLUDES = {"lab": ("lab",), "site": ("lab", "site"), "dev": ("lab", "site", "dev")}
# What an environment that was made for less gets.
ADDITIONS = {"lab": "what a learner needs", "site": "what builds the website", "dev": "the test tools"}


class Stop(Exception):
    """A command cannot go on; the message says why and what to do, in one sentence."""


# --- set-up -------------------------------------------------------------------------------------------------


def venv_python(root: Path) -> Path:
    """Return the path of the environment's Python, whether it is there or not."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(root: Path) -> str:
    """Digest what the environment depends on: requirements, Python, and the place of the checkout.

    The place counts because an editable install and the environment's scripts hold absolute paths.
    """
    digest = hashlib.sha256()
    for name in ("requirements.txt", "pyproject.toml"):
        digest.update((root / name).read_bytes())
    digest.update(f"{sys.version_info[:3]} {root}".encode())
    return digest.hexdigest()


def environment(root: Path) -> dict[str, str]:
    """Return the variables for a program of the environment, as if it had been activated.

    A ``python3`` kernel registered elsewhere on the machine must not win over the environment's, and
    modules of another Python must not be seen.
    """
    venv = root / ".venv"
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "MPLBACKEND")}
    kernels = [str(venv / "share" / "jupyter"), os.environ.get("JUPYTER_PATH", "")]
    env["VIRTUAL_ENV"] = str(venv)
    env["PATH"] = os.pathsep.join([str(venv_python(root).parent), os.environ.get("PATH", "")])
    env["JUPYTER_PATH"] = os.pathsep.join(filter(None, kernels))
    env["JUPYTER_PREFER_ENV_PATH"] = "1"
    return env


def usable(root: Path) -> bool:
    """Whether ``.venv`` works: its Python starts, is this Python's version, and has pip."""
    code = "import pip, sys; print(*sys.version_info[:3])"
    try:
        run = subprocess.run(
            [venv_python(root), "-c", code], capture_output=True, text=True, env=environment(root)
        )
    except OSError:
        return False
    return run.returncode == 0 and run.stdout.split() == [str(n) for n in sys.version_info[:3]]


def check_disk(root: Path, environ: Mapping[str, str], build: str = "cpu") -> None:
    """Stop when the disk cannot hold the environment with this build of PyTorch."""
    wanted = environ.get("D2LSEG_DISK_GB", DISK_GB[build])
    try:
        need = float(wanted)
    except ValueError:
        raise Stop(f"D2LSEG_DISK_GB must be a number of gigabytes, and it is {wanted!r}.") from None
    free = shutil.disk_usage(root).free / 1e9
    if free < need:
        less = f", or set D2LSEG_TORCH=cpu, with which {DISK_GB['cpu']:g} GB are enough"
        raise Stop(
            f"The disk that holds {root} has {free:.1f} GB free and the installation needs {need:g} GB: "
            f"make room or clone the course onto a larger disk{less if need > DISK_GB['cpu'] else ''}."
        )


def remove_venv(root: Path) -> None:
    """Delete what stands in the place of ``.venv``."""
    venv = root / ".venv"
    if Path(sys.prefix).resolve() == venv.resolve():
        raise Stop("The .venv must be remade and this Python is part of it: 'deactivate', and start again.")
    try:
        if venv.is_symlink() or venv.is_file():
            venv.unlink()
        elif venv.exists():
            shutil.rmtree(venv)
    except OSError as error:
        raise Stop(f"The old .venv cannot be removed ({error}): close the programs that use it.") from None


def make_venv(root: Path) -> None:
    """Create ``.venv`` anew with the running Python."""
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        raise Stop(
            "This Python cannot make virtual environments: on Debian and Ubuntu install what is missing with "
            f"'sudo apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv', then start again."
        )
    remove_venv(root)
    check_disk(root, os.environ)
    venv = root / ".venv"
    command = [sys.executable, "-m", "venv", str(venv)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode:
        lines = run.stdout.decode(errors="replace").strip().splitlines() or ["no message"]
        raise Stop(f"Making .venv failed: {lines[-1]}")


# What pip writes to its log, and the sentence for it; the first that is found counts. The network comes
# before the missing package, because pip reports an index that it could not reach as one without the package.
PIP_TROUBLES = (
    (
        r"No space left on device|not enough space on the disk|Disk quota exceeded",
        "the disk is full: make room, or where only the temporary folder is small set TMPDIR to another",
    ),
    (
        r"NewConnectionError|Failed to establish a new connection|ConnectTimeout|ReadTimeout|Max retries"
        r"|ProxyError|SSLError|CERTIFICATE_VERIFY_FAILED|name resolution|Connection (?:refused|reset|aborted)"
        r"|Network is unreachable|ConnectionResetError|IncompleteRead|incomplete-download|HTTP error 5\d\d",
        "the network failed: check the connection (and pip's proxy or index settings), then start again",
    ),
    (
        r"No matching distribution found|Could not find a version that satisfies",
        "the package index has no fitting version for this Python and system: try another version of Python, "
        "3.10 or newer but not the newest",
    ),
    (r"Permission denied|Access is denied|Read-only file system", "the folder cannot be written to"),
    (r"No module named pip", "this Python has no pip: run 'python3 tasks.py setup', then start again"),
)


def pip_trouble(log: str) -> str:
    """Put pip's failure in words, from its log."""
    for pattern, words in PIP_TROUBLES:
        if re.search(pattern, log):
            return words
    return "its last lines above say why"


def pip_install(root: Path, *arguments: str) -> tuple[int, str]:
    """Run ``pip install`` in the environment, and return its exit status and its log."""
    log, unfinished = root / ".venv" / "pip.log", root / ".venv" / "unfinished"
    log.unlink(missing_ok=True)
    unfinished.touch()
    command = [venv_python(root), "-m", "pip", "--log", log, "install", *arguments]
    status = subprocess.run(command, cwd=root, env=environment(root)).returncode
    unfinished.unlink()  # pip came to its end, so it has tidied up; a killed one leaves the mark
    return status, log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


def ask_venv(root: Path, *arguments: str) -> str:
    """Return what the environment's Python prints, or "" where it fails."""
    command = [venv_python(root), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment(root))
    return "" if run.returncode else run.stdout.strip()


def torch_version(root: Path) -> str:
    """Return the version of the environment's PyTorch, or "" where there is none."""
    return ask_venv(root, "-c", "import importlib.metadata as m; print(m.version('torch'))")


def torch_choice(root: Path) -> torch_build.Choice | None:
    """Choose the build of PyTorch to install; None where nothing is to be chosen."""
    if torch_version(root):
        return None
    return build_for(ask_venv(root, "-m", "pip", "config", "list"), torch_build.has_gpu)


def build_for(listing: str, has_gpu: Callable[[str], bool]) -> torch_build.Choice | None:
    """Choose the build of PyTorch by pip's own list of its settings, and by whether there is a GPU."""
    system, settings = platform.system(), torch_build.pip_settings(listing)
    try:
        return torch_build.choose(
            system,
            os.environ,
            settings,
            lambda: has_gpu(system),
            lambda index: torch_build.answers(index, settings.get("proxy", "")),
        )
    except ValueError as error:
        raise Stop(str(error)) from None


def install_cpu_torch(root: Path, choice: torch_build.Choice) -> None:
    """Install PyTorch's CPU build. Where that fails and nobody has asked for it, the default may follow."""
    status, log = pip_install(root, "torch", "torchvision", "--index-url", choice.index)
    if status and choice.asked:
        raise Stop(
            f"PyTorch's CPU build did not install from {choice.index} (pip's exit status is {status}): "
            f"{pip_trouble(log)}; D2LSEG_TORCH=default takes pip's default build instead."
        )
    if status:
        print(f"PyTorch: pip's default build after all, because {pip_trouble(log)}.", flush=True)
        check_disk(root, os.environ, "default")
    elif "cpu" not in torch_version(root):  # constraints and further indexes of the caller's hold here too
        print(f"PyTorch: by pip's own settings it is {torch_version(root)}, not the CPU build.", flush=True)


def install(root: Path, extra: str) -> None:
    """Install an extra and all that it needs; PyTorch's CPU build comes first where it is the choice."""
    choice = torch_choice(root)
    if choice:
        print(choice.line(), flush=True)
        check_disk(root, os.environ, choice.build)
        if choice.build == "cpu":
            install_cpu_torch(root, choice)
    status, log = pip_install(root, *REQUIREMENTS[extra])
    if status:
        raise Stop(f"The installation stopped (pip's exit status is {status}): {pip_trouble(log)}.")


def setup(root: Path = ROOT, extra: str = "dev") -> bool:
    """Create ``.venv`` and install into it, unless nothing has changed since it was last done.

    Parameters
    ----------
    root
        The repository.
    extra
        "lab" for what a learner needs, "site" for that and what builds the website, "dev" for both and the
        test tools.

    Returns
    -------
    bool
        Whether anything had to be done.

    Raises
    ------
    Stop
        With the reason, where the environment cannot be made.
    """
    stamp, wanted = root / ".venv" / "setup-stamp", fingerprint(root)
    works = usable(root) and not (root / ".venv" / "unfinished").exists()
    digest, _, has = stamp.read_text().partition(" ") if works and stamp.exists() else ("", "", "")
    if digest == wanted and extra in INCLUDES.get(has, ()):
        return False
    stamp.unlink(missing_ok=True)
    if not works:
        print("Set-up: making .venv and installing; the first time takes some minutes.", flush=True)
        make_venv(root)
    elif digest == wanted:
        print(f"Set-up: adding {ADDITIONS[extra]}.", flush=True)
    elif digest:
        print("Set-up: the requirements have changed, installing again.", flush=True)
    else:
        print("Set-up: installing into the .venv that is there.", flush=True)
    install(root, extra)
    stamp.write_text(f"{wanted} {extra}")
    return True


# --- lab ----------------------------------------------------------------------------------------------------


def is_root() -> bool:
    """Whether the command runs as the system's administrator (never on Windows, where it does not matter)."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def in_container() -> bool:
    """Whether the command runs in a Docker, Podman or Kubernetes container."""
    marks = ("/.dockerenv", "/run/.containerenv")
    return any(map(os.path.exists, marks)) or "KUBERNETES_SERVICE_HOST" in os.environ


def lab_options(given: Sequence[str], root_user: bool, container: bool) -> tuple[list[str], str]:
    """Choose what to add to JupyterLab's command line.

    Parameters
    ----------
    given
        The caller's own options, which are never contradicted.
    root_user
        As root JupyterLab refuses to start without ``--allow-root``.
    container
        In a container there is no browser, and a server that listens on the container's own localhost
        cannot be reached from outside it. JupyterLab's token still guards it.

    Returns
    -------
    tuple
        The options to add, and a sentence about them ("" where there is none).
    """
    names = {option.split("=")[0].lstrip("-").replace("ServerApp.", "").replace("_", "-") for option in given}
    added, reasons = [], []
    if root_user and "allow-root" not in names:
        added.append("--allow-root")
        reasons.append("--allow-root (you are root)")
    if container and "ip" not in names:
        added.append("--ip=0.0.0.0")
        reasons.append("--ip=0.0.0.0 (a container is reached from outside; the address's token guards it)")
    if container and not names & {"no-browser", "open-browser", "browser"}:
        added.append("--no-browser")
        reasons.append("--no-browser (there is none in a container; open the printed address)")
    return added, f"Added for JupyterLab: {', '.join(reasons)}." if reasons else ""


def hand_over(command: Sequence[str], root: Path) -> int:
    """Let a program take this one's place, with the terminal and its Ctrl-C."""
    os.chdir(root)
    sys.stdout.flush()
    if os.name != "nt":
        os.execve(command[0], list(command), environment(root))
    # Windows has no real exec: wait, and leave Ctrl-C to the program.
    signal.signal(signal.SIGINT, lambda *_: None)
    return subprocess.run(command, env=environment(root)).returncode


def leave_out_news(root: Path) -> None:
    """Switch off JupyterLab's question about its news, in ``.venv`` alone; it would cover the first cells."""
    page = root / ".venv" / "etc" / "jupyter" / "labconfig" / "page_config.json"
    if not page.exists():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}\n')


def lab(extra: Sequence[str], root: Path = ROOT) -> int:
    """Open JupyterLab on the first notebook."""
    setup(root, "lab")
    try:
        given = [*shlex.split(os.environ.get("LAB_ARGS", "")), *extra]
    except ValueError as error:
        raise Stop(f"LAB_ARGS cannot be read ({error}): {os.environ['LAB_ARGS']!r}.") from None
    added, note = lab_options(given, is_root(), in_container())
    if note:
        print(note)
    leave_out_news(root)
    # The notebook as the start address, not as a file argument: that would serve its folder alone, and print
    # an address that does not lead to it.
    opening = [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{START}"]
    return hand_over([str(venv_python(root)), "-m", "jupyterlab", *opening, *added, *given], root)


# --- test ---------------------------------------------------------------------------------------------------


def notebooks(root: Path) -> list[Path]:
    """List all notebooks in the order in which they run: by name, then the solutions by name."""
    folders = (root / "notebooks", root / "notebooks" / "solutions")
    return [path for folder in folders for path in sorted(folder.glob("*.ipynb"))]


def test_stages(root: Path) -> list[tuple[str, list[str]]]:
    """Return the name and command line (after ``python -m``) of each stage of the tests."""
    # nbval needs no coverage: measuring it in kernels is unreliable, and the unit tests must reach it alone.
    names = [path.relative_to(root).as_posix() for path in notebooks(root)]
    unit = ["--cov=d2lseg", "--cov-branch", f"--cov-fail-under={COVERAGE}"]
    nbval = ["--nbval-lax", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}", "--durations=10"]
    return [
        ("ruff (code and notebooks)", ["ruff", "check", "."]),
        ("ruff's format", ["ruff", "format", "--check", "."]),
        ("types (mypy)", ["mypy"]),
        (f"unit tests (branch coverage of {COVERAGE} % or more)", ["pytest", "tests", *unit]),
        (f"notebooks ({len(names)}, run by nbval)", ["pytest", *nbval, *names]),
    ]


def test(root: Path = ROOT) -> int:
    """Run all stages, whatever fails, and print how each went."""
    start = time.monotonic()
    setup(root)
    report = [f"ok      {time.monotonic() - start:6.0f} s  set-up"]
    if not notebooks(root):
        raise Stop(f"There are no notebooks in {root / 'notebooks'}: the checkout is not whole.")
    failed = False
    for name, command in test_stages(root):
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        python = [str(venv_python(root)), "-m"]
        status = subprocess.run(python + command, cwd=root, env=environment(root)).returncode
        failed = failed or status != 0
        report.append(f"{'FAILED' if status else 'ok    '}  {time.monotonic() - start:6.0f} s  {name}")
    print("\n" + "\n".join(report))
    return int(failed)


def render(names: Sequence[str], root: Path = ROOT) -> int:
    """Execute notebooks in place from clean kernels, all of them or those named."""
    setup(root)
    command = [str(venv_python(root)), "-m", "tools.render", *names]
    return subprocess.run(command, cwd=root, env=environment(root)).returncode


def classroom(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Run a command for instructors, in the folder where it was called: its arguments name folders."""
    setup(root, "lab")
    env = environment(root) | {"PYTHONPATH": str(root)}
    return subprocess.run([venv_python(root), "-m", "tools.classroom", *arguments], env=env).returncode


def site(root: Path = ROOT) -> int:
    """Build the website into ``build/html``."""
    setup(root, "site")
    command = [str(venv_python(root)), "-m", "tools.website"]
    return subprocess.run(command, cwd=root, env=environment(root)).returncode


def slides(names: Sequence[str], root: Path = ROOT) -> int:
    """Make the slides of the notebooks, all of them or those named, from their stored outputs."""
    setup(root)
    command = [str(venv_python(root)), "-m", "tools.slides", *names]
    return subprocess.run(command, cwd=root, env=environment(root)).returncode


# --- wheel --------------------------------------------------------------------------------------------------

PACKAGED = ("pyproject.toml", "README.md", "LICENSE", "LICENSE-PROSE")  # beside the folder d2lseg


def build_wheel(root: Path, target: Path, python: Path | str, isolated: bool = False) -> Path:
    """Build the module's wheel.

    Parameters
    ----------
    root
        The repository.
    target
        The folder for the wheel.
    python
        The Python whose pip builds it.
    isolated
        Whether pip fetches setuptools for the build; otherwise this Python has it, and no network is needed.

    Returns
    -------
    Path
        The wheel.

    Raises
    ------
    Stop
        Where pip fails.
    """
    offline = [] if isolated else ["--no-build-isolation", "--no-index"]
    with tempfile.TemporaryDirectory() as folder:
        # From a copy: a build leaves a folder whose stale files would get into the next wheel.
        source, built = Path(folder, "source"), Path(folder, "built")
        shutil.copytree(root / "d2lseg", source / "d2lseg", ignore=shutil.ignore_patterns("__pycache__"))
        for name in PACKAGED:
            shutil.copy(root / name, source)
        command = [python, "-m", "pip", "wheel", "--no-deps", *offline, "-w", built, source]
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if run.returncode:
            log = run.stdout.decode(errors="replace")
            print(log, file=sys.stderr)
            raise Stop(f"The wheel was not built (pip's status is {run.returncode}): {pip_trouble(log)}.")
        (wheel,) = built.glob("d2lseg-*.whl")
        target.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(wheel, target))


def wheel(root: Path = ROOT) -> int:
    """Build the wheel into ``dist`` and print its place; this needs neither ``.venv`` nor torch."""
    # A finished environment has setuptools. Without one, this Python's pip fetches it: that is quick, and
    # whoever uses Colab need not install the whole course to get there.
    ready = usable(root) and (root / ".venv" / "setup-stamp").exists()
    built = build_wheel(root, root / "dist", venv_python(root) if ready else sys.executable, not ready)
    print(built.relative_to(root).as_posix())
    return 0


# --- wheelhouse ---------------------------------------------------------------------------------------------

WHEELHOUSE_PAGE = """\
The course without a network

This folder holds all that the course needs, for {system} and Python {python}. For another system, or another
version of Python, make a folder of its own there: python3 tasks.py wheelhouse

Copy it and the course's folder to a computer. There, in the course's folder, this opens the first notebook:

    PIP_NO_INDEX=1 PIP_FIND_LINKS=/path/to/wheelhouse python3 tasks.py lab

On Windows, in PowerShell:

    $env:PIP_NO_INDEX = 1; $env:PIP_FIND_LINKS = "D:/path/to/wheelhouse"; py tasks.py lab

Or without the course's folder, into any environment:

    pip install --no-index --find-links /path/to/wheelhouse "d2lseg[lab]"
"""


def pip_wheel(folder: Path, *arguments: str | Path) -> None:
    """Collect packages and all that they need as wheels in a folder."""
    command = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", folder, *arguments]
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary, "pip.log")
        status = subprocess.run([*command, "--log", log]).returncode
        if status:
            trouble = pip_trouble(log.read_text(encoding="utf-8", errors="replace") if log.exists() else "")
            raise Stop(f"The wheelhouse is not complete (pip's exit status is {status}): {trouble}.")


def torch_pins(folder: Path) -> list[str]:
    """Return the versions of PyTorch's wheels in a folder as requirements, such as ``torch==2.11.0+cpu``."""
    names = [path.name.split("-") for path in sorted(folder.glob("torch*.whl"))]
    return [f"{name}=={version.replace('%2B', '+')}" for name, version, *_ in names]


def wheelhouse(root: Path = ROOT) -> int:
    """Collect the course and all that a learner needs in ``dist/wheelhouse``; this needs no ``.venv``.

    Where a choice exists PyTorch is its CPU build: the computers of a room need not have this one's GPU.
    """
    folder = root / "dist" / "wheelhouse"
    listing = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    choice = build_for(listing.stdout, lambda system: False)
    shutil.rmtree(folder, ignore_errors=True)
    course = build_wheel(root, folder, sys.executable, isolated=True)
    if choice:
        print(f"PyTorch: {choice.build} build, because {choice.why}.", flush=True)
    if choice and choice.build == "cpu":
        pip_wheel(folder, "torch", "torchvision", "--index-url", choice.index)
    # Pinned, because pip would prefer a newer build of the other kind. An editable install needs setuptools.
    wanted = [f"{course}[lab]", "setuptools>=77", "wheel", *torch_pins(folder)]
    pip_wheel(folder, *wanted, "--find-links", folder)
    page = WHEELHOUSE_PAGE.format(system=platform.system(), python=platform.python_version())
    (folder / "README.txt").write_text(page, encoding="utf-8")
    wheels = list(folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels) / 1e6
    print(f"{folder.relative_to(root).as_posix()}: {len(wheels)} wheels, {size:.0f} MB")
    return 0


# --- repository ---------------------------------------------------------------------------------------------

REPOSITORY = r"[A-Za-z0-9][A-Za-z0-9_-]*/[.]*[A-Za-z0-9_-][A-Za-z0-9._-]*"
# The line of pyproject.toml that keeps the state, and nothing else does.
SET, UNSET = 'Repository = "https://github.com/{}"', "# Repository: unset"
STATE = re.compile(f"^(?:{SET.format(f'({REPOSITORY})')}|{UNSET})$", re.MULTILINE)
GITHUB = re.compile(  # "?" makes the name as short as can be, without ".git"
    rf"(?:https://(?:[^@/]+@)?github\.com/|git@github\.com:|ssh://git@github\.com/)({REPOSITORY}?)(?:\.git)?/?"
)


def current_repository(root: Path) -> str | None:
    """Read OWNER/NAME from ``pyproject.toml``, the one place where it is kept; None where it is unset."""
    found = STATE.search((root / "pyproject.toml").read_text(encoding="utf-8"))
    if found is None:
        raise Stop(f"pyproject.toml lacks its line '{UNSET}' (or '{SET.format('OWNER/NAME')}'): add it.")
    return found[1]


def remote_repository(root: Path) -> str:
    """Read OWNER/NAME from the address of the git remote ``origin``."""
    advice = "give the repository as OWNER/NAME"
    # A folder that is not a clone must not get the address of a clone that it lies in.
    env = os.environ | {"GIT_CEILING_DIRECTORIES": str(root.resolve().parent)}
    try:
        run = subprocess.run(
            ["git", "remote", "get-url", "origin"], cwd=root, env=env, capture_output=True, text=True
        )
    except OSError:
        raise Stop(f"git is not installed, so it cannot be asked for its remote: {advice}.") from None
    url = run.stdout.strip()
    if run.returncode:
        raise Stop(f"git knows no remote 'origin' here: {advice}.")
    found = GITHUB.fullmatch(url)
    if found is None:
        url = re.sub(r"//[^/]*@", "//", url)  # there may be a password
        raise Stop(f"The git remote 'origin' is {url}, which is not on GitHub: {advice}.")
    return found[1]


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(text.encode("utf-8"))
        shutil.copymode(path, part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def repository(name: str | None, root: Path = ROOT) -> int:
    """Set OWNER/NAME, or unset it with None, in ``pyproject.toml`` and all notebooks."""
    if name is not None and (not re.fullmatch(REPOSITORY, name) or name.endswith(".git")):
        raise Stop(f"The repository is given as OWNER/NAME, as in its GitHub address, and this was {name!r}.")
    old, changes = current_repository(root), {}
    # pyproject.toml comes last: a run that was cut short can be repeated.
    for path in [*notebooks(root), root / "pyproject.toml"]:
        before = path.read_bytes().decode("utf-8")
        ending = "\r\n" if "\r\n" in before else "\n"  # as git checks out on Windows
        try:
            after = rewritten(before.replace("\r\n", "\n"), name, path, root).replace("\n", ending)
        except opening.OpeningError as error:
            raise Stop(
                f"{path.relative_to(root).as_posix()} cannot be changed: {error}; see another notebook."
            ) from None
        if after != before:
            changes[path] = after
    for path, after in changes.items():
        write_whole(path, after)
    print(f"The repository was {old or 'unset'} and is now {name or 'unset'}: {len(changes)} files changed.")
    return 0


def rewritten(text: str, name: str | None, path: Path, root: Path) -> str:
    """Return the new text of a notebook or of ``pyproject.toml``."""
    if path.suffix == ".ipynb":
        book = path.relative_to(root / "notebooks").with_suffix("").as_posix()
        return opening.rewrite(text, name, book)
    return STATE.sub(UNSET if name is None else SET.format(name), text)


def check_repository(environ: Mapping[str, str], root: Path = ROOT) -> int:
    """Compare the repository with the one that GitHub Actions runs in, and print the command that sets it.

    Unset is a valid state, so it gives the exit status 0; another repository gives 1.
    """
    here, name = environ.get("GITHUB_REPOSITORY", ""), current_repository(root)
    if not here:
        raise Stop("--check compares with GITHUB_REPOSITORY, which is not set: it is for GitHub Actions.")
    if name is not None and name.lower() == here.lower():
        return 0
    print(f"python3 tasks.py repository {here}")
    return int(name is not None)


def repository_command(options: argparse.Namespace, root: Path = ROOT) -> int:
    """Check, unset or set the repository, as the command line asks."""
    if options.check:
        return check_repository(os.environ, root)
    if options.unset:
        return repository(None, root)
    return repository(remote_repository(root) if options.name is None else options.name, root)


# --- command line -------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="tasks.py", description="The course's commands.")
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    sub.add_parser("lab", help="install what is missing, then open JupyterLab (further options go to it)")
    sub.add_parser("test", help="install what is missing, then run all checks, tests and notebooks")
    rendering = sub.add_parser("render", help="execute the notebooks in place from clean kernels")
    rendering.add_argument("names", nargs="*", metavar="NAME", help="such as 03 or solutions/03; default all")
    sub.add_parser("site", help="build the website into build/html from the notebooks' stored outputs")
    making = sub.add_parser("slides", help="make the slides from the notebooks' stored outputs")
    making.add_argument("names", nargs="*", metavar="NAME", help="such as 03; default all")
    sub.add_parser("wheel", help="build the module's wheel into dist, for Colab")
    sub.add_parser(
        "wheelhouse", help="collect what an installation without a network needs in dist/wheelhouse"
    )
    naming = sub.add_parser("repository", help="set the GitHub repository in pyproject and all notebooks")
    state = naming.add_mutually_exclusive_group()
    state.add_argument("name", nargs="?", metavar="OWNER/NAME", help="default: that of the git remote origin")
    state.add_argument("--unset", action="store_true", help="on Colab, files are uploaded instead")
    state.add_argument("--check", action="store_true", help="compare it with GITHUB_REPOSITORY (in CI)")
    sub.add_parser(
        "classroom",
        help="for instructors: student copies, collecting, grading (--help after it)",
        add_help=False,
    )
    sub.add_parser("setup", help="make .venv and install, with the test tools; nothing more")
    return top


def main(argv: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        The command line without the program's name.

    Returns
    -------
    int
        The exit status: 0 good, 1 a check failed, 2 could not be done, 130 stopped with Ctrl-C.
    """
    options, extra = parser().parse_known_args(argv)
    if extra and options.command not in ("lab", "classroom"):
        parser().error(f"unknown: {' '.join(extra)}")
    commands = {
        "lab": lambda: lab(extra),
        "test": test,
        "render": lambda: render(options.names),
        "classroom": lambda: classroom(extra),
        "site": site,
        "slides": lambda: slides(options.names),
        "wheel": wheel,
        "wheelhouse": wheelhouse,
        "repository": lambda: repository_command(options),
        "setup": lambda: print("Set-up: done." if setup() else "Set-up: nothing has changed."),
    }
    try:
        return commands[options.command]() or 0
    except Stop as stop:
        print(stop, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
