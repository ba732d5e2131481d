"""The text files in which annotation tools list their classes, read into one form.

One class a line, bare or with a colour before or after it, numbered or not; CVAT's ``labelmap.txt``
(``name:r,g,b:parts:actions``); CSV with or without a header; LabelMe's ``labels.txt``; a JSON list of names
or object of numbers and names.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from .labels import VOID

IGNORED = "__ignore__"  # LabelMe's name for what is neither labelled nor scored
VOID_NAMES = ("void", "ignore", IGNORED)  # capitals and spaces around make no difference
BACKGROUND = "_background_"  # LabelMe's name for class 0
# what class 0 may be called without a question; in tables, the first of these that occurs is the background
BACKGROUND_NAMES = (
    "background", BACKGROUND, "__background__", "bg", "unlabelled", "unlabeled", "other", "others", "none",
)  # fmt: skip
VOID_COLOR = (224, 224, 192)
NAME_HEADS = ("name", "class", "label", "class_name", "category")
VALUE_HEADS = ("pixel value", "value", "id", "index", "pixel", "class_id", "number")
COLOUR_HEADS = (("r", "g", "b"), ("red", "green", "blue"))

Colour = tuple[int, int, int]


class Row(NamedTuple):
    """One class of a table: its name, and the value and colour of its pixels where the table says them."""

    name: str
    value: int | None = None
    colour: Colour | None = None


class ClassTable(NamedTuple):
    """What a table says: the classes in order, their values and colours if it has any, and those of void.

    Where it says no values, a class has that of its place, and ``values`` is None as long as this is 0, 1, 2
    and so on. If it is not, because void or the background stand elsewhere, ``by_place`` is true.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...] | None
    values: tuple[int, ...] | None
    void_colours: tuple[Colour, ...] = (VOID_COLOR,)
    void_values: tuple[int, ...] = ()
    by_place: bool = False


def means_void(name: str) -> bool:
    """Tell whether a label or class of this name is neither learned nor scored."""
    return name.strip().lower() in VOID_NAMES


def means_background(name: str) -> bool:
    """Tell whether class 0 may have this name without a question."""
    return "background" in name.lower() or name.strip().lower() in BACKGROUND_NAMES


def parse_classes(text: str) -> ClassTable:
    """Read a table of classes in any of the formats above.

    A row that `means_void`, with the value 255 or with void's colour means void and is not a class. Rows
    with values are put in their order.

    Raises
    ------
    ValueError
        If a line cannot be a class, a colour is out of range, only some classes have a colour, or two have
        one value.
    """
    rows = _rows(text)
    void = [r for r in rows if means_void(r.name) or r.value == VOID or r.colour == VOID_COLOR]
    by_place = all(row.value is None for row in rows)
    placed = _placed(rows) if by_place else rows
    empty = [new for new, row in zip(placed, rows, strict=True) if row in void]
    rows = sorted((row for row in placed if row not in empty), key=lambda row: row.value or 0)
    _check_rows(rows)
    values, void_values = tuple(row.value or 0 for row in rows), tuple(row.value or 0 for row in empty)
    if by_place and values == tuple(range(len(rows))) and set(void_values) <= {-1, VOID}:
        values, void_values, by_place = (), (), False
    return ClassTable(
        tuple(row.name for row in rows),
        tuple(row.colour for row in rows if row.colour) or None,
        values or None,
        (VOID_COLOR, *(row.colour for row in empty if row.colour and row.colour != VOID_COLOR)),
        void_values,
        by_place,
    )


def _placed(rows: Sequence[Row]) -> list[Row]:
    """Give each row the number of its place; LabelMe counts from -1 where its list begins with void."""
    first = -1 if rows and rows[0].name == IGNORED else 0
    return [row._replace(value=place) for place, row in enumerate(rows, start=first)]


def _check_rows(rows: Sequence[Row]) -> None:
    """Raise a ValueError if the rows of a table contradict each other, or what LabelMe's name means."""
    names, colours = [row.name for row in rows], [row.colour for row in rows if row.colour is not None]
    for name in names:
        _check_name(name)
    if any(value > 255 for colour in colours for value in colour):
        raise ValueError("a colour has a value above 255; expected red, green and blue in 0..255")
    if colours and len(colours) != len(rows):
        raise ValueError(f"{len(colours)} of {len(rows)} lines have a colour; expected all or none")
    for before, row in pairwise(rows):
        if before.value == row.value:
            raise ValueError(f"{before.name!r} and {row.name!r} have one value, {row.value}; correct it")
    if BACKGROUND in names[1:] and not colours:
        raise ValueError(f"{BACKGROUND} is class {names.index(BACKGROUND)}; it means class 0: put it first")


def background_first(table: ClassTable) -> ClassTable:
    """Move the background to class 0 where colours or values keep the meaning of each class."""
    lower = [name.strip().lower() for name in table.names]
    place = next((lower.index(name) for name in BACKGROUND_NAMES if name in lower), 0)
    said = table.values is not None and not table.by_place
    if place == 0 or not (table.colours or said):
        return table

    def moved(rows: Sequence[Any]) -> tuple[Any, ...]:
        return (rows[place], *rows[:place], *rows[place + 1 :])

    return table._replace(
        names=moved(table.names),
        colours=table.colours and moved(table.colours),
        values=moved(table.values or range(len(table.names))),
        by_place=not said,
    )


