"""Examine a dataset: find all that is wrong with it, and say what to do about each fault.

Reading is `voc`'s own: what it refuses is reported here with its words, and what it takes is no fault here.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from .. import voc
from ..classes import VOID, ClassList, read_classes
from ..engine.images import check_pair
from ..engine.layout import IMAGE_SUFFIXES, check_listed, file_names, pair_paths, read_ids

SPLITS = ("train", "val")
VOC2012_COUNTS = {"train": 1464, "val": 1449}
SMALL = 32  # pixels; one cell of a network's coarsest map
# stands in for a list of classes that cannot be read, so that masks can still be opened and counted
_ANY = ClassList(tuple(f"class {i}" for i in range(VOID)))


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or strange.

    Parameters
    ----------
    what : str
        What was found, and where.
    advice : str
        What to do; empty where ``what`` says it already.
    warning : bool
        Whether training works all the same.
    """

    what: str
    advice: str = ""
    warning: bool = False

    def __str__(self) -> str:
        words = f"{self.what}; {self.advice}" if self.advice else self.what
        # one line each, whatever a file's name or a library's message holds
        return f"{'warning' if self.warning else 'fault'}: {' '.join(words.split())}"


@dataclass
class Split:
    """What is known of one list.

    Parameters
    ----------
    name : str
        ``"train"`` or ``"val"``.
    ids : list of str
        Its lines, those that come twice included; empty where it cannot be read.
    sizes : list of (int, int)
        (height, width) of the pictures that could be read.
    counts : ndarray
        int64, (256,): pixels of each index in the masks that could be read.
    pictures : ndarray
        int64, (256,): masks in which each index occurs.
    digests : dict of str to bytes
        A short name for the content of each image file.
    """

    name: str
    ids: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    pictures: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    digests: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Report:
    """What came out.

    Parameters
    ----------
    findings : list of Finding
        In the order of the checks.
    splits : list of Split
        What was measured, by list.
    classes : ClassList
        The classes of the masks.
    """

    findings: list[Finding]
    splits: list[Split]
    classes: ClassList

    @property
    def faults(self) -> list[Finding]:
        """The findings that are no warnings."""
        return [finding for finding in self.findings if not finding.warning]


def examine(voc_dir: str | Path, classes: str | Path | None = None, progress: bool = False) -> Report:
    """Go through a dataset, through all of it, whatever is wrong.

    Parameters
    ----------
    voc_dir : str or Path
        A folder in VOC layout.
    classes : str or Path, optional
        A file with the classes; by default those that `voc.folder_classes` finds.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Report
        Also where there is nothing that could be read.
    """
    folder = Path(voc_dir)
    if not folder.is_dir():
        return Report([Finding(f"{folder}: no such folder", "check the path")], [], voc.VOC)
    table, findings = check_classes(folder, classes)
    splits = [Split(name) for name in SPLITS]
    for split in splits:
        findings += check_list(folder, split)
    findings += check_shared(folder, splits)
    findings += check_counts(folder, splits)
    findings += check_folders(folder, splits)
    for split in splits:
        findings += check_pairs(folder, split, table, progress)
    findings += check_same_content(splits)
    findings += check_balance(splits, table)
    return Report(findings, splits, table)


def check_classes(folder: Path, path: str | Path | None = None) -> tuple[ClassList, list[Finding]]:
    """Read the list of classes.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    path : str or Path, optional
        The file, where it is not the folder's own.

    Returns
    -------
    tuple of ClassList and list of Finding
        The classes; where they cannot be read a list that takes any index.
    """
    read = (lambda: read_classes(path)) if path is not None else (lambda: voc.folder_classes(folder))
    table, findings = _attempt(read)
    return table or _ANY, findings


def _attempt(read: Callable[..., Any], *arguments: Any) -> tuple[Any, list[Finding]]:
    """Give what a function of `voc` reads, or the fault that it names."""
    try:
        return read(*arguments), []
    except MemoryError:
        return None, [Finding(f"{arguments[0]}: too large for the memory", "save a smaller copy")]
    except (ValueError, OSError) as error:
        return None, [Finding(str(error))]


def check_list(folder: Path, split: Split) -> list[Finding]:
    """Read a list, and look for names that come twice.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    split : Split
        Its ``ids`` are filled in.

    Returns
    -------
    list of Finding
        Empty where all is well.
    """
    ids, findings = _attempt(read_ids, folder, split.name)
    split.ids = ids or []
    twice = [name for name, count in Counter(split.ids).items() if count > 1]
    if twice:
        path = folder / "ImageSets" / "Segmentation" / f"{split.name}.txt"
        findings.append(Finding(f"{path}: twice on the list: {_some(twice)}", "take each off once"))
    return findings


def check_shared(folder: Path, splits: Sequence[Split]) -> list[Finding]:
    """Look for names that are on both lists.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    splits : sequence of Split
        Both lists.

    Returns
    -------
    list of Finding
        Empty where all is well.
    """
    train, val = (split.ids for split in splits)
    both = [name for name in dict.fromkeys(train) if name in set(val)]
    if not both:
        return []
    what = f"{folder}: on the lists train and val: {_some(both)}"
    return [Finding(what, "a score on what was trained on says nothing: take each off one of the lists")]


