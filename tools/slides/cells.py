"""From a cell to the HTML of its parts on a slide.

A prompt shows its question and an answer its first sentences; code is highlighted, and outputs are those that
are stored in the notebook.
"""

from __future__ import annotations

import base64
import html
import io
import re
from dataclasses import dataclass
from typing import Any

import nbformat
from nbconvert.filters import ansi2html, markdown2html
from nbconvert.filters.highlight import Highlight2HTML
from PIL import Image

from tools.captions import CAPTION, caption, images

ANSWER_WORDS = 45
MOST_LINES, MOST_COLUMNS = 10, 85  # of code or output in letters of the usual size
LEAST, MOST, MOST_OF_CODE = 17, 27, 21  # the sizes of letters, in pixels, on a slide without a figure
WIDE, HIGH = 1130, 290  # the pixels that code or output may take there
QUESTION = re.compile(r"\*\*Predict before you run[.:]?\*\*:?\s*")
IMAGES = ("image/png", "image/jpeg")


@dataclass
class Part:
    """A piece of a slide: HTML, the click at which it appears (0: at once), and its kind."""

    html: str
    kind: str  # text, question, answer, code, output or figure
    small: bool = False  # long code or output
    letters: int = 0  # of code and output, in pixels, on a slide without a figure
    click: int = 0
    ratio: float = 0.0  # width by height of a figure


def tags(cell: nbformat.NotebookNode) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", []))


def plain_links(text: str) -> str:
    """Leave out images, and the targets of links into the course, which don't lead anywhere from a deck."""
    text = re.sub(r"\[?!\[[^\]]*\]\([^)]*\)(\]\([^)]*\))?", "", text)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


def words(text: str) -> str:
    """Turn Markdown into HTML; formulas stay as they are, for MathJax."""
    return markdown2html(plain_links(text)).replace("&#182;", "")


def paragraphs(text: str) -> list[str]:
    """Split a text cell, and leave out headings and captions of figures."""
    text = re.sub(r"^#+ .*$", "", CAPTION.sub("", text), flags=re.MULTILINE)
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]


def question(source: str) -> str:
    """Return the question of a prompt, without the text that leads to it."""
    return QUESTION.split(source)[-1].strip()


def answer(source: str, most: int = ANSWER_WORDS) -> str:
    """Return as many of an answer's first sentences as a slide has room for, and one at least."""
    first = paragraphs(source)[0]
    sentences = re.split(r"(?<=[.!?:)])\s+(?=[A-Z*`$(])", first)
    count = 1
    while count < len(sentences) and len(" ".join(sentences[: count + 1]).split()) <= most:
        count += 1
    while count > 1 and sentences[count - 1].endswith((":", "?")):  # it leads to what the slide does not show
        count -= 1
    return re.sub(r":$", ".", " ".join(sentences[:count]))


def is_long(text: str) -> bool:
    """Tell whether code or output needs small letters to fit."""
    lines = text.splitlines()
    return len(lines) > MOST_LINES or max(map(len, lines), default=0) > MOST_COLUMNS


def letters(text: str, most: int = MOST) -> int:
    """Return the size, in pixels, in which a text fills the width of a slide or two fifths of its height."""
    lines = text.splitlines()
    by_width, by_height = WIDE / (0.602 * max(map(len, lines))), HIGH / (1.35 * len(lines))
    return int(max(LEAST, min(most, by_width, by_height)))


def code(source: str, lines: str = "") -> Part:
    """Highlight code, or some lines of it, counted from 1."""
    if lines:
        first, last = (int(number) for number in lines.split("-"))
        source = "\n".join(source.splitlines()[first - 1 : last])
    listing = Highlight2HTML(pygments_lexer="ipython3")(source)
    return Part(listing, "code", is_long(source), letters(source, MOST_OF_CODE))


def figure(data: dict[str, Any], alt: str) -> Part | None:
    """Return an output's image as an element that holds its own data, or None if it has none."""
    kind = next((kind for kind in IMAGES if kind in data), None)
    if kind is None:
        return None
    width, height = Image.open(io.BytesIO(base64.b64decode(data[kind]))).size
    address = f"data:{kind};base64,{''.join(data[kind].split())}"
    # a stored figure is drawn for a page; enlarged further than this it would be blurred
    size = f"max-width: {2 * width:.0f}px; max-height: {2 * height:.0f}px"
    image = f'<img src="{address}" alt="{html.escape(alt)}" style="{size}">'
    return Part(image, "figure", ratio=width / height)


def outputs(cell: nbformat.NotebookNode, alt: str) -> list[Part]:
    """Turn the stored outputs of a cell into parts; what a printed deck can't show is left out."""
    parts, printed = [], ""
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            printed += output.text
        elif image := figure(data, alt):
            parts.append(image)
        elif "text/html" in data:
            parts.append(Part(data["text/html"], "output"))
        elif "text/plain" in data:
            printed += data["text/plain"]
    if printed.strip():
        listing = f"<pre>{ansi2html(printed.rstrip())}</pre>"
        parts.insert(0, Part(listing, "output", is_long(printed), letters(printed.rstrip())))
    return parts


def code_parts(cell: nbformat.NotebookNode, alt: str, shown: str) -> list[Part]:
    """Return a code cell's code, outputs or both; where nothing is said, a figure comes without its code."""
    results = outputs(cell, alt)
    if shown == "default":
        shown = "output" if any(part.kind == "figure" for part in results) else "both"
    if shown == "output":
        return results
    listing = code(cell.source, shown if "-" in shown else "")
    return [listing] if shown == "code" else [listing, *results]


def text_parts(cell: nbformat.NotebookNode, first: bool) -> list[Part]:
    """Return a prompt's question, or an answer's first sentences; other text is the deck file's."""
    if first and "predict" in tags(cell):
        return [Part(words(f"**Predict:** {question(cell.source)}"), "question")]
    if not first and "answer" in tags(cell):
        return [Part(words(answer(cell.source)), "answer")]
    return []


def captions(book: nbformat.NotebookNode) -> dict[str, str]:
    """Map the ids of cells that draw to the captions after them, the alternative texts of their figures."""
    drawing = [index for index, cell in enumerate(book.cells) if images(cell)]
    return {book.cells[index].id: caption(book, index) or "" for index in drawing}
