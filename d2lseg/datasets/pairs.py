"""Find images and their masks in pairs, in the ways that people and tools lay them out.

Two folders, side by side, with a suffix on one of them, with folders for train, val and test; CVAT's
segmentation mask 1.1 and other folders in VOC layout are the case of two folders with known names.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..engine.class_tables import ClassTable
from ..engine.images import is_image_file
from .examination import Finding
from .masks import table_label
from .sources import LISTS, Item, Pair, Source, find_table, image_form, turn_doubt

IMAGE_FOLDERS = (
    "jpegimages", "images", "image", "imgs", "img", "photos", "rgb", "img_dir", "leftimg8bit", "input",
    "inputs",
)  # fmt: skip
MASK_FOLDERS = (
    "segmentationclass", "segmentationclasspng", "masks", "mask", "labels", "label", "annotations",
    "annotation", "ann_dir", "ann", "gt", "gtfine", "groundtruth", "ground_truth", "msk", "segmentation",
    "segmentations", "targets",
)  # fmt: skip
MASK_ENDS = (
    "_mask", "-mask", ".mask", "_masks", "_label", "-label", "_labels", "_seg", "_segmentation", "_gt", "_L",
    "_annotation", "_gtFine_labelIds", "_labelIds", "_target", " mask", "mask",
)  # fmt: skip
IMAGE_ENDS = ("", "_image", "_img", "_rgb", "_sat", "_leftImg8bit", "-image", "_photo")
LOSSY_SUFFIXES = (".jpg", ".jpeg")
Files = dict[str, Path]  # the files of a folder by their names without the suffix, with the folders below it


@dataclass
class Found:
    """Pairs of image and mask by ID, and what is left over."""

    how: str
    pairs: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    images: list[Path] = field(default_factory=list)
    masks: list[Path] = field(default_factory=list)
    faults: list[Finding] = field(default_factory=list)


def pair_source(
    folder: Path,
    masks: Path | None = None,
    suffix: str | None = None,
    mapping: Mapping[int, int] | None = None,
) -> Source | None:
    """Return the pairs in a folder, or in two; None if there is nothing of the kind.

    Parameters
    ----------
    folder : Path
        The images, or everything.
    masks : Path, optional
        The folder of the masks, if it is another one; a relative path counts from the current folder.
    suffix : str, optional
        What the name of a mask has behind that of its image, if it is not one of those in use.
    mapping : mapping of int to int, optional
        New index of each value in the masks.
    """
    parts = _by_split(folder, masks, suffix)
    if not any(found.pairs for _, found in parts):
        _check_one_mask_each([folder, *([masks] if masks else [])])
    if masks is None and not any(found.pairs or found.faults for _, found in parts):
        return None
    items, findings = [], []
    table = find_table(folder, *((masks,) if masks else ()), *_children(folder))
    for split, found in parts:
        for name, (image, mask) in found.pairs.items():
            items.append(Item(name, mask, functools.partial(_read, name, image, mask, mapping), split))
        findings += found.faults
        if not found.pairs and found.faults:
            continue  # without any pair, each file would be named
        for path in found.images:
            findings.append(Finding(f"{path}: no mask of this name", "draw one, or remove the image"))
        for path in found.masks:
            findings.append(Finding(f"{path}: no image of this name", "put it there, or remove the mask"))
    kind, why = _kind(folder, parts)
    return Source(kind, why, items, table=table, findings=findings)


def _kind(folder: Path, parts: Sequence[tuple[str, Found]]) -> tuple[str, str]:
    """Say what a folder is, and by what it was recognised."""
    count = sum(len(found.pairs) for _, found in parts)
    splits = [split for split, _ in parts if split]
    why = f"{count:,} pairs: {parts[0][1].how}" + (f", in {', '.join(splits)}" if splits else "")
    if (folder / "SegmentationClass").is_dir():
        cvat = (folder / "labelmap.txt").is_file()
        return ("CVAT segmentation mask 1.1" if cvat else "a folder in VOC layout"), why
    return "images and masks", why


def _children(folder: Path) -> list[Path]:
    """Return the visible folders directly inside a folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def _by_split(folder: Path, masks: Path | None, suffix: str | None) -> list[tuple[str, Found]]:
    """Look for pairs in a folder, or in its folders for train, val and test."""
    images, masks = (_images_folder(folder), masks) if masks else _two_folders(folder)
    if masks is not None:
        splits = {path.name: path for path in _children(images) if path.name.lower() in LISTS}
        splits = {name: path for name, path in splits.items() if (masks / name).is_dir()}
        if splits:
            return [
                (LISTS[name.lower()], _two(path, masks / name, suffix))
                for name, path in sorted(splits.items())
            ]
        two = _two(images, masks, suffix)
        beside = Found("") if two.pairs or images == folder else _side_by_side(images, suffix)
        return [("", beside if beside.pairs else two)]
    splits = {path.name: path for path in _children(folder) if path.name.lower() in LISTS}
    parts = [(LISTS[n.lower()], f) for n, path in splits.items() for _, f in _by_split(path, None, suffix)]
    parts = [(split, found) for split, found in parts if found.pairs]
    return parts or [("", _side_by_side(folder, suffix))]


