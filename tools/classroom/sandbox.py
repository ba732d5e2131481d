"""Run a plan in a process of its own, with limits of time and memory and, where the system can, no network.

It guards against accidents: endless loops, full memory, crashes, downloads. A process has the rights of
whoever started it, so it is no wall against malice.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from . import books

# User, network and process namespaces of their own: without a network, and nothing that is started survives.
UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")
START = "import sys; sys.path[:1] = [sys.argv[1]]; from tools.classroom import worker; worker.main()"

TICK = 0.25  # seconds


class SandboxError(RuntimeError):
    """The process cannot run here at all, whatever the submission."""


@dataclass(frozen=True)
class Limits:
    """What one step may take.

    Parameters
    ----------
    seconds
        For each cell and for each check.
    memory
        In GB, above what the module and PyTorch take.
    start
        Seconds to import PyTorch and the module.
    """

    seconds: float = 20
    memory: float = 2
    start: float = 300


@dataclass
class Outcome:
    """What came of the steps.

    Parameters
    ----------
    results
        What the worker reported, or why it was stopped, by the step's place.
    stopped
        The places of the steps that were stopped.
    """

    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)


@functools.cache
def namespaces() -> bool:
    """Whether this system gives a process namespaces of its own (Linux, unless it forbids that)."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0


def describe(limits: Limits) -> str:
    """Say which limits hold on this system."""
    linux, posix = sys.platform == "linux", importlib.util.find_spec("resource") is not None
    memory = f"{limits.memory:g} GB" if linux else "not limited on this system"
    network = "none" if namespaces() else "refused to Python, though not to programs that it starts"
    files = "" if posix else " The size of files is not limited on this system."
    return f"Limits: {limits.seconds:g} s a cell; memory: {memory}; network: {network}.{files}"


def run(number: str, steps: list[dict[str, str]], limits: Limits) -> Outcome:
    """Run the steps of a plan; after one that must be stopped, a new process goes on with the next exercise.

    Raises
    ------
    SandboxError
        If the process does not even start.
    """
    outcome = Outcome()
    while True:
        left = [dict(step, place=i) for i, step in enumerate(steps) if wanted(i, step, steps, outcome)]
        if all(step["kind"] != "check" for step in left):
            return outcome
        with worker(number, left, limits) as lines:
            stop = follow(lines, outcome, limits)
        if stop is None:
            return outcome
        place, why, seconds = stop
        outcome.stopped.add(place)
        outcome.results[place] = {"notes": [why], "seconds": seconds}


def wanted(place: int, step: dict[str, str], steps: list[dict[str, str]], outcome: Outcome) -> bool:
    """Whether a step is to be run: no check twice, nothing more of an exercise that was stopped."""
    spoilt = {steps[i]["exercise"] for i in outcome.stopped} - {""}
    judged = step["kind"] == "check" and place in outcome.results
    return not judged and place not in outcome.stopped and step["exercise"] not in spoilt


@contextmanager
def worker(number: str, steps: list[dict[str, Any]], limits: Limits) -> Iterator[queue.Queue]:
    """Start a process, give the queue of what it says, and end the process and all that it has started."""
    command = [*(UNSHARE if namespaces() else ()), sys.executable, "-c", START, str(books.ROOT)]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as errors,
    ):
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        lines: queue.Queue = queue.Queue()
        listener = threading.Thread(target=listen, args=(process, lines), daemon=True)
        listener.start()
        try:
            job = {"number": number, "steps": steps, "memory": limits.memory}
            with suppress(OSError):  # the process has ended, and `follow` says so
                process.stdin.write(json.dumps(job))
            with suppress(OSError):
                process.stdin.close()
            yield lines
        except SandboxError as error:
            end(process)
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise SandboxError(f"{error}: {said[-1] if said else 'it said nothing'}") from None
        finally:
            end(process)
            listener.join(5)


def environment(folder: str) -> dict[str, str]:
    """Return the variables of the process: its home and data are a folder that goes, and it sees no GPU."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "JPY_", "IPYTHON", "D2LSEG"))}
    home = {"HOME": folder, "USERPROFILE": folder, "TMPDIR": folder, "TEMP": folder, "D2LSEG_DATA": folder}
    settings = {"MPLBACKEND": "Agg", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return kept | home | settings | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def listen(process: subprocess.Popen, lines: queue.Queue) -> None:
    """Put each line of the process into the queue, and at the end None."""
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def end(process: subprocess.Popen) -> None:
    """Kill a process, and on Linux and macOS those of its group."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended, and so have its children
    process.kill()
    process.wait()


def patiently(lines: queue.Queue, seconds: float) -> str | None:
    """Wait for a line in short ticks: a computer that sleeps in between counts as one tick."""
    for _ in range(max(1, round(seconds / TICK))):
        try:
            return lines.get(timeout=TICK)
        except queue.Empty:
            continue
    raise queue.Empty


def follow(lines: queue.Queue, outcome: Outcome, limits: Limits) -> tuple[int, str, float] | None:
    """Take the reports of a process into the outcome; return the step that ended it, why, and its time."""
    place, patience = None, limits.start
    while True:
        start = time.monotonic()
        try:
            line = patiently(lines, patience)
        except queue.Empty:
            if place is None:
                raise SandboxError(f"the process did not start within {limits.start:g} s") from None
            return place, f"stopped after {limits.seconds:g} s", limits.seconds
        if line is None:
            if place is None:
                raise SandboxError("the process ended before it ran anything")
            return place, "it ended the process", time.monotonic() - start
        report = json.loads(line)
        if report["event"] == "end":
            return None
        if report["event"] == "done":
            outcome.results[report["place"]] = report
        place, patience = report["place"], limits.seconds
