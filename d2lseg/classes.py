"""What the numbers in a mask mean: the names and colours of classes, VOC's and one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .engine.files import read_text, written_whole

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

VOID = 255
VOID_COLOR = (224, 224, 192)


def voc_colormap(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Give the colours of VOC's palette, also beyond VOC's own 21 classes.

    Parameters
    ----------
    num_classes : int
        How many, 1 to 256. The first 21 are ``VOC_COLORMAP``, number 255 is ``VOID_COLOR``.

    Returns
    -------
    tuple of (int, int, int)
        One RGB triple a class.

    Raises
    ------
    ValueError
        Where there are not so many.

    Notes
    -----
    Bits 0, 3, 6 of the index become the highest bits of red, bits 1, 4, 7 those of green, bits 2, 5 those
    of blue, so that neighbouring indices differ strongly. Source: ``VOClabelcolormap.m`` in the development
    kit of Pascal VOC 2012.
    """
    if not 1 <= num_classes <= 256:
        raise ValueError(f"the palette has 256 colours, asked for {num_classes}")

    def channel(index: int, first: int) -> int:
        return sum((index >> bit & 1) << 7 - place for place, bit in enumerate(range(first, 8, 3)))

    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in range(num_classes))


@dataclass(frozen=True)
class ClassList:
    """The classes of a dataset, by index: 0 is the background, 255 is void and no class.

    Parameters
    ----------
    names : tuple of str
        2 to 255 different names.
    colours : tuple of (int, int, int), optional
        One RGB triple a class. Then the palette of each mask is checked against them. Without them a palette
        mask is read by its indices, whatever its palette, and an RGB mask by the colours of `voc_colormap`.

    Raises
    ------
    ValueError
        Where there are too few or too many names, one comes twice, or the colours are not one a name and
        all different.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] | None = None

    def __post_init__(self) -> None:
        names, colours = self.names, self.colours
        if not 2 <= len(names) <= VOID:
            raise ValueError(
                f"{len(names)} classes; expected 2 to {VOID}: the background and at least one more"
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the class {twice[0]!r} is there twice; each index needs a name of its own")
        if colours is not None and (len(colours) != len(names) or len({*colours, VOID_COLOR}) <= len(names)):
            raise ValueError(
                f"{len(set(colours))} different colours for {len(names)} classes; expected one a class, "
                f"none of them void's {VOID_COLOR}"
            )

    @property
    def colormap(self) -> tuple[tuple[int, int, int], ...]:
        """The colours in which to paint, and to read RGB masks."""
        return self.colours or voc_colormap(len(self.names))


VOC = ClassList(VOC_CLASSES, VOC_COLORMAP)


def read_classes(path: str | Path) -> ClassList:
    """Read a list of classes.

    Parameters
    ----------
    path : str or Path
        A UTF-8 text file with one class name a line, background first. A colour may follow each name:
        ``road 128 64 128``. Empty lines do not count.

    Returns
    -------
    ClassList
        With colours where every line has one.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the list is not one of classes, as `ClassList` says, only some lines have a colour or one is
        not in 0..255.
    """
    text = read_text(path, advice="expected one class name a line, background first")
    try:
        return _parse(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parse(text: str) -> ClassList:
    """Read the lines of a list of classes."""
    found = [_class_line(line.strip()) for line in text.splitlines() if line.strip()]
    names = tuple(name for name, _ in found)
    colours = [colour for _, colour in found if colour is not None]
    strange = next((name for name in names if any(c < " " or c == "\x7f" for c in name)), None)
    if strange is not None:
        raise ValueError(f"control characters in {strange[:40]!r}; expected text with one class name a line")
    if any(value > 255 for colour in colours for value in colour):
        raise ValueError("a colour has a value above 255; expected red, green and blue in 0..255")
    if colours and len(colours) != len(names):
        raise ValueError(f"{len(colours)} of {len(names)} lines have a colour; expected all or none")
    return ClassList(names, tuple(colours) or None)


def _class_line(line: str) -> tuple[str, tuple[int, ...] | None]:
    """Split a line, which is not empty, into a class's name and its colour, where it has one."""
    name, *rgb = line.rsplit(None, 3)
    if len(rgb) != 3 or not all(value.isdecimal() for value in rgb):
        return line, None
    return name, tuple(int(value[:9]) for value in rgb)  # a longer one is too large in any case


def write_classes(path: str | Path, classes: ClassList) -> Path:
    """Write a list of classes, as `read_classes` reads it.

    Parameters
    ----------
    path : str or Path
        The file, written whole or not at all; in a dataset's folder its name is ``classes.txt``.
    classes : ClassList
        Its colours are written where it has some of its own.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ValueError
        Where a name would not be read as it is: it has a line break, blanks at an end, or ends like a colour.
    """
    colours = classes.colours or [()] * len(classes.names)
    rows = zip(classes.names, colours, strict=True)
    text = "".join(f"{' '.join(map(str, (name, *colour)))}\n" for name, colour in rows)
    if not _is_read_as(text, classes):
        raise ValueError(
            f"{path}: one of the names {', '.join(map(repr, classes.names))[:300]} cannot be written in a "
            "line: it has a line break, blanks at an end, or ends like a colour in three numbers; choose "
            "another name"
        )
    with written_whole(path) as file:
        file.write(text.encode())
    return Path(path)


def _is_read_as(text: str, classes: ClassList) -> bool:
    """Tell whether a text would be read as these classes."""
    try:
        return _parse(text) == classes
    except ValueError:
        return False
