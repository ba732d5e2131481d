"""Image files of every kind, read with PIL into one form or refused with an error that names the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .files import check_file, user_path

LOSSY = ("JPEG", "MPO")  # PIL's formats; MPO is a JPEG with further images inside, as phones write it
_OPAQUE = frozenset(("1", "L", "RGB", "CMYK", "YCbCr", "HSV", "LAB"))  # PIL modes; P may be transparent
AnyImage = str | Path | Image.Image | np.ndarray | Tensor  # one image in whatever form, see `as_rgb`


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
    image = open_header(path)
    try:
        image.load()
        if upright:
            image = _upright(image)
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
    if not isinstance(path, (str, os.PathLike)):  # an image by mistake, or an open file
        return as_rgb(path)
    with open_image(path, upright=True) as image:
        planes, shape = _planes(image, path)
    del image  # two copies of a large photo at a time are enough
    return torch.frombuffer(bytearray().join(planes), dtype=torch.uint8).view(shape)


def _planes(image: Image.Image, name: str | Path) -> tuple[list[bytes], tuple[int, int, int]]:
    """Return the red, green and blue bytes of an image, and the shape (3, H, W)."""
    if image.mode != "RGB" or "transparency" in image.info:
        image = opaque_rgb(image, name)
    # (H, W, 3) -> (3, H, W) by PIL, which is faster than transposing an array
    return [image.tobytes("raw", band) for band in "RGB"], (3, image.height, image.width)


def as_rgb(image: AnyImage) -> Tensor:
    """Return what means one image as a uint8 RGB tensor (3, H, W).

    Parameters
    ----------
    image : path, PIL image, array or tensor
        A path or PIL image of any kind, as `read_rgb` treats it; a uint8 array (H, W), (H, W, 3) or
        (H, W, 4), as NumPy and PIL hold images, or (3, H, W); a uint8 tensor (3, H, W).

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        As in `read_rgb`; a ValueError also for an array or tensor of another shape or dtype.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_rgb(image)
    if hasattr(image, "read") and not isinstance(image, Image.Image):  # a file that is open
        image = Image.open(cast(BinaryIO, image))
    shape = tuple(getattr(image, "shape", ()))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.size:
        if len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4)):
            image = Image.fromarray(image)
        elif len(shape) == 3 and shape[0] == 3:
            image = torch.from_numpy(np.ascontiguousarray(image))
    if isinstance(image, Image.Image):
        planes, shape = _planes(_upright(image), "the PIL image")
        return torch.frombuffer(bytearray().join(planes), dtype=torch.uint8).view(shape)
    if isinstance(image, Tensor) and image.dtype == torch.uint8 and len(shape) == 3 and shape[0] == 3:
        if image.numel():
            return image
    found = getattr(image, "dtype", type(image).__name__)
    raise ValueError(
        f"expected one uint8 RGB image (3, H, W), got {found} {shape}; give a path, a PIL image, a uint8 "
        "array (H, W, 3) or a tensor (3, H, W); voc.read_image(path) reads a file in this form"
    )


def _upright(image: Image.Image) -> Image.Image:
    """Rotate an image by its EXIF orientation, unless PIL has done so, as it does for TIFF."""
    if image.format == "TIFF" or image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    image.info.pop("exif", None)  # exif_transpose would encode it again, and fail on an odd tag
    return ImageOps.exif_transpose(image)


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
    _check_alpha(rgba.getchannel("A"), path)
    ground = Image.new("RGB", image.size, "white")
    ground.paste(rgba, mask=rgba)
    return ground


def _check_alpha(alpha: Image.Image, path: str | Path) -> None:
    """Raise a ValueError if a channel called transparency cannot be that, such as near infrared."""
    counts = alpha.histogram()  # pixels of each value
    pixels, partly = sum(counts), counts[1:255]
    if counts[0] == pixels:
        what = "transparent everywhere, so that nothing would be seen"
    elif pixels >= 1024 and sum(partly) > pixels / 2 and sum(map(bool, partly)) >= 32:
        what = "half transparent, in many degrees, over most of the image"
    else:
        return
    raise ValueError(
        f"{path}: its last channel, tagged as transparency, is {what}; is it another measurement, such as "
        "near infrared? Save the image again with red, green and blue alone"
    )


def oddities(path: str | Path) -> list[tuple[str, str]]:
    """Say what of an image file is not read as its header lets one expect, and what to do; usually nothing.

    Only the header of common files is looked at; 16-bit files are decoded.
    """
    found = []
    with open_header(path) as image:
        tiles = getattr(image, "tile", None)
        raw = str(tiles[0][3]) if tiles else ""
        samples = getattr(image, "tag_v2", {}).get(277, 0)
        if samples > len(image.getbands()):
            read = len(image.getbands())
            found.append((f"{samples} channels, of which {read} are read", "are they red, green and blue?"))
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            found.append(("several frames or pages, of which the first is read", "save each as a file"))
        if image.mode.startswith("I") or ";16" in raw:
            found += _unused_bits(image)
    return found


