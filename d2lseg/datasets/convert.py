"""From other formats to a folder in VOC layout with classes of its own: LabelMe files, plain index masks.

A new folder is built beside its place and renamed when it is whole, so that an error leaves nothing behind,
and an existing folder is never written over. Pictures are copied as they are, never encoded anew.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tqdm.auto import tqdm

from ..classes import VOID, ClassList, write_classes
from ..engine.files import read_text
from ..engine.layout import IMAGE_SUFFIXES
from ..voc import CLASSES_FILE, write_mask

VOID_LABELS = ("__ignore__", "void")  # of shapes that nobody shall be asked about
HOLE_LABEL = "_background_"  # LabelMe's own name of what is no object; that of class 0 does as well
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # without loss
FARTHEST = 10**6  # pixels that a point may lie outside of a picture
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png"}


@dataclass(frozen=True)
class Pair:
    """A picture on its way into a folder.

    Parameters
    ----------
    name : str
        Its ID.
    image : Path or bytes
        The image file, or its content.
    suffix : str
        Of the file's name, ".jpg", ".jpeg" or ".png".
    label : ndarray
        uint8 (H, W), class indices and 255 for void.
    """

    name: str
    image: Path | bytes
    suffix: str
    label: np.ndarray


# --- Polygons -----------------------------------------------------------------------------------------------


def shape_mask(shape: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """Tell which pixels belong to a shape.

    The corner (x, y) lies in the pixel of column floor(x) and row floor(y). A polygon has the pixels whose
    centres lie inside the polygon through the centres of its corners' pixels, by the even-odd rule, and the
    pixels of its outline, as ``PIL.ImageDraw`` draws it; LabelMe's own export does the same. From the exact
    polygon it differs only in pixels whose centre is less than 1.5 pixels from the outline. A rectangle has
    all pixels from one corner's to the other's, a circle those whose centres lie in it or on it.

    Parameters
    ----------
    shape : mapping
        As in a LabelMe file: ``shape_type`` ("polygon" where there is none, "oriented_rectangle" by its four
        corners, "rectangle" by two opposite ones, "circle" by its centre and a point on it, "mask" by a box
        and an encoded picture) and ``points``, a list of [x, y] in pixels from the picture's upper left
        corner.
    height, width : int
        Of the picture. What lies outside is cut off.

    Returns
    -------
    ndarray
        bool (height, width).

    Raises
    ------
    ValueError
        If the shape is of another kind, or its points are not those of its kind.
    """
    kind = shape.get("shape_type") or "polygon"
    if kind not in _KINDS:
        raise ValueError(
            f"a shape of the kind {kind!r}; expected {', '.join(_KINDS)}, which have an area. Delete it, or "
            "draw it again as a polygon"
        )
    points = _points(shape, kind)
    canvas = Image.new("1", (width, height))
    _KINDS[kind](canvas, points, shape)
    return np.array(canvas)


def _points(shape: Mapping[str, Any], kind: str) -> list[tuple[float, float]]:
    """Read the points of a shape."""
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a {kind} without a list of points [x, y] ({error!r})") from error
    if not all(abs(value) < FARTHEST for point in points for value in point):  # false for NaN too
        raise ValueError(f"a {kind} with a point that is no number, or {FARTHEST} pixels away or farther")
    expected = {"polygon": 3, "oriented_rectangle": 4}.get(kind, 2)
    if len(points) < expected or (len(points) > expected and kind != "polygon"):
        more = " or more" if kind == "polygon" else ""
        raise ValueError(f"a {kind} with {len(points)} points; expected {expected}{more}")
    return points


def _draw_polygon(canvas: Image.Image, points: list[tuple[float, float]], shape: Mapping) -> None:
    corners = [(math.floor(x), math.floor(y)) for x, y in points]
    ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)


def _draw_rectangle(canvas: Image.Image, points: list[tuple[float, float]], shape: Mapping) -> None:
    left, right = sorted(math.floor(x) for x, _ in points)
    top, bottom = sorted(math.floor(y) for _, y in points)
    ImageDraw.Draw(canvas).rectangle([left, top, right, bottom], fill=1)


def _draw_circle(canvas: Image.Image, points: list[tuple[float, float]], shape: Mapping) -> None:
    """Fill the pixels whose centres are no farther from the centre than the point on the circle."""
    (x, y), on_it = points
    rows, columns = np.ogrid[: canvas.height, : canvas.width]
    inside = np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= math.dist((x, y), on_it)
    canvas.paste(Image.fromarray(inside))


def _draw_mask(canvas: Image.Image, points: list[tuple[float, float]], shape: Mapping) -> None:
    """Paste the picture inside the shape, of zeros and other values, with its corner in the box's."""
    left, top = (math.floor(value) for value in points[0])
    try:
        content = base64.b64decode(shape["mask"], validate=True)
        with Image.open(io.BytesIO(content)) as picture:
            belongs = np.array(picture.convert("L")) > 0
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"a mask without an encoded picture ({error!r})") from error
    canvas.paste(1, (left, top), Image.fromarray(belongs))


