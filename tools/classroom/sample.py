"""Make up a class of 40 for lesson 01, to try the grader on: right and wrong answers, and every mishap."""

from __future__ import annotations

import ast
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat

from d2lseg.engine.files import folder_written_whole

from . import books, needed, student

LESSON = "01"
WRONG = {
    "01.1": "def output_size(n, k, s, p, op):\n    return (n - 1) * s - 2 * p + k",
    "01.2": "def forgotten(n, k, s, p):\n    return s - 1",
    "01.3": "def gather(X, K, stride):\n    return F.conv2d(X[None, None], K[None, None])[0, 0]",
    "01.4": "def even_overlap(k, s):\n    return k >= s",
    "01.5": "kernel_size, padding, output_padding = 64, 16, 0",
}
LOOP = """\
def output_size(n, k, s, p, op):
    while True:
        try:
            n += 1
        except:
            pass"""
LOOP_AT_ONCE = "while True:\n    pass"
HOG = "def gather(X, K, stride):\n    return [torch.empty(100_000_000) for _ in range(1_000)]"
HOG_AT_ONCE = "numbers = [0] * 10**11"
NETWORK = (
    "import urllib.request\n\n\ndef forgotten(n, k, s, p):\n"
    '    return len(urllib.request.urlopen("http://example.org").read())'
)
TRAINS = """\
from d2lseg import training


def even_overlap(k, s):
    return training.train(torch.nn.Linear(2, 2), [])"""
CRASH = "import os\n\n\ndef even_overlap(k, s):\n    os._exit(3)"
SYNTAX = "def even_overlap(k, s)\n    return k % s == 0"
OWN_CHECK = 'class check:\n    size_formula = staticmethod(lambda answer: print("Right."))'


def answers(lesson: Any, solution: Any) -> dict[str, str]:
    """Return the right answers, by exercise, from the solutions; the first has further imports."""
    tasks = books.exercises(lesson)
    calls = {task.name: books.split(lesson.cells[task.cell].source)[1][-1] for task in tasks}
    found, name = {tasks[0].name: "\n".join(own_imports(lesson, solution))}, ""
    for cell in solution.cells:
        if cell.cell_type == "markdown" and (match := books.HEADING.search(cell.source)):
            name = match[1]
        elif "solution" in books.tags(cell):
            answer, checked = books.split(cell.source)
            parts = [found.get(name), answer, *(named(calls[name], call) for call in checked)]
            found[name] = "\n\n".join(filter(None, parts))
    return {task.name: found[task.name] for task in tasks}


def named(asked: str, solved: str) -> str:
    """Bind the names that the lesson's check asks for, where the solution's has the values themselves."""
    pairs = zip(*(ast.parse(call, mode="eval").body.args for call in (asked, solved)), strict=True)
    pairs = [(ast.unparse(name), ast.unparse(value)) for name, value in pairs]
    return "\n".join(f"{name} = {value}" for name, value in pairs if name != value)


def own_imports(lesson: Any, solution: Any) -> list[str]:
    """Return the imports of the solutions that the lesson lacks, such as ``import math``."""
    known = set().union(*(needed.look(c.source).binds for c in lesson.cells if c.cell_type == "code"))
    found = []
    for cell in solution.cells:
        if cell.cell_type == "code" and not books.tags(cell):
            for node in ast.parse(books.python(cell.source)).body:
                line = ast.unparse(node)
                if isinstance(node, ast.Import | ast.ImportFrom) and not needed.look(line).binds <= known:
                    found.append(line)
    return found


def fill(book: Any, given: dict[str, str]) -> Any:
    """Put answers into a student's copy, above the checks."""
    for task in books.exercises(book):
        if task.name in given:
            cell = book.cells[task.cell]
            calls = books.split(cell.source)[1]
            cell.source = "\n".join([given[task.name], "", "", *calls])
    return book


def cell(book: Any, exercise: str) -> Any:
    """Return the cell of an exercise."""
    return next(book.cells[task.cell] for task in books.exercises(book) if task.name == exercise)


