"""Convert LabelMe files or plain index masks to a folder in VOC layout with its own classes.

The new folder appears when it is complete, an error leaves nothing behind, and an existing folder is never
overwritten. Image files are copied as they are, not re-encoded.
"""

from __future__ import annotations

import base64
import io
import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageDraw
from tqdm.auto import tqdm

from ..classes import VOID, ClassList, write_classes
from ..engine.files import check_free, folder_written_whole, read_text
from ..engine.layout import IMAGE_SUFFIXES
from ..voc import CLASSES_FILE, write_mask

VOID_LABELS = ("__ignore__", "void")  # labels of regions to leave out
HOLE_LABEL = "_background_"  # LabelMe's own name for "no object"; the name of class 0 works as well
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # the lossless ones
FARTHEST = 10**6  # how many pixels outside the image a point may lie
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png"}

Point = tuple[float, float]  # (x, y) in pixels from the upper left corner of the image
Shape = Mapping[str, Any]  # as in a LabelMe file: "label", "points", "shape_type", "group_id", "mask"


@dataclass(frozen=True)
class Pair:
    """An image and its label on the way into a folder."""

    name: str  # the ID
    image: Path | bytes  # the file, or its content
    suffix: str  # of the new file: ".jpg", ".jpeg" or ".png"
    label: np.ndarray  # uint8 (H, W), class indices and 255 for void


# --- Shapes -------------------------------------------------------------------------------------------------


def shape_mask(shape: Shape, height: int, width: int) -> np.ndarray:
    """Return which pixels of an image belong to a shape, as a bool array (height, width).

    The corner (x, y) lies in the pixel at column floor(x), row floor(y). A polygon has the pixels whose
    centres lie inside the polygon through the centres of its corners' pixels, by the even-odd rule, and the
    pixels of its outline, as ``PIL.ImageDraw`` draws it; LabelMe's own export does the same. It differs from
    the exact polygon only in pixels whose centre is less than 1.5 pixels from the outline; Pillow before 11.3
    draws a few more beside some polygons. A rectangle has all pixels from one corner's to the other's, a
    circle those whose centres lie inside it or on it.

    Parameters
    ----------
    shape : mapping
        ``points`` is a list of [x, y]; ``shape_type`` says what they are: the corners of a "polygon" (the
        default) or an "oriented_rectangle", two opposite corners of a "rectangle", the centre of a "circle"
        and a point on it, or the box of a "mask", whose image is in ``mask``.
    height, width : int
        Size of the image; what lies outside is cut off.

    Raises
    ------
    ValueError
        If the type is unknown, or the points do not fit it.
    """
    kind = shape.get("shape_type") or "polygon"
    if kind not in _DRAW:
        raise ValueError(
            f"shape_type {kind!r}; expected {', '.join(_DRAW)}, which have an area. Delete the shape, or "
            "draw it again as a polygon"
        )
    canvas = Image.new("1", (width, height))
    _DRAW[kind](canvas, _points(shape, kind), shape)
    return np.array(canvas)


def _points(shape: Shape, kind: str) -> list[Point]:
    """Return the points of a shape, checked."""
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a {kind} without a list of points [x, y] ({error!r})") from error
    if not all(abs(value) < FARTHEST for point in points for value in point):  # false for NaN too
        raise ValueError(f"a {kind} with a point that is not a number, or {FARTHEST} pixels away or farther")
    expected = {"polygon": 3, "oriented_rectangle": 4}.get(kind, 2)
    if len(points) < expected or (len(points) > expected and kind != "polygon"):
        more = " or more" if kind == "polygon" else ""
        raise ValueError(f"a {kind} with {len(points)} points; expected {expected}{more}")
    return points


def _draw_polygon(canvas: Image.Image, points: list[Point], shape: Shape) -> None:
    corners = [(math.floor(x), math.floor(y)) for x, y in points]
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)


