"""Build the course's website into ``build/html``; ``tasks.py site`` runs this.

Sphinx wants all sources in one folder, so the pages are gathered in ``build/site``: the README becomes the
front page, notebooks and other pages keep their places, and the core's modules get a page each. A link that
works on GitHub therefore works on the website. Nothing is executed: the outputs are those in the notebooks.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.structure import CORE

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "notebooks/*.ipynb",
    "notebooks/solutions/*.ipynb",
    "docs/*.md",
    "teach/*.md",
    "teach/*/*.md",
    "data/README.md",
    "d2lseg/*/NOTICE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)
# An inline link or image in Markdown, or in a notebook's JSON; addresses elsewhere have a colon.
LINK = re.compile(r"\]\(([^)\s:#\\]+)(?:#[^)\s]*)?\)")
CAPTION = "Figure:"
# Folders that pages link to, and the page that stands for each.
FOLDER_PAGES = {
    "notebooks": "index",
    "notebooks/solutions": "notebooks/solutions/index",
    "docs": "index",
    "teach": "teach/README",
}
FOLDER_LINK = re.compile(r"(\]\()([\w./-]+?)/?(\))")

SOLUTIONS = """\
# Worked answers

The notebooks' exercises, each with an answer that its check accepts. Try first: an answer stays folded until
you open it.
"""
API = """\
# The module's core

What the notebooks build by hand and then import. [The module, file by file](../docs/modules.md) lists all the
rest.
"""
# Caption and entries of each part of the navigation.
NAVIGATION = {
    "The course": ("notebooks/*", "notebooks/solutions/index"),
    "For instructors": (
        "teach/README",
        "teach/[0-9]*",
        "teach/grading",
        "teach/slides/*",
        "teach/projects/*",
    ),
    "Questions": ("teach/questions/*",),
    "Using the module": ("api/index", "docs/*", "data/README"),
    "The project": ("CHANGELOG", "CONTRIBUTING", "d2lseg/*/NOTICE"),
}


def toctree(*entries: str, caption: str = "", hidden: bool = False) -> str:
    """Write a table of contents as MyST reads it; an entry may hold a ``*``."""
    options = [":glob:", *([f":caption: {caption}"] if caption else []), *([":hidden:"] if hidden else [])]
    return "\n".join(["", "```{toctree}", *options, "", *entries, "```", ""])


def front_page(readme: str) -> str:
    """Turn the README into the front page: the same text, and the navigation of all pages."""
    parts = (toctree(*entries, caption=name, hidden=True) for name, entries in NAVIGATION.items())
    return readme + "".join(parts)


def module_page(module: str) -> str:
    """Write the page of a module, which autodoc fills from its docstrings."""
    return f"# {module}\n\n```{{eval-rst}}\n.. automodule:: d2lseg.{module}\n```\n"


def written_pages(root: Path) -> dict[str, str]:
    """Return place and text of the pages that no file of the repository holds as it is."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    return {
        "index.md": front_page(readme),
        "notebooks/solutions/index.md": SOLUTIONS + toctree("*"),
        "api/index.md": API + toctree(*CORE),
        **{f"api/{module}.md": module_page(module) for module in CORE},
    }


def linked_files(text: str, place: Path, root: Path) -> Iterator[Path]:
    """List the files that a page links to or shows.

    Parameters
    ----------
    text
        The page's Markdown, or the JSON of a notebook.
    place
        The folder that the links start from.
    root
        The repository; what lies outside it does not count.
    """
    for target in dict.fromkeys(LINK.findall(text)):
        path = (place / target).resolve()
        if path.is_file() and path.is_relative_to(root):
            yield path


def caption_of(text: str) -> str | None:
    """Return the description in a caption such as ``Figure: a kernel``; None where the text is not one."""
    if not text.startswith(CAPTION):
        return None
    words = " ".join(text.removeprefix(CAPTION).split())
    return words[:1].upper() + words[1:]


def alternative_texts(caption: str | None, section: str, count: int) -> list[str]:
    """Return the alternative texts of a cell's images.

    Parameters
    ----------
    caption
        What `caption_of` gives for the text below the cell.
    section
        The heading above the cell, for images without a caption.
    count
        How many images the cell has.
    """
    text = caption or f"Output of a cell in the section “{section}”"
    if count == 1:
        return [text]
    return [f"Image {number} of {count}. {text}" for number in range(1, count + 1)]


def folder_links(text: str, page: str) -> str:
    """Let the links to folders, which GitHub lists, lead to the page that stands for each.

    Parameters
    ----------
    text
        Markdown, or the JSON of a notebook.
    page
        The page's name for Sphinx, such as ``notebooks/00_start_here``.
    """
    here = posixpath.dirname(page)

    def lead(found: re.Match) -> str:
        stands = FOLDER_PAGES.get(posixpath.normpath(posixpath.join(here, found[2])))
        if stands is None:
            return found[0]
        return f"{found[1]}{posixpath.relpath(f'{stands}.md', here or '.')}{found[3]}"

    return FOLDER_LINK.sub(lead, text)


def gather(root: Path, folder: Path) -> None:
    """Put all sources of the website into a folder, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    root = root.resolve()
    pages = [root / "README.md", *(path for pattern in PAGES for path in sorted(root.glob(pattern)))]
    files = dict.fromkeys(pages[1:])
    for page in pages:
        files |= dict.fromkeys(linked_files(page.read_text(encoding="utf-8"), page.parent, root))
    for path in files:
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(root / "site" / "static" / "badge.svg", folder)
    for name, text in written_pages(root).items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def build(root: Path = ROOT, folder: Path = ROOT / "build") -> int:
    """Build the website, and return the exit status; a warning, such as a broken link, counts as a failure.

    Parameters
    ----------
    root
        The repository.
    folder
        Its subfolder ``html``, for the pages, is made anew; so are ``site`` and ``doctrees``.
    """
    sources, doctrees, target = folder / "site", folder / "doctrees", folder / "html"
    gather(root, sources)
    for old in (doctrees, target):
        shutil.rmtree(old, ignore_errors=True)
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-d", str(doctrees)]
    command = [sys.executable, "-m", "sphinx", *options, "-c", str(root / "site"), str(sources), str(target)]
    status = subprocess.run(command, cwd=root).returncode
    if status == 0:
        (target / ".nojekyll").touch()  # GitHub Pages would leave out folders that begin with "_"
        print(f"{len(list(target.rglob('*.html')))} pages: open {target / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(build())
