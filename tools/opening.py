"""How every notebook opens, on Colab and elsewhere: the badge and the setup cell. Standard library only.

Both depend on the course's GitHub repository. Where it is set, Colab fetches the notebook and the module
from there, both of this version's tag. Where it is unset, the reader uploads them: an address that nobody
owns must not stand in a cell that installs from it. All functions take the repository as OWNER/NAME, or None.

A notebook that trains for minutes asks Colab for a GPU in its metadata, before anything is installed, since
changing the machine later starts an empty one.
"""

from __future__ import annotations

import json
import re

from d2lseg import __version__

UPLOAD_PAGE = "https://colab.research.google.com/#upload=true"
TAG = f"v{__version__}"
BADGE = "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})"
LINK = "https://colab.research.google.com/github/{repo}/blob/{tag}/notebooks/{name}.ipynb"
UPLOAD = (
    "To use Colab, click the badge and upload this notebook, `notebooks/{name}.ipynb`. Then, with the folder "
    "icon on the left, upload the wheel, `dist/d2lseg-*.whl`, which `python3 tasks.py wheel` builds. More, "
    "also for Kaggle: `docs/colab.md`."
)
# A badge in either state, with the line about uploads where there is one.
WRITTEN = re.compile(
    rf"^{re.escape(BADGE.split('{')[0])}.*\)$(?:\n\n{re.escape(UPLOAD.split(',')[0])}.*$)?", re.MULTILINE
)

GPU = {"accelerator": "GPU", "colab": {"gpuType": "T4"}}  # a notebook's metadata, as Colab writes it
GPU_HELPS = re.compile(r"(?:solutions/)?(?:05|07|08|11|13)_")  # these train for a minute or more

# The setup cell, in parts.
START = """\
# Setup: where the course's module is missing, this installs it, on Colab, on Kaggle and in any kernel.
import glob
import importlib.util
import os
import sys

if importlib.util.find_spec("d2lseg") is None:
"""
ASK_FOR_GPU = """\
    hosted = "google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ
    if hosted and not os.path.exists("/dev/nvidia0"):
        print("Training is faster on a GPU. For one, choose it now, then upload the wheel again:")
        print("Runtime > Change runtime type > T4 GPU on Colab, Settings > Accelerator on Kaggle.")
"""
FIND = """\
    wheels = glob.glob("d2lseg-*.whl") + glob.glob("/kaggle/input/**/d2lseg-*.whl", recursive=True)
    wheel = max(wheels, key=os.path.getmtime, default=None)
"""
UNSET = """\
    if wheel is None:
        raise RuntimeError("The course's module is missing: upload its wheel as described above and run this "
                           "cell again, or start 'python3 tasks.py lab' in a copy of the course.")
    %pip install -q "{wheel}[pretrained]"
"""
SET = """\
    if wheel:
        %pip install -q "{{wheel}}[pretrained]"
    else:
        %pip install -q "d2lseg[pretrained] @ git+https://github.com/{repo}@{tag}"
"""
CHECK = """\
    importlib.invalidate_caches()
    if importlib.util.find_spec("d2lseg") is None:
        raise RuntimeError("The module was not installed: pip's message above says why.")"""


class OpeningError(ValueError):
    """A notebook has no badge or no setup cell where they belong."""


def badge(repo: str | None, name: str) -> str:
    """Return the badge of a notebook, such as ``solutions/03_voc_dataset``; if unset, also what to upload."""
    if repo is None:
        return f"{BADGE.format(link=UPLOAD_PAGE)}\n\n{UPLOAD.format(name=name)}"
    return BADGE.format(link=LINK.format(repo=repo, tag=TAG, name=name))


def setup(repo: str | None, name: str) -> str:
    """Return the source of a notebook's setup cell."""
    install = UNSET if repo is None else SET.format(repo=repo, tag=TAG)
    if GPU_HELPS.match(name):
        return START + ASK_FOR_GPU + FIND + install + CHECK
    return START.replace("import sys\n", "") + FIND + install + CHECK


def metadata(name: str) -> dict:
    """Return the part of a notebook's metadata that asks Colab for a GPU; it is empty where none helps."""
    return GPU if GPU_HELPS.match(name) else {}


def rewrite(text: str, repo: str | None, name: str) -> str:
    """Put badge, setup cell and the wish for a GPU into a notebook's text, whatever repository it names.

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
        The new text; all other cells are as they were, and the metadata but for the GPU.

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
    second["source"] = setup(repo, name).splitlines(keepends=True)
    plain = {key: value for key, value in book["metadata"].items() if key not in GPU}
    book["metadata"] = dict(sorted((plain | metadata(name)).items()))  # in nbformat's order
    ending = text[len(text.rstrip()) :]
    return json.dumps(book, indent=1, ensure_ascii=False) + ending
