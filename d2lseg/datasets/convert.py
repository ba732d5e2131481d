"""Import a dataset in another tool's form as a folder in VOC layout with its own classes.

The new folder appears when it is complete, an error leaves nothing behind, and an existing folder is never
overwritten. JPEG and PNG files are copied as they are, not re-encoded; other formats are saved as PNG.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..classes import VOID, ClassList, as_class_list, write_classes
from ..engine.class_tables import BACKGROUND, ClassTable, background_first, means_background
from ..engine.files import check_free, folder_written_whole, user_path
from ..voc import CLASSES_FILE
from .class_order import compare, numbered
from .examination import BadFiles as BadFiles
from .examination import Examination, Finding, some, stop_at
from .labelme import labelme_names as labelme_names
from .labelme import read_labelme as read_labelme
from .lists import check_lists, choose_lists, unknown, unlisted, write_lists
from .lists import split as split
from .masks import advise_together
from .masks import read_index_mask as read_index_mask
from .recognise import recognise
from .shapes import shape_mask as shape_mask
from .shapes import shapes_label as shapes_label
from .sources import Item, Source, read_table, unique_items
from .writing import write_pairs

Classes = ClassList | Sequence[str] | str | Path


@dataclass(frozen=True)
class Imported:
    """What `import_dataset` made: the folder, what it recognised, and what the user should know."""

    folder: Path
    recognised: str
    findings: list[Finding]


def import_dataset(
    source: str | Path,
    out: str | Path,
    classes: Classes | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    lists: Mapping[str, Sequence[str]] | None = None,
    skip_bad: bool = False,
    told: Callable[[str], object] = lambda line: None,
    **options: Any,
) -> Imported:
    """Make a folder in VOC layout, ready for `voc.VOCSegDataset`, from a dataset in another tool's form.

    Parameters
    ----------
    source : str or Path
        What `recognise` takes: LabelMe, COCO, CVAT's masks, or images and masks in pairs.
    out : str or Path
        The folder to make.
    classes : ClassList, names or path, optional
        The classes, or a file that lists them; by default the table that lies with the dataset, or else the
        labels that occur.
    val_share, seed
        Share of the images for validation and the seed of the choice, see `split`; unused where the source
        has lists train and val.
    lists : mapping of str to sequence of str, optional
        The IDs of each list, instead of any other: ``{"train": [...], "val": [...]}``.
    skip_bad : bool
        Leave out images that cannot be used, and report them as warnings.
    told : callable
        Called with a line that says what was recognised, before the work begins.
    **options
        Further parameters of `recognise`.

    Returns
    -------
    Imported
        The folder, and what the user should know about it.

    Raises
    ------
    FileExistsError
        If ``out`` already exists.
    FileNotFoundError, ValueError
        If something is wrong with one file, or with the dataset; the message names it.
    BadFiles
        If something is wrong with several.
    """
    out = user_path(out)
    check_free(out)  # now, and not after the work
    found = recognise(source, **options)
    if not found.items:  # then classes are not what is missing
        stop_at(source, found.findings, ())
    mapping = options.get("mapping")
    table, where, findings = _table(found, classes, source, mapping)
    recognised = f"{found.kind} ({found.why}), classes from {where}"
    told(f"{source}: {recognised}")
    items = unique_items(found.items)
    with folder_written_whole(out) as draft:
        result = ClassList(table.names, table.colours)
        _write_classes(draft, result, source)
        kept, errors, examination = write_pairs(draft, items, table, result)
        errors, advice = advise_together(errors, examination.counts, table, mapping)
        # what 255 means is known from a mapping, or part of the advice on masks that are to be corrected
        known = VOID in (mapping or ()) or (advice and not skip_bad)
        whole = [*_twice(items), *examination.findings(source, result, void=not known)]
        if advice and len(errors) > 1:
            whole.append(Finding(f"{source}: {advice}", warning=skip_bad))
        parts = [] if skip_bad else found.findings
        stop_at(source, [*whole, *parts], [] if skip_bad else errors.values())
        if not kept:
            first = next((str(error) for error in [*errors.values(), *found.findings]), "there is none")
            raise ValueError(f"{source}: no image can be used, the first: {first}")
        findings += [finding for finding in whole if finding.warning]
        findings += [Finding(f"left out: {error}", warning=True) for error in errors.values()]
        findings += [
            f if f.warning else Finding(f"left out: {f.what}", f.advice, True) for f in found.findings
        ]
        findings += _absent(source, examination, result, findings)
        chosen = (
            check_lists(lists, [*kept, *errors], kept)
            if lists
            else choose_lists(found, items, kept, val_share, seed)
        )
        findings += [*unlisted(source, chosen, kept), *unknown(source, found.lists, items)]
        write_lists(draft, chosen)
    return Imported(out, recognised, findings)


def from_labelme(
    folder: str | Path,
    out: str | Path,
    classes: Classes | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    lists: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> Path:
    """Make a folder in VOC layout from images labelled with LabelMe: `import_dataset` for this form.

    What the user should know is a Python warning.

    Parameters
    ----------
    folder : str or Path
        A folder of JSON files, one per image. Their names become the IDs.
    classes : ClassList, names or path, optional
        The labels to accept; by default `labelme_names`, those that occur.
    out, val_share, seed, lists, **options
        As in `import_dataset`.
    """
    return _warned(import_dataset(folder, out, classes, val_share, seed, lists, form="labelme", **options))


def from_masks(
    images: str | Path,
    masks: str | Path,
    out: str | Path,
    classes: Classes,
    mapping: Mapping[int, int] | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    lists: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> Path:
    """Make a folder in VOC layout from images and masks in two folders: `import_dataset` for this form.

    What the user should know is a Python warning.

    Parameters
    ----------
    images : str or Path
        Image files. Their names without the suffix become the IDs.
    masks : str or Path
        A mask for each image, of the same name or with the same ending behind it.
    classes : ClassList, names or path
        What the indices mean, after the mapping; or what the colours mean.
    mapping : mapping of int to int, optional
        New index of each value in the masks, see `read_index_mask`.
    out, val_share, seed, lists, **options
        As in `import_dataset`.
    """
    options |= {"masks": masks, "mapping": mapping}
    return _warned(import_dataset(images, out, classes, val_share, seed, lists, **options))


def _warned(imported: Imported) -> Path:
    """Tell a caller in Python what the command line prints."""
    for finding in imported.findings:
        warnings.warn(str(finding).removeprefix("warning: "), stacklevel=3)
    return imported.folder


def _table(
    found: Source, classes: Classes | None, source: str | Path, mapping: Mapping[int, int] | None
) -> tuple[ClassTable, str, list[Finding]]:
    """Choose the classes, given, listed beside the data or met in it, and say where they are from."""
    if isinstance(classes, (str, Path)):
        table, where = read_table(user_path(classes)), str(classes)
    elif classes is not None:
        given = as_class_list(classes)
        table, where = ClassTable(given.names, given.colours, None), "the call"
    elif found.table is not None:
        table, where = found.table[0], found.table[1].name
    elif found.names is not None:
        table, where = ClassTable(tuple(found.names()), None, None), "the labels that occur"
    else:
        raise ValueError(
            f"{source}: no list of classes beside the masks; write one class name a line, background first, "
            "into a file, with the colours of the masks if they are painted, and give it with --classes FILE"
        )
    in_order = background_first(table)
    try:
        ClassList(table.names, table.colours)
    except ValueError as error:
        raise ValueError(f"{source}: {error} (classes from {where})") from error
    confirmed = classes is not None or (mapping is not None and found.names is None)
    listed = None if confirmed or found.table is None else found.table[1]
    findings = _background(in_order.names, source, listed, found.names is not None)
    findings += _alike(in_order.names, source)
    if isinstance(classes, (str, Path)) and mapping is None and not table.colours:
        findings += _order(found, in_order, where, source)
    if in_order != table:
        where = f"{where}, of which {in_order.names[0]} becomes class 0"
    return in_order, where, findings


def _order(found: Source, given: ClassTable, where: str, source: str | Path) -> list[Finding]:
    """Compare a list that was given for numbered masks with the one beside them; stop at another order."""
    if found.table is None or found.names is not None:  # shapes say their class by name
        return []
    own = background_first(found.table[0])
    if not means_background(own.names[0]):  # then its lines may count from 1
        return []
    findings = compare(numbered(own), str(found.table[1]), numbered(given), where)
    stop_at(source, findings, ())
    return findings


def _write_classes(draft: Path, classes: ClassList, source: str | Path) -> None:
    """Write the list of classes; an error names the source, and not the draft."""
    try:
        write_classes(draft / CLASSES_FILE, classes)
    except ValueError as error:
        raise ValueError(f"{source}: {str(error).removeprefix(f'{draft / CLASSES_FILE}: ')}") from error


def _background(names: Sequence[str], source: str | Path, listed: Path | None, drawn: bool) -> list[Finding]:
    """Check that class 0 is the background, which no shape covers where shapes are `drawn`.

    Another name is refused in a list that was found beside the data (`listed`): it may well begin with the
    first object, and each number would then get a wrong name. A list given by hand is taken, with a warning.
    """
    place = next((i for i, name in enumerate(names) if i and name.lower() in ("background", BACKGROUND)), 0)
    if drawn and place:
        raise ValueError(
            f"{source}: {names[place]} is class {place}; what no shape covers becomes class 0, so put "
            "background first in the list of classes"
        )
    if means_background(names[0]):
        return []
    if listed:
        doubt = f"but {names[place]} is class {place}" if place else "is it missing, or called void"
        raise ValueError(
            f"{listed}: class 0 would be {names[0]!r}, and class 0 is the background: {doubt}? Put "
            f"background first in it; or, if {names[0]!r} is right, confirm the list with --classes {listed}"
        )
    what = "what no shape covers becomes {!r}, class 0" if drawn else "class 0, the background, is {!r}"
    advice = "is that right? If not, put background first in the list of classes"
    return [Finding(f"{source}: {what.format(names[0])}", advice, warning=True)]


def _alike(names: Sequence[str], source: str | Path) -> list[Finding]:
    """Look for names that may be one class, written in two ways."""
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(" ".join(name.lower().split()), []).append(repr(name))
    return [
        Finding(
            f"{source}: the classes {' and '.join(same)} differ only in capitals or spaces",
            "if they are one, give them one name",
            warning=True,
        )
        for same in alike.values()
        if len(same) > 1
    ]


def _twice(items: Sequence[Item]) -> list[Finding]:
    """Look for two images that would get one ID."""
    count = Counter(item.name.casefold() for item in items)
    places = [item.where for item in items if count[item.name.casefold()] > 1]
    if not places:
        return []
    return [Finding(f"images of one name: {some(places)}", "rename all but one of them")]


def _absent(
    source: str | Path, examination: Examination, classes: ClassList, told: Sequence[Finding]
) -> list[Finding]:
    """Look for classes that no mask holds, unless that has been told together with its reason."""
    absent = examination.absent(classes)
    if not absent or any("never in the masks" in finding.what for finding in told):
        return []
    return [Finding(f"{source}: never in the masks: {some(absent)}", "is the list of classes right?", True)]
