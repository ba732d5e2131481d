"""Read mask files of other tools: class numbers or the classes' colours, in any lossless form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..classes import VOID
from ..engine.class_tables import VOID_COLOR, ClassTable, Colour, means_background
from ..engine.images import MaskFile, check_lossless, first_true, open_image
from .examination import some

MANY = 12  # values; a mask with more that are no classes was hardly painted


class NoClass(ValueError):
    """A mask holds values that are no classes: what it says of one, and all `values` of the file."""

    def __init__(self, what: str, values: Sequence[int], num_classes: int) -> None:
        self.what, self.values = what, values
        super().__init__(f"{what} It holds {_advice(values, num_classes)}")


def advise_together(
    errors: Mapping[str, Exception], counts: np.ndarray, table: ClassTable, mapping: Mapping[int, int] | None
) -> tuple[dict[str, Exception], str]:
    """Replace the advice of each file by one for all masks: what one of them needs could harm another.

    Parameters
    ----------
    errors : mapping of str to Exception
        What is wrong with the images, by ID.
    counts : ndarray
        (256,), pixels of each index in the other masks.
    table : ClassTable
        The classes.
    mapping : mapping of int to int, optional
        The user's new index of each value.

    Returns
    -------
    dict of str to Exception
        The errors; a single one holds the advice.
    str
        The advice, or nothing if no mask holds a value that is not a class.
    """
    wrong = {name: error for name, error in errors.items() if isinstance(error, NoClass)}
    if not wrong:
        return dict(errors), ""
    others = mapping or table.values or np.flatnonzero(counts).tolist()
    values = sorted({*others, *(value for error in wrong.values() for value in error.values)})
    advice = f"the masks hold {_advice(values, len(table.names), table.names[0])}"
    end = f" {advice[0].upper()}{advice[1:]}" if len(errors) == 1 else ""
    return {**errors, **{name: ValueError(f"{error.what}{end}") for name, error in wrong.items()}}, advice


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
    mask = _grey(read_values(path))
    if mask.pixels.ndim == 3:
        raise ValueError(
            f"{path}: its PIL mode is 'RGB'; expected one value per pixel, greyscale or palette. A mask in "
            "the classes' colours is read with a list of classes that has these colours"
        )
    return _renumbered(mask.pixels, num_classes, mapping, path)


def read_values(path: str | Path) -> MaskFile:
    """Read the values (H, W) or colours (H, W, 3) of a mask file of any mode.

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        If it cannot be read, is a JPEG, is partly transparent, or holds neither whole numbers nor colours.
    """
    try:
        image = open_image(path)
    except ValueError as error:
        raise ValueError(
            str(error).replace("cannot be read as an image", "cannot be read as a mask")
        ) from error
    with image:
        check_lossless(image, path)
        if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
            return _opaque(image, path)
        if image.mode == "1":
            return MaskFile((np.array(image.convert("L")) > 0).astype(np.uint8), None)
        if image.mode in ("L", "P") or image.mode.startswith("I"):
            return MaskFile(np.array(image), image.getpalette() if image.mode == "P" else None)
        if image.mode in ("RGB", "RGBX"):
            return MaskFile(np.array(image)[..., :3], None)
    raise ValueError(
        f"{path}: its PIL mode is {image.mode!r}; expected whole numbers, greyscale or palette, or RGB in "
        "the classes' colours. Save it as a PNG of one of them"
    )


def _opaque(image: Image.Image, path: str | Path) -> MaskFile:
    """Drop a transparency that hides nothing; what is hidden could be anything."""
    alpha = np.array(image.convert("RGBA"))[..., 3]
    if image.mode in ("L", "P", "RGB"):  # single values or colours that are declared transparent
        image.info.pop("transparency")
    if (alpha < 255).any() and image.mode in ("LA", "RGBA", "PA"):
        raise ValueError(
            f"{path}: transparent at (row, column) {first_true(alpha < 255)}; a mask says a class at each "
            "pixel. Save it without transparency"
        )
    if image.mode in ("L", "LA"):
        return MaskFile(np.array(image.convert("L")), None)
    if image.mode == "P":
        return MaskFile(np.array(image), image.getpalette())
    return MaskFile(np.array(image.convert("RGB")), None)


def _grey(mask: MaskFile) -> MaskFile:
    """Turn RGB with equal channels, which says no more than one value a pixel, into values (H, W)."""
    grey = mask.pixels.ndim == 3 and (mask.pixels == mask.pixels[..., :1]).all()
    return MaskFile(mask.pixels[..., 0].copy(), None) if grey else mask


def table_label(
    path: str | Path, table: ClassTable, mapping: Mapping[int, int] | None = None
) -> tuple[np.ndarray, MaskFile | None]:
    """Read a mask of values or colours as a uint8 label (H, W), by what a table of classes says.

    Parameters
    ----------
    path : str or Path
        The mask file.
    table : ClassTable
        If it has colours, masks in colours, or with another palette, are read by colour. Values that it says
        decide over palettes, those of places do not.
    mapping : mapping of int to int, optional
        New index of each value: then values decide, whatever the colours.

    Returns
    -------
    ndarray
        The label.
    MaskFile or None
        The file's content, if its stored numbers were taken as classes without a mapping.

    Raises
    ------
    ValueError
        If a value or colour is not a class; the message names file, value and place.
    """
    mask, count = read_values(path), len(table.names)
    told = mapping is not None or (table.values is not None and not table.by_place)
    if mapping is None and table.values:
        mapping = {value: index for index, value in enumerate(table.values)}
        mapping |= dict.fromkeys(table.void_values, VOID)
    by_colour = {colour: index for index, colour in enumerate(table.colours or ())}
    if told or not by_colour:
        mask = _grey(mask)
    if mask.pixels.ndim == 3:
        if not by_colour:
            found = [tuple(c) for c in np.unique(mask.pixels.reshape(-1, 3), axis=0).tolist()]
            raise ValueError(
                f"{path}: painted in the colours {some(found)}, and the list of classes has none; write the "
                "colour behind each name, such as 'road 128 64 128'"
            )
        return _by_colour(mask.pixels, by_colour, table.void_colours, path), None
    if by_colour and not told and (mapping or mask.palette is None or _other_palette(mask, table)):
        painted = _painted(mask)
        if mask.palette is not None or _all_known(painted, [*by_colour, *table.void_colours]):
            return _by_colour(painted, by_colour, table.void_colours, path), None
    return _renumbered(mask.pixels, count, mapping, path), mask if mapping is None else None


def _all_known(pixels: np.ndarray, colours: Sequence[Colour]) -> bool:
    """Tell whether grey values above every index are greys of the classes, as black and white are."""
    found = {tuple(c) for c in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}
    return found <= set(colours) and found != {(0, 0, 0)}


def _other_palette(mask: MaskFile, table: ClassTable) -> bool:
    """Tell whether the palette gives an index in use another colour than the table."""
    palette = mask.palette or ()
    for index in np.unique(mask.pixels).tolist():
        want = VOID_COLOR if index == VOID else dict(enumerate(table.colours or ())).get(index)
        if tuple(palette[3 * index : 3 * index + 3]) != want:
            return True
    return False


def _painted(mask: MaskFile) -> np.ndarray:
    """Return the colours (H, W, 3) of a palette mask, or of grey values up to 255."""
    if mask.palette is None:
        return np.stack([np.clip(mask.pixels, 0, 255)] * 3, axis=2)
    table = np.zeros((256, 3), np.uint8)
    flat = np.array(mask.palette[: 768 - len(mask.palette) % 3], np.uint8).reshape(-1, 3)
    table[: len(flat)] = flat
    return table[mask.pixels]


def _by_colour(
    pixels: np.ndarray, by_colour: Mapping[Colour, int], void: Sequence[Colour], path: str | Path
) -> np.ndarray:
    """Turn colours (H, W, 3) into indices (H, W)."""
    known = {**dict.fromkeys(void, VOID), **by_colour}
    codes = pixels.astype(np.int64) @ np.array([65536, 256, 1])
    found, places = np.unique(codes, return_inverse=True)
    lookup = {(r << 16) | (g << 8) | b: index for (r, g, b), index in known.items()}
    wrong = [code for code in found.tolist() if code not in lookup]
    if wrong:
        place = first_true(codes == wrong[0])
        others = (
            f" It has {len(wrong)} such colours: was it resized or saved as JPEG?"
            if len(wrong) > MANY
            else ""
        )
        raise ValueError(
            f"{path}: colour {tuple(pixels[place].tolist())} at (row, column) {place} is not one of the "
            f"classes' colours; correct the mask, or add it to the list of classes.{others}"
        )
    return np.array([lookup[code] for code in found.tolist()], np.uint8)[places].reshape(codes.shape)


def _renumbered(
    values: np.ndarray, num_classes: int, mapping: Mapping[int, int] | None, path: str | Path
) -> np.ndarray:
    """Turn the values of a mask (H, W) into indices."""
    known = {VOID: VOID} | (dict(mapping) if mapping is not None else {i: i for i in range(num_classes)})
    for old, new in known.items():
        if not (0 <= new < num_classes or new == VOID):
            raise ValueError(f"the mapping turns {old} into {new}; expected 0..{num_classes - 1} or {VOID}")
    found, places = np.unique(values, return_inverse=True)
    wrong = [value for value in found.tolist() if value not in known]
    if wrong:
        expected = f"0..{num_classes - 1}" if mapping is None else "a value in the mapping"
        raise NoClass(
            f"{path}: value {wrong[0]} at (row, column) {first_true(values == wrong[0])} is not a class; "
            f"expected {expected}, or {VOID} for void.",
            found.tolist(),
            num_classes,
        )
    renumbered = np.array([known[value] for value in found.tolist()], np.uint8)
    return renumbered[places].reshape(values.shape)


def _advice(found: Sequence[int], num_classes: int, first_class: str = "background") -> str:
    """Name the values of masks in which some are no classes, and say what they may need."""
    # as many values as classes, 255 among them: then it is one of the classes
    values = [value for value in found if value != VOID or len(found) == num_classes]
    if len(values) > num_classes + 1:
        return (
            f"{len(found)} values for {num_classes} classes: were they resized smoothly, or saved as JPEG in "
            "between? If they are right, map each with --map OLD:NEW"
        )
    held = some(found, MANY)
    if not means_background(first_class):  # then numbers that are mapped one by one would get wrong names
        return (
            f"{held}, and class 0 is {first_class!r}: is background missing from the list of classes? Put it "
            "on the first line"
        )
    if len(values) > num_classes and 0 in values:  # to map 0 to void would lose the background
        return f"{held}: is a class missing from the list? Add it, or say with --map OLD:NEW what each means"
    first = 0 if len(values) <= num_classes else -1
    new = [VOID if index < 0 else index for index in range(first, first + len(values))]
    pairs = " ".join(f"{old}:{index}" for old, index in zip(values, new, strict=True))
    return f"{held}; if they are right, map them, such as --map {pairs}"
