"""Run the code cells of a notebook without a kernel, so that a test can use what they define."""

import functools
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


@functools.cache
def code_cells(name):
    """Give the source and the tags of each code cell; reading a notebook takes a while."""
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return [
        (cell.source, set(cell.metadata.get("tags", []))) for cell in book.cells if cell.cell_type == "code"
    ]


def cells(name, *tags):
    """Give the source of the code cells that carry one of the tags, or of those without any for ``None``."""
    chosen = []
    for source, all_tags in code_cells(name):
        own = all_tags - {"needed", "slide", "fragment"}  # nothing about running it
        if own & set(tags) or (not own and None in tags):
            chosen.append(source)
    return chosen


def run_solutions(name):
    """Run the solution cells of a notebook and those without a tag (its imports); give what they define."""
    namespace = {}
    for source in cells(f"solutions/{name}", None, "solution"):
        exec(compile(source, name, "exec"), namespace)
    plt.close("all")
    return namespace


def run_stubs(name):
    """Run a notebook's first untagged cell (the imports) and its exercise cells as they are handed out."""
    namespace = {}
    for source in [cells(name, None)[0], *cells(name, "exercise")]:
        exec(compile(source, name, "exec"), namespace)
    return namespace


def checks(module):
    """List the names of a module's checks."""
    return [
        name
        for name, thing in vars(module).items()
        if hasattr(thing, "__wrapped__") and not name.startswith("_")
    ]