def _two_folders(folder: Path) -> tuple[Path, Path | None]:
    """Return the folders of images and masks inside a folder, by the names that are in use."""
    children = {path.name.lower(): path for path in _children(folder)}
    masks = next((children[name] for name in MASK_FOLDERS if name in children), None)
    images = next((children[name] for name in IMAGE_FOLDERS if name in children), None)
    if masks is not None and images is None and masks.name == "SegmentationClass":
        images = folder / "JPEGImages"  # an export without images, which the faults then say
    return (folder, None) if masks is None or images is None else (images, masks)


def _images_folder(folder: Path) -> Path:
    """Return where the images of a folder are: in it, or in its only folder of such a name."""
    children = [path for path in _children(folder) if path.name.lower() in IMAGE_FOLDERS]
    return children[0] if len(children) == 1 and not any(map(is_image_file, folder.iterdir())) else folder


def _inside(folder: Path, other: Path) -> Path | None:
    """Return another folder as a path below this one, if it lies in it."""
    here, there = folder.resolve(), other.resolve()
    return folder / there.relative_to(here) if here in there.parents else None


def _files(folder: Path, faults: list[Finding], without: Path | None = None) -> Files:
    """Return the image files in a folder and below it, `without` one inside it; two of a name are a fault."""
    found: Files = {}
    if not folder.is_dir():
        faults.append(Finding(f"{folder}: no such folder", "put the files there, or check the path"))
        return found
    apart = _inside(folder, without) if without else None
    for path in sorted(folder.rglob("*")):
        if is_image_file(path) and apart not in path.parents:
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in found:
                faults.append(
                    Finding(
                        f"{path}: {found[key].name} has the same name", "rename one of them, or remove it"
                    )
                )
            found.setdefault(key, path)
    if not found:
        faults.append(
            Finding(f"{folder}: no images in this folder", "expected files of a kind that PIL reads")
        )
    return found


def _two(images: Path, masks: Path, suffix: str | None) -> Found:
    """Pair the files of two folders."""
    faults: list[Finding] = []
    photos, labels = _files(images, faults, masks), _files(masks, faults)
    found = _best(photos, labels, suffix)
    if photos and labels and not found.pairs:  # said once, and not of each file
        image, mask = min(photos.values()).relative_to(images), min(labels.values()).relative_to(masks)
        what = f"{images}: no image has a mask of its name in {masks}, folders included: {image} and {mask}"
        faults.append(Finding(what, "give the folder of the images itself, or --suffix, the masks' ending"))
    found.how = f"images in {images.name}, masks in {masks.name}{found.how}"
    found.faults = faults
    return found