def _check_name(name: str) -> None:
    """Raise a ValueError for what no class is called: control characters, and lines of other formats."""
    if any(c < " " or c == "\x7f" for c in name):
        raise ValueError(f"control characters in {name[:40]!r}; expected text with one class name a line")
    strange = re.fullmatch(r"[\W_]*|- .*|[{}\[\]<>].*|.*[:{\[]|(names|nc|train|val|test|path):.*", name)
    if strange:
        raise ValueError(
            f"{name[:40]!r} cannot be the name of a class; expected one class name a line, background first, "
            "or a table of LabelMe, CVAT or CSV"
        )


def _rows(text: str) -> list[Row]:
    """Choose the format of a text, and read its rows."""
    if text.lstrip().startswith(("[", "{")):
        return _json_rows(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(re.match(r"#\s*label:color_rgb", line) for line in lines[:1]) or (
        lines
        and all(line.startswith("#") or re.fullmatch(r"[^:]+:[\d, ]*:[^:]*:[^:]*", line) for line in lines)
    ):
        rows = [_cvat_row(line) for line in lines if not line.startswith("#")]
        # its masks are read by colour, so that the order is free, and class 0 is the background here
        return sorted(rows, key=lambda row: row.name.lower() not in ("background", BACKGROUND))
    for mark in (",", ";", "\t"):
        header = [cell.strip().lower() for cell in lines[0].split(mark)] if lines else []
        if len(header) > 1 and set(header) & set(NAME_HEADS):
            return _csv_rows(lines[1:], header, mark)
    return _numbered([_plain_row(line) for line in lines])


def _plain_row(line: str) -> Row:
    """Read a name with a colour after or before it, or neither; commas and tabs separate as spaces do."""
    # a number of more than 9 digits is too large anyway
    number = r"(\d+)"
    gap = r"(?:\s*,\s*|\s+)"
    after = re.fullmatch(rf"(.+?){gap}{number}{gap}{number}{gap}{number}", line)
    if after:
        return Row(after[1], None, _colour(after.groups()[1:]))
    before = re.fullmatch(rf"{number}{gap}{number}{gap}{number}{gap}(\D.*)", line)
    if before:
        return Row(before[4], None, _colour(before.groups()[:3]))
    return Row(line)


def _numbered(rows: list[Row]) -> list[Row]:
    """Take the numbers off rows like ``0: road``, ``0,road`` or ``road: 0`` if each row has one."""
    behind = [re.fullmatch(r"(\D.*?)\s*[:,;=]\s*(\d{1,5})", row.name) for row in rows]
    if len(rows) > 1 and all(behind) and len({match[2] for match in behind if match}) == len(rows):
        return [Row(m[1], int(m[2]), row.colour) for m, row in zip(behind, rows, strict=True) if m]
    matches = [re.fullmatch(r"(\d{1,5})(?:\s*[:,;.)]\s*|\s+)(\S.*)", row.name) for row in rows]
    if len(rows) < 2 or not all(matches):
        return rows
    numbers = [int(match[1]) for match in matches if match]
    if len(set(numbers)) < len(numbers):
        return rows
    return [Row(m[2], int(m[1]), row.colour) for m, row in zip(matches, rows, strict=True) if m]


def _cvat_row(line: str) -> Row:
    """Read ``name:r,g,b:parts:actions``."""
    name, _, rest = line.partition(":")
    numbers = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(:.*)?", rest)
    if not numbers:
        raise ValueError(f"{line[:80]!r} is not a line of a labelmap.txt; expected name:red,green,blue::")
    return Row(name.strip(), None, _colour(numbers.groups()[:3]))


def _csv_rows(lines: Sequence[str], header: Sequence[str], mark: str) -> list[Row]:
    """Read the lines below a CSV header that names the columns."""
    place = {head: i for i, head in enumerate(header)}
    name = next(place[head] for head in NAME_HEADS if head in place)
    value = next((place[head] for head in VALUE_HEADS if head in place), None)
    colour = next(([place[c] for c in three] for three in COLOUR_HEADS if set(three) <= set(place)), None)
    rows = []
    for cells in csv.reader(lines, delimiter=mark, skipinitialspace=True):
        try:
            three = _colour([cells[i].strip() for i in colour]) if colour else None
            rows.append(Row(cells[name].strip(), None if value is None else int(cells[value]), three))
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{','.join(cells)[:80]!r} does not fit the header {','.join(header)}"
            ) from error
    return rows


def _json_rows(text: str) -> list[Row]:
    """Read a JSON list of names, or an object of numbers and names."""
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"neither JSON nor one class name a line ({error})") from error
    if isinstance(content, dict) and content and all(isinstance(v, str) for v in content.values()):
        if all(key.isdecimal() and len(key) < 6 for key in content):
            return [Row(name, int(key)) for key, name in content.items()]
    if isinstance(content, list) and content and all(isinstance(name, str) for name in content):
        return [Row(name) for name in content]
    raise ValueError("JSON of another kind; expected a list of class names, background first")


def _colour(numbers: Sequence[Any]) -> Colour:
    """Turn three numbers in text into a colour."""
    red, green, blue = (int(str(number)[:9]) for number in numbers)
    return red, green, blue