_KINDS = {
    "polygon": _draw_polygon,
    "oriented_rectangle": _draw_polygon,
    "rectangle": _draw_rectangle,
    "circle": _draw_circle,
    "mask": _draw_mask,
}


def shapes_label(
    shapes: Sequence[Mapping[str, Any]], height: int, width: int, names: Sequence[str]
) -> np.ndarray:
    """Paint the shapes of a picture, the later ones over the earlier ones.

    Parameters
    ----------
    shapes : sequence of mapping
        As in a LabelMe file: each with ``label``, ``points``, ``shape_type`` and ``group_id``.
    height, width : int
        Of the picture.
    names : sequence of str
        Name of each class index, background first.

    Returns
    -------
    ndarray
        uint8 (height, width). A shape with the label "__ignore__" or "void" becomes 255. One with
        "_background_", or with the name of class 0, is a hole: with a ``group_id`` it is cut out of the other
        shapes with that number, and what they cover is seen through it; without one it becomes background.

    Raises
    ------
    ValueError
        If a label is no class's, or a shape cannot be drawn; the message has the shape's number and label.
    """
    indices = {name: index for index, name in enumerate(names)} | {HOLE_LABEL: 0}
    indices |= {name: VOID for name in VOID_LABELS if name not in names}
    drawn = []
    for number, shape in enumerate(shapes, start=1):
        name = shape.get("label")
        if name not in indices:
            raise ValueError(
                f"shape {number} has the label {name!r}, which is no class; expected one of "
                f"{', '.join(names)}, or {' or '.join(VOID_LABELS)}. Correct it, or add it to the classes"
            )
        try:
            drawn.append((indices[name], shape.get("group_id"), shape_mask(shape, height, width)))
        except ValueError as error:
            raise ValueError(f"shape {number}, {name!r}: {error}") from error
    label = np.zeros((height, width), np.uint8)
    for index, group, mask in drawn:
        if index == 0 and group is not None:
            continue  # a hole in its group, cut below
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
        The JSON file.
    names : sequence of str
        Name of each class index, background first.

    Returns
    -------
    Pair
        With the picture beside the file, or, where it is not there, the one inside it (``imageData``).

    Raises
    ------
    FileNotFoundError
        If there is no such file, or neither picture.
    ValueError
        If it is not a LabelMe file, a shape has an unknown label or cannot be drawn, or the picture has
        another size than the file says, or another format than JPEG or PNG. The message names the file.
    """
    path = Path(path)
    content = _read_json(path)
    image, suffix, (height, width) = _labelled_picture(path, content)
    try:
        label = shapes_label(content["shapes"], height, width, names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Pair(path.stem, image, suffix, label)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a LabelMe file."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not a JSON file ({error}); expected one that LabelMe has saved") from error
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise ValueError(f"{path}: no list of shapes in it; expected a file that LabelMe has saved")
    for number, shape in enumerate(shapes, start=1):
        if not isinstance(shape.get("label"), str):
            raise ValueError(f"{path}: shape {number} has the label {shape.get('label')!r}; expected a name")
    return content


def _labelled_picture(path: Path, content: Mapping[str, Any]) -> tuple[Path | bytes, str, tuple[int, int]]:
    """Find the picture that a LabelMe file is about: its file or content, its suffix and its size."""
    # a file saved on Windows says ..\photos\a.jpg
    beside = path.parent / str(content.get("imagePath") or "").replace("\\", "/")
    if beside.is_file():
        image, where = beside, beside
    elif content.get("imageData"):
        where = path
        try:
            image = base64.b64decode(content["imageData"], validate=True)
        except (TypeError, binascii.Error) as error:
            raise ValueError(f"{path}: its imageData is not in base64 ({error})") from error
    else:
        raise FileNotFoundError(
            f"{beside}: no such picture, and {path} has none inside (imageData); put the picture there"
        )
    suffix, size = _format_and_size(image, where)
    keys = ("imageHeight", "imageWidth")
    said = tuple(content.get(key) or have for key, have in zip(keys, size, strict=True))
    if said != size:
        raise ValueError(
            f"{path}: drawn on {said[0]} x {said[1]} pixels (height x width), but {where} has {size[0]} x "
            f"{size[1]}; it is another picture, or was resized"
        )
    return image, suffix, size


def _format_and_size(image: Path | bytes, where: Path) -> tuple[str, tuple[int, int]]:
    """Look into a picture: the suffix for its format, and (height, width) when it is held upright."""
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            kind, size, turned = opened.format, opened.size, opened.getexif().get(0x0112, 1) >= 5
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: its picture cannot be read ({error})") from error
    if kind not in SUFFIXES:
        raise ValueError(f"{where}: its picture is a {kind}; expected JPEG or PNG. Save it as PNG")
    return SUFFIXES[kind], size if turned else size[::-1]


def labelme_names(paths: Iterable[str | Path]) -> tuple[str, ...]:
    """Collect the labels of LabelMe files.

    Parameters
    ----------
    paths : iterable of path
        The JSON files.

    Returns
    -------
    tuple of str
        "background", and the other labels in alphabetical order, those for void left out.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_labelme` does.
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
    """Make a folder in VOC layout of pictures that were labelled with LabelMe.

    Parameters
    ----------
    folder : str or Path
        With the JSON files, one a picture. Their names become the IDs.
    out : str or Path
        The folder to make.
    classes : ClassList, optional
        Which labels there may be; by default those that occur, see `labelme_names`.
    val_share : float
        Share of the pictures for validation, see `split`.
    seed : int
        Of the split.
    lists : mapping of str to sequence of str, optional
        For each list its IDs, in place of a split by chance: ``{"train": [...], "val": [...]}``.

    Returns
    -------
    Path
        The new folder, ready for `voc.VOCSegDataset`.

    Raises
    ------
    FileExistsError
        If ``out`` is there already.
    FileNotFoundError
        If there is no JSON file, or no picture for one.
    ValueError
        As in `read_labelme` and `split`. The message names the file, and nothing is left behind.
    """
    paths = sorted(path for path in Path(folder).glob("*.json") if not path.name.startswith("."))
    if not paths:
        raise FileNotFoundError(f"{folder}: no *.json in this folder; expected what LabelMe has saved")
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
    """Read a mask whose values are class numbers, and give them new ones where that is asked for.

    Parameters
    ----------
    path : str or Path
        A greyscale or palette picture, of 1, 8 or 16 bits.
    num_classes : int
        Number of classes C.
    mapping : mapping of int to int, optional
        New index of each old value. A value that it does not name is an error, but 255, which stays void.

    Returns
    -------
    ndarray
        uint8 (H, W), 0..C-1 and 255 for void.

    Raises
    ------
    ValueError
        If the file is no such picture, or a value is no class's; the message names file, value and place.
    """
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.array(image)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a mask ({error})") from error
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise ValueError(
            f"{path}: its PIL mode is {mode!r}; expected one value a pixel, greyscale or palette. A mask in "
            "the classes' colours can be read as it is: see data/README.md on folders in VOC layout"
        )
    known = {value: value for value in range(num_classes)} if mapping is None else dict(mapping)
    known = {VOID: VOID} | known
    for old, new in known.items():
        if not (0 <= new < num_classes or new == VOID):
            raise ValueError(f"the mapping turns {old} into {new}; expected 0..{num_classes - 1} or {VOID}")
    found, places = np.unique(values, return_inverse=True)
    for value in found.tolist():
        if value not in known:
            place = tuple(int(i) for i in np.argwhere(values == value)[0])
            expected = f"0..{num_classes - 1}" if mapping is None else "one that the mapping names"
            raise ValueError(
                f"{path}: value {int(value)} at (row, column) {place} is no class; expected {expected}, or "
                f"{VOID} for void. Correct the mask, or give a mapping of old values to new ones"
            )
    new = np.array([known[value] for value in found.tolist()], np.uint8)
    return new[places].reshape(values.shape)


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
    """Make a folder in VOC layout of a folder of pictures and one of masks.

    Parameters
    ----------
    images : str or Path
        JPEG and PNG files. Their names without suffix become the IDs.
    masks : str or Path
        For each a mask of the same name (PNG, BMP or TIFF), see `read_index_mask`.
    out : str or Path
        The folder to make.
    classes : ClassList
        What the numbers mean, after the mapping.
    mapping : mapping of int to int, optional
        New class index of each value in the masks, see `read_index_mask`.
    val_share, seed, lists
        As in `from_labelme`.

    Returns
    -------
    Path
        The new folder, ready for `voc.VOCSegDataset`.

    Raises
    ------
    FileExistsError
        If ``out`` is there already.
    FileNotFoundError
        If a picture has no mask, a mask no picture, or there is none at all.
    ValueError
        If two files have the same name, a mask is not as described or has another size than its picture, or
        as in `split`. The message names the file, and nothing is left behind.
    """
    found = _by_stem(Path(images), IMAGE_SUFFIXES)
    beside = _by_stem(Path(masks), MASK_SUFFIXES)
    for name in sorted(found.keys() ^ beside.keys()):
        have, other, what = (found, masks, "mask") if name in found else (beside, images, "picture")
        raise FileNotFoundError(f"{have[name]}: no {what} of this name in {other}")
    lists = lists or split(list(found), val_share, seed)
    pairs = (_masked_pair(found[name], beside[name], len(classes.names), mapping) for name in found)
    return _write(out, len(found), pairs, classes, lists)


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """List the pictures of a folder by their names."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise ValueError(f"{path}: {found[path.stem].name} has the same name; an ID needs one file")
        found[path.stem] = path
    if not found:
        raise FileNotFoundError(f"{folder}: no picture in this folder; expected {', '.join(suffixes)}")
    return found


def _masked_pair(image: Path, mask: Path, num_classes: int, mapping: Mapping[int, int] | None) -> Pair:
    """Read one picture and its mask."""
    suffix, size = _format_and_size(image, image)
    label = read_index_mask(mask, num_classes, mapping)
    if label.shape != size:
        raise ValueError(
            f"{mask}: {label.shape[0]} x {label.shape[1]} pixels (height x width), but {image} has {size[0]} "
            f"x {size[1]}; they must lie on each other"
        )
    return Pair(image.stem, image, suffix, label)


# --- Lists and folders --------------------------------------------------------------------------------------


def split(
    names: Sequence[str],
    val_share: float = 0.2,
    seed: int = 0,
    source: Callable[[str], Any] | None = None,
) -> dict[str, list[str]]:
    """Share pictures out to training and validation by chance.

    Parameters
    ----------
    names : sequence of str
        The IDs.
    val_share : float
        Which share to validate on, above 0 and below 1. At least one picture, or source, is in each list.
    seed : int
        The same seed gives the same lists, whatever the order of the names.
    source : callable, optional
        Tells where a picture comes from (a film, a place, a patient). All pictures of a source get into the
        same list: else validation pictures would resemble training pictures more than new ones do.

    Returns
    -------
    dict of str to list of str
        ``"train"`` and ``"val"``, each sorted.

    Raises
    ------
    ValueError
        If the share is out of range, a name comes twice, or there are fewer than two pictures or sources.
    """
    if not 0 < val_share < 1:
        raise ValueError(f"val_share is {val_share}; expected a share above 0 and below 1, such as 0.2")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise ValueError(f"the name {twice[0]!r} comes twice")
    groups: dict[Any, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(source(name) if source else name, []).append(name)
    if len(groups) < 2:
        what = "source" if source else "picture"
        raise ValueError(f"{len(groups)} {what}; expected 2 or more, one to train on and one to validate on")
    keys = list(groups)
    val: list[str] = []
    for key in np.random.default_rng(seed).permutation(len(keys))[:-1]:  # one is left to train on
        if val and len(val) >= round(val_share * len(names)):
            break
        val += groups[keys[key]]
    return {"train": sorted(set(names) - set(val)), "val": sorted(val)}


def _check_lists(lists: Mapping[str, Sequence[str]], names: Sequence[str]) -> None:
    """Refuse lists that name what is not there, or that train and validate on the same picture."""
    for key in ("train", "val"):
        if not lists.get(key):
            raise ValueError(f"no list {key!r}, or an empty one; expected one ID or more")
    for key, members in lists.items():
        if missing := sorted(set(members) - set(names)):
            raise ValueError(f"the list {key!r} names {missing[0]!r}, and there is no such picture")
    if both := sorted(set(lists["train"]) & set(lists["val"])):
        raise ValueError(f"{both[0]!r} is in both lists; a picture to train on cannot be validated on")


def _write(
    out: str | Path,
    count: int,
    pairs: Iterable[Pair],
    classes: ClassList,
    lists: Mapping[str, Sequence[str]],
) -> Path:
    """Write a folder in VOC layout, whole or not at all."""
    out = Path(out)
    _refuse_existing(out)
    draft = out.with_name(f".{out.name}-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)  # a killed run with our number may have left it
    try:
        shown = tqdm(pairs, total=count, unit="picture", leave=False, disable=None)
        names = _write_parts(draft, shown, classes)
        _check_lists(lists, names)
        folder = draft / "ImageSets" / "Segmentation"
        folder.mkdir(parents=True)
        for key, members in lists.items():
            text = "".join(f"{name}\n" for name in members)
            (folder / f"{key}.txt").write_text(text, encoding="utf-8", newline="\n")
        _refuse_existing(out)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return out


def _refuse_existing(out: Path) -> None:
    if out.exists():
        raise FileExistsError(f"{out}: there already; nothing is written over. Choose another folder")


def _write_parts(draft: Path, pairs: Iterable[Pair], classes: ClassList) -> list[str]:
    """Write pictures, masks and the list of classes; give the IDs."""
    images, masks, names = draft / "JPEGImages", draft / "SegmentationClass", []
    images.mkdir(parents=True)
    masks.mkdir()
    write_classes(draft / CLASSES_FILE, classes)
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
