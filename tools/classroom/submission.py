"""Compare a submission with the lesson, and plan what to run of it: needed cells, then each exercise."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from . import books, needed


@dataclass(frozen=True)
class Step:
    """A piece of code to run.

    Parameters
    ----------
    kind
        "code", or "check" for the lesson's check of one exercise.
    exercise
        The exercise that it belongs to, or "" for what all of them need.
    source
        Python, or for a check its call, such as ``check.size_formula(output_size)``.
    """

    kind: str
    exercise: str
    source: str


@dataclass
class Plan:
    """What to run of a submission.

    Parameters
    ----------
    steps
        In their order.
    notes
        What was noticed about each exercise without running it; "" holds what concerns all.
    verdicts
        For an exercise that is not run: "missing", or "wrong" where its cell is not Python.
    """

    steps: list[Step] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)

    def note(self, exercise: str, words: str) -> None:
        """Add a note, once, unless it is empty."""
        if words and words not in (notes := self.notes.setdefault(exercise, [])):
            notes.append(words)

    def add(self, exercise: str, source: str, what: str) -> None:
        """Add code to run, or note that it is not Python."""
        try:
            self.steps.append(Step("code", exercise, books.split(source)[0]))
        except SyntaxError as error:
            self.note(exercise, f"{what} is not Python: {error.msg} in line {error.lineno}")

    def job(self) -> list[dict[str, str]]:
        """Return the steps as plain values."""
        return [asdict(step) for step in self.steps]


def make_plan(lesson: Any, book: Any) -> Plan:
    """Plan the run of a submission: needed cells, the student's own definitions, then the exercises."""
    plan, tasks, same = Plan(), books.exercises(lesson), match(lesson, book)
    last = max(task.cell for task in tasks)
    for index, cell in enumerate(lesson.cells[:last]):
        if books.tags(cell) & {"setup", needed.TAG}:
            plan.add("", cell.source, "a cell of the lesson")
            changed = same.get(index) if needed.TAG in books.tags(cell) else None
            if changed is not None and book.cells[changed].source.strip() != cell.source.strip():
                plan.note("", "a cell that exercises need was changed")
                plan.add("", book.cells[changed].source, "a changed cell")
    for index in new_cells(same, book):
        if only_defines(book.cells[index].source):
            plan.add("", book.cells[index].source, "a cell")
    for task in tasks:
        plan_exercise(plan, task, lesson, book, same)
    return plan


def plan_exercise(plan: Plan, task: books.Exercise, lesson: Any, book: Any, same: dict[int, int]) -> None:
    """Plan one exercise: the cells below its heading in the submission, then the lesson's check."""
    call = books.split(lesson.cells[task.cell].source)[1][-1]
    section = below_heading(task, book, same)
    place = same.get(task.cell)
    if place is None:
        place, words = find_moved(call.partition("(")[0], section, book)
        plan.note(task.name, words)
    if place is None:
        plan.verdicts[task.name] = "missing"
        return
    section = sorted({*section, place})
    note_check(plan, task.name, call, [book.cells[i].source for i in section], book.cells[place].source)
    if plan.verdicts.get(task.name):
        return
    for index in section:
        plan.add(task.name, book.cells[index].source, "a cell of their own")
    plan.steps.append(Step("check", task.name, call))


def note_check(plan: Plan, name: str, call: str, sources: list[str], answer: str) -> None:
    """Note an answer that is not Python, and a check that is not the lesson's."""
    try:
        books.split(answer)
    except SyntaxError as error:
        plan.verdicts[name] = "wrong"
        plan.note(name, f"syntax error in line {error.lineno}: {error.msg}")
        return
    calls = []
    for source in sources:
        try:
            calls += books.split(source)[1]
            if "check" in needed.look(source).binds:
                plan.note(name, "the cell defines a `check` of its own: the course's was run")
        except SyntaxError:
            pass  # noted where its steps are added
    if not calls:
        plan.note(name, f"the check was removed: the course's, `{call}`, was run")
    elif call not in calls:
        plan.note(name, f"the check was edited: the course's, `{call}`, was run")


def match(lesson: Any, book: Any) -> dict[int, int]:
    """Pair the places of the lesson's cells with those of the same cells in a submission.

    A cell is the same if it has the same ID, which Jupyter keeps and Colab keeps in the metadata, or else
    the same text.
    """
    keys: dict[tuple[str, str, str], int] = {}
    for index, cell in enumerate(book.cells):
        for name in {cell.get("id"), cell.get("metadata", {}).get("id")} - {None}:
            keys.setdefault(("id", cell.cell_type, name), index)
        keys.setdefault(("text", cell.cell_type, cell.source.strip()), index)
    found = {}
    for index, cell in enumerate(lesson.cells):
        for key in (("id", cell.cell_type, cell.get("id")), ("text", cell.cell_type, cell.source.strip())):
            if key in keys and keys[key] not in found.values():
                found[index] = keys[key]
                break
    return found


def new_cells(same: dict[int, int], book: Any) -> list[int]:
    """List the code cells of a submission that are not the lesson's."""
    known = set(same.values())
    return [
        i for i, cell in enumerate(book.cells) if i not in known and cell.cell_type == "code" and cell.source
    ]


def only_defines(source: str) -> bool:
    """Whether a student's cell holds nothing but imports, functions, classes and constants."""
    try:
        return needed.look(source).defines_only
    except SyntaxError:
        return False


def below_heading(task: books.Exercise, book: Any, same: dict[int, int]) -> list[int]:
    """List the student's own code cells between an exercise's heading and the next cell of the lesson."""
    headings = [
        i
        for i, cell in enumerate(book.cells)
        if cell.cell_type == "markdown" and (m := books.HEADING.search(cell.source)) and m[1] == task.name
    ]
    start = headings[0] if headings else same.get(task.heading)
    if start is None:
        return []
    stops = set(same.values()) - {same.get(task.cell)}
    own = []
    for index in range(start + 1, len(book.cells)):
        if index in stops:
            break
        if book.cells[index].cell_type == "code" and book.cells[index].source.strip():
            own.append(index)
    return own


def find_moved(check: str, section: list[int], book: Any) -> tuple[int | None, str]:
    """Find an exercise's cell that is not where it was: by its check, or else the last below the heading.

    Returns
    -------
    int or None, str
        Its place, and a note where it deserves one.
    """
    pattern = re.compile(rf"\b{re.escape(check)}\(")
    everywhere = [i for i, cell in enumerate(book.cells) if cell.cell_type == "code"]
    for places, words in ((section, ""), (everywhere, "its cell stands in another place")):
        if found := [i for i in places if pattern.search(book.cells[i].source)]:
            return found[0], words
    return (section[-1], "its cell was replaced by another") if section else (None, "its cell is missing")
