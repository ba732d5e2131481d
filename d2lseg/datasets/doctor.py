"""Examine a dataset: find everything that is wrong with it, and say how to fix it.

Files are read by the code that training uses, so this reports exactly what training would reject.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from .. import voc
from ..classes import VOID, ClassList, as_class_list, read_classes
from ..engine import images
from ..engine.files import user_path
from ..engine.layout import (
    IMAGE_SUFFIXES,
    MASK_SUFFIX,
    check_listed,
    file_names,
    file_names_of,
    list_path,
    pair_paths,
    read_ids,
)
from .class_order import check_order
from .examination import Examination, Finding, some

SPLITS = ("train", "val")
Classes = str | Path | ClassList | Sequence[str]
VOC2012_COUNTS = {"train": 1464, "val": 1449}
SMALL = 32  # pixels; one cell of a network's coarsest map
# replaces a list of classes that cannot be read, so that masks can still be opened and counted
_ANY = ClassList(tuple(f"class {i}" for i in range(VOID)))
_LEAK = "a score on training images says nothing; remove them from one of the lists"


@dataclass
class Split:
    """What is known about one list.

    Parameters
    ----------
    name : str
        ``"train"`` or ``"val"``.
    ids : list of str
        Its lines, duplicates included; empty if it cannot be read.
    sizes : list of (int, int)
        (height, width) of the readable images.
    counts : ndarray
        int64, (256,): pixels of each index in the readable masks.
    images : ndarray
        int64, (256,): in how many masks each index occurs.
    digests : dict of str to bytes
        A hash of each image file.
    """

    name: str
    ids: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    images: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    digests: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Report:
    """The findings in the order of the checks, what was measured in each list, and the classes."""

    findings: list[Finding]
    splits: list[Split]
    classes: ClassList

    @property
    def faults(self) -> list[Finding]:
        """The findings that are not warnings."""
        return [finding for finding in self.findings if not finding.warning]


def examine(voc_dir: str | Path, classes: Classes | None = None, progress: bool = False) -> Report:
    """Check a whole dataset, no matter what is wrong with it.

    Parameters
    ----------
    voc_dir : str or Path
        A folder in VOC layout.
    classes : path, ClassList or names, optional
        The classes, or a file with them; by default those that `voc.folder_classes` finds.
    progress : bool
        Show a progress bar.
    """
    folder = user_path(voc_dir)
    if not folder.is_dir():
        return Report([Finding(f"{folder}: no such folder", "check the path")], [], voc.VOC)
    there = _attempt(file_names, folder)[0]
    if there and there.isdisjoint(("ImageSets", "JPEGImages", "SegmentationClass")):
        what = f"{folder}: not a folder in VOC layout, with JPEGImages, SegmentationClass and ImageSets"
        advice = "if another tool has exported it, python -m d2lseg data import makes one of it"
        return Report([Finding(what, advice)], [], voc.VOC)
    table, findings = check_classes(folder, classes)
    splits = [Split(name) for name in SPLITS]
    for split in splits:
        findings += check_list(folder, split)
    others = other_lists(folder)
    findings += check_shared(folder, splits, others)
    findings += check_counts(folder, splits)
    findings += check_folders(folder, splits, set().union(*others.values()))
    examination = Examination()
    for split in splits:
        findings += check_pairs(folder, split, table, examination, progress)
    findings += check_same_content(splits)
    findings += examination.findings(folder, None if table is _ANY else table)
    findings += check_balance(splits, table)
    return Report(findings, splits, table)


def check_classes(folder: Path, path: Classes | None = None) -> tuple[ClassList, list[Finding]]:
    """Take the classes, from a file or from the folder; if that fails, return a list that fits any index."""
    if path is None:
        table, findings = _attempt(voc.folder_classes, folder)
    else:
        file = isinstance(path, (str, Path))
        table, findings = _attempt(read_classes if file else as_class_list, path)
        if table is not None:
            findings += check_order(folder, table, str(path) if file else "the list given")
    return table or _ANY, findings


def _attempt(read: Callable[..., Any], *arguments: Any) -> tuple[Any, list[Finding]]:
    """Return what a reader of `voc` returns, or None, and the error that it raises as a fault."""
    try:
        return read(*arguments), []
    except MemoryError:
        return None, [Finding(f"{arguments[0]}: does not fit into memory", "save a smaller copy")]
    except (ValueError, OSError) as error:
        return None, [Finding(str(error))]


def check_list(folder: Path, split: Split) -> list[Finding]:
    """Read the IDs of a list into `split`, and look for duplicates."""
    ids, findings = _attempt(read_ids, folder, split.name)
    split.ids = ids or []
    twice = [name for name, count in Counter(split.ids).items() if count > 1]
    if twice:
        path = folder / "ImageSets" / "Segmentation" / f"{split.name}.txt"
        findings.append(Finding(f"{path}: on the list twice: {some(twice)}", "remove the duplicates"))
    return findings


def check_shared(folder: Path, splits: Sequence[Split], others: Mapping[str, set[str]]) -> list[Finding]:
    """Look for validation images on a training list: train itself, or one of the other lists."""
    train, val = (set(split.ids) for split in splits)
    findings = []
    for name, ids in {"train": train, **others}.items():
        shared = sorted(ids & val)
        if shared and name.startswith("train") and name != "trainval":
            # SBD's own training list holds many images of VOC's val
            advice = _LEAK if name == "train" else "do not train on that list as it is"
            what = f"{folder}: on both lists, {name} and val: {some(shared)}"
            findings.append(Finding(what, advice, warning=name != "train"))
    return findings


def other_lists(folder: Path) -> dict[str, set[str]]:
    """Read the lists besides train and val, as far as they can be read."""
    names = [path.stem for path in list_path(folder, "train").parent.glob("*.txt") if path.stem not in SPLITS]
    lists = {name: _attempt(read_ids, folder, name)[0] for name in sorted(names)}
    return {name: set(ids) for name, ids in lists.items() if ids}


def _is_voc2012(folder: Path) -> bool:
    """Recognise VOC 2012 by the folder name of its archive, unless the set has a list of classes."""
    return folder.resolve().name == "VOC2012" and not os.path.lexists(folder / voc.CLASSES_FILE)


def check_counts(folder: Path, splits: Sequence[Split]) -> list[Finding]:
    """Compare the lengths of the lists with VOC 2012's, if the folder is called ``VOC2012``."""
    if not _is_voc2012(folder):
        return []
    return [
        Finding(
            f"{folder}: {len(split.ids):,} names on the list {split.name}; VOC 2012 has "
            f"{VOC2012_COUNTS[split.name]:,}",
            "unpack the archive again, or rename the folder if this is a dataset of your own",
        )
        for split in splits
        if len(split.ids) != VOC2012_COUNTS[split.name]
    ]


