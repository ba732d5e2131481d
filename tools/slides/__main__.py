"""Write the decks: ``python -m tools.slides [NAME ...]`` makes ``build/slides``, which needs no network."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from pygments.formatters import HtmlFormatter

from tools.slides.deck import slides, total_minutes
from tools.slides.minutes import DeckError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENDORED = (
    "reveal/reset.css",
    "reveal/reveal.css",
    "reveal/reveal.js",
    "reveal/notes.js",
    "mathjax/tex-svg.js",
)


def page(template: str, **values: Any) -> str:
    """Fill in a template of this folder."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(**values)


def title(notebook: Path) -> str:
    """Return a notebook's title, such as ``01. Transposed convolution``."""
    return nbformat.read(notebook, as_version=4).cells[0].source.partition("\n")[0].removeprefix("# ")


def copy_assets(target: Path) -> None:
    """Copy the files that all decks share: reveal.js, MathJax, and the styles."""
    for name in VENDORED:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tools" / "vendor" / name, place)
        shutil.copy(ROOT / "tools" / "vendor" / Path(name).parent / "LICENSE", place.parent)
    styles = (HERE / "slides.css").read_text(encoding="utf-8")
    colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    (target / "slides.css").write_text(f"{styles}\n{colours}\n", encoding="utf-8")


def listed(notebook: Path, place: Path) -> dict[str, Any]:
    """Describe a deck for the page that lists all."""
    count = place.read_text(encoding="utf-8").count("<section ")
    return {"file": place.name, "title": title(notebook), "slides": count, "minutes": total_minutes(notebook)}


def build(notebooks: Sequence[Path], target: Path) -> list[str]:
    """Write decks, and a page that lists them and those made before.

    Returns
    -------
    list of str
        What could not be made, each with its reason; the other decks are written all the same.
    """
    copy_assets(target / "assets")
    faults = []
    for notebook in notebooks:
        place = target / f"{notebook.stem}.html"
        try:
            text = page("deck.html", title=title(notebook), slides=slides(notebook))
            place.write_text(text, encoding="utf-8")
        except DeckError as error:
            faults.append(str(error))
            place.unlink(missing_ok=True)  # an older deck would pass for this one
    folders = sorted({notebook.parent for notebook in notebooks})
    all_of_them = [path for folder in folders for path in sorted(folder.glob("*.ipynb"))]
    places = [(path, target / f"{path.stem}.html") for path in all_of_them]
    decks = [listed(path, place) for path, place in places if place.is_file()]
    (target / "index.html").write_text(page("index.html", decks=decks), encoding="utf-8")
    return faults


def main(argv: Sequence[str] | None = None) -> int:
    """Make the decks of all notebooks, or of those named; 1 if one could not be made."""
    parser = argparse.ArgumentParser(prog="tools.slides", description="Make the slides.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 03; default all")
    names = parser.parse_args(argv).names
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    unknown = [name for name in names if not any(path.stem.startswith(name) for path in notebooks)]
    if unknown:
        parser.error(f"no notebook's name begins with {unknown[0]!r}")
    chosen = [path for path in notebooks if not names or path.stem.startswith(tuple(names))]
    target = ROOT / "build" / "slides"
    faults = build(chosen, target)
    print(f"{len(chosen) - len(faults)} decks in {target.relative_to(ROOT).as_posix()}; open index.html")
    for fault in faults:
        print(f"not made: {fault}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
