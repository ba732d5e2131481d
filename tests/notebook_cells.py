"""Run the code cells of a notebook without a kernel, so that a test can use what they define."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nbformat

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def cells(name, *tags):
    """Give the source of the code cells that carry one of the tags, or of those without any for ``None``."""
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    chosen = []
    for cell in book.cells:
        own = set(cell.metadata.get("tags", [])) - {"needed", "slide", "fragment"}  # nothing about running it
        if cell.cell_type == "code" and (own & set(tags) or (not own and None in tags)):
            chosen.append(cell.source)
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
