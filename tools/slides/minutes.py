"""When each slide is due, by the minute table of ``teach/NAME.md``, which plans the class by headings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROW = re.compile(r"^\| (\d+)-(\d+) \| \[(.+?)\]\([^)#]*#([^)]+)\) \| (.*) \|$", re.MULTILINE)


class DeckError(Exception):
    """A deck can't be made; the message names the notebook or a file and what to change."""


@dataclass(frozen=True)
class Row:
    """A row of the minute table: from when to when, which heading of the notebook, and what happens."""

    start: int
    end: int
    title: str
    anchor: str
    what: str


def timetable(path: Path) -> list[Row]:
    """Read the minute table of a notebook's page in ``teach``."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    rows = [Row(int(start), int(end), *rest) for start, end, *rest in ROW.findall(text)]
    if not rows:
        raise DeckError(
            f"{path.name}: no minute table in teach; the notes need rows such as | 0-5 | [Title](...) | ... |"
        )
    return rows


def anchor(heading: str) -> str:
    """Return the end of an address that leads to a heading, such as ``1-the-output-size``."""
    return re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")


def anchors(source: str) -> set[str]:
    """Return the anchors of the headings in a text cell."""
    return {anchor(heading) for heading in re.findall(r"^#+ (.+)$", source, re.MULTILINE)}


def rows_of(rows: Sequence[Row], book: nbformat.NotebookNode, cells: Sequence[str], page: str) -> list[Row]:
    """Give each slide, named by its first cell, the row under whose heading it stands.

    A slide before all of these headings belongs to the first row.
    """
    ids = [cell.id for cell in book.cells]
    heads = [anchors(cell.source) if cell.cell_type == "markdown" else set() for cell in book.cells]
    places: dict[Row, int] = {}
    for row in rows:
        if not any(row.anchor in head for head in heads):
            raise DeckError(
                f"{page}: the minute table links to #{row.anchor}, which is no heading of the notebook"
            )
        places[row] = next(i for i, head in enumerate(heads) if row.anchor in head)
    found = []
    for cell in cells:
        before = [row for row in rows if places[row] <= ids.index(cell)]
        found.append(max(before, key=places.__getitem__, default=rows[0]))
    return found


def told(row: Row, total: int) -> str:
    """Say when a row begins and ends, in Markdown."""
    return f"**Minutes {row.start} to {row.end}** of {total}: {row.title}"


def schedule(rows: Sequence[Row], due: Sequence[Row]) -> list[str]:
    """Say for each slide when it is due; the first slide of a row tells what happens.

    A row without a slide (an exercise, say) is told after the last slide before it.
    """
    total, texts = rows[-1].end, []
    for index, row in enumerate(due):
        number, count = due[: index + 1].count(row), due.count(row)
        text = f"{told(row, total)}{f', slide {number} of {count}' if count > 1 else ''}."
        if number == 1:
            text += f" {row.what}"
        later = rows[rows.index(row) + 1 :] if number == count else ()
        for other in later:
            if other in due:
                break
            text += f"\n\nThen {told(other, total)}. {other.what}"
        texts.append(text)
    return texts
