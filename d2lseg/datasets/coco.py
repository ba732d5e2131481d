"""Read COCO's JSON files, polygons and run lengths, through pycocotools."""

from __future__ import annotations

import contextlib
import functools
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.class_tables import ClassTable
from ..engine.images import is_image_file
from .shapes import FARTHEST, class_index, occurring
from .sources import LISTS, Item, Pair, Source, dict_of, image_form, left_out, turn_doubt

INSTALL = "pip install pycocotools, which the extra d2lseg[import] holds too"
PARTS = ("images", "annotations", "categories")


def is_coco(content: Any) -> bool:
    """Tell whether the content of a JSON file is COCO's: it has images, annotations and categories."""
    return not missing_parts(content)


def missing_parts(content: Any) -> list[str]:
    """Return which of COCO's three lists the content of a JSON file lacks."""
    return [part for part in PARTS if not isinstance(dict_of(content).get(part), list)]


def coco_source(folder: Path, files: Mapping[Path, dict[str, Any]]) -> Source:
    """Return the images of COCO files; a file named after train, val or test is that list.

    Parameters
    ----------
    folder : Path
        Where the images are looked for.
    files : mapping of Path to dict
        The content of each JSON file.

    Raises
    ------
    ValueError
        If a file is damaged as a whole, or pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise ValueError(f"{next(iter(files))}: COCO files are read with pycocotools; {INSTALL}") from error
    images = _Images(folder)
    items: list[Item] = []
    for path, content in files.items():
        _check(path, content)
        coco = COCO()
        coco.dataset = content
        with contextlib.redirect_stdout(io.StringIO()):  # it reports its progress there
            coco.createIndex()
        names = {category["id"]: category["name"] for category in content["categories"]}
        split, ids = _split_of(path), _ids(content["images"])
        for record in coco.imgs.values():
            read = functools.partial(_read, path, coco, record, names, images)
            items.append(Item(ids[record["id"]], path, read, split))
        images.named.update(_file(record).name for record in content["images"])
    others = [path for path in images.all() if path.name not in images.named]
    annotations = sum(len(content["annotations"]) for content in files.values())
    return Source(
        "COCO",
        f"{len(files)} JSON file{'' if len(files) == 1 else 's'} with {annotations:,} annotations",
        items,
        names=functools.partial(_names, tuple(files.values())),
        findings=left_out(folder, "image", others, "no COCO file names them"),
    )


def _file(record: Mapping[str, Any]) -> Path:
    """Return the path that a record of an image names."""
    return Path(record["file_name"].replace("\\", "/"))


def _ids(records: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Choose the ID of each image: its name, with its folders where names come twice."""
    count = Counter(_file(record).stem for record in records)
    whole = {record["id"]: "_".join(_file(record).with_suffix("").parts) for record in records}
    return {r["id"]: _file(r).stem if count[_file(r).stem] == 1 else whole[r["id"]] for r in records}


