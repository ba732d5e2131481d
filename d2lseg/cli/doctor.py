"""``python -m d2lseg doctor``: list everything that is wrong with a dataset, before training finds out."""

from __future__ import annotations

import argparse
import sys

from ..datasets import doctor


def run(options: argparse.Namespace) -> int:
    """Examine a dataset, and return the exit status: 1 if there is a fault."""
    report = doctor.examine(options.folder, options.classes, progress=sys.stderr.isatty())
    for finding in report.findings:
        print(finding)
    lines = doctor.summary(report)
    if lines:
        print(*([""] if report.findings else []), *lines, "", sep="\n")
    faults, warnings = len(report.faults), len(report.findings) - len(report.faults)
    verdict = f"{_count(faults, 'fault')} found" if faults else "no fault found"
    print(f"{options.folder}: {verdict}" + (f", and {_count(warnings, 'warning')}" if warnings else ""))
    return 1 if faults else 0


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
