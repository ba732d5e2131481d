"""Write the images and labels of an importer into a folder in VOC layout, and examine them on the way."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath

from PIL import Image
from tqdm.auto import tqdm

from ..classes import ClassList
from ..engine.class_tables import ClassTable
from ..engine.images import as_rgb, read_rgb
from ..voc import write_mask
from .examination import Examination
from .sources import SUFFIXES, Item, Pair


def write_pairs(
    draft: Path, items: Sequence[Item], table: ClassTable, classes: ClassList
) -> tuple[list[str], dict[str, Exception], Examination]:
    """Write images and masks; return the IDs, what is wrong with the others, and what the files hold."""
    images, masks = draft / "JPEGImages", draft / "SegmentationClass"
    images.mkdir()
    masks.mkdir()
    examination, kept = Examination(), []
    errors: dict[str, Exception] = {}
    for item in tqdm(items, leave=False, disable=None):
        try:
            pair = replace(item.read(table), name=item.name)
            content = _image_content(pair, item.where)
            _examine(examination, pair, item.where)
        except MemoryError:
            errors[item.name] = ValueError(f"{item.where}: too large for the memory; save a smaller copy")
            continue
        except (ValueError, OSError) as error:
            errors[item.name] = error
            continue
        (images / f"{pair.name}{pair.suffix}").write_bytes(content)
        write_mask(masks / f"{pair.name}.png", pair.label, classes)
        kept.append(pair.name)
    return kept, errors, examination


def _image_content(pair: Pair, where: Path) -> bytes:
    """Return the bytes of an image's new file, once it is certain that it can be read."""
    if PureWindowsPath(pair.name).name != pair.name or pair.name.splitlines() != [pair.name.strip()]:
        raise ValueError(
            f"{where}: the name {pair.name!r} cannot be an ID: it begins or ends with a blank, or has a "
            "character that paths have; rename the file"
        )
    content = pair.image if isinstance(pair.image, bytes) else pair.image.read_bytes()
    with Image.open(io.BytesIO(content)) as opened:
        kind = opened.format
        rgb = as_rgb(opened) if isinstance(pair.image, bytes) else read_rgb(pair.image)
    if kind in SUFFIXES:
        return content
    file = io.BytesIO()
    Image.fromarray(rgb.permute(1, 2, 0).numpy()).save(file, format="PNG")  # (3, H, W) -> (H, W, 3)
    return file.getvalue()


def _examine(examination: Examination, pair: Pair, where: Path) -> None:
    """Add a pair to the examination of the whole."""
    if isinstance(pair.image, Path):
        examination.add_image(pair.image)
        if pair.doubt is not None:
            examination.add_doubt(pair.image, *pair.doubt)
    if pair.mask is not None:
        examination.add_palette(where, pair.mask)
    examination.add_label(pair.label)
