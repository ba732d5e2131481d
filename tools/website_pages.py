"""A Sphinx extension that fits the course's pages to the website, while their files stay as they are.

Outputs get alternative texts from the captions below them, badges the image that is drawn here, and links to
folders lead to the folder's page.
"""

from __future__ import annotations

from docutils import nodes

from tools.website import alternative_texts, caption_of, folder_links

BADGE = "/badge.svg"
SHOW_SETUP, HIDE_SETUP = "Show the setup cell, which only Colab needs", "Hide the setup cell"


def cells(tree: nodes.document, kind: str) -> list[nodes.container]:
    """List the code cells of a page that carry a class."""
    return [node for node in tree.findall(nodes.container) if kind in node["classes"]]


def describe_outputs(tree: nodes.document) -> None:
    """Give every image of an output its alternative text, unless the notebook has one for it."""
    for cell in cells(tree, "cell"):
        # Each image stands there once, whatever the number of its formats.
        images = [node for node in cell.findall(nodes.image) if not node.get("alt")]
        if not images:
            continue
        below = cell.next_node(descend=False, siblings=True)
        caption = caption_of(below.astext()) if isinstance(below, nodes.paragraph) else None
        heading = cell.parent.next_node(nodes.title)
        texts = alternative_texts(caption, heading.astext() if heading else "", len(images))
        for image, text in zip(images, texts, strict=True):
            image["alt"] = text


def replace_badges(tree: nodes.document) -> None:
    """Let badges show the image that is drawn here, so that no page asks another host for one."""
    for image in tree.findall(nodes.image):
        if image["uri"].startswith(("https:", "http:")):
            image["uri"] = BADGE


def fold_setup(tree: nodes.document) -> None:
    """Fold the setup cell's code, which matters on Colab only."""
    for cell in cells(tree, "tag_setup"):
        # What MyST-NB notes for a cell tagged "hide-input".
        cell["hide_mode"], cell["prompt_show"], cell["prompt_hide"] = "input", SHOW_SETUP, HIDE_SETUP


def on_source(app, page: str, content: list[str]) -> None:
    """Change a page's source before it is parsed; the file that readers download stays as it is."""
    content[0] = folder_links(content[0], page)


def on_doctree(app, tree: nodes.document) -> None:
    """Change a parsed page."""
    describe_outputs(tree)
    replace_badges(tree)
    fold_setup(tree)


def setup(app) -> dict[str, bool]:
    """Register the extension."""
    app.connect("source-read", on_source)
    app.connect("doctree-read", on_doctree, priority=100)  # before Sphinx collects the images
    return {"parallel_read_safe": True, "parallel_write_safe": True}
