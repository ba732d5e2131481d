"""Images get the caption below them as alt text, and a page made of a notebook shows it."""

import html
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import captions, render

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


def image(count=1, kind="image/png"):
    """Make a code cell with images."""
    outputs = [new_output("display_data", data={kind: PIXEL, "text/plain": "<Figure>"}) for _ in range(count)]
    return new_code_cell("draw()", outputs=outputs)


def alts(*cells):
    """Describe the images of a notebook; list the metadata of their outputs."""
    book = new_notebook(cells=list(cells))
    captions.describe(book)
    return [output.metadata for cell in book.cells for output in cell.get("outputs", [])]


def test_the_caption_becomes_plain_text():
    text = new_markdown_cell("*Figure: two maps, `layer1` and layer2; a **frame** < 3.*\n\nMore *text*.")
    assert alts(image(), text) == [{"image/png": {"alt": "Two maps, layer1 and layer2; a frame < 3."}}]
    assert alts(image(kind="image/jpeg"), text)[0]["image/jpeg"]["alt"].startswith("Two maps")


def test_two_images_of_one_cell_share_a_caption_which_may_come_later():
    found = alts(image(2), new_code_cell("1"), new_markdown_cell("Text.\n\n*Figure: bars.*"))
    texts = [metadata["image/png"]["alt"] for metadata in found]
    assert texts == ["Image 1 of 2: Bars.", "Image 2 of 2: Bars."]


def test_no_image_takes_the_caption_of_the_next():
    assert alts(image(), image(), new_markdown_cell("*Figure: bars.*"))[0] == {}
    assert alts(image(), new_markdown_cell("The figure shows *bars*.")) == [{}]


def test_other_metadata_stays_and_an_old_text_is_replaced():
    cell = image()
    cell.outputs[0].metadata = nbformat.from_dict({"image/png": {"width": 9, "alt": "old"}, "x": 1})
    found = alts(cell, new_markdown_cell("*Figure: new.*"))
    assert found == [{"image/png": {"width": 9, "alt": "New."}, "x": 1}]


def test_html_made_by_nbconvert_shows_it():
    exporter = pytest.importorskip("nbconvert").HTMLExporter(template_name="classic")
    book = new_notebook(cells=[image(), new_markdown_cell('*Figure: a "bar".*')])
    captions.describe(book)
    page, _ = exporter.from_notebook_node(book)
    (tag,) = re.findall(r"<img[^>]*>", page)
    assert 'A "bar".' in html.unescape(tag)


def test_the_command_describes_kept_images_and_executes_nothing(tmp_path):
    path = tmp_path / "notebooks" / "01_a.ipynb"
    path.parent.mkdir()
    nbformat.write(new_notebook(cells=[image(), new_markdown_cell("*Figure: bars.*")]), path)
    assert render.main(["--captions", "01"], tmp_path) == 0
    cell = nbformat.read(path, as_version=4).cells[0]
    assert cell.outputs[0].metadata == {"image/png": {"alt": "Bars."}}
    assert cell.execution_count is None and render.main(["--captions", "02"], tmp_path) == 2
