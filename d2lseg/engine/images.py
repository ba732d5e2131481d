"""Image files of every kind, read with PIL into one form or refused with an error that names the file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .files import check_file

_OPAQUE = frozenset(("1", "L", "RGB", "CMYK", "YCbCr", "HSV", "LAB"))  # PIL modes; P may be transparent


class MaskFile(NamedTuple):
    """The content of a mask file, not yet checked against any classes."""

    pixels: np.ndarray  # uint8, (H, W) for indices or (H, W, 3) for colours
    palette: Sequence[int] | None  # R G B R G B ..., for a palette image


def open_image(path: str | Path, upright: bool = False) -> Image.Image:
    """Open and decode an image file, rotated by its EXIF orientation if `upright`.

    Raises
    ------
    FileNotFoundError, PermissionError
        If the file is missing or this user may not read it.
    ValueError
        If it is not an image, is damaged, or has more pixels than PIL opens.
    """
    if not os.path.isfile(path):
        check_file(path, "image")  # says what it is instead
    try:
        image: Image.Image = Image.open(path)
        image.load()
        # PIL rotates TIFF files itself
        if upright and image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image.info.pop("exif", None)  # exif_transpose would encode it again, and fail on an odd tag
            image = ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception as error:  # for a broken file, PIL's readers may raise almost any exception
        raise _unreadable(path, error) from error
    return image


def _unreadable(path: str | Path, error: Exception) -> ValueError:
    """Explain why a file is not an image; raises by itself if the file cannot even be opened."""
    check_file(path, "image")
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(
            f"{path}: more pixels than are opened by default ({error}). Save a smaller copy, or, if you "
            "trust the file, raise PIL.Image.MAX_IMAGE_PIXELS"
        )
    reason = "its format is not known" if isinstance(error, UnidentifiedImageError) else error
    reason = reason if os.path.getsize(path) else "it is empty, 0 bytes"
    return ValueError(
        f"{path}: cannot be read as an image ({reason}); expected JPEG, PNG or another format that PIL "
        "reads. Replace the file, or save the image again"
    )


def read_rgb(path: str | Path) -> Tensor:
    """Read an image file of any kind as a uint8 RGB tensor (3, H, W); see `voc.read_image` for the rules.

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        As in `open_image`; a ValueError also if brightness is stored as floats or beyond 16 bits.
    """
    with open_image(path, upright=True) as image:
        if image.mode != "RGB" or "transparency" in image.info:
            image = opaque_rgb(image, path)
        # (H, W, 3) -> (3, H, W) by PIL, which is faster than transposing an array
        planes, shape = [image.tobytes("raw", band) for band in "RGB"], (3, image.height, image.width)
    del image  # two copies of a large photo at a time are enough
    return torch.frombuffer(bytearray().join(planes), dtype=torch.uint8).view(shape)


def opaque_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """Convert an image of any mode to RGB, with white behind what is transparent.

    Raises
    ------
    ValueError
        If PIL cannot convert the mode, or the values do not say what is white. `path` names the file.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bits(image, path)
    try:
        if image.mode in _OPAQUE and "transparency" not in image.info:
            return image.convert("RGB")
        rgba = image.convert("RGBA")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; save it as RGB, in a JPEG or PNG file") from error
    ground = Image.new("RGB", image.size, "white")
    ground.paste(rgba, mask=rgba)
    return ground


def _eight_bits(image: Image.Image, path: str | Path) -> Image.Image:
    """Convert 16-bit greyscale to 8-bit; PIL's ``convert`` would turn everything above 255 white."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"{path}: its values are {values.dtype} from {values.min()} to {values.max()}; expected 8 bits a "
            "channel, or 16 bits, 0..65535. Scale the image and save it as 8-bit PNG"
        )
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)  # rounded; 257 * 255 = 65535
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey)


def read_mask(path: str | Path) -> MaskFile:
    """Read the pixels of a mask file: indices of a palette or greyscale image, or the colours of an RGB one.

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        As in `open_image`; a ValueError also for a JPEG, which changes values, and any other kind of image.
    """
    with open_image(path) as image:
        mode, palette, pixels = image.mode, image.getpalette(), np.array(image)
        lossy = image.format in ("JPEG", "MPO")
    if lossy:
        raise ValueError(
            f"{path}: a JPEG, which changes values; a mask needs lossless compression. Export it again as "
            "PNG, from the original and not from the JPEG"
        )
    if mode not in ("P", "L", "RGB"):
        raise ValueError(
            f"{path}: its PIL mode is {mode!r}; a mask is a palette PNG ('P'), a greyscale PNG of "
            "class indices ('L') or an RGB PNG of the classes' colours. Save it as one of them"
        )
    return MaskFile(pixels, palette if mode == "P" else None)


def check_indices(label: np.ndarray, num_classes: int, void: int, name: str) -> None:
    """Raise a ValueError unless all indices of a label (H, W) are in 0..num_classes - 1, or `void`."""
    wrong = ((label < 0) | (label >= num_classes)) & (label != void)
    if wrong.any():
        where = first_true(wrong)
        raise ValueError(
            f"{name}: index {label[where]} at (row, column) {where} is not a class; expected "
            f"0..{num_classes - 1}, or {void} for void. Are these really indices? A palette PNG that was "
            "opened as greyscale holds brightness"
        )


def check_palette(mask: MaskFile, expected: Mapping[int, Sequence[int]], name: str) -> None:
    """Raise a ValueError if the palette gives an index in use another colour than the RGB in `expected`."""
    palette = mask.palette or ()
    for index, colour in expected.items():
        found = tuple(palette[3 * index : 3 * index + 3])
        if found != tuple(colour) and (mask.pixels == index).any():
            raise ValueError(
                f"{name}: its palette gives index {index} the colour {found or 'none'}, expected "
                f"{tuple(colour)}; first at (row, column) {first_true(mask.pixels == index)}. The mask was "
                "made for other classes: save it with the right palette, or as RGB in the classes' colours"
            )


def first_true(wrong: Tensor | np.ndarray) -> tuple[int, int]:
    """Return the (row, column) of the first true pixel of a boolean (H, W)."""
    row, column = np.argwhere(np.asarray(wrong))[0].tolist()
    return row, column


def check_pair(image: Tensor, label: Tensor, name: str) -> None:
    """Raise a ValueError unless image and label are uint8 and of the same height and width."""
    if image.ndim != 3 or label.ndim != 2 or image.shape[1:] != label.shape:
        raise ValueError(
            f"{name}: image {tuple(image.shape)} and label {tuple(label.shape)} do not fit; expected "
            "(3, H, W) and (H, W) with the same H and W. Replace the wrong one. A mask may not be resized "
            "smoothly, and where the image's EXIF orientation rotates it, the mask must be rotated too"
        )
    if image.dtype != torch.uint8 or label.dtype != torch.uint8:
        raise ValueError(f"{name}: expected uint8, got image {image.dtype} and label {label.dtype}")