def _names(contents: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return background and the categories in the order of their numbers, each once."""
    found = {c["name"]: c["id"] for content in contents for c in content["categories"]}
    return ("background", *occurring(sorted(found, key=lambda name: found[name])))


def _split_of(path: Path) -> str:
    """Return the list that a COCO file is, by a word of its name or the name of its folder."""
    words = [*path.stem.lower().replace("-", "_").replace(".", "_").split("_"), path.parent.name.lower()]
    words += [word.rstrip("0123456789") for word in words]
    return next((LISTS[word] for word in words if word in LISTS), "")


def _check(path: Path, content: Mapping[str, Any]) -> None:
    """Raise a ValueError unless a COCO file has what its index is built from."""
    wanted: dict[str, dict[str, Any]] = {
        "images": {"id": int, "file_name": str, "height": int, "width": int},
        "annotations": {"id": (int, str), "image_id": int, "category_id": int},
        "categories": {"id": int, "name": str},
    }
    for part, fields in wanted.items():
        for number, record in enumerate(content[part]):
            wrong = [k for k, kind in fields.items() if not isinstance(dict_of(record).get(k), kind)]
            if wrong:
                raise ValueError(
                    f"{path}: number {number} of its {part} has no valid {wrong[0]!r}; expected "
                    f"{', '.join(fields)} in each. Export the file again"
                )
        if part != "annotations" and len({record["id"] for record in content[part]}) < len(content[part]):
            raise ValueError(f"{path}: two of its {part} have one id; export the file again")
    named = [c["name"] for c in content["categories"]]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ValueError(f"{path}: two categories are called {twice[0]!r}; rename one of them")


class _Images:
    """The image files of a folder, found by the names in COCO files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.named = folder, set[str]()

    @functools.cached_property
    def by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            if is_image_file(path):
                found.setdefault(path.name.lower(), []).append(path)
        return found

    def all(self) -> list[Path]:
        """Return every image of the folder."""
        return sorted(path for paths in self.by_name.values() for path in paths)

    def find(self, json_file: Path, name: str) -> Path:
        """Return the image that a COCO file names: where it says, or the only one of that name."""
        for place in (json_file.parent / name, self.folder / name, json_file.parent / "images" / name):
            if place.is_file():
                return place
        same = self.by_name.get(Path(name).name.lower(), [])
        split = _split_of(json_file)
        near = [p for p in same if split and LISTS.get(p.parent.name.lower().rstrip("0123456789")) == split]
        if len(near) == 1 or len(same) == 1:
            return (near if len(near) == 1 else same)[0]
        what = f"{len(same)} images have this name" if same else "no such image"
        raise FileNotFoundError(
            f"{json_file.parent / name}: {what} in {self.folder}; {json_file.name} names it: put the "
            "image there, or import a folder that holds both"
        )


def _read(
    path: Path,
    coco: Any,
    record: Mapping[str, Any],
    names: Mapping[int, str],
    images: _Images,
    table: ClassTable,
) -> Pair:
    """Draw the annotations of one image in the order of the file, later ones over earlier ones."""
    name = record["file_name"].replace("\\", "/")
    image = images.find(path, name)
    suffix, size = image_form(image, image)
    if size != (record["height"], record["width"]):
        raise ValueError(
            f"{path}: says {record['height']} x {record['width']} pixels (height x width) of {name}, but "
            f"{image} has {size[0]} x {size[1]} when upright; it was resized or rotated. Use the image that "
            "was labelled"
        )
    label = np.zeros(size, np.uint8)
    for annotation in coco.imgToAnns.get(record["id"], []):
        category = names.get(annotation["category_id"])
        where = f"{path}: annotation {annotation['id']} of {name}"
        index = class_index(category, table.names)
        if index is None:
            raise ValueError(
                f"{where} has the category {annotation['category_id']}, {category!r}; expected one of "
                f"{', '.join(table.names)}. Correct it, or add it to the classes"
            )
        label[_mask(coco, annotation, size, where)] = index
    return Pair(Path(name).stem, image, suffix, label, doubt=turn_doubt(image))


def _mask(coco: Any, annotation: Mapping[str, Any], size: tuple[int, int], where: str) -> np.ndarray:
    """Return the pixels of an annotation, bool (H, W)."""
    shape = annotation.get("segmentation")
    fault = _polygon_fault(shape) if isinstance(shape, list) else _run_fault(shape, size)
    if fault:
        raise ValueError(f"{where} {fault}")
    try:
        mask = coco.annToMask(annotation)
    except MemoryError:
        raise
    except Exception as error:  # damaged run lengths raise whatever the library's C code makes of them
        raise ValueError(f"{where} cannot be drawn ({error}); export it again") from error
    return mask.astype(bool)


def _polygon_fault(polygons: Sequence[Any]) -> str:
    """Say what is wrong with a list of polygons, which pycocotools takes as it comes."""
    if not polygons:
        return "has no segmentation, only a box perhaps; draw its outline, or delete it"
    for polygon in polygons:
        # four numbers would be taken as a box
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            return "has a polygon without three points [x, y, x, y, x, y]; draw it again"
        if not all(isinstance(v, (int, float)) and abs(v) < FARTHEST for v in polygon):  # false for NaN too
            return f"has a point that is not a number, or {FARTHEST} pixels away or farther"
    return ""


def _run_fault(runs: Any, size: tuple[int, int]) -> str:
    """Say what is wrong with run lengths, which pycocotools takes as they come."""
    counts = dict_of(runs).get("counts")
    if not isinstance(counts, (list, str)):
        return "has no segmentation: expected polygons or run lengths (counts and size); export it again"
    if runs.get("size") != list(size):
        return f"has run lengths for the size {runs.get('size')}, but the image has {list(size)}"
    if isinstance(counts, list):
        whole = all(isinstance(n, int) and n >= 0 for n in counts)
        if not whole or sum(counts) != size[0] * size[1]:
            return f"has run lengths that do not add up to {size[0]} x {size[1]} pixels; export it again"
    return ""