def _unused_bits(image: Image.Image) -> list[tuple[str, str]]:
    """Look for a camera's 10, 12 or 14 bits in a file of 16."""
    values = np.asarray(image)
    # PIL keeps the upper eight bits of 16-bit colours
    bits = int(values.max()).bit_length() + (0 if image.mode.startswith("I") else 8)
    if not 8 < bits <= 14:
        return []
    factor = 2 ** (16 - bits)
    what = f"{bits} bits used of 16, so that it looks up to {factor} times too dark"
    return [(what, f"multiply the values by {factor}")]


def open_header(path: str | Path) -> Image.Image:
    """Open an image file without decoding its pixels; it raises what `open_image` does."""
    path = user_path(path)
    if not os.path.isfile(path):
        check_file(path, "image")  # says what it is instead
    try:
        return Image.open(path)
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def is_image_file(path: Path) -> bool:
    """Tell by its name whether a path is a visible file of a kind that PIL reads, in capitals or not."""
    return path.suffix.lower() in _image_suffixes() and not path.name.startswith(".") and path.is_file()


@cache
def _image_suffixes() -> frozenset[str]:
    """Return the lower-case suffixes of the image formats that PIL reads; documents and films are none."""
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset(readable - {".pdf", ".eps", ".ps", ".mpg", ".mpeg"})


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the (height, width) of an opened image once it is upright."""
    turned = image.format != "TIFF" and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return (image.width, image.height) if turned else (image.height, image.width)


def as_indices(label: Tensor | np.ndarray, name: str) -> np.ndarray:
    """Return a label of any integer dtype as uint8 indices (H, W), or raise a ValueError."""
    values = np.asarray(label.cpu() if isinstance(label, Tensor) else label)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise ValueError(
            f"{name}: expected class indices (H, W) of an integer dtype, got {values.dtype} "
            f"{tuple(values.shape)}; scores (C, H, W) become indices with .argmax(0)"
        )
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise ValueError(f"{name}: indices from {values.min()} to {values.max()}; expected 0..255")
    return values.astype(np.uint8)


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
        check_lossless(image, path)
    if mode not in ("P", "L", "RGB"):
        raise ValueError(
            f"{path}: its PIL mode is {mode!r}; a mask is a palette PNG ('P'), a greyscale PNG of "
            "class indices ('L') or an RGB PNG of the classes' colours. Save it as one of them"
        )
    return MaskFile(pixels, palette if mode == "P" else None)


def check_lossless(image: Image.Image, path: str | Path) -> None:
    """Raise a ValueError if a mask was read from a JPEG."""
    if image.format in LOSSY:
        raise ValueError(
            f"{path}: a JPEG, which changes values; a mask needs lossless compression. Export it again as "
            "PNG, from the original and not from the JPEG"
        )


def check_indices(label: np.ndarray, num_classes: int, void: int, name: str) -> None:
    """Raise a ValueError unless all indices of a label (H, W) are in 0..num_classes - 1, or `void`."""
    wrong = ((label < 0) | (label >= num_classes)) & (label != void)
    if wrong.any():
        where, values = first_true(wrong), np.unique(label[wrong]).tolist()
        raise ValueError(
            f"{name}: index {label[where]} at (row, column) {where} is not a class; expected "
            f"0..{num_classes - 1}, or {void} for void. {_why_no_class(values, num_classes)}"
        )


def _why_no_class(values: Sequence[int], num_classes: int) -> str:
    """Name the two likely causes of values that are no classes, first the one that fits them better."""
    if num_classes <= min(values) and max(values) <= num_classes + len(values):  # they go on where it ends
        held = ", ".join(map(str, values))
        return (
            f"Does the list of classes lack one? It has {num_classes}, and the mask also holds {held}: add a "
            "line for each number. Or are these no indices, but the brightness of a palette PNG that was "
            "opened as greyscale?"
        )
    return (
        "Are these really indices? A palette PNG that was opened as greyscale holds brightness. Or does the "
        f"list of {num_classes} classes lack some?"
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


def transformed(
    transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], image: Tensor, label: Tensor
) -> tuple[Tensor, Tensor]:
    """Give copies of an image and its label to a transform, and return its results as plain tensors."""
    pair = transform(image.clone(), label.clone())
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(isinstance(p, Tensor) for p in pair):
        raise ValueError(
            "transform: expected two tensors, an image (3, H, W) and a label (H, W); got "
            f"{type(pair).__name__}"
        )
    image, label = (part.as_subclass(Tensor) for part in pair)
    check_pair(image, label, "transform")
    return image, label


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