def _is_voc2012(folder: Path) -> bool:
    """Tell Pascal VOC 2012 from other sets by the name that its archive gives the folder, and its classes."""
    return folder.resolve().name == "VOC2012" and not os.path.lexists(folder / voc.CLASSES_FILE)


def check_counts(folder: Path, splits: Sequence[Split]) -> list[Finding]:
    """Compare the lengths of the lists with those of Pascal VOC 2012, where this should be it.

    Parameters
    ----------
    folder : Path
        Of the dataset. It is taken for VOC 2012 where its name is ``VOC2012``, as in the archive, and it has
        no ``classes.txt``.
    splits : sequence of Split
        The lists.

    Returns
    -------
    list of Finding
        Empty where all is well.
    """
    if not _is_voc2012(folder):
        return []
    return [
        Finding(
            f"{folder}: {len(split.ids):,} names on the list {split.name}; VOC 2012 has "
            f"{VOC2012_COUNTS[split.name]:,}",
            "unpack the archive again, or give a set of your own another name than VOC2012",
        )
        for split in splits
        if len(split.ids) != VOC2012_COUNTS[split.name]
    ]


def check_folders(folder: Path, splits: Sequence[Split]) -> list[Finding]:
    """Compare the lists with what lies in the folders, without opening a file.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    splits : sequence of Split
        The lists.

    Returns
    -------
    list of Finding
        A listed name without image or mask is a fault. What no list names is never read: warnings.
    """
    (images, faults), (masks, more) = (
        _attempt(file_names, folder / part) for part in ("JPEGImages", "SegmentationClass")
    )
    images, masks, findings = images or set(), masks or set(), faults + more
    for split in splits:
        for name in dict.fromkeys(split.ids):
            there = any(f"{name}{suffix}" in images for suffix in IMAGE_SUFFIXES)
            if not there:
                findings.append(_missing(folder / "JPEGImages", name, IMAGE_SUFFIXES, images, split.name))
            if f"{name}.png" not in masks:
                findings.append(_missing(folder / "SegmentationClass", name, (".png",), masks, split.name))
    findings += _ambiguous(folder, images)
    return findings + _unlisted(folder, splits, images, masks)


def _missing(place: Path, name: str, suffixes: Sequence[str], there: set[str], split: str) -> Finding:
    """Say that a listed file is not there, and what there is in its stead."""
    others = sorted(file for file in there if os.path.splitext(file)[0].lower() == name.lower())
    what = f"{place / name}{suffixes[0]}: missing, but {split!r} lists it"
    if others:
        expected = " or ".join(f"{name}{suffix}" for suffix in suffixes)
        return Finding(what, f"there is {_some(others)}: save it as {expected}")
    return Finding(what, "put it there, or take it off the list")


def _ambiguous(folder: Path, images: set[str]) -> Iterator[Finding]:
    """Find names with several images, of which only the first is read."""
    stems = Counter(
        os.path.splitext(file)[0] for file in images if os.path.splitext(file)[1] in IMAGE_SUFFIXES
    )
    several = sorted(stem for stem, count in stems.items() if count > 1)
    if several:
        order = ", ".join(IMAGE_SUFFIXES)
        what = f"{folder / 'JPEGImages'}: several images of one name: {_some(several)}"
        yield Finding(what, f"of {order} the first is read; take away the others", warning=True)


def _unlisted(folder: Path, splits: Sequence[Split], images: set[str], masks: set[str]) -> list[Finding]:
    """Find pictures that no list names."""
    if _is_voc2012(folder):  # which has 14,212 images for other tasks, without masks and on no list
        return []
    listed = {name for split in splits for name in split.ids}
    stems = [{os.path.splitext(file)[0] for file in names} - listed for names in (images, masks)]
    kinds = {
        "image and mask, but on no list": stems[0] & stems[1],
        "an image without a mask, on no list": stems[0] - stems[1],
        "a mask without an image, on no list": stems[1] - stems[0],
    }
    advice = "they are never read; complete and list them, or take them away"
    return [
        Finding(f"{folder}: {kind}: {_some(sorted(names))}", advice, warning=True)
        for kind, names in kinds.items()
        if names
    ]


def check_pairs(folder: Path, split: Split, table: ClassList, progress: bool = False) -> list[Finding]:
    """Read every image and every mask of a list.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    split : Split
        Its sizes, counts and digests are filled in.
    table : ClassList
        The classes of the masks.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    list of Finding
        Of each pair all faults: of the image, of the mask, and of their sizes.
    """
    findings = []
    for name in tqdm(dict.fromkeys(split.ids), desc=f"reading {split.name}", disable=not progress):
        image_path, mask_path = pair_paths(folder, name)
        image = label = None
        if os.path.lexists(image_path):  # what is missing has been reported
            image, faults = _attempt(_read_image, image_path, split)
            findings += faults
        if os.path.lexists(mask_path):
            label, faults = _attempt(_read_mask, mask_path, split, table)
            findings += faults
        findings += _check_pair(image, label, image_path, mask_path)
        if image is not None:
            split.sizes.append((image.shape[1], image.shape[2]))
        if label is not None:
            found = np.bincount(label.numpy().ravel(), minlength=256)
            split.counts += found
            split.pictures += found > 0
    return findings


