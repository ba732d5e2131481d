"""Grade collected submissions of one lesson: a table, and a page of feedback for each student."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lseg.engine.files import folder_written_whole, write_csv

from . import books, collect, sandbox
from .submission import Plan, make_plan

TABLE, PAGES = "grades.csv", "feedback"
VERDICTS = ("right", "wrong", "not yet", "stopped", "missing")


@dataclass
class Grade:
    """The verdict on one exercise of one student, with the check's message and what was noticed."""

    student: str
    exercise: str
    verdict: str
    seconds: float
    notes: list[str]
    message: str = ""

    def row(self) -> dict[str, str]:
        """Return the row of the table."""
        told = [note for note in self.notes if note]
        return {
            "student": self.student,
            "exercise": self.exercise,
            "verdict": self.verdict,
            "seconds": f"{self.seconds:.1f}",
            "note": "; ".join(told),
        }


def grade_all(
    folder: Path,
    target: Path,
    number: str,
    limits: sandbox.Limits,
    jobs: int,
    tell: Callable[[str], Any] = print,
    root: Path = books.ROOT,
) -> list[Grade]:
    """Grade one lesson of every student.

    Parameters
    ----------
    folder
        As `collect.collect` makes it: a folder for each student.
    target
        A new folder, for ``grades.csv`` and ``feedback/STUDENT.html``.
    number
        The lesson's, such as "01".
    limits
        Of each cell.
    jobs
        Submissions at a time.
    tell
        Takes a line for each student when it is graded.
    root
        The repository.
    """
    lesson_path = books.lesson(number, root)
    lesson, notes = books.read(lesson_path), collect.listed(folder)
    students = sorted(path for path in folder.iterdir() if path.is_dir())
    if not students:
        raise books.BookError(f"{folder}: no folder of a student in it; 'classroom collect' makes them")

    def one(path: Path) -> list[Grade]:
        name = path.name
        grades = grade(name, path / lesson_path.name, lesson, lesson_path.stem[:2], limits)
        for found in grades:
            found.notes += notes.get((name, lesson_path.stem), [])
            found.notes += notes.get((name, ""), []) if found.verdict == "missing" else []
        tell(line(name, grades))
        return grades

    with folder_written_whole(target) as draft, ThreadPoolExecutor(jobs) as pool:
        all_grades = list(pool.map(one, students))
        (draft / PAGES).mkdir()
        titles = {task.name: task.title for task in books.exercises(lesson)}
        for grades in all_grades:
            text = page(lesson_path.stem, grades, titles)
            (draft / PAGES / f"{grades[0].student}.html").write_text(text, encoding="utf-8")
        flat = [found for grades in all_grades for found in grades]
        write_csv(draft / TABLE, [found.row() for found in flat])
    return flat


def grade(student: str, path: Path, lesson: Any, number: str, limits: sandbox.Limits) -> list[Grade]:
    """Grade one submission; a file that cannot be read makes every exercise "missing"."""
    tasks = books.exercises(lesson)
    try:
        if not path.is_file():
            raise books.BookError(f"{path.name} was not handed in")
        plan = make_plan(lesson, books.read(path))
    except books.BookError as error:
        return [Grade(student, task.name, "missing", 0, [str(error)]) for task in tasks]
    outcome = sandbox.run(number, plan.job(), limits)
    return [decide(student, task.name, plan, outcome) for task in tasks]


def decide(student: str, exercise: str, plan: Plan, outcome: sandbox.Outcome) -> Grade:
    """Put together what is known about one exercise."""
    places = [i for i, step in enumerate(plan.steps) if step.exercise == exercise]
    reports = [outcome.results[i] for i in places if i in outcome.results]
    notes = [*plan.notes.get(exercise, []), *general_notes(plan, outcome)]
    for report in reports:
        notes += report["notes"]
        if report.get("error"):
            notes.append(f"the cell raised {report['error']}")
    verdict, message = plan.verdicts.get(exercise, ""), ""
    if any(i in outcome.stopped for i in places):
        verdict = "stopped"
    elif not verdict:
        verdict, message = reports[-1]["status"], reports[-1]["message"]
        if verdict == "missing":
            notes.append(message)
            message = ""
            verdict = "wrong" if any(report.get("error") for report in reports) else verdict
    if memory_words(notes, message):
        notes.append("it needs more memory than it may have")
    return Grade(student, exercise, verdict, sum(r["seconds"] for r in reports), unique(notes), message)


def general_notes(plan: Plan, outcome: sandbox.Outcome) -> list[str]:
    """Return what was noticed outside of the exercises: in cells that they need, and in the student's own."""
    notes = list(plan.notes.get("", []))
    for place, step in enumerate(plan.steps):
        if step.exercise:
            continue
        report = outcome.results.get(place, {})
        said = list(report.get("notes", []))
        if report.get("error"):
            said.append(f"it raised {report['error']}")
        notes += [f"a cell before the exercises: {words}" for words in said]
    return notes


def memory_words(notes: list[str], message: str) -> bool:
    """Whether an error tells of full memory: Python's or PyTorch's."""
    said = " ".join([*notes, message])
    return "MemoryError" in said or "can't allocate memory" in said


def unique(notes: list[str]) -> list[str]:
    """Drop what is said twice."""
    return list(dict.fromkeys(notes))


def line(student: str, grades: list[Grade]) -> str:
    """Sum up one student."""
    count = Counter(found.verdict for found in grades)
    seconds = sum(found.seconds for found in grades)
    told = ", ".join(f"{count[verdict]} {verdict}" for verdict in VERDICTS if count[verdict])
    return f"{student}: {told} ({seconds:.0f} s)"


def summary(grades: list[Grade]) -> list[str]:
    """Count the verdicts of each exercise, for the next lesson's beginning."""
    lines = ["exercise  " + "  ".join(f"{verdict:>7}" for verdict in VERDICTS)]
    for exercise in unique([found.exercise for found in grades]):
        count = Counter(found.verdict for found in grades if found.exercise == exercise)
        lines.append(f"{exercise:8}  " + "  ".join(f"{count[verdict]:7}" for verdict in VERDICTS))
    return lines


STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
    "h2{margin:1.6rem 0 .2rem}pre{white-space:pre-wrap;background:#f2f2f2;padding:.6rem}"
)


def page(lesson: str, grades: list[Grade], titles: dict[str, str]) -> str:
    """Make the page of feedback for one student, as HTML that needs nothing else."""
    right = sum(found.verdict == "right" for found in grades)
    student = html.escape(grades[0].student)
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>{student}: {lesson}</title>',
        f"<style>{STYLE}</style>",
        f"<h1>{student}: {lesson}</h1>",
        f"<p>{right} of {len(grades)} exercises are right.</p>",
    ]
    for found in grades:
        parts.append(f"<h2>{found.exercise}: {html.escape(titles[found.exercise])}</h2>")
        parts.append(f"<p><strong>{found.verdict}</strong></p>")
        if found.message and found.verdict in ("wrong", "not yet"):
            parts.append(f"<pre>{html.escape(found.message)}</pre>")
        if found.notes:
            items = "".join(f"<li>{html.escape(note)}</li>" for note in found.notes if note)
            parts.append(f"<p>Noticed:</p><ul>{items}</ul>")
    return "\n".join(parts) + "\n</html>\n"
