"""Store the verdicts that the checks of this session have given, for students who hand them in."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from ..engine.files import write_csv
from .verdicts import GIVEN

PACKAGE = "d2lseg.exercises.nb"


def report(folder: str | Path = ".") -> None:
    """Print the latest verdict on each exercise, and write them to ``verdicts_NN.csv`` in a folder.

    NN is the notebook's number. The file says what the checks said here, so it is the student's word: a
    grader runs them again.

    Parameters
    ----------
    folder
        Where the file goes; the notebook's own folder by default.
    """
    modules = sorted({module for module, _ in GIVEN if module.startswith(PACKAGE)})
    if not modules:
        print("There are no verdicts to store: run the cells of the exercises first.")
    for module in modules:
        number = module.removeprefix(PACKAGE)
        rows = [row(module, name) for name in vars(sys.modules[module]) if is_check(module, name)]
        path = write_csv(Path(folder) / f"verdicts_{number}.csv", rows)
        for each in rows:
            print(f"{each['check']:20} {each['verdict']}")
        right = sum(each["verdict"] == "right" for each in rows)
        print(f"Right: {right} of {len(rows)}. Stored in {path.name}.")


def is_check(module: str, name: str) -> bool:
    """Whether a name of a notebook's module is one of its checks."""
    thing = getattr(sys.modules[module], name)
    return hasattr(thing, "__wrapped__") and thing.__module__ == module


def row(module: str, name: str) -> dict[str, str]:
    """Give one line of the file."""
    if (module, name) not in GIVEN:
        return {"check": name, "verdict": "not run", "when": ""}
    verdict, when = GIVEN[module, name]
    return {
        "check": name,
        "verdict": verdict.status,
        "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(when)),
    }
