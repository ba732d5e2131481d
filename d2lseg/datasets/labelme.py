"""Read what LabelMe and the tools that write its JSON files (AnyLabeling, X-AnyLabeling) have labelled."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engine.class_tables import ClassTable
from ..engine.files import read_text
from ..engine.images import is_image_file
from .examination import stop_at
from .shapes import occurring, shapes_label
from .sources import LISTS, Item, Pair, Source, find_table, image_form, left_out


def read_labelme(path: str | Path, names: Sequence[str], line_width: int | None = None) -> Pair:
    """Read a LabelMe file and draw its shapes.

    Parameters
    ----------
    path : str or Path
        The JSON file. Its image is the file it names, or else one of that name beside it, or the one inside
        it (``imageData``).
    names : sequence of str
        Name of each class index, background first.
    line_width : int, optional
        Width in pixels of lines and points, which are refused without it.

    Raises
    ------
    FileNotFoundError
        If the file does not exist, or its image is nowhere.
    ValueError
        If it is not a LabelMe file, a shape has an unknown label or cannot be drawn, or the image is not the
        size that the file says. The message names the file.
    """
    path = Path(path)
    content = _read_json(path)
    image, where = _find_image(path, content)
    suffix, size = image_form(image, where)
    said = (content.get("imageHeight") or size[0], content.get("imageWidth") or size[1])
    if said != size:
        raise ValueError(
            f"{path}: drawn on {said[0]} x {said[1]} pixels (height x width), but {where} has {size[0]} x "
            f"{size[1]}; it is another image, or was resized. Put the original there, or label it again"
        )
    try:
        label = shapes_label(content["shapes"], *size, names, line_width)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Pair(path.stem, image, suffix, label)


def _read_json(path: Path) -> dict[str, Any]:
    """Return the content of a LabelMe file."""
    try:
        content = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file ({error}); expected a file saved by LabelMe") from error
    if not is_labelme(content):
        raise ValueError(f"{path}: no list of shapes in it; expected a file saved by LabelMe")
    for number, shape in enumerate(content["shapes"], start=1):
        if not isinstance(shape.get("label"), str):
            raise ValueError(f"{path}: shape {number} has the label {shape.get('label')!r}; expected a name")
    return content


def is_labelme(content: Any) -> bool:
    """Tell whether the content of a JSON file is LabelMe's: an object with a list of shapes."""
    shapes = content.get("shapes") if isinstance(content, dict) else None
    return isinstance(shapes, list) and all(isinstance(shape, dict) for shape in shapes)


def _find_image(path: Path, content: Mapping[str, Any]) -> tuple[Path | bytes, Path]:
    """Return the image of a LabelMe file, as a path or as its content, and the file that contains it."""
    # a file saved on Windows says ..\photos\a.jpg
    said = str(content.get("imagePath") or "").replace("\\", "/")
    try:
        places = [path.parent / said, path.parent / said.rsplit("/", 1)[-1]]
        found = next((place for place in places if place.is_file()), None)
    except (OSError, ValueError) as error:  # too long, or with a null character
        raise ValueError(
            f"{path}: its imagePath {said[:40]!r} is not a file name ({error}); correct it"
        ) from error
    beside = sorted(path.parent.iterdir()) if found is None else []
    # a disk that tells capitals apart, and a camera that writes .JPG
    same = [other for other in beside if other.name.lower() == places[1].name.lower()]
    if not said:  # no path at all: the image of the JSON file's own name
        same = [other for other in beside if other.stem == path.stem and is_image_file(other)]
    if found is None and len(same) == 1:
        found = same[0]
    if found is not None:
        return found, found
    if content.get("imageData"):
        return _decode(path, content["imageData"]), path
    near = [
        other.name for other in beside if other.stem.lower() in (path.stem.lower(), places[1].stem.lower())
    ]
    near = [name for name in near if name != path.name]
    hint = f" Beside it is {', '.join(near[:3])}: rename it if it is the one" if near else ""
    raise FileNotFoundError(
        f"{places[0]}: no such image, and {path} has none inside (imageData); put the image there, or beside "
        f"the JSON file.{hint}"
    )


def _decode(path: Path, data: Any) -> bytes:
    """Return an image that is written inside a JSON file."""
    try:
        # browsers write data:image/png;base64,...
        return base64.b64decode(data.partition("base64,")[2] or data, validate=True)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its imageData is not base64 ({error}); save it again") from error


def labelme_names(paths: Iterable[str | Path]) -> tuple[str, ...]:
    """Return "background" and the other labels in LabelMe files in alphabetical order, without void's.

    Raises FileNotFoundError and ValueError as `read_labelme` does.
    """
    found = {shape["label"] for path in paths for shape in _read_json(Path(path))["shapes"]}
    return ("background", *sorted(occurring(found)))


def labelme_source(folder: Path, paths: Sequence[Path], line_width: int | None = None) -> Source:
    """Return the images of LabelMe files; what else lies beside them is counted."""
    items = []
    for path in paths:
        parts = path.relative_to(folder).parent.parts
        read = functools.partial(_read_item, path, line_width)
        split = LISTS.get(parts[0].lower(), "") if parts else ""
        items.append(Item("_".join((*parts[bool(split) :], path.stem)), path, read, split))
    found = find_table(folder)
    stems = {path.with_suffix("") for path in paths}
    others = sorted(
        path for path in folder.rglob("*") if is_image_file(path) and path.with_suffix("") not in stems
    )
    named = {item for path in paths for item in _named_images(path)}
    findings = left_out(
        folder,
        "image",
        [path for path in others if path.name.lower() not in named],
        "no JSON file labels them; where nothing is to be seen, save an empty one",
    )
    return Source(
        "LabelMe",
        f"{len(paths):,} JSON file{'' if len(paths) == 1 else 's'} with a list of shapes",
        items,
        names=functools.partial(_readable_names, paths),
        table=found,
        findings=findings,
    )


def _read_item(path: Path, line_width: int | None, table: ClassTable) -> Pair:
    return read_labelme(path, table.names, line_width)


def _named_images(path: Path) -> set[str]:
    """Return the name of the image that a file names, or nothing if the file is bad."""
    try:
        said = str(_read_json(path).get("imagePath") or "")
    except (ValueError, OSError):
        return set()
    return {said.replace("\\", "/").rsplit("/", 1)[-1].lower()}


def _readable_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the labels of the files that can be read; the others are told when it is their turn.

    Without any label, what is wrong with the files matters more than that classes are missing.
    """
    found: set[str] = set()
    errors: list[Exception] = []
    for path in paths:
        try:
            found.update(labelme_names([path]))
        except (ValueError, OSError) as error:
            errors.append(error)
    if not found - {"background"}:
        stop_at(paths[0].parent, [], errors)
    return ("background", *sorted(found - {"background"}))
