"""The command line of ``tasks.py classroom``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.commands import write_whole

from . import books, collect, grade, needed, sample, sandbox, student


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="tasks.py classroom", description="Student copies and their grading.")
    sub = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    copies = sub.add_parser("student", help="write copies without outputs and answers")
    copies.add_argument("target", type=Path, metavar="FOLDER", help="a new folder")
    copies.add_argument("numbers", nargs="*", metavar="NUMBER", help="lessons such as 01; default all")
    collecting = sub.add_parser("collect", help="sort what was handed in into a folder for each student")
    collecting.add_argument("source", type=Path, metavar="SOURCE", help="a folder or a zip file")
    collecting.add_argument("target", type=Path, metavar="FOLDER", help="a new folder")
    grading = sub.add_parser("grade", help="grade one lesson: a CSV and a page of feedback for each student")
    grading.add_argument("number", metavar="NUMBER", help="the lesson, such as 01")
    grading.add_argument("source", type=Path, metavar="SOURCE", help="the folder that 'collect' wrote")
    grading.add_argument("target", type=Path, metavar="FOLDER", help="a new folder")
    limits = sandbox.Limits()
    grading.add_argument("--seconds", type=float, default=limits.seconds, help="for a cell (%(default)s)")
    grading.add_argument("--memory", type=float, default=limits.memory, help="GB (%(default)s)")
    jobs = max(1, min(4, os.cpu_count() or 1))
    grading.add_argument("--jobs", type=int, default=jobs, help="submissions at a time (%(default)s)")
    tagging = sub.add_parser("tag", help="tag the cells that exercises need, in all lessons")
    tagging.add_argument("--check", action="store_true", help="only tell which lessons are out of date")
    making = sub.add_parser("sample", help="make up 40 submissions of lesson 01, to try the grader on")
    making.add_argument("target", type=Path, metavar="FOLDER", help="a new folder")
    return top


def tag(check: bool, root: Path = books.ROOT) -> int:
    """Tag the needed cells of every lesson, or with `check` only name the lessons with other tags."""
    changed = []
    for path in books.lessons(root):
        before, after = needed.tagged(path)
        if before != after:
            changed.append(path.stem)
            if not check:
                ending = "\r\n" if b"\r\n" in path.read_bytes() else "\n"
                write_whole(path, after.replace("\n", ending))
    print(f"{'Out of date' if check else 'Tagged'}: {', '.join(changed) or 'none'}.")
    return int(check and bool(changed))


def make_copies(options: argparse.Namespace) -> int:
    """Write students' copies."""
    for path in student.make_copies(options.target, options.numbers):
        print(path)
    return 0


def run_collect(options: argparse.Namespace) -> int:
    """Collect, and print what needs a look."""
    rows = collect.collect(options.source, options.target)
    for row in rows:
        if row["note"]:
            print(f"{row['student']}: {row['file']}: {row['note']}")
    taken = sum(bool(row["notebook"]) for row in rows)
    students = len({row["student"] for row in rows})
    print(f"{taken} notebooks of {students} students in {options.target}; the list is {collect.LIST}.")
    return 0


def run_grade(options: argparse.Namespace) -> int:
    """Grade, and print a line for each student and the verdicts of each exercise."""
    limits = sandbox.Limits(options.seconds, options.memory)
    print(sandbox.describe(limits), flush=True)
    start = time.monotonic()
    grades = grade.grade_all(
        options.source,
        options.target,
        options.number,
        limits,
        options.jobs,
        lambda line: print(line, flush=True),
    )
    print("\n" + "\n".join(grade.summary(grades)))
    students = len({found.student for found in grades})
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    print(f"\n{students} students in {minutes} min {seconds} s: {options.target / grade.TABLE}")
    return 0


def make_sample(options: argparse.Namespace) -> int:
    """Make up a class, and print what each student did."""
    for who, kind in sample.make_class(options.target).items():
        print(f"{who}: {kind}")
    return 0


def main(argv: Sequence[str]) -> int:
    """Run one command; the exit status is 0, 1 where a check fails, or 2 where it cannot be done."""
    options = parser().parse_args(argv)
    commands = {
        "student": make_copies,
        "collect": run_collect,
        "grade": run_grade,
        "tag": lambda options: tag(options.check),
        "sample": make_sample,
    }
    try:
        return commands[options.command](options)
    except (books.BookError, sandbox.SandboxError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
