"""The commands behind ``tasks.py``: set up, open, test, render, rename. Standard library only.

Each command works from any folder, because it goes to the repository root first. What a reader can mend
stops a command with one sentence (``Stop``) and exit status 2; a failed check gives exit status 1.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START = "notebooks/00_start_here.ipynb"
COVERAGE = 90  # per cent of branches
CELL_TIMEOUT = 900  # seconds; notebook 05 trains for minutes in one cell

# A finished environment takes about 6 GB on Linux, where torch comes with its CUDA libraries, and pip unpacks
# beside it. Elsewhere torch is much smaller.
DISK_GB = 8 if sys.platform == "linux" else 3


class Stop(Exception):
    """A command cannot go on; the message says why and what to do, in one sentence."""


# --- set-up -------------------------------------------------------------------------------------------------


def venv_python(root: Path) -> Path:
    """Give the path of the environment's Python, whether it is there or not."""
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
    """Give the variables for a program of the environment, as if it had been activated.

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


def check_disk(root: Path, environ: Mapping[str, str]) -> None:
    """Stop when the disk cannot hold the environment."""
    wanted = environ.get("D2LSEG_DISK_GB", DISK_GB)
    try:
        need = float(wanted)
    except ValueError:
        raise Stop(f"D2LSEG_DISK_GB must be a number of gigabytes, and it is {wanted!r}.") from None
    free = shutil.disk_usage(root).free / 1e9
    if free < need:
        raise Stop(
            f"The disk that holds {root} has {free:.1f} GB free and the installation needs {need:g} GB: "
            "make room, or clone the course onto a larger disk (where pip is set to a CPU-only torch, "
            "3 GB are enough: set D2LSEG_DISK_GB=3)."
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
)


def pip_trouble(log: str) -> str:
    """Put pip's failure in words, from its log."""
    for pattern, words in PIP_TROUBLES:
        if re.search(pattern, log):
            return words
    return "its last lines above say why"


def install(root: Path) -> None:
    """Run ``pip install -r requirements.txt`` in the environment."""
    log, unfinished = root / ".venv" / "pip.log", root / ".venv" / "unfinished"
    log.unlink(missing_ok=True)
    unfinished.touch()
    command = [venv_python(root), "-m", "pip", "--log", log, "install", "-r", "requirements.txt"]
    status = subprocess.run(command, cwd=root, env=environment(root)).returncode
    unfinished.unlink()  # pip came to its end, so it has tidied up; a killed one leaves the mark
    if status:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise Stop(f"The installation stopped (pip's exit status is {status}): {pip_trouble(text)}.")


def setup(root: Path = ROOT) -> bool:
    """Create ``.venv`` and install into it, unless nothing has changed since it was last done.

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
    if works and stamp.exists() and stamp.read_text() == wanted:
        return False
    stamp.unlink(missing_ok=True)
    if not works:
        print("Set-up: making .venv and installing; the first time takes some minutes.", flush=True)
        make_venv(root)
    else:
        print("Set-up: the requirements have changed, installing again.", flush=True)
    install(root)
    stamp.write_text(wanted)
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
    setup(root)
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
    """Give the name and command line (after ``python -m``) of each stage of the tests."""
    # nbval needs no coverage: measuring it in kernels is unreliable, and the unit tests must reach it alone.
    names = [path.relative_to(root).as_posix() for path in notebooks(root)]
    unit = ["--cov=d2lseg", "--cov-branch", f"--cov-fail-under={COVERAGE}"]
    nbval = ["--nbval-lax", "--nbval-current-env", f"--nbval-cell-timeout={CELL_TIMEOUT}", "--durations=10"]
    return [
        ("ruff (code and notebooks)", ["ruff", "check", "."]),
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
    command = [str(venv_python(root)), str(root / "tools" / "render.py"), *names]
    return subprocess.run(command, cwd=root, env=environment(root)).returncode


# --- repository ---------------------------------------------------------------------------------------------


def current_repository(root: Path) -> str:
    """Read OWNER/NAME from ``pyproject.toml``, the one place where it is kept."""
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^Repository = "https://github\.com/([\w.-]+/[\w.-]+)"$', text, re.MULTILINE)
    if found is None:
        raise Stop("pyproject.toml has no line 'Repository = \"https://github.com/OWNER/NAME\"'.")
    return found[1]


def repository(name: str, root: Path = ROOT) -> int:
    """Set OWNER/NAME in pyproject, the pages and all notebooks (badges and setup cells)."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", name) or name.endswith(".git"):
        raise Stop(f"The repository is given as OWNER/NAME, as in its GitHub address, and this was {name!r}.")
    old = current_repository(root)
    # After "github.com/" in addresses and "github/" in Colab's, and never the start of a longer name.
    pattern = re.compile(rf"(github(?:\.com)?/){re.escape(old)}(?![\w-])(?!\.(?!git\b)\w)")
    # pyproject comes last: a run that was cut short can be repeated.
    paths = [*sorted(root.glob("*.md")), *notebooks(root), root / "pyproject.toml"]
    changed = 0
    for path in paths:
        before = path.read_bytes().decode("utf-8")
        after = pattern.sub(lambda match: match[1] + name, before)
        if after != before:
            path.write_bytes(after.encode("utf-8"))
            changed += 1
    print(f"The repository was {old} and is now {name}: {changed} files changed.")
    return 0


# --- command line -------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="tasks.py", description="The course's commands.")
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    sub.add_parser("lab", help="install what is missing, then open JupyterLab (further options go to it)")
    sub.add_parser("test", help="install what is missing, then run all checks, tests and notebooks")
    rendering = sub.add_parser("render", help="execute the notebooks in place from clean kernels")
    rendering.add_argument("names", nargs="*", metavar="NAME", help="such as 03 or solutions/03; default all")
    naming = sub.add_parser("repository", help="set the GitHub repository in pyproject, pages and notebooks")
    naming.add_argument("name", metavar="OWNER/NAME")
    sub.add_parser("setup", help="make .venv and install, nothing more")
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
    if extra and options.command != "lab":
        parser().error(f"unknown: {' '.join(extra)}")
    commands = {
        "lab": lambda: lab(extra),
        "test": test,
        "render": lambda: render(options.names),
        "repository": lambda: repository(options.name),
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