def _read_image(path: Path, split: Split) -> Tensor:
    """Read an image, and note what its file holds."""
    check_listed(split.name, path)
    image = voc.read_image(path)
    split.digests[path.stem] = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    return image


def _read_mask(path: Path, split: Split, table: ClassList) -> Tensor:
    check_listed(split.name, path)
    return voc.read_mask(path, table)


def _check_pair(
    image: Tensor | None, label: Tensor | None, image_path: Path, mask_path: Path
) -> Iterator[Finding]:
    """Check what concerns both, where both could be read."""
    if image is not None and label is not None:
        yield from _attempt(check_pair, image, label, f"{image_path} and its mask")[1]
    if image is not None and max(image.shape[1:]) < SMALL:
        size = "x".join(map(str, image.shape[1:]))
        what = f"{image_path}: {size} pixels, less than one cell of a network's map ({SMALL}x{SMALL})"
        yield Finding(what, "is it a thumbnail? Put the picture itself there", warning=True)
    if label is not None and (label == VOID).all():
        yield Finding(f"{mask_path}: all void", "nothing can be learned from it; label it", warning=True)


def check_same_content(splits: Sequence[Split]) -> list[Finding]:
    """Look for images that are on both lists under two names.

    Parameters
    ----------
    splits : sequence of Split
        Both lists, read already.

    Returns
    -------
    list of Finding
        One for each pair of equal files.
    """
    train, val = splits
    names = defaultdict(list)
    for name, digest in train.digests.items():
        names[digest].append(name)
    return [
        Finding(
            f"the image {name!r} of val is the same file as {_some(names[digest])} of train",
            "a score on what was trained on says nothing: take one off its list",
        )
        for name, digest in val.digests.items()
        if any(other != name for other in names.get(digest, ()))
    ]


def check_balance(splits: Sequence[Split], table: ClassList) -> list[Finding]:
    """Look for classes that never occur, and for masks that are mostly void.

    Parameters
    ----------
    splits : sequence of Split
        The lists, read already.
    table : ClassList
        The classes.

    Returns
    -------
    list of Finding
        Warnings.
    """
    findings = []
    for split in (split for split in splits if split.counts.any()):
        absent = [n for n, c in zip(table.names, split.counts, strict=False) if not c]
        if absent and table is not _ANY:
            what = f"never in the masks of {split.name}: {_some(absent)}"
            advice = {"train": "it cannot be learned", "val": "it will have no score"}[split.name]
            findings.append(Finding(what, f"{advice}; add pictures with it", warning=True))
        share = split.counts[VOID] / split.counts.sum()
        if share > 0.5:
            what = f"{share:.0%} of the pixels of {split.name} are void"
            findings.append(Finding(what, f"void is {VOID}; is it used for the background?", warning=True))
    return findings


def _some(names: Iterable[str], most: int = 5) -> str:
    """Write a few of many names."""
    names = list(names)
    shown = ", ".join(map(str, names[:most]))
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def summary(report: Report) -> list[str]:
    """Write down what the dataset holds.

    Parameters
    ----------
    report : Report
        What `examine` gave.

    Returns
    -------
    list of str
        Lines: pictures and sizes of each list, then a table of each class's share of the labelled pixels and
        of the pictures it is in.
    """
    lines = []
    for split in report.splits:
        words = f"{split.name:<8}{len(split.sizes):,} of {len(split.ids):,} pictures read"
        if split.sizes:
            (h, w), (tall, wide) = np.min(split.sizes, 0), np.max(split.sizes, 0)
            words += f", {h} to {tall} pixels high and {w} to {wide} wide"
        lines.append(words)
    read = [split for split in report.splits if split.counts.any()]
    if not read:
        return lines
    lines += ["", f"{'class':24}" + "".join(f"{s.name + ' pixels':>14}{'pictures':>10}" for s in read)]
    rows = [(i, name) for i, name in enumerate(report.classes.names) if any(s.counts[i] for s in read)]
    totals = {s.name: s.counts[:VOID].sum() for s in read}
    lines += [f"{n[:23]:24}" + "".join(_cells(s, i, totals[s.name]) for s in read) for i, n in rows]
    lines.append(f"{'void (of all pixels)':24}" + "".join(_cells(s, VOID, s.counts.sum()) for s in read))
    return lines


def _cells(split: Split, index: int, total: int) -> str:
    """Write the share of one index in the pixels, and in how many pictures it is."""
    return f"{split.counts[index] / max(total, 1):>14.2%}{split.pictures[index]:>10,}"
