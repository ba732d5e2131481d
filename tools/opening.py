"""How every notebook opens, on Colab and elsewhere: the badge and the setup cell. Standard library only.

Both depend on the course's GitHub repository. Where it is set, Colab fetches the notebook and the module from
there. Where it is unset, the reader uploads them: an address that nobody owns must not stand in a cell that
installs from it. All functions take the repository as OWNER/NAME, or None for unset.
"""

from __future__ import annotations

import json
import re

UPLOAD_PAGE = "https://colab.research.google.com/#upload=true"
BADGE = "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"
LINK = "https://colab.research.google.com/github/{repo}/blob/main/notebooks/{name}.ipynb"
UPLOAD = (
    "To use Colab, click the badge and upload this notebook, `notebooks/{name}.ipynb`. Then click the folder "
    "icon on the left and upload the wheel, `dist/d2lseg-*.whl`; `python3 tasks.py wheel` builds it in your "
    "copy of the course."
)
# A badge in either state, with the line about uploads where there is one.
WRITTEN = re.compile(
    rf"^{re.escape(BADGE.split('{')[0])}.*\)$(?:\n\n{re.escape(UPLOAD.split(',')[0])}.*$)?", re.MULTILINE
)

SET = """\
# Setup: on Colab this installs the course's module; anywhere else it does nothing.
import importlib.util
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("d2lseg") is None:
    %pip install -q "d2lseg[pretrained] @ git+https://github.com/{repo}"
    importlib.invalidate_caches()
    if importlib.util.find_spec("d2lseg") is None:
        raise RuntimeError("The module was not installed: pip's message above says why.")"""
UNSET = """\
# Setup: on Colab this installs the course's module; anywhere else it does nothing.
import glob
import importlib.util
import os
import sys

if "google.colab" in sys.modules and importlib.util.find_spec("d2lseg") is None:
    wheel = max(glob.glob("d2lseg-*.whl"), key=os.path.getmtime, default=None)
    if wheel is None:
        raise RuntimeError("Upload the wheel as described above, then run this cell again.")
    %pip install -q "{wheel}[pretrained]"
    importlib.invalidate_caches()
    if importlib.util.find_spec("d2lseg") is None:
        raise RuntimeError("The module was not installed: pip's message above says why.")"""


class OpeningError(ValueError):
    """A notebook has no badge or no setup cell where they belong."""


def badge(repo: str | None, name: str) -> str:
    """Give the badge of a notebook, such as ``solutions/03_voc_dataset``; if unset, also what to upload."""
    if repo is None:
        return f"{BADGE.format(link=UPLOAD_PAGE)}\n\n{UPLOAD.format(name=name)}"
    return BADGE.format(link=LINK.format(repo=repo, name=name))


def setup(repo: str | None) -> str:
    """Give the source of the setup cell."""
    return UNSET if repo is None else SET.format(repo=repo)


def rewrite(text: str, repo: str | None, name: str) -> str:
    """Put badge and setup cell into the text of a notebook's file, whatever repository they name now.

    Parameters
    ----------
    text
        The JSON, indented by 1 as Jupyter and nbformat write it.
    repo
        OWNER/NAME, or None.
    name
        The notebook, such as ``solutions/03_voc_dataset``.

    Returns
    -------
    str
        The new text; all other cells are as they were.

    Raises
    ------
    OpeningError
        Where the first cell has no badge or the second is not the setup cell.
    """
    try:
        book = json.loads(text)
        first, second = book["cells"][:2]
        source, count = WRITTEN.subn(lambda _: badge(repo, name), "".join(first["source"]))
        tagged = "setup" in second["metadata"].get("tags", [])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OpeningError("it is not a notebook with a title cell and a setup cell") from None
    if count != 1:
        raise OpeningError(f"its first cell has {count} Colab badges, not one")
    if not tagged:
        raise OpeningError("its second cell is not tagged 'setup'")
    first["source"] = source.splitlines(keepends=True)
    second["source"] = setup(repo).splitlines(keepends=True)
    ending = text[len(text.rstrip()) :]
    return json.dumps(book, indent=1, ensure_ascii=False) + ending
