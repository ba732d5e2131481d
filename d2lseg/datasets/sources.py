"""What every importer returns: images with a way to read their labels, and what was found on the way."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from ..engine.class_tables import ClassTable, parse_classes
from ..engine.files import read_text
from ..engine.images import MaskFile, open_header, upright_size
from .examination import Finding, some

SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png"}  # what is copied as it is
OTHER = ".png"  # what any other format is saved as
TABLES = (
    "classes.txt", "labels.txt", "labelmap.txt", "class_names.txt", "label_colors.txt", "_classes.csv",
    "class_dict.csv", "classes.csv", "labels.csv", "classes.json", "id2label.json", "obj.names",
)  # fmt: skip
TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
LISTS = {name: key for key, names in {"train": TRAIN, "val": VAL, "test": TEST}.items() for name in names}


@dataclass(frozen=True)
class Pair:
    """An image and its label on the way into a folder."""

    name: str  # the ID
    image: Path | bytes  # the file, or its content
    suffix: str  # of the new file: ".jpg" or ".png"
    label: np.ndarray  # uint8 (H, W), class indices and 255 for void
    mask: MaskFile | None = None  # what the label was read from, if that was a file
    doubt: tuple[str, str] | None = None  # what of it only the user can know, and what to do


@dataclass(frozen=True)
class Item:
    """An image that an importer found; ``read`` raises ValueError or OSError where it cannot be used."""

    name: str
    where: Path
    read: Callable[[ClassTable], Pair]
    split: str = ""  # the list on which the source has it


@dataclass
class Source:
    """A dataset in another tool's form, recognised and not yet read."""

    kind: str  # what it is, in words
    why: str  # what it was recognised by
    items: list[Item]
    names: Callable[[], Sequence[str]] | None = None  # classes, if no table lists them
    table: tuple[ClassTable, Path] | None = None  # and the file that it is from
    findings: list[Finding] = field(default_factory=list)
    lists: dict[str, list[str]] = field(default_factory=dict)


def image_form(image: Path | bytes, where: Path) -> tuple[str, tuple[int, int]]:
    """Return the suffix that an image will have, and its (height, width) when upright.

    `image` is a file, or the content of one inside the file `where`. ValueError if it is not an image.
    """
    try:
        with open_header(image) if isinstance(image, Path) else Image.open(io.BytesIO(image)) as opened:
            return SUFFIXES.get(opened.format or "", OTHER), upright_size(opened)
    except MemoryError:
        raise
    except FileNotFoundError:
        raise
    except Exception as error:  # PIL's readers may raise almost any exception
        said = (
            str(error)
            if str(where) in str(error)
            else f"{where}: its image cannot be read ({error}); replace it"
        )
        raise ValueError(said) from error


def turn_doubt(image: Path) -> tuple[str, str] | None:
    """Say if EXIF turns an image so that its size cannot tell whether the label was turned with it."""
    with open_header(image) as opened:
        orientation = opened.getexif().get(ExifTags.Base.Orientation, 1)
        unseen = orientation in (2, 3, 4) or (orientation > 4 and opened.width == opened.height)
    if opened.format == "TIFF" or not unseen:  # PIL turns those by itself
        return None
    what = "turned or mirrored by EXIF, and the size does not tell whether its label is turned too"
    return what, "look at both, one over the other"


def find_table(*folders: Path) -> tuple[ClassTable, Path] | None:
    """Read the first table of classes, by the names that tools give it, in the first folder with one.

    ValueError if it cannot be read; the message names the file.
    """
    for folder in folders:
        for name in TABLES:
            if (folder / name).is_file():
                return read_table(folder / name), folder / name
    return None


def read_table(path: str | Path) -> ClassTable:
    """Read a table of classes in any form that `parse_classes` knows; a ValueError names the file."""
    try:
        return parse_classes(read_text(path, advice="expected one class name a line, background first"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error


def read_lists(folder: Path, names: Iterable[str]) -> dict[str, list[str]]:
    """Read ``train.txt``, ``val.txt`` and other lists of the given IDs; a list that names no ID is none."""
    known, lists = set(names), {}
    for place in (folder / "ImageSets" / "Segmentation", folder / "ImageSets", folder):
        paths = sorted(place.glob("*.txt")) if place.is_dir() else []
        for path in paths:
            try:
                ids = [_id(line, known) for line in read_text(path, "list").splitlines() if line.strip()]
            except (ValueError, OSError):  # notes of somebody, and no list
                continue
            named = LISTS.get(path.stem.lower())
            # a file of another name could be anything
            share = sum(name in known for name in ids) / max(len(ids), 1)
            if path.name not in TABLES and (share > 0.5 or (named and share)):
                lists[named or path.stem] = list(dict.fromkeys(ids))
        if lists:
            break
    return lists


def _id(line: str, known: set[str]) -> str:
    """Return the ID of a line, which may be a path, or the paths of image and mask, with blanks in names."""
    words = line.replace("\\", "/").split(" ")
    starts = [" ".join(words[:count]).strip() for count in range(len(words), 0, -1)]
    for path in map(PurePosixPath, [line.strip(), *starts]):
        folders = "_".join((*path.parent.parts, path.stem))  # as IDs are made of images in folders
        found = next((one for one in (str(path), path.name, path.stem, folders) if one in known), None)
        if found is not None:
            return found
    return path.stem


def left_out(folder: Path, what: str, paths: Sequence[Path], advice: str) -> list[Finding]:
    """Return a warning that counts and names files that are not used, if there are any."""
    if not paths:
        return []
    count = f"{len(paths):,} {what}{'' if len(paths) == 1 else 's'} left out"
    return [Finding(f"{folder}: {count}: {some(path.name for path in paths)}", advice, warning=True)]


def unique_items(items: Sequence[Item]) -> list[Item]:
    """Put the list's name before IDs that come on several lists, so that each image has its own ID."""
    count = Counter(item.name for item in items)
    return [
        Item(f"{item.split}_{item.name}", item.where, item.read, item.split)
        if item.split and count[item.name] > 1
        else item
        for item in items
    ]


def load_json(path: Path) -> Any:
    """Return the content of a JSON file, or None if it is none."""
    try:
        return json.loads(read_text(path))
    except (ValueError, OSError, RecursionError):
        return None


def dict_of(record: Any) -> dict[str, Any]:
    """Return a record of a JSON file if it is an object, else an empty one."""
    return record if isinstance(record, dict) else {}
