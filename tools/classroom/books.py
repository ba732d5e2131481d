"""Read notebooks and find their exercises: the heading, the cell, and the check at its end."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent.parent
HEADING = re.compile(r"^#+ Exercise (\d\d\.\d+): (.+)$", re.MULTILINE)
LARGEST = 20_000_000  # bytes of a notebook that is handed in, outputs included


class BookError(ValueError):
    """A file is not a notebook that can be read; the message says why."""


@dataclass(frozen=True)
class Exercise:
    """One exercise of a lesson.

    Parameters
    ----------
    name, title
        As in its heading: "01.1" and "the size formula".
    heading, cell
        The places of the heading's cell and of the code cell in the notebook.
    """

    name: str
    title: str
    heading: int
    cell: int


def read(path: Path) -> Any:
    """Read a notebook of any version, even with small faults that Jupyter forgives.

    Raises
    ------
    BookError
        If it is not a notebook.
    """
    if path.stat().st_size > LARGEST:
        raise BookError(f"it is larger than {LARGEST / 1e6:.0f} MB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on cells without an ID, for one
            book = nbformat.read(path, as_version=4)
        [(cell.cell_type, cell.source.strip()) for cell in book.cells]
    except Exception as error:  # nbformat raises a dozen kinds, and none says more than its name
        raise BookError(f"it is not a notebook that can be read ({type(error).__name__})") from None
    return book


def lessons(root: Path = ROOT) -> list[Path]:
    """List the lessons of the course, without the solutions."""
    return sorted((root / "notebooks").glob("*.ipynb"))


def lesson(number: str, root: Path = ROOT) -> Path:
    """Find a lesson by the beginning of its name, such as 01."""
    found = [path for path in lessons(root) if path.name.startswith(number)]
    if len(found) != 1:
        known = ", ".join(path.stem[:2] for path in lessons(root))
        raise BookError(f"{number!r} names {len(found)} notebooks, not one; there are {known}")
    return found[0]


def tags(cell: Any) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.get("metadata", {}).get("tags", []))


def exercises(book: Any) -> list[Exercise]:
    """List a lesson's exercises in their order; each has one cell tagged "exercise" below its heading."""
    found, heading = [], None
    for index, cell in enumerate(book.cells):
        if cell.cell_type == "markdown" and (match := HEADING.search(cell.source)):
            heading = (match[1], match[2], index)
        elif "exercise" in tags(cell) and heading:
            found.append(Exercise(*heading, index))
            heading = None
    return found


def python(source: str) -> str:
    """Turn the source of a cell, which may hold Jupyter's ``%magic`` and ``!command``, into Python."""
    return TransformerManager().transform_cell(source)


def check_call(statement: ast.stmt) -> ast.Call | None:
    """Return the call in a statement ``check.name(...)``, also behind ``assert`` or ``verdict =``."""
    value = statement.test if isinstance(statement, ast.Assert) else getattr(statement, "value", None)
    if (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and isinstance(value.func.value, ast.Name)
        and value.func.value.id == "check"
    ):
        return value
    return None


def split(source: str) -> tuple[str, list[str]]:
    """Split the source of an exercise cell into the answer and the checks, as text.

    Raises
    ------
    SyntaxError
        If it is not Python.
    """
    tree = ast.parse(python(source))
    calls = [call for statement in tree.body if (call := check_call(statement))]
    tree.body = [statement for statement in tree.body if check_call(statement) is None]
    return ast.unparse(tree), [ast.unparse(call) for call in calls]
