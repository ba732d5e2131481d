"""Make copies of the lessons for students: no outputs, prompts without answers, no dead links."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from d2lseg.engine.files import folder_written_whole
from tools import commands, opening

from . import books

BLANK = "*Your answer: what came out, and had you predicted it?*"
ABOUT = "*This is a copy to work in: run the cells from the top, and write below each prompt what came out.*"
HAND_IN = """\
## Hand in

Run every exercise once more, then the next cell, and save. Hand in this notebook and the file that the cell
names."""
FIGURE = re.compile(r"^\*Figure: .*\*$", re.DOTALL)
HEADING = re.compile(r"^#+ ", re.MULTILINE)
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]+)\)")
# A sentence that is nothing but a link to a file, after another sentence or at the beginning of a line.
LONE = r"(?m)(?:(?<=[.!?]) |^)\[[^\]]*\]\({}\)(?:\.(?=\s|$)|$)"


def without_answer(text: str) -> str:
    """Replace the answer at the beginning of a cell by a blank.

    The answer is the captions of figures, which tell what the output shows, and the first paragraph, with
    the formula or list that it leads to. Later paragraphs and everything from a heading on stay.
    """
    found = HEADING.search(text)
    head, rest = (text[: found.start()], text[found.start() :]) if found else (text, "")
    paragraphs = [part for part in head.strip().split("\n\n") if not FIGURE.match(part.strip())]
    kept = paragraphs[1:]
    if paragraphs and paragraphs[0].rstrip().endswith(":") and kept and kept[0].startswith(("$$", "- ", "|")):
        kept = kept[1:]
    return "\n\n".join(part for part in [BLANK, *kept, rest] if part.strip())


def without_dead_links(text: str, handed_out: set[str]) -> str:
    """Take out links to files that are not handed out; their words stay, unless they are a whole sentence."""
    for _, target in LINK.findall(text):
        file = target.partition("#")[0]
        if not file or re.match(r"[a-z]+:", target) or file in handed_out:
            continue
        text = re.sub(LONE.format(re.escape(target)), "", text)
        text = re.sub(r"(?m)^ (?=\S)", "", text)  # where a line began with it
        text = re.sub(rf"\[([^\]]*)\]\({re.escape(target)}\)", r"\1", text)
    return text.strip()


def make_copy(book: Any, name: str, handed_out: set[str], repo: str | None) -> Any:
    """Turn a lesson into a student's copy.

    Parameters
    ----------
    book
        The lesson; it stays as it is.
    name
        Of the lesson, such as "01_transposed_convolution".
    handed_out
        The files that the student gets.
    repo
        The course's repository, whose Colab badge would open the lesson with its answers.
    """
    copy = nbformat.from_dict(book)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            continue
        if "answer" in books.tags(cell):
            cell.source = without_answer(cell.source)
        cell.source = without_dead_links(cell.source, handed_out)
    first = copy.cells[0]
    if repo is not None:
        badge = opening.BADGE.format(link=opening.UPLOAD_PAGE)
        upload = f"{badge}\n\nTo use Colab, click the badge and upload this file."
        first.source = opening.WRITTEN.sub(lambda _: upload, first.source)
    first.source += f"\n\n{ABOUT}"
    copy.cells += hand_in(name[:2])
    return copy


def hand_in(number: str) -> list[Any]:
    """Make the last two cells."""
    text = nbformat.v4.new_markdown_cell(HAND_IN, id=f"{number}-hand-in")
    return [text, nbformat.v4.new_code_cell("check.report()", id=f"{number}-report")]


def make_copies(target: Path, numbers: Iterable[str] = (), root: Path = books.ROOT) -> list[Path]:
    """Write students' copies into a new folder: all lessons, or those with the given numbers."""
    chosen = [books.lesson(number, root) for number in numbers] or books.lessons(root)
    names, repo = {path.name for path in chosen}, commands.current_repository(root)
    with folder_written_whole(target) as draft:
        for path in chosen:
            copy = make_copy(books.read(path), path.stem, names, repo)
            nbformat.validate(copy)
            nbformat.write(copy, draft / path.name)
    return [target / path.name for path in chosen]
