"""Measure this course against the textbook's recipe, side by side: ``python -m benchmarks``.

Run it from the repository's root, in the course's environment, on a machine with nothing else to do. It
draws its own pictures, takes some minutes, and prints the tables that the README shows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import measures, report, scenes


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ratios to this file")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the ratios into this file")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny pictures and one round: shows that it runs, measures nothing",
    )
    parser.add_argument(
        "--ratios-only",
        action="store_true",
        help="leave out the parts of a step, and how time and memory grow",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write.

    Parameters
    ----------
    arguments : list of str, optional
        The command line; that of the process by default.

    Returns
    -------
    int
        0 where every ratio is at least what it should be, else 1.
    """
    options, started = parse(arguments), time.monotonic()
    plan = measures.QUICK if options.quick else measures.Plan()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        say(f"drawing {plan.pictures} pictures")
        data = {n: scenes.draw(Path(folder, str(n)), n // 2, n // 2, plan.size) for n in counts(plan)}
        found = run(plan, data[plan.pictures])
        if options.json:
            report.write_json(options.json, found)
        if options.picture:
            report.picture(found).savefig(options.picture, dpi=150)
        print(f"\n{report.machine()}\n\n{report.table(found)}", flush=True)
        for write in () if options.ratios_only else (parts, growth):
            print(f"\n{write(plan, data)}", flush=True)
    say(f"{time.monotonic() - started:.0f} s in all")
    missed = [key for key, measure in found.items() if not (measure.reached or options.quick)]
    if missed:
        print(f"below what it should be: {', '.join(missed)}")
    return int(bool(missed))


def counts(plan: measures.Plan) -> list[int]:
    """List how many pictures the drawn sets hold."""
    return [plan.pictures // 4, plan.pictures // 2, plan.pictures]


def run(plan: measures.Plan, folder: Path) -> dict[str, measures.Measure]:
    """Take all measures; the loaders last, because the textbook's fill the memory of this process."""
    say("training steps")
    found = measures.training_steps(plan)
    say("evaluation")
    found |= measures.evaluation(plan)
    say("first batch and memory, each in a fresh process")
    found |= measures.loading(plan, folder)
    say("loaders")
    return found | measures.loaders(plan, folder)


def parts(plan: measures.Plan, data: dict[int, Path]) -> str:
    """Write the table of the parts of a step."""
    say("parts of a step")
    return report.parts_table(measures.parts(plan))


def growth(plan: measures.Plan, data: dict[int, Path]) -> str:
    """Write the table of how time and memory grow."""
    say("growth")
    return report.scaling_table(measures.scaling(plan, data))


def say(what: str) -> None:
    """Tell on the error stream what is going on: the tables alone go to the output."""
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
