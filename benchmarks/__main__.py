"""Measure this course against the textbook's recipe, side by side: ``python -m benchmarks``.

Run it from the root of the repository, in the course's environment, on an otherwise idle machine. It draws
its own images, takes a few minutes, and prints the tables of docs/benchmarks.md.

``python -m benchmarks photos --data FOLDER`` measures time to quality instead: both recipes train on the same
photographs for the same time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import measures, photos, report, scenes


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "what", nargs="?", choices=("speed", "photos"), default="speed", help="default: speed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ratios to this file")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the ratios in this file")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny images and one round: tests that everything runs, and measures nothing",
    )
    parser.add_argument(
        "--ratios-only",
        action="store_true",
        help="skip the parts of a step, and the growth of time and memory",
    )
    options = parser.add_argument_group("only for photos")
    options.add_argument("--data", type=Path, metavar="FOLDER", help="photographs with masks, in VOC layout")
    options.add_argument("--minutes", type=float, default=5, help="of training for each recipe (default: 5)")
    options.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="default: 0")
    options.add_argument(
        "--all", action="store_true", help="also the steps between the two, and from scratch"
    )
    options.add_argument("--keep", action="store_true", help="add to the module's tables what they lack")
    options.add_argument(
        "--keep-pace",
        action="store_true",
        help="measure and keep the time of a step of each recipe, and stop",
    )
    options.add_argument(
        "--kept-pace", action="store_true", help="count time by the kept pace, not the clock"
    )
    found = parser.parse_args(arguments)
    if found.what == "photos" and found.data is None:
        parser.error("photos needs --data FOLDER, photographs with masks in VOC layout")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status: 1 if a ratio misses its bound, else 0."""
    options, started = parse(arguments), time.monotonic()
    if options.what == "photos":
        photos.run(options)
        return 0
    plan = measures.QUICK if options.quick else measures.Plan()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        say(f"drawing {plan.images} images")
        data = {n: scenes.draw(Path(folder, str(n)), n // 2, n // 2, plan.size) for n in counts(plan)}
        found = run(plan, data[plan.images])
        if options.json:
            report.write_json(options.json, found)
        if options.figure:
            report.figure(found).savefig(options.figure, dpi=150)
        print(f"\n{report.this_machine()}\n\n{report.table(found)}", flush=True)
        for write in () if options.ratios_only else (parts, growth):
            print(f"\n{write(plan, data)}", flush=True)
    say(f"{time.monotonic() - started:.0f} s in total")
    missed = [key for key, measure in found.items() if not (measure.reached or options.quick)]
    if missed:
        print(f"bound missed: {', '.join(missed)}")
    return int(bool(missed))


def counts(plan: measures.Plan) -> list[int]:
    """Return the number of images in each of the drawn sets."""
    return [plan.images // 4, plan.images // 2, plan.images]


def run(plan: measures.Plan, folder: Path) -> dict[str, measures.Measure]:
    """Measure everything, loaders last, because the textbook's fill the memory of this process."""
    say("training steps")
    found = measures.training_steps(plan)
    say("evaluation")
    found |= measures.evaluation(plan)
    say("first batch and memory, each in a fresh process")
    found |= measures.loading(plan, folder)
    say("loaders")
    return found | measures.loaders(plan, folder)


def parts(plan: measures.Plan, data: dict[int, Path]) -> str:
    """Measure the parts of a step, and format the table."""
    say("parts of a step")
    return report.parts_table(measures.parts(plan))


def growth(plan: measures.Plan, data: dict[int, Path]) -> str:
    """Measure how time and memory grow, and format the table."""
    say("growth")
    return report.scaling_table(measures.scaling(plan, data))


def say(what: str) -> None:
    """Report progress on stderr, so that stdout holds only the tables."""
    print(f"... {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
