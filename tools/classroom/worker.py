"""Run the steps of a plan in this process and report them on the standard output; see ``sandbox.py``."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

FILE_SIZE = 200_000_000  # bytes
NO_NETWORK = "there is no network while an exercise is graded"
NO_TRAINING = "a training run is not part of grading: write its results into the answer"


def main() -> None:
    """Read a job from the standard input, and run it."""
    job = json.load(sys.stdin)
    sys.stdin = open(os.devnull)  # so that input() ends at once
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever the answers print

    def say(**report: Any) -> None:
        print(json.dumps(report), file=reports, flush=True)

    bench = Bench(job["number"])
    limit_memory(job["memory"])
    for step in job["steps"]:
        say(event="begin", place=step["place"])
        say(event="done", place=step["place"], **bench.run(step))
    say(event="end")
    reports.close()
    os._exit(0)  # a thread that an answer has started must not keep the process


def limit_memory(gigabytes: float) -> None:
    """Allow so much memory above what is used now (Linux), and no large files (Linux, macOS)."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        most = used + int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


class Bench:
    """Runs cells in one namespace, as a notebook does, and the course's own checks on what they define.

    Parameters
    ----------
    number
        The lesson's, such as "01".
    """

    def __init__(self, number: str) -> None:
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        self.check = importlib.import_module(f"d2lseg.exercises.nb{number}")
        modules = (self.check, importlib.import_module("d2lseg.exercises.verdicts"))
        self.kept = [(module, dict(vars(module))) for module in modules]
        self.tried: list[str] = []
        config = Config()
        config.HistoryManager.enabled = False
        self.shell = InteractiveShell.instance(config=config)
        self.refuse_network()
        self.refuse_training()

    def refuse_network(self) -> None:
        """Let every connection fail with a sentence."""
        import socket

        refuse = self.refusal("it tried to use the network", OSError(NO_NETWORK))
        local = getattr(socket, "AF_UNIX", None)  # by which a DataLoader's workers speak to one another

        class Offline(socket.socket):
            def connect(self, address: Any) -> Any:
                return super().connect(address) if self.family == local else refuse()

        socket.socket = Offline  # type: ignore[misc]
        socket.create_connection = socket.getaddrinfo = refuse

    def refuse_training(self) -> None:
        """Let ``training.train`` fail with a sentence."""
        from d2lseg import training

        training.train = self.refusal("it tried to train", RuntimeError(NO_TRAINING))

    def refusal(self, words: str, error: Exception) -> Callable[..., Any]:
        """Make a function that notes the attempt and raises."""

        def refuse(*args: Any, **kwargs: Any) -> Any:
            self.tried.append(words)
            raise error

        return refuse

    def run(self, step: dict[str, Any]) -> dict[str, Any]:
        """Run one step, and return its result, with the seconds and what was noticed."""
        self.tried.clear()
        start = time.monotonic()
        result = self.judge(step["source"]) if step["kind"] == "check" else self.execute(step["source"])
        result["notes"] = sorted(set(self.tried)) + self.repaired()
        result["seconds"] = time.monotonic() - start
        return result

    def execute(self, source: str) -> dict[str, Any]:
        """Run a cell; its error is told, not raised."""
        try:
            result = self.shell.run_cell(source)
            error = result.error_before_exec or result.error_in_exec
        except BaseException as raised:  # such as KeyboardInterrupt, which an answer may raise
            error = raised
        return {"error": in_words(error) if error else ""}

    def judge(self, call: str) -> dict[str, Any]:
        """Run the course's check on what the cells have defined."""
        import matplotlib.pyplot as plt

        names = self.shell.user_ns | {"check": self.check}
        try:
            verdict = eval(call, names)
        except NameError as error:
            return {"status": "missing", "message": f"{error}"}
        except BaseException as error:
            return {"status": "wrong", "message": in_words(error)}
        finally:
            plt.close("all")
        return {"status": verdict.status, "message": verdict.message}

    def repaired(self) -> list[str]:
        """Put back what a cell has changed in the checks, and tell so."""
        changed = False
        for module, before in self.kept:
            changed |= any(vars(module).get(name) is not thing for name, thing in before.items())
            vars(module).update(before)
        return ["it changes the course's checks: they were put back"] if changed else []


def in_words(error: BaseException) -> str:
    """Return the kind and the message of an error, in one line of a sensible length."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) < 300 else f"{text[:300]} ..."
