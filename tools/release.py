"""Collect what a release consists of, with checksums: ``python -m tools.release``. Standard library only.

``dist/release`` then holds the wheel, the notebooks without outputs, the website where ``--site`` names its
folder, and ``SHA256SUMS``. The same sources give the same bytes, so whoever builds it again can compare.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from d2lseg import __version__
from tools import commands

ROOT = Path(__file__).resolve().parent.parent
DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip file can hold; a build's time must not change its bytes


def check(tag: str, root: Path = ROOT) -> str:
    """Return the version that a tag releases.

    Raises
    ------
    tools.commands.Stop
        Where the module, the changelog or the citation names another one.
    """
    version = tag.removeprefix("v")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    dated = re.search(r"^## \[(.*)\] - (.*)$", changelog, re.MULTILINE)
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    named = {
        "d2lseg/__init__.py": __version__,
        "CHANGELOG.md's newest dated heading": dated[1] if dated else "none",
        "CITATION.cff": re.search(r"^version: (.*)$", citation, re.MULTILINE)[1],
    }
    wrong = [f"{place} says {found}" for place, found in named.items() if found != version]
    if wrong or not tag.startswith("v"):
        raise commands.Stop(f"The tag {tag} does not fit (vX.Y.Z is wanted): {'; '.join(wrong) or 'no v'}.")
    return version


def without_outputs(text: str) -> str:
    """Return a notebook's text without outputs and execution counts, as a class gets it."""
    book = json.loads(text)
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def pack(archive: Path, files: Mapping[str, bytes]) -> None:
    """Write a zip file whose bytes depend on the names and contents alone."""
    with zipfile.ZipFile(archive, "w") as target:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, DATE)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            target.writestr(entry, content)


def notebooks(root: Path) -> dict[str, bytes]:
    """Return all notebooks without outputs, and their licences, by their names in the archive."""
    books = {
        path.relative_to(root).as_posix(): without_outputs(path.read_text(encoding="utf-8")).encode()
        for path in commands.notebooks(root)
    }
    return books | {name: (root / name).read_bytes() for name in ("LICENSE", "LICENSE-PROSE")}


def tree(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def sums(folder: Path) -> str:
    """Return the SHA-256 of each file in a folder, in the form that ``sha256sum --check`` reads."""
    files = sorted(path for path in folder.iterdir() if path.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def release(tag: str, site: Path | None, python: Path | str, root: Path = ROOT) -> Path:
    """Build ``dist/release`` anew, and return the folder.

    Parameters
    ----------
    tag
        Such as v1.0.0.
    site
        The built website's folder, or None to leave it out.
    python
        The Python whose pip builds the wheel; it has setuptools.
    root
        The repository.

    Raises
    ------
    tools.commands.Stop
        Where the tag does not fit, the website has no first page, or the wheel cannot be built.
    """
    version, folder = check(tag, root), root / "dist" / "release"
    if site is not None and not (site / "index.html").is_file():
        raise commands.Stop(f"{site} has no index.html: 'python3 tasks.py site' builds the website.")
    os.environ["SOURCE_DATE_EPOCH"] = "315532800"  # DATE, for the wheel
    shutil.rmtree(folder, ignore_errors=True)
    commands.build_wheel(root, folder, python)
    pack(folder / f"d2lseg-notebooks-{version}.zip", notebooks(root))
    if site is not None:
        pack(folder / f"d2lseg-site-{version}.zip", tree(site))
    (folder / "SHA256SUMS").write_text(sums(folder), encoding="utf-8", newline="\n")
    return folder


def main(argv: list[str] | None = None) -> int:
    """Build the release and print the checksums."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__.partition("\n")[0])
    parser.add_argument("--tag", default=f"v{__version__}", help="default: the module's version")
    parser.add_argument("--check", action="store_true", help="only see whether the tag fits; build nothing")
    parser.add_argument("--site", type=Path, help="the folder of the built website")
    options = parser.parse_args(argv)
    try:
        if options.check:
            print(f"{options.tag} releases {check(options.tag)}.")
            return 0
        folder = release(options.tag, options.site, sys.executable)
    except commands.Stop as stop:
        print(stop, file=sys.stderr)
        return 2
    print((folder / "SHA256SUMS").read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
