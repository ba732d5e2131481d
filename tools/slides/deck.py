"""From a notebook's tagged cells, its deck file and its minute table to slides.

Cell tags decide what is shown. A cell tagged ``slide`` begins a slide; the cells after it that are tagged
``fragment`` join it and appear one click at a time. Titles, the order, the few words that replace the
notebook's prose and the speaker's hints come from ``teach/slides/NAME.yaml``, and the minutes from
``teach/NAME.md``. ``teach/slides/README.md`` describes all of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from tools.slides.cells import Part, captions, code_parts, paragraphs, tags, text_parts, words
from tools.slides.minutes import DeckError, rows_of, schedule, timetable

KEYS = {"cell", "title"}
OPTIONAL = {"text", "notes", "show", "layout"}
SHOWN = re.compile(r"code|output|both|\d+-\d+")
WIDE = 1.7  # a figure that is wider than this times its height gets the slide's whole width
MANY = 25  # words that deserve a column of their own
WORDS = ("text", "question", "answer")


@dataclass
class Slide:
    """A slide as the template takes it."""

    cell: str
    title: str
    layout: str  # columns, stack, or words where there is no figure
    left: list[Part]  # all of them where there are no columns
    right: list[Part]
    notes: str


# --- what the notebook and the deck file say ----------------------------------------------------------------


def deck_file(notebook: Path) -> Path:
    """Return the path of a notebook's deck file."""
    return notebook.parent.parent / "teach" / "slides" / f"{notebook.stem}.yaml"


def read_deck(path: Path) -> list[dict[str, Any]]:
    """Read a deck file: a list of slides, in the order in which they are shown.

    Raises
    ------
    DeckError
        If the file is missing, is no such list, or a slide lacks a key or has an unknown one.
    """
    if not path.is_file():
        raise DeckError(
            f"{path.name}: no such file in teach/slides; it holds the titles and words of the deck"
        )
    try:
        slides = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DeckError(f"{path.name}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(slides, list) or not all(isinstance(slide, dict) for slide in slides):
        raise DeckError(
            f"{path.name}: expected a list of slides, each with the keys {', '.join(sorted(KEYS))}"
        )
    for slide in slides:
        missing, unknown = KEYS - set(slide), set(slide) - KEYS - OPTIONAL
        if missing or unknown:
            what = f"lacks {sorted(missing)}" if missing else f"has the unknown keys {sorted(unknown)}"
            raise DeckError(f"{path.name}: the slide {slide.get('cell', slide)!r} {what}")
        for cell, shown in slide.get("show", {}).items():
            if not SHOWN.fullmatch(str(shown)):
                raise DeckError(
                    f"{path.name}: cell {cell} shows {shown!r}; say code, output, both or lines as 3-9"
                )
    return slides


def groups(book: nbformat.NotebookNode, name: str) -> list[list[nbformat.NotebookNode]]:
    """Group the tagged cells by slide."""
    found: list[list[nbformat.NotebookNode]] = []
    for cell in book.cells:
        if "fragment" in tags(cell):
            if not found:
                raise DeckError(f"{name}: cell {cell.id} is tagged 'fragment', but no cell before it 'slide'")
            found[-1].append(cell)
        if "slide" in tags(cell):  # a cell can answer one prompt and put the next
            found.append([cell])
    if not found:
        raise DeckError(f"{name}: no cell is tagged 'slide'")
    return found


def paired(notebook: Path, book: nbformat.NotebookNode) -> list[tuple[dict[str, Any], list]]:
    """Pair the deck file's slides with the cells that the notebook's tags choose; both must agree."""
    said = read_deck(deck_file(notebook))
    chosen = {cells[0].id: cells for cells in groups(book, notebook.name)}
    named = [slide["cell"] for slide in said]
    faults = [
        f"cell {cell} is tagged 'slide', but not in the deck file" for cell in chosen if cell not in named
    ]
    faults += [
        f"cell {cell} is in the deck file, but not tagged 'slide'" for cell in named if cell not in chosen
    ]
    if faults or len(set(named)) < len(named):
        raise DeckError(f"{notebook.stem}: {'; '.join(faults) or 'a cell is in the deck file twice'}")
    return [(slide, chosen[slide["cell"]]) for slide in said]


# --- from cells to slides -----------------------------------------------------------------------------------


def lessons(book: nbformat.NotebookNode, slides: list[list[nbformat.NotebookNode]]) -> dict[str, str]:
    """Map the first cell of each slide to the notebook's text since the slide before it in the notebook."""
    ids = [cell.id for cell in book.cells]
    spans = sorted((ids.index(cells[0].id), ids.index(cells[-1].id)) for cells in slides)
    found, begin = {}, 2  # after title and setup cell
    for first, last in spans:
        texts = [cell.source for cell in book.cells[begin : last + 1] if cell.cell_type == "markdown"]
        found[ids[first]] = "\n\n".join(part for text in texts for part in paragraphs(text))
        begin = max(begin, last + 1)
    return found


def parts_of(said: dict[str, Any], cells: list[nbformat.NotebookNode], alt: dict[str, str]) -> list[Part]:
    """List the parts of a slide, each with the click at which it appears."""
    parts = [Part(words(said["text"]), "text")] if said.get("text") else []
    for click, cell in enumerate(cells):
        if cell.cell_type == "code":
            shown = str(said.get("show", {}).get(cell.id, "default"))
            new = code_parts(cell, alt.get(cell.id, ""), shown)
        else:
            new = text_parts(cell, first=click == 0)
        for part in new:
            part.click = click
        parts += new
    return parts


def laid_out(said: dict[str, Any], parts: list[Part], notes: str) -> Slide:
    """Put a figure that is not wide beside the words, and anything else below them."""
    ratios = [part.ratio for part in parts if part.kind == "figure"]
    many = sum(len(part.html.split()) for part in parts if part.kind in WORDS) >= MANY
    usual = "words" if not ratios else "columns" if many and min(ratios) < WIDE else "stack"
    layout = said.get("layout", usual)
    right = [part for part in parts if layout == "columns" and part.kind not in WORDS]
    left = [part for part in parts if part not in right]
    number = re.sub(r"^(\d+)\.", r"\1\.", said["title"])  # or Markdown would make a list of it
    title = re.sub(r"^<p>|</p>$", "", words(number).strip())
    return Slide(said["cell"], title, layout, left, right, notes)


def slides(notebook: Path) -> list[Slide]:
    """Make the slides of a notebook."""
    book = nbformat.read(notebook, as_version=4)
    pairs, alt = paired(notebook, book), captions(book)
    kit = notebook.parent.parent / "teach" / f"{notebook.stem}.md"
    rows = timetable(kit)
    due = schedule(rows, rows_of(rows, book, [said["cell"] for said, _ in pairs], kit.name))
    lesson = lessons(book, [cells for _, cells in pairs])
    made = []
    for (said, cells), when in zip(pairs, due, strict=True):
        notes = [when, said.get("notes", ""), "**In the notebook:**", lesson[said["cell"]]]
        notes = notes if lesson[said["cell"]] else notes[:2]
        made.append(laid_out(said, parts_of(said, cells, alt), words("\n\n".join(notes))))
    return made


def total_minutes(notebook: Path) -> int:
    """Return the minutes of the class that a notebook fills."""
    return timetable(notebook.parent.parent / "teach" / f"{notebook.stem}.md")[-1].end