def _draw_rectangle(canvas: Image.Image, points: list[Point], shape: Shape) -> None:
    left, right = sorted(math.floor(x) for x, _ in points)
    top, bottom = sorted(math.floor(y) for _, y in points)
    ImageDraw.Draw(canvas).rectangle([left, top, right, bottom], fill=1)


def _draw_circle(canvas: Image.Image, points: list[Point], shape: Shape) -> None:
    (x, y), on_circle = points
    rows, columns = np.ogrid[: canvas.height, : canvas.width]
    inside = np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= math.dist((x, y), on_circle)
    canvas.paste(Image.fromarray(inside))


def _draw_mask(canvas: Image.Image, points: list[Point], shape: Shape) -> None:
    """Paste the shape's own image, whose values other than 0 belong to it, at the corner of its box."""
    left, top = (math.floor(value) for value in points[0])
    try:
        content = base64.b64decode(shape["mask"], validate=True)
        with Image.open(io.BytesIO(content)) as image:
            inside = np.array(image.convert("L")) > 0
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"a mask without an encoded image ({error!r})") from error
    canvas.paste(1, (left, top), Image.fromarray(inside))


_DRAW: dict[str, Callable[[Image.Image, list[Point], Shape], None]] = {
    "polygon": _draw_polygon,
    "oriented_rectangle": _draw_polygon,
    "rectangle": _draw_rectangle,
    "circle": _draw_circle,
    "mask": _draw_mask,
}


def shapes_label(shapes: Sequence[Shape], height: int, width: int, names: Sequence[str]) -> np.ndarray:
    """Draw the shapes of an image, later ones over earlier ones, as a uint8 label (height, width).

    A shape labelled "__ignore__" or "void" becomes 255. One labelled "_background_", or with the name of
    class 0, is a hole: if it has a ``group_id``, it is cut out of the other shapes of that group, and what
    they cover shows through; if not, it becomes background.

    Parameters
    ----------
    shapes : sequence of mapping
        As in a LabelMe file, see `shape_mask`.
    height, width : int
        Size of the image.
    names : sequence of str
        Name of each class index, background first.

    Raises
    ------
    ValueError
        If a label is not a class, or a shape cannot be drawn; the message has its number and label.
    """
    indices = {name: index for index, name in enumerate(names)} | {HOLE_LABEL: 0}
    indices |= {name: VOID for name in VOID_LABELS if name not in names}
    drawn = []
    for number, shape in enumerate(shapes, start=1):
        name = shape.get("label")
        if name not in indices:
            raise ValueError(
                f"shape {number} has the label {name!r}; expected one of {', '.join(names)}, or "
                f"{' or '.join(VOID_LABELS)}. Correct it, or add it to the classes"
            )
        try:
            drawn.append((indices[name], shape.get("group_id"), shape_mask(shape, height, width)))
        except ValueError as error:
            raise ValueError(f"shape {number}, {name!r}: {error}") from error
    label = np.zeros((height, width), np.uint8)
    for index, group, mask in drawn:
        if index == 0 and group is not None:
            continue  # a hole in its group, cut out below
        for other, its_group, hole in drawn:
            if other == 0 and group is not None and its_group == group:
                mask = mask & ~hole
        label[mask] = index
    return label


# --- LabelMe files ------------------------------------------------------------------------------------------