def check_folders(folder: Path, splits: Sequence[Split], elsewhere: set[str]) -> list[Finding]:
    """Compare the lists with the folders' contents, without opening a file.

    A listed name without an image or a mask is a fault. Files that no list names are warnings.
    """
    (photos, faults), (masks, more) = (
        _attempt(file_names, folder / part) for part in ("JPEGImages", "SegmentationClass")
    )
    photos, masks, findings = photos or set(), masks or set(), faults + more
    for split in splits:
        for name in dict.fromkeys(split.ids):
            if photos.isdisjoint(file_names_of(name, IMAGE_SUFFIXES)):
                findings.append(_missing(folder / "JPEGImages", name, IMAGE_SUFFIXES, photos, split.name))
            if masks.isdisjoint(file_names_of(name, (MASK_SUFFIX,))):
                findings.append(
                    _missing(folder / "SegmentationClass", name, (MASK_SUFFIX,), masks, split.name)
                )
    findings += _ambiguous(folder, photos)
    return findings + _unlisted(folder, splits, elsewhere, photos, masks)


def _missing(place: Path, name: str, suffixes: Sequence[str], there: set[str], split: str) -> Finding:
    """Report a listed file that does not exist, and similar ones that do."""
    others = sorted(file for file in there if os.path.splitext(file)[0].lower() == name.lower())
    what = f"{place / name}{suffixes[0]}: missing, but {split!r} lists it"
    if others:
        expected = " or ".join(f"{name}{suffix}" for suffix in suffixes)
        return Finding(what, f"there is {some(others)}: save it as {expected}")
    return Finding(what, "put it there, or remove it from the list")


def _ambiguous(folder: Path, photos: set[str]) -> Iterator[Finding]:
    """Find names with several images, only the first of which is read."""
    stems = Counter(
        os.path.splitext(file)[0] for file in photos if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES
    )
    several = sorted(stem for stem, count in stems.items() if count > 1)
    if several:
        order = ", ".join(IMAGE_SUFFIXES)
        what = f"{folder / 'JPEGImages'}: several images with one name: {some(several)}"
        yield Finding(what, f"the first of {order} is read; remove the others", warning=True)


def _unlisted(
    folder: Path, splits: Sequence[Split], elsewhere: set[str], photos: set[str], masks: set[str]
) -> list[Finding]:
    """Find images and masks that no list names."""
    if _is_voc2012(folder):  # it has 14,212 images for other tasks, without masks and on no list
        return []
    listed = {name for split in splits for name in split.ids} | elsewhere
    image, mask = ({os.path.splitext(file)[0] for file in names} - listed for names in (photos, masks))
    kinds = {
        "image and mask, but on no list": image & mask,
        "an image without a mask, on no list": image - mask,
        "a mask without an image, on no list": mask - image,
    }
    advice = "never read; complete the pair and list it, or remove the file"
    return [
        Finding(f"{folder}: {kind}: {some(sorted(names))}", advice, warning=True)
        for kind, names in kinds.items()
        if names
    ]


