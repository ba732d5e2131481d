"""Compare a list of classes that is given for a dataset with the one that lies in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..classes import VOC_CLASSES, ClassList
from ..engine.class_tables import background_first
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
    numbers = {name: index for index, name in own.items()}
    moved = [(i, name) for i, name in enumerate(given.names) if numbers.get(name, i) != i]
    if moved:
        index, name = moved[0]
        what = f"{where}: {name!r} is class {index}, but class {numbers[name]} in {source}, which names the "
        what += "numbers in these masks"
        order = ", ".join(own[i] for i in sorted(own))
        advice = (
            f"give the names in its order ({order}), or leave --classes out. If yours is right, put it in "
        )
        return [Finding(what, f"{advice}the place of that file")]
    renamed = [(i, name) for i, name in enumerate(given.names) if own.get(i, name) != name]
    if renamed:
        words = some(f"class {i} {name!r}, not {own[i]!r}" for i, name in renamed)
        return [Finding(f"{where} calls {words} as {source} does", "is that meant?", warning=True)]
    return []


def _own_names(folder: Path, given: ClassList) -> tuple[Names, str]:
    """Return the names in the folder's list, by number, and the file; VOC's for all of its names."""
    try:
        found = find_table(folder)
    except (ValueError, OSError):  # somebody's notes, or a list that is not used now
        found = None
    if found is not None:
        table = background_first(found[0])
        values: Sequence[int] = table.values or range(len(table.names))
        return dict(zip(values, table.names, strict=True)), str(found[1])
    if set(given.names) == set(VOC_CLASSES):
        return dict(enumerate(VOC_CLASSES)), "VOC's list"
    return {}, ""