def _check_one_mask_each(folders: Sequence[Path]) -> None:
    """Raise a ValueError if there is one mask for each label or class of an image, which is not read."""
    paths = sorted({path for folder in folders for path in folder.rglob("*") if is_image_file(path)})
    advice = "export it as COCO, which is imported, or draw the masks of each image into one"
    if tagged := [path for path in paths if re.match(r"task-\d+-annotation-.*tag-", path.name)]:
        raise ValueError(
            f"{tagged[0]}: Label Studio's PNG export has one file for each label, of which none says its "
            f"image; {advice}"
        )
    images = {path.stem for path in paths if path.suffix.lower() in LOSSY_SUFFIXES}
    several: dict[str, list[Path]] = {}
    for path in paths:
        ends = [path.stem[: end.start()] for end in re.finditer(r"[ _.-]", path.stem)]
        if path.stem not in images and (image := next((one for one in ends if one in images), None)):
            several.setdefault(image, []).append(path)
    each = max(several.values(), key=len, default=[])
    if len(each) > 1:
        raise ValueError(
            f"{each[0]} and {each[1].name}: two masks of one image, as if there were one for each class; "
            f"{advice}"
        )


def _side_by_side(folder: Path, suffix: str | None) -> Found:
    """Pair the files of one folder: masks with a suffix, or lossless files beside JPEGs of the same name."""
    paths = sorted(path for path in folder.rglob("*") if is_image_file(path)) if folder.is_dir() else []
    keys = {path: path.relative_to(folder).with_suffix("").as_posix() for path in paths}
    count = Counter(keys.values())
    same = {p for p in paths if count[keys[p]] == 2 and p.suffix.lower() not in LOSSY_SUFFIXES}
    ends = (suffix,) if suffix else MASK_ENDS
    ended = {p for p in paths if keys[p].endswith(ends) and not keys[p].endswith(IMAGE_ENDS[1:])}
    best = Found("")
    for masks in (same, ended):
        rest = {keys[p]: p for p in paths if p not in masks}
        found = _best(rest, {keys[p]: p for p in masks}, suffix)
        if len(found.pairs) > len(best.pairs):
            best = found
    best.how = f"image and mask side by side{best.how}"
    return best


def _best(images: Files, masks: Files, suffix: str | None) -> Found:
    """Pair files by name, with the endings that pair most."""
    if suffix is None:
        ends = ["", *MASK_ENDS, *_common_ends(images, masks)]
        tries = [(i, m) for m in ends for i in IMAGE_ENDS]
    else:
        tries = [(i, suffix) for i in IMAGE_ENDS]
    best: tuple[dict[str, tuple[str, str]], str, str] = ({}, "", "")
    for image_end, mask_end in tries:
        bases = {key[: len(key) - len(image_end)]: key for key in images if key.endswith(image_end)}
        matched = {b: (k, b + mask_end) for b, k in bases.items() if b and b + mask_end in masks}
        if len(matched) > len(best[0]):
            best = matched, image_end, mask_end
    matched, image_end, mask_end = best
    used = {key for pair in matched.values() for key in pair}
    return Found(
        f", names ending in {mask_end!r}" if mask_end else "",
        {base.replace("/", "_"): (images[i], masks[m]) for base, (i, m) in matched.items()},
        [path for key, path in images.items() if key not in used],
        [path for key, path in masks.items() if key not in used],
    )


def _common_ends(images: Files, masks: Files) -> list[str]:
    """Return the commonest ending that masks have behind the name of an image."""
    ends: Counter[str] = Counter()
    for key in masks:
        starts = [key[:length] for length in range(len(key) - 1, 0, -1)]
        longest = next((start for start in starts if start in images), None)
        if longest is not None and not key[len(longest)].isdigit():
            ends[key[len(longest) :]] += 1
    return [end for end, count in ends.most_common(3) if count > len(masks) / 2]


def _read(
    name: str,
    image: Path,
    mask: Path,
    mapping: Mapping[int, int] | None,
    table: ClassTable,
) -> Pair:
    """Read the size of an image, and its mask."""
    suffix, size = image_form(image, image)
    label, content = table_label(mask, table, mapping)
    if label.shape != size:
        raise ValueError(
            f"{mask}: {label.shape[0]} x {label.shape[1]} pixels (height x width), but {image} has {size[0]} "
            f"x {size[1]}; a mask must have the size of its image"
        )
    return Pair(name, image, suffix, label, content, turn_doubt(image))
