"""Compare a list of classes that is given for a dataset with the one that lies in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..classes import VOC_CLASSES, ClassList
from ..engine.class_tables import ClassTable, background_first, means_background
from ..voc import CLASSES_FILE
from .examination import Finding, some
from .sources import find_table

Names = dict[int, str]  # the name of each number in the masks


def check_order(folder: Path, given: ClassList, where: str) -> list[Finding]:
    """Look for classes whose numbers in the masks the dataset's own list says otherwise.

    A name that stands at another number is a fault: its pixels would be learned as another class. Other names
    for the same numbers are a warning, as somebody may wish to call the classes something else. Without a
    list in the folder nothing is known, and nothing is found.

    Parameters
    ----------
    folder : Path
        The dataset.
    given : ClassList
        The classes to be used.
    where : str
        The file they are from, as errors name it.
    """
    own, source = _own_names(folder, given)
    return compare(own, source, dict(enumerate(given.names)), where)


def compare(own: Names, source: str, given: Names, where: str) -> list[Finding]:
    """Compare the names in the file `source`, by which masks are numbered, with those in the file `where`."""
    numbers = {name: number for number, name in own.items()}
    moved = [(number, name) for number, name in given.items() if numbers.get(name, number) != number]
    if moved:
        number, name = moved[0]
        what = f"{where}: {name!r} is class {number}, but class {numbers[name]} in {source}, which names the "
        what += "numbers in these masks"
        order = ", ".join(own[number] for number in sorted(own))
        advice = f"give the names in its order ({order}), or leave --classes out"
        return [Finding(what, f"{advice}. If yours is right, put it in the place of that file")]
    renamed = [(number, name) for number, name in given.items() if own.get(number, name) != name]
    if renamed:
        words = some(f"class {number} {name!r} for {own[number]!r}" for number, name in renamed)
        what = f"{where}: other names than in {source}: {words}"
        return [Finding(what, "is that meant?", warning=True)]
    return []


def numbered(table: ClassTable) -> Names:
    """Return the names of a table of classes by their numbers in the masks."""
    values: Sequence[int] = table.values or range(len(table.names))
    return dict(zip(values, table.names, strict=True))


def _own_names(folder: Path, given: ClassList) -> tuple[Names, str]:
    """Return the names in the folder's list, by number, and the file; VOC's for all of its names."""
    try:
        found = find_table(folder)
    except (ValueError, OSError):  # somebody's notes, or a list that is not used now
        found = None
    if found is not None:
        table, path = background_first(found[0]), found[1]
        # other tools' lists may begin with the first object, so that their lines are no numbers
        if path.name == CLASSES_FILE or means_background(table.names[0]):
            return numbered(table), str(path)
    elif set(given.names) == set(VOC_CLASSES):
        return dict(enumerate(VOC_CLASSES)), "VOC's list"
    return {}, ""
