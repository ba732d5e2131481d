"""The Pascal VOC 2012 segmentation layout: reading, cropping, batches, download.

A folder in this layout holds ``JPEGImages/ID.jpg``, ``SegmentationClass/ID.png`` and the lists
``ImageSets/Segmentation/{train,val}.txt`` with one ID a line. Images are uint8 tensors (3, H, W);
labels are uint8 tensors (H, W) of class indices 0..20, with 255 for void: pixels that nobody labelled,
which no loss and no score may count.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus",
    "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip

VOC_COLORMAP = (
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128),
    (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128),
    (64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128),
)  # fmt: skip

VOID = 255
VOID_COLOR = (224, 224, 192)
MEAN_COLOR = (124, 116, 104)  # the mean colour of ImageNet, (0.485, 0.456, 0.406) * 255, rounded

_LAYOUT = (
    "expected a folder in VOC layout: JPEGImages/ID.jpg, SegmentationClass/ID.png and lists of IDs in "
    "ImageSets/Segmentation/. emojivoc.prepare() draws one, voc.download() fetches VOC 2012"
)


def data_dir() -> Path:
    """Give the folder where data sets and checkpoints land, made when it is not there.

    Returns
    -------
    Path
        The environment's ``D2LSEG_DATA`` where it is set; ``data/`` in a checkout of the course;
        ``~/.cache/d2lseg`` anywhere else (Colab, pip install).
    """
    checkout = Path(__file__).resolve().parents[1]
    if os.environ.get("D2LSEG_DATA"):
        folder = Path(os.environ["D2LSEG_DATA"]).expanduser()
    elif (checkout / "pyproject.toml").is_file() and (checkout / "notebooks").is_dir():
        folder = checkout / "data"
    else:
        folder = Path.home() / ".cache" / "d2lseg"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_image(path: str | Path) -> Tensor:
    """Read a photograph.

    Parameters
    ----------
    path
        A file of any kind that PIL reads. A rotation noted in its EXIF data is carried out.

    Returns
    -------
    Tensor
        uint8 (3, H, W), RGB.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is not an image, or is cut short.
    """
    with _open(path) as image:
        pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)


def read_mask(path: str | Path) -> Tensor:
    """Read a mask as class indices.

    A palette PNG, VOC's own format, is read by index, and the colours of its palette are checked. An RGB
    mask is read by colour. The values of a greyscale mask are taken as indices.

    Parameters
    ----------
    path
        The mask file, lossless (PNG).

    Returns
    -------
    Tensor
        uint8 (H, W), values 0..20 or 255 (void).

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where an index or a colour is not VOC's (named with its position), the palette is another one,
        or the file is no image of these three kinds.
    """
    with _open(path) as image:
        mode, palette, pixels = image.mode, image.getpalette(), np.array(image)
    if mode == "RGB":
        return voc_label_indices(torch.from_numpy(pixels).permute(2, 0, 1), name=str(path))
    if mode not in ("P", "L"):
        raise ValueError(
            f"{path}: its PIL mode is {mode!r}; a mask is a palette PNG ('P'), a greyscale PNG of "
            "class indices ('L') or an RGB PNG of VOC's colours. Save it as one of them"
        )
    label = torch.from_numpy(pixels)
    _check_indices(label, str(path))
    if mode == "P":
        _check_palette(label, palette, str(path))
    return label


def _open(path: str | Path) -> Image.Image:
    """Open and decode an image file; errors name it."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError) as error:  # PIL's answers to a file that is broken or no image
        raise ValueError(f"{path}: cannot be read as an image ({error}); replace the file") from error
    return image


def _first(wrong: Tensor) -> tuple[int, int]:
    """Give the (row, column) of the first true pixel of a boolean (H, W)."""
    row, column = wrong.nonzero()[0].tolist()
    return row, column