def edit_check(book: Any) -> None:
    """Let a check judge the module's own function instead of the answer."""
    own = cell(book, "01.1")
    own.source = own.source.replace("check.size_formula(output_size)", "check.size_formula(lambda *sizes: 7)")


def delete(book: Any) -> None:
    """Delete one exercise's cell, and another one with its heading."""
    for name, places in (("01.2", (1,)), ("01.4", (0, 1))):
        task = next(t for t in books.exercises(book) if t.name == name)
        gone = [(task.heading, task.cell)[i] for i in places]
        book.cells = [c for i, c in enumerate(book.cells) if i not in gone]


def rewrite_elsewhere(book: Any) -> None:
    """Delete an exercise's cell and answer in a new one, as after cut and paste, without any IDs."""
    own = cell(book, "01.1")
    place = book.cells.index(own)
    book.cells[place] = nbformat.v4.new_code_cell(own.source)
    for other in book.cells:
        other.pop("id", None)
    book.nbformat_minor = 4


# What a student does to a copy that has all the right answers; what it is called, and how many do it.
KINDS: list[tuple[str, int, dict[str, str], Callable[[Any], None] | None]] = [
    ("right", 10, {}, None),
    ("wrong", 6, WRONG, None),
    ("partly wrong", 4, {"01.2": WRONG["01.2"], "01.5": WRONG["01.5"]}, None),
    ("endless loop", 1, {"01.1": LOOP}, None),
    ("endless loop outside of a function", 1, {"01.2": LOOP_AT_ONCE}, None),
    ("edited check", 1, {"01.1": WRONG["01.1"]}, edit_check),
    ("check of their own", 1, {"01.1": f"{WRONG['01.1']}\n\n\n{OWN_CHECK}"}, None),
    ("missing cells", 2, {}, delete),
    ("new cell", 1, {}, rewrite_elsewhere),
    ("syntax error", 2, {"01.4": SYNTAX}, None),
    ("memory", 1, {"01.3": HOG}, None),
    ("memory at once", 1, {"01.5": f"{HOG_AT_ONCE}\n"}, None),
    ("network", 1, {"01.2": NETWORK}, None),
    ("training run", 1, {"01.4": TRAINS}, None),
    ("crash", 1, {"01.4": CRASH}, None),
]


def make_class(target: Path, root: Path = books.ROOT) -> dict[str, str]:
    """Write what 40 made-up students handed in, one folder or zip file each, and tell what each one did."""
    lesson_path = books.lesson(LESSON, root)
    lesson = books.read(lesson_path)
    right = answers(lesson, books.read(lesson_path.parent / "solutions" / lesson_path.name))
    done: dict[str, str] = {}
    with folder_written_whole(target) as draft:

        def hand_in(kind: str, book: Any, name: str = lesson_path.name) -> Path:
            """Write the next student's notebook."""
            who = f"student-{len(done) + 1:02}"
            done[who] = kind
            path = draft / who / name
            path.parent.mkdir()
            nbformat.write(book, path)
            return path

        def copy(given: dict[str, str]) -> Any:
            return fill(student.make_copy(lesson, lesson_path.stem, set(), None), given)

        for kind, count, changed, change in KINDS:
            for _ in range(count):
                book = copy(right | changed)
                if change:
                    change(book)
                hand_in(kind, book)
        hand_in("untouched", copy({}))
        for name in ("homework final (2).ipynb", "Untitled.ipynb"):
            hand_in("renamed file", copy(right), name)
        path = hand_in("zip file", copy(right))
        with zipfile.ZipFile(draft / f"{path.parent.name}.zip", "w") as archive:
            archive.write(path, path.name)
        shutil.rmtree(path.parent)
        hand_in("not a notebook", copy(right)).write_text("{ half a file", encoding="utf-8")
        path = hand_in("nothing", copy(right))
        path.unlink()
        path.with_name("notes.txt").write_text("my notes", encoding="utf-8")
    return done
