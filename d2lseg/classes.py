"""What the numbers in a mask mean: names and colours of classes, VOC's and your own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .engine.class_tables import VOID_COLOR as VOID_COLOR
from .engine.class_tables import parse_classes
from .engine.files import read_text, user_path, written_whole
from .engine.labels import VOID

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus",
    "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

VOC_COLORMAP = (
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
    (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128),
    (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128),
)  # fmt: skip

Colormap = tuple[tuple[int, int, int], ...]  # one RGB triple per class


@cache
def voc_colormap(num_classes: int) -> Colormap:
    """Return the first 1 to 256 colours of VOC's palette: 21 are ``VOC_COLORMAP``, 255 is ``VOID_COLOR``.

    Bits 0, 3, 6 of the index become the highest bits of red, bits 1, 4, 7 those of green, bits 2, 5 those
    of blue, so that neighbouring indices differ strongly. Source: ``VOClabelcolormap.m`` in the development
    kit of Pascal VOC 2012.
    """
    if not 1 <= num_classes <= 256:
        raise ValueError(f"num_classes is {num_classes}, but the palette has 256 colours; expected 1 to 256")

    def channel(index: int, first: int) -> int:
        return sum((index >> bit & 1) << 7 - place for place, bit in enumerate(range(first, 8, 3)))

    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(num_classes))


@dataclass(frozen=True)
class ClassList:
    """The classes of a dataset, by index: 2 to 255 different names, of which the first is the background.

    ``colours`` are those of this dataset, one per class, or None. If there are any, the palette of each mask
    is compared with them. ``colormap`` is never None: it is ``colours``, or else VOC's palette.
    """

    names: tuple[str, ...]
    colours: Colormap | None = None

    def __post_init__(self) -> None:
        names, colours = self.names, self.colours
        if not 2 <= len(names) <= VOID:
            raise ValueError(f"{len(names)} classes; expected 2 to {VOID}: background and at least one more")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the class {twice[0]!r} is there twice; each index needs a name of its own")
        if colours is not None and (len(colours) != len(names) or len({*colours, VOID_COLOR}) <= len(names)):
            raise ValueError(
                f"{len(set(colours))} different colours for {len(names)} classes; expected one per class, "
                f"none of them void's {VOID_COLOR}"
            )

    @property
    def colormap(self) -> Colormap:
        """The colours to paint with, and to read RGB masks by."""
        return self.colours or voc_colormap(len(self.names))


def as_class_list(classes: ClassList | Sequence[str]) -> ClassList:
    """Return a list of class names as a `ClassList`, and a `ClassList` as it is."""
    return classes if isinstance(classes, ClassList) else ClassList(tuple(classes))


VOC = ClassList(VOC_CLASSES, VOC_COLORMAP)


def read_classes(path: str | Path) -> ClassList:
    """Read a UTF-8 text file with one class name a line, background first; blank lines do not count.

    A colour may follow each name: ``road 128 64 128``. The tables of LabelMe, CVAT and others are read too,
    see `engine.class_tables`. A ValueError names the file and what is wrong in it.
    """
    text = read_text(path, advice="expected one class name a line, background first")
    try:
        return _parse(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parse(text: str) -> ClassList:
    table = parse_classes(text)
    # the masks of a finished folder have 255 for void, and no other number or colour than void's own
    painted = table.colours is not None and len(table.void_colours) == 1
    if set(table.void_values) - {-1, VOID} and not painted:
        raise ValueError(
            "a class called void or ignore means what is not scored, 255 in the masks; python -m d2lseg data "
            "import makes it so. If it is a class, rename it"
        )
    if table.values and not table.by_place and table.values != tuple(range(len(table.names))):
        raise ValueError(
            f"it gives the classes the values {', '.join(map(str, table.values))[:80]}; expected 0, 1, 2 and "
            "so on. python -m d2lseg data import renumbers the masks"
        )
    return ClassList(table.names, table.colours)


def write_classes(path: str | Path, classes: ClassList | Sequence[str]) -> Path:
    """Write a file that `read_classes` reads as the same classes, with their own colours if they have any.

    In a dataset's folder its name is ``classes.txt``. A name that would be read back as another one raises a
    ValueError: with a line break, spaces at an end, or three numbers at the end like a colour.
    """
    classes = as_class_list(classes)
    colours: Sequence[tuple[int, ...]] = classes.colours or [()] * len(classes.names)
    rows = zip(classes.names, colours, strict=True)
    text = "".join(f"{' '.join(map(str, (name, *colour)))}\n" for name, colour in rows)
    try:
        if _parse(text) != classes:
            raise ValueError("it has a line break, spaces at an end, or ends like a colour")
    except ValueError as error:
        names = ", ".join(map(repr, classes.names))[:300]
        raise ValueError(f"{path}: one of the names {names} cannot be a line: {error}; rename it") from error
    with written_whole(path) as file:
        file.write(text.encode())
    return user_path(path)