def read_labelme(path: str | Path, names: Sequence[str]) -> Pair:
    """Read a LabelMe file and draw its shapes.

    Parameters
    ----------
    path : str or Path
        The JSON file. Its image is the file it names or, if that does not exist, the one inside it
        (``imageData``).
    names : sequence of str
        Name of each class index, background first.

    Raises
    ------
    FileNotFoundError
        If the file does not exist, or neither image does.
    ValueError
        If it is not a LabelMe file, a shape has an unknown label or cannot be drawn, or the image is not the
        size that the file says, or neither JPEG nor PNG. The message names the file.
    """
    path = Path(path)
    content = _read_json(path)
    image, where = _find_image(path, content)
    suffix, size = _suffix_and_size(image, where)
    said = (content.get("imageHeight") or size[0], content.get("imageWidth") or size[1])
    if said != size:
        raise ValueError(
            f"{path}: drawn on {said[0]} x {said[1]} pixels (height x width), but {where} has {size[0]} x "
            f"{size[1]}; it is another image, or was resized. Put the original there, or label it again"
        )
    try:
        label = shapes_label(content["shapes"], *size, names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Pair(path.stem, image, suffix, label)


def _read_json(path: Path) -> dict[str, Any]:
    """Return the content of a LabelMe file."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not a JSON file ({error}); expected a file saved by LabelMe") from error
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise ValueError(f"{path}: no list of shapes in it; expected a file saved by LabelMe")
    for number, shape in enumerate(shapes, start=1):
        if not isinstance(shape.get("label"), str):
            raise ValueError(f"{path}: shape {number} has the label {shape.get('label')!r}; expected a name")
    return content


def _find_image(path: Path, content: Mapping[str, Any]) -> tuple[Path | bytes, Path]:
    """Return the image of a LabelMe file, as a path or as its content, and the file that contains it."""
    # a file saved on Windows says ..\photos\a.jpg
    beside = path.parent / str(content.get("imagePath") or "").replace("\\", "/")
    if beside.is_file():
        return beside, beside
    if not content.get("imageData"):
        raise FileNotFoundError(
            f"{beside}: no such image, and {path} has none inside (imageData); put the image there"
        )
    try:
        return base64.b64decode(content["imageData"], validate=True), path
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: its imageData is not base64 ({error}); save it again") from error


def _suffix_and_size(image: Path | bytes, where: Path) -> tuple[str, tuple[int, int]]:
    """Return the suffix for an image's format, and its (height, width) when upright."""
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            kind, (width, height) = opened.format or "", opened.size
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: its image cannot be read ({error}); replace it") from error
    if kind not in SUFFIXES:
        raise ValueError(f"{where}: its image is a {kind}; expected JPEG or PNG. Save it as PNG")
    return SUFFIXES[kind], (width, height) if turned else (height, width)


def labelme_names(paths: Iterable[str | Path]) -> tuple[str, ...]:
    """Return "background" and the other labels in LabelMe files in alphabetical order, without void's.

    Raises FileNotFoundError and ValueError as `read_labelme` does.
    """
    found = {shape["label"] for path in paths for shape in _read_json(Path(path))["shapes"]}
    return ("background", *sorted(found - {"background", HOLE_LABEL, *VOID_LABELS}))


def from_labelme(
    folder: str | Path,
    out: str | Path,
    classes: ClassList | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    lists: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Make a folder in VOC layout, ready for `voc.VOCSegDataset`, from images labelled with LabelMe.

    Parameters
    ----------
    folder : str or Path
        A folder of JSON files, one per image. Their names become the IDs.
    out : str or Path
        The folder to make.
    classes : ClassList, optional
        The labels to accept; by default `labelme_names`, those that occur.
    val_share, seed
        Share of the images for validation and the seed of the choice, see `split`.
    lists : mapping of str to sequence of str, optional
        The IDs of each list, instead of a random split: ``{"train": [...], "val": [...]}``.

    Raises
    ------
    FileExistsError
        If ``out`` already exists.
    FileNotFoundError, ValueError
        If there is no JSON file, or as `read_labelme` and `split` do. The message names the file.
    """
    paths = sorted(path for path in Path(folder).glob("*.json") if not path.name.startswith("."))
    if not paths:
        raise FileNotFoundError(f"{folder}: no *.json in this folder; expected files saved by LabelMe")
    try:
        table = classes or ClassList(labelme_names(paths))
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from error
    lists = lists or split([path.stem for path in paths], val_share, seed)
    return _write(out, len(paths), (read_labelme(path, table.names) for path in paths), table, lists)


# --- Plain masks --------------------------------------------------------------------------------------------


def read_index_mask(
    path: str | Path, num_classes: int, mapping: Mapping[int, int] | None = None
) -> np.ndarray:
    """Read a mask of class indices, renumbered if there is a mapping, as a uint8 label (H, W).

    Parameters
    ----------
    path : str or Path
        A greyscale or palette image of 1, 8, 16 or 32 bits.
    num_classes : int
        Number of classes C; the label contains 0..C-1, and 255 for void.
    mapping : mapping of int to int, optional
        New index of each old value. It must name every value but 255, which stays void by default.

    Raises
    ------
    ValueError
        If the file is not such an image, or a value is not a class; the message names file, value and place.
    """
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.array(image)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a mask ({error}); replace it") from error
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise ValueError(
            f"{path}: its PIL mode is {mode!r}; expected one value per pixel, greyscale or palette. A mask "
            "in the classes' colours can be read as it is: see data/README.md on folders in VOC layout"
        )
    known = {VOID: VOID} | (dict(mapping) if mapping is not None else {i: i for i in range(num_classes)})
    for old, new in known.items():
        if not (0 <= new < num_classes or new == VOID):
            raise ValueError(f"the mapping turns {old} into {new}; expected 0..{num_classes - 1} or {VOID}")
    found, places = np.unique(values, return_inverse=True)
    for value in found.tolist():
        if value not in known:
            place = tuple(int(i) for i in np.argwhere(values == value)[0])
            expected = f"0..{num_classes - 1}" if mapping is None else "a value in the mapping"
            raise ValueError(
                f"{path}: value {int(value)} at (row, column) {place} is not a class; expected {expected}, "
                f"or {VOID} for void. Correct the mask, or map old values to new ones"
            )
    renumbered = np.array([known[value] for value in found.tolist()], np.uint8)
    return renumbered[places].reshape(values.shape)


def from_masks(
    images: str | Path,
    masks: str | Path,
    out: str | Path,
    classes: ClassList,
    mapping: Mapping[int, int] | None = None,
    val_share: float = 0.2,
    seed: int = 0,
    lists: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Make a folder in VOC layout, ready for `voc.VOCSegDataset`, from a folder of images and one of masks.

    Parameters
    ----------
    images : str or Path
        JPEG and PNG files. Their names without the suffix become the IDs.
    masks : str or Path
        A mask of the same name for each image (PNG, BMP or TIFF), see `read_index_mask`.
    out : str or Path
        The folder to make.
    classes : ClassList
        What the indices mean, after the mapping.
    mapping : mapping of int to int, optional
        New index of each value in the masks, see `read_index_mask`.
    val_share, seed, lists
        As in `from_labelme`.

    Raises
    ------
    FileExistsError
        If ``out`` already exists.
    FileNotFoundError
        If an image has no mask or a mask no image, or a folder is missing or empty.
    ValueError
        If two images share a name, a mask is unreadable or not the size of its image, or as `split` does. The
        message names the file.
    """
    found = _by_stem(Path(images), IMAGE_SUFFIXES)
    beside = _by_stem(Path(masks), MASK_SUFFIXES)
    for name in sorted(found.keys() ^ beside.keys()):
        have, other, what = (found, masks, "mask") if name in found else (beside, images, "image")
        raise FileNotFoundError(f"{have[name]}: no {what} of this name in {other}")
    lists = lists or split(list(found), val_share, seed)
    pairs = (_masked_pair(found[name], beside[name], len(classes.names), mapping) for name in found)
    return _write(out, len(found), pairs, classes, lists)


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the images in a folder by their names without the suffix."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(f"{path}: {found[path.stem].name} has the same name; rename one of them")
        found[path.stem] = path
    if not found:
        raise FileNotFoundError(f"{folder}: no images in this folder; expected {', '.join(suffixes)}")
    return found


def _masked_pair(image: Path, mask: Path, num_classes: int, mapping: Mapping[int, int] | None) -> Pair:
    """Read the size of an image, and its mask."""
    suffix, size = _suffix_and_size(image, image)
    label = read_index_mask(mask, num_classes, mapping)
    if label.shape != size:
        raise ValueError(
            f"{mask}: {label.shape[0]} x {label.shape[1]} pixels (height x width), but {image} has {size[0]} "
            f"x {size[1]}; a mask must have the size of its image"
        )
    return Pair(image.stem, image, suffix, label)


# --- Lists and folders --------------------------------------------------------------------------------------


def split(
    names: Sequence[str],
    val_share: float = 0.2,
    seed: int = 0,
    source: Callable[[str], Any] | None = None,
) -> dict[str, list[str]]:
    """Divide images at random into ``"train"`` and ``"val"``, each a sorted list of IDs.

    Parameters
    ----------
    names : sequence of str
        The IDs, in any order.
    val_share : float
        Share to validate on, above 0 and below 1. Each list gets at least one image, or one source.
    seed : int
        The same seed gives the same lists.
    source : callable, optional
        Maps an ID to the source of its image (a film, a place, a patient). A source goes into one list as a
        whole; otherwise validation images would resemble training images more than new ones do.

    Raises
    ------
    ValueError
        If the share is out of range, an ID occurs twice, or there are fewer than two images or sources.
    """
    if not 0 < val_share < 1:
        raise ValueError(f"val_share is {val_share}; expected a share above 0 and below 1, such as 0.2")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise ValueError(f"the name {twice[0]!r} occurs twice; rename one of the files")
    groups: dict[Any, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(source(name) if source else name, []).append(name)
    if len(groups) < 2:
        what = "source" if source else "image"
        raise ValueError(f"{len(groups)} {what}; expected 2 or more, one to train on and one to validate on")
    keys = list(groups)
    val: list[str] = []
    for key in np.random.default_rng(seed).permutation(len(keys))[:-1]:  # the last is left to train on
        if val and len(val) >= round(val_share * len(names)):
            break
        val += groups[keys[key]]
    return {"train": sorted(set(names) - set(val)), "val": sorted(val)}


def _check_lists(lists: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    """Raise if a list is empty or names a missing image, or if an image is in both lists."""
    for key in ("train", "val"):
        if not lists.get(key):
            raise ValueError(f"the list {key!r} is missing or empty; expected at least one ID")
    for key, members in lists.items():
        if missing := sorted(set(members) - set(names)):
            raise ValueError(f"the list {key!r} names {missing[0]!r}, but there is no such image")
    if both := sorted(set(lists["train"]) & set(lists["val"])):
        raise ValueError(f"{both[0]!r} is in both lists; do not validate on an image that is trained on")


def _write(
    out: str | Path,
    count: int,
    pairs: Iterable[Pair],
    classes: ClassList,
    lists: Mapping[str, Sequence[str]],
) -> Path:
    """Write a folder in VOC layout."""
    check_free(out)  # now, and not after the work
    with folder_written_whole(out) as draft:
        write_classes(draft / CLASSES_FILE, classes)
        _check_lists(lists, _write_pairs(draft, tqdm(pairs, total=count, leave=False, disable=None), classes))
        folder = draft / "ImageSets" / "Segmentation"
        folder.mkdir(parents=True)
        for key, members in lists.items():
            text = "".join(f"{name}\n" for name in members)
            (folder / f"{key}.txt").write_text(text, encoding="utf-8", newline="\n")
    return Path(out)


def _write_pairs(draft: Path, pairs: Iterable[Pair], classes: ClassList) -> list[str]:
    """Write images and masks, and return their IDs."""
    images, masks, names = draft / "JPEGImages", draft / "SegmentationClass", []
    images.mkdir()
    masks.mkdir()
    for pair in pairs:
        if pair.name.splitlines() != [pair.name.strip()]:
            raise ValueError(f"the name {pair.name!r} begins or ends with a blank; rename the file")
        target = images / f"{pair.name}{pair.suffix}"
        if isinstance(pair.image, bytes):
            target.write_bytes(pair.image)
        else:
            shutil.copyfile(pair.image, target)
        write_mask(masks / f"{pair.name}.png", pair.label, classes)
        names.append(pair.name)
    return names
