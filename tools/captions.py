"""Give every image in a notebook the caption below it as its alt text; ``tools.render`` calls this.

The text stands where IPython's ``Image(alt=...)`` puts it: in the output's metadata, under the type of the
image. nbconvert's template "classic" writes it into its pages. Its template "lab", JupyterLab 4, GitHub and
myst-nb 1.4 do not read it; a page made with them can take it from here, and the caption stands in any case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import nbformat

CAPTION = re.compile(r"^\*Figure: (.+)\*$", re.MULTILINE)


def images(cell: nbformat.NotebookNode) -> list[tuple[Any, str]]:
    """List the image outputs of a cell, each with its type."""
    kept = cell.get("outputs", [])
    return [(output, kind) for output in kept for kind in output.get("data", {}) if kind.startswith("image/")]


def caption(notebook: nbformat.NotebookNode, index: int) -> str | None:
    """Return the caption after a cell as plain text, or None if there is none before the next image."""
    for cell in notebook.cells[index + 1 :]:
        if images(cell):
            return None
        if cell.cell_type == "markdown" and (found := CAPTION.search(cell.source)):
            text = re.sub(r"[*`]", "", found[1])
            return text[0].upper() + text[1:]
    return None


def alt_texts(notebook: nbformat.NotebookNode) -> Iterator[tuple[int, Any, str, str | None]]:
    """Yield cell, output, type and alt text of each image; the text is None where a caption is missing."""
    for index, cell in enumerate(notebook.cells):
        found = images(cell)
        text = caption(notebook, index) if found else None
        for k, (output, kind) in enumerate(found, start=1):
            place = f"Image {k} of {len(found)}: " if len(found) > 1 else ""
            yield index, output, kind, text and place + text


def describe(notebook: nbformat.NotebookNode) -> None:
    """Write the alt text of each image into the metadata of its output, in place."""
    for _, output, kind, text in alt_texts(notebook):
        if text:
            output.metadata.setdefault(kind, nbformat.NotebookNode())["alt"] = text