def check_pairs(
    folder: Path, split: Split, table: ClassList, examination: Examination, progress: bool = False
) -> list[Finding]:
    """Read every image and mask on a list, fill in what is measured, and report every fault of each pair."""
    findings: list[Finding] = []
    for name in tqdm(dict.fromkeys(split.ids), desc=f"reading {split.name}", disable=not progress):
        image_path, mask_path = pair_paths(folder, name)
        image = label = None
        if os.path.lexists(image_path):  # what is missing has been reported
            image, faults = _attempt(_read_image, image_path, split, examination)
            findings += faults
        if os.path.lexists(mask_path):
            label, faults = _attempt(_read_mask, mask_path, split, table, examination)
            findings += faults
        findings += _check_pair(image, label, image_path, mask_path)
        if image is not None:
            split.sizes.append((image.shape[1], image.shape[2]))
        if label is not None:
            found = np.bincount(label.numpy().ravel(), minlength=256)
            split.counts += found
            split.images += found > 0
    return findings


def _read_image(path: Path, split: Split, examination: Examination) -> Tensor:
    """Read an image, and keep a hash of its file."""
    check_listed(split.name, path)
    image = voc.read_image(path)
    examination.add_image(path)
    split.digests[path.stem] = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
    return image


def _read_mask(path: Path, split: Split, table: ClassList, examination: Examination) -> Tensor:
    """Read a mask."""
    check_listed(split.name, path)
    mask = images.read_mask(path)
    label = voc.mask_label(mask, table, str(path))
    examination.add_palette(path, mask)
    examination.add_label(label.numpy())
    return label


def _check_pair(
    image: Tensor | None, label: Tensor | None, image_path: Path, mask_path: Path
) -> Iterator[Finding]:
    """Check the sizes, and whether the mask has a labelled pixel."""
    if image is not None and label is not None:
        yield from _attempt(images.check_pair, image, label, f"{image_path} and its mask")[1]
    if image is not None and max(image.shape[1:]) < SMALL:
        size = "x".join(map(str, image.shape[1:]))
        what = f"{image_path}: {size} pixels, less than one cell of a network's map ({SMALL}x{SMALL})"
        yield Finding(what, "is it a thumbnail? Replace it with the image itself", warning=True)
    if label is not None and (label == VOID).all():
        yield Finding(f"{mask_path}: all void", "nothing can be learned from it; label it", warning=True)


def check_same_content(splits: Sequence[Split]) -> list[Finding]:
    """Look for one image on both lists under two names, in lists that have been read."""
    train, val = splits
    names: dict[bytes, list[str]] = defaultdict(list)
    for name, digest in train.digests.items():
        names[digest].append(name)
    return [
        Finding(f"the image {name!r} of val is the same file as {some(names[digest])} of train", _LEAK)
        for name, digest in val.digests.items()
        if any(other != name for other in names.get(digest, ()))
    ]


def check_balance(splits: Sequence[Split], table: ClassList) -> list[Finding]:
    """Look for classes that never occur, or once, and for mostly void masks, in lists that have been read."""
    findings = []
    for split in (split for split in splits if split.counts.any()):
        absent = [n for n, c in zip(table.names, split.counts, strict=False) if not c]
        if absent and table is not _ANY:
            what = f"never in the masks of {split.name}: {some(absent)}"
            advice = {"train": "it cannot be learned", "val": "it will have no score"}[split.name]
            findings.append(Finding(what, f"{advice}; add images with it", warning=True))
        once = [n for n, c in zip(table.names, split.images, strict=False) if c == 1]
        if once and split.name == "val" and table is not _ANY:
            what = f"in one image of val only: {some(once)}"
            findings.append(Finding(what, "its score is that image's; add images with it", warning=True))
        share = split.counts[VOID] / split.counts.sum()
        if share > 0.5:
            what = f"{share:.0%} of the pixels of {split.name} are void"
            findings.append(Finding(what, f"void is {VOID}; was it used for the background?", warning=True))
    return findings


def summary(report: Report) -> list[str]:
    """Return lines on the images and sizes of each list, and on each class's share of pixels and images."""
    lines = []
    for split in report.splits:
        words = f"{split.name:<8}{len(split.sizes):,} of {len(split.ids):,} images read"
        if split.sizes:
            (h, w), (tall, wide) = np.min(split.sizes, 0), np.max(split.sizes, 0)
            words += f", {h} to {tall} pixels high and {w} to {wide} wide"
        lines.append(words)
    read = [split for split in report.splits if split.counts.any()]
    if not read:
        return lines
    lines += ["", f"{'class':24}" + "".join(f"{s.name + ' pixels':>14}{'images':>10}" for s in read)]
    rows = [(i, name) for i, name in enumerate(report.classes.names) if any(s.counts[i] for s in read)]
    totals = {s.name: s.counts[:VOID].sum() for s in read}
    lines += [f"{n[:23]:24}" + "".join(_cells(s, i, totals[s.name]) for s in read) for i, n in rows]
    lines.append(f"{'void (of all pixels)':24}" + "".join(_cells(s, VOID, s.counts.sum()) for s in read))
    return lines


def _cells(split: Split, index: int, total: int) -> str:
    """Return the share of an index in the pixels, and in how many images it occurs."""
    return f"{split.counts[index] / max(total, 1):>14.2%}{split.images[index]:>10,}"