def _check_indices(label: Tensor, name: str, num_classes: int = len(VOC_CLASSES)) -> None:
    """Refuse an index that is neither a class nor void."""
    wrong = ((label < 0) | (label >= num_classes)) & (label != VOID)
    if wrong.any():
        where = _first(wrong)
        raise ValueError(
            f"{name}: index {int(label[where])} at (row, column) {where} is no class; expected "
            f"0..{num_classes - 1}, or {VOID} for void. Are these really indices? A palette PNG that was "
            "opened as greyscale holds brightness"
        )


def _check_palette(label: Tensor, palette: Sequence[int], name: str) -> None:
    """Refuse a palette that gives one of the indices in use another colour than VOC's."""
    for index in label.unique().tolist():
        found = tuple(palette[3 * index : 3 * index + 3])
        expected = VOID_COLOR if index == VOID else VOC_COLORMAP[index]
        if found != expected:
            raise ValueError(
                f"{name}: its palette gives index {index} the colour {found or 'none'}, VOC's gives "
                f"{expected}, first at (row, column) {_first(label == index)}. The mask was made for other "
                "classes: save it with VOC's palette, or as RGB in VOC's colours"
            )


def voc_label_indices(colour_image: Tensor, name: str = "label") -> Tensor:
    """Turn a mask painted in VOC's colours into class indices.

    The 22 known colours are looked up by binary search, so no table of all 16.7 million is needed.

    Parameters
    ----------
    colour_image
        uint8 (3, H, W), RGB.
    name
        What to call the mask in an error.

    Returns
    -------
    Tensor
        uint8 (H, W), values 0..20 or 255 (void).

    Raises
    ------
    ValueError
        Where a colour is not VOC's (named with its position), or shape or dtype is another.
    """
    if colour_image.ndim != 3 or colour_image.shape[0] != 3 or colour_image.dtype != torch.uint8:
        raise ValueError(
            f"{name}: expected a uint8 RGB mask (3, H, W), got {colour_image.dtype} {tuple(colour_image.shape)}"
        )
    known = torch.tensor([*VOC_COLORMAP, VOID_COLOR], dtype=torch.int32)  # (22, 3)
    index = torch.tensor([*range(len(VOC_COLORMAP)), VOID], dtype=torch.uint8)  # (22,)
    codes, order = _colour_code(known.T).sort()
    wanted = _colour_code(colour_image.int())  # (3, H, W) -> (H, W)
    place = torch.searchsorted(codes, wanted).clamp(max=len(codes) - 1)
    wrong = codes[place] != wanted
    if wrong.any():
        row, column = _first(wrong)
        raise ValueError(
            f"{name}: colour {tuple(colour_image[:, row, column].tolist())} at (row, column) {(row, column)} "
            "is none of VOC's. Masks must be stored without loss (PNG, never JPEG) and never be resized smoothly"
        )
    return index[order][place]


def _colour_code(colours: Tensor) -> Tensor:
    """Write each colour of an int32 (3, ...) as one number (...)."""
    red, green, blue = colours
    return (red << 16) | (green << 8) | blue


def label2image(label: Tensor, colormap: Sequence[Sequence[int]] = VOC_COLORMAP) -> Tensor:
    """Paint class indices in colours: the inverse of ``voc_label_indices``.

    Parameters
    ----------
    label
        Integer (H, W), values below ``len(colormap)``, or 255 (void).
    colormap
        One RGB triple a class.

    Returns
    -------
    Tensor
        uint8 (3, H, W); void in ``VOID_COLOR``.

    Raises
    ------
    ValueError
        Where an index has no colour (named with its position), or the label is not (H, W) of integers.
    """
    if label.ndim != 2 or label.is_floating_point():
        raise ValueError(f"expected integer indices (H, W), got {label.dtype} {tuple(label.shape)}")
    _check_indices(label, "label", len(colormap))
    table = torch.zeros(256, 3, dtype=torch.uint8)
    table[: len(colormap)] = torch.tensor(colormap, dtype=torch.uint8)
    table[VOID] = torch.tensor(VOID_COLOR, dtype=torch.uint8)
    return table[label.long()].permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)
