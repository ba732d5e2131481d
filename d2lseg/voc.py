"""The Pascal VOC 2012 segmentation layout: reading, cropping, batches, download.

A folder in this layout holds ``JPEGImages/ID.jpg``, ``SegmentationClass/ID.png`` and the lists
``ImageSets/Segmentation/{train,val}.txt`` with one ID a line. Images are uint8 tensors (3, H, W);
labels are uint8 tensors (H, W) of class indices 0..20, with 255 for void: pixels that nobody labelled,
which no loss and no score may count.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize
from tqdm.auto import tqdm

from .classes import VOC, VOC_CLASSES, VOC_COLORMAP, VOID, VOID_COLOR, ClassList, read_classes, voc_colormap
from .datasets.download import install, voc2012
from .engine.files import check_file, in_words, read_text

MEAN_COLOR = (124, 116, 104)  # the mean colour of ImageNet, (0.485, 0.456, 0.406) * 255, rounded

CLASSES_FILE = "classes.txt"  # in the folder of a dataset that has classes of its own
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
# the turn that each orientation noted in EXIF data asks for; 1 is upright
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OPAQUE = frozenset(("1", "L", "RGB", "CMYK", "YCbCr", "HSV", "LAB"))  # PIL modes; P may be transparent
_LAYOUT = (
    "expected a folder in VOC layout: JPEGImages/ID.jpg, SegmentationClass/ID.png and lists of IDs in "
    "ImageSets/Segmentation/. emojivoc.prepare() draws one, voc.download() fetches VOC 2012"
)


def data_dir() -> Path:
    """Give the folder where datasets and checkpoints land, made when it is not there.

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


def folder_classes(voc_dir: str | Path) -> ClassList:
    """Tell which classes the masks of a folder have.

    Parameters
    ----------
    voc_dir : str or Path
        A folder in VOC layout.

    Returns
    -------
    ClassList
        Those of its ``classes.txt`` where it has one, see `read_classes`; else VOC's.

    Raises
    ------
    ValueError
        Where the file is there and not a list of classes.
    """
    path = Path(voc_dir) / CLASSES_FILE
    return read_classes(path) if os.path.lexists(path) else VOC


def read_image(path: str | Path) -> Tensor:
    """Read a photograph.

    Parameters
    ----------
    path : str or Path
        A file of any kind that PIL reads.

    Returns
    -------
    Tensor
        uint8 (3, H, W), RGB.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    PermissionError
        Where it may not be read.
    ValueError
        Where the file is not an image, is cut short, has more pixels than PIL opens, or has brightness in
        floats or beyond 16 bits, of which nobody knows what is white.

    Notes
    -----
    A rotation or reflection noted in the EXIF data is carried out. Greyscale becomes RGB with three equal
    channels. Of 16 bits a channel, 8 are kept. What is transparent is laid on white, as browsers show it.
    Of an animation, or a file of several pictures, the first one is read. Colour profiles are not applied.
    """
    with _open(path, upright=True) as image:
        if image.mode != "RGB" or "transparency" in image.info:
            image = _plain_rgb(image, path)
        # (H, W, 3) -> (3, H, W) by PIL, which is quicker than to transpose an array
        planes, shape = [image.tobytes("raw", band) for band in "RGB"], (3, image.height, image.width)
    del image  # of a large photo two copies at a time are enough
    return torch.frombuffer(bytearray().join(planes), dtype=torch.uint8).view(shape)


def _plain_rgb(image: Image.Image, path: str | Path) -> Image.Image:
    """Turn an image of any mode, transparent or not, into opaque RGB."""
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
    """Turn 16-bit greyscale into 8-bit; ``convert`` would make white of all above 255."""
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(
            f"{path}: its values are {values.dtype} from {values.min()} to {values.max()}; expected 8 bits a "
            "channel, or 16 bits, 0..65535. Scale the picture and save it as 8-bit PNG"
        )
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)  # rounded; 257 * 255 = 65535
    if "transparency" in image.info:
        grey[values == image.info["transparency"]] = 255
    return Image.fromarray(grey)


def read_mask(path: str | Path, classes: ClassList = VOC) -> Tensor:
    """Read a mask as class indices.

    A palette PNG, VOC's own format, is read by index, and the colours of its palette are checked. An RGB
    mask is read by colour. The values of a greyscale mask are taken as indices.

    Parameters
    ----------
    path : str or Path
        The mask file, lossless (PNG).
    classes : ClassList
        Which classes it may hold.

    Returns
    -------
    Tensor
        uint8 (H, W), the index of a class or 255 (void).

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where an index or a colour is no class's (named with its position), the palette is another one,
        or the file is no image of these three kinds.
    """
    with _open(path) as image:
        mode, palette, pixels = image.mode, image.getpalette() or (), np.array(image)
        lossy = image.format in ("JPEG", "MPO")
    if lossy:
        raise ValueError(
            f"{path}: a JPEG, which changes values; a mask must be stored without loss. Save it anew as PNG, "
            "from what the JPEG was made of"
        )
    if mode == "RGB":
        return voc_label_indices(torch.from_numpy(pixels).permute(2, 0, 1), str(path), classes.colormap)
    if mode not in ("P", "L"):
        raise ValueError(
            f"{path}: its PIL mode is {mode!r}; a mask is a palette PNG ('P'), a greyscale PNG of "
            "class indices ('L') or an RGB PNG of the classes' colours. Save it as one of them"
        )
    label = torch.from_numpy(pixels)
    # compared with NumPy, on one thread, for the reason given in voc_rand_crop
    if ((pixels >= len(classes.names)) & (pixels != VOID)).any():
        _check_indices(label, str(path), len(classes.names))
    if mode == "P" and classes.colours:
        _check_palette(label, palette, classes.colours, str(path))
    return label


def _open(path: str | Path, upright: bool = False) -> Image.Image:
    """Open and decode an image file, and turn it upright if asked to; errors name it."""
    if not os.path.isfile(path):
        check_file(path, "picture")  # says what it is instead
    try:
        image = Image.open(path)
        image.load()
        if upright and image.format != "TIFF":  # those PIL turns itself
            turn = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
            image = image if turn is None else image.transpose(turn)
    except MemoryError:
        raise
    except Exception as error:  # to broken files PIL's readers answer with nearly all that Python has
        raise _unreadable(path, error) from error
    return image


def _unreadable(path: str | Path, error: Exception) -> ValueError:
    """Say why a file is no picture, or raise why it cannot even be opened."""
    check_file(path, "picture")
    if isinstance(error, Image.DecompressionBombError):
        return ValueError(
            f"{path}: more pixels than are opened by default ({error}). Save a smaller copy, or, if you "
            "trust the file, raise PIL.Image.MAX_IMAGE_PIXELS"
        )
    reason = "its format is not known" if isinstance(error, UnidentifiedImageError) else error
    reason = reason if os.path.getsize(path) else "it is empty, 0 bytes"
    return ValueError(
        f"{path}: cannot be read as an image ({reason}); expected JPEG, PNG or another format that PIL "
        "reads. Replace the file, or save the picture anew"
    )


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


def _check_palette(
    label: Tensor, palette: Sequence[int], colormap: Sequence[Sequence[int]], name: str
) -> None:
    """Refuse a palette that gives one of the indices in use another colour than its class has."""
    for index, expected in ((VOID, VOID_COLOR), *enumerate(colormap)):
        found = tuple(palette[3 * index : 3 * index + 3])
        if found != tuple(expected) and (label == index).any():
            raise ValueError(
                f"{name}: its palette gives index {index} the colour {found or 'none'}, {_owner(colormap)} "
                f"palette {expected}, first at (row, column) {_first(label == index)}. The mask was made for "
                "other classes: save it with the right palette, or as RGB in the classes' colours"
            )


def _owner(colormap: Sequence[Sequence[int]]) -> str:
    """Say in an error whose colours they are."""
    return "VOC's" if colormap is VOC_COLORMAP else "the classes'"


def voc_label_indices(
    colour_image: Tensor, name: str = "label", colormap: Sequence[Sequence[int]] = VOC_COLORMAP
) -> Tensor:
    """Turn a mask painted in VOC's colours, or others, into class indices.

    The few known colours are looked up by binary search, so no table of all 16.7 million is needed.

    Parameters
    ----------
    colour_image : Tensor
        uint8 (3, H, W), RGB.
    name : str
        What to call the mask in an error.
    colormap : sequence of (int, int, int)
        One RGB triple a class.

    Returns
    -------
    Tensor
        uint8 (H, W), the index of a class or 255 (void).

    Raises
    ------
    ValueError
        Where a colour is no class's (named with its position), or shape or dtype is another.
    """
    if colour_image.ndim != 3 or colour_image.shape[0] != 3 or colour_image.dtype != torch.uint8:
        raise ValueError(
            f"{name}: expected a uint8 RGB mask (3, H, W), got {colour_image.dtype} "
            f"{tuple(colour_image.shape)}"
        )
    known = torch.tensor([*colormap, VOID_COLOR], dtype=torch.int32)  # (C + 1, 3)
    index = torch.tensor([*range(len(colormap)), VOID], dtype=torch.uint8)  # (C + 1,)
    codes, order = _colour_code(known.T).sort()
    wanted = _colour_code(colour_image.int())  # (3, H, W) -> (H, W)
    place = torch.searchsorted(codes, wanted).clamp(max=len(codes) - 1)
    wrong = codes[place] != wanted
    if wrong.any():
        row, column = _first(wrong)
        raise ValueError(
            f"{name}: colour {tuple(colour_image[:, row, column].tolist())} at (row, column) {(row, column)} "
            f"is not in {_owner(colormap)} colours. A mask must be stored without loss (PNG, never JPEG) and "
            "never be resized smoothly"
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
    label : Tensor
        Integer (H, W), values below ``len(colormap)``, or 255 (void).
    colormap : sequence of (int, int, int)
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
    table = torch.zeros(256, 3, dtype=torch.uint8, device=label.device)
    table[: len(colormap)] = torch.tensor(colormap, dtype=torch.uint8)
    table[VOID] = torch.tensor(VOID_COLOR, dtype=torch.uint8)
    return table[label.long()].permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)


def write_mask(path: str | Path | BinaryIO, label: Tensor | np.ndarray, classes: ClassList = VOC) -> None:
    """Write a label as `read_mask` reads it: a palette PNG of indices.

    Parameters
    ----------
    path : str, Path or binary file
        Where to.
    label : Tensor or ndarray
        Class indices, uint8 (H, W), 255 = void.
    classes : ClassList
        Its colours go into the palette, and VOC's for the indices beyond them.
    """
    mask = Image.fromarray(np.asarray(label))
    mask.putpalette(_palette(classes))
    mask.save(path, format="PNG")


@cache
def _palette(classes: ClassList) -> tuple[int, ...]:
    """Give a palette as PIL wants it: 256 colours, R G B R G B ..., 768 values."""
    colours = classes.colormap + voc_colormap(256)[len(classes.names) :]
    return tuple(value for colour in colours for value in colour)


def voc_rand_crop(
    image: Tensor, label: Tensor, height: int, width: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Cut the same random rectangle out of an image and its label.

    Along a side where the image is too small it is not dropped but padded: it is put at a random place in
    the crop, with ``MEAN_COLOR`` around the image and void around the label. Every position is as likely.

    Parameters
    ----------
    image : Tensor
        uint8 (3, H, W).
    label : Tensor
        uint8 (H, W).
    height, width : int
        Size of the crop in pixels.
    generator : torch.Generator, optional
        Source of the randomness; torch's global one by default.

    Returns
    -------
    tuple of Tensor
        Image (3, height, width) and label (height, width).

    Raises
    ------
    ValueError
        Where image and label do not lie on each other or are not uint8, or the crop has no pixels.
    """
    _check_pair(image, label, "voc_rand_crop")
    if height < 1 or width < 1:
        raise ValueError(f"a crop of {height} x {width} has no pixels; expected at least 1 x 1")
    top = _draw_offset(image.shape[1], height, generator)
    left = _draw_offset(image.shape[2], width, generator)
    to_rows, from_rows = _overlap(top, image.shape[1], height)
    to_columns, from_columns = _overlap(left, image.shape[2], width)
    # NumPy copies on one thread. PyTorch would wake all of them for a few thousand bytes, which takes
    # longer, and very much longer where other programs keep the cores busy.
    seen, seen_label = image.numpy()[:, from_rows, from_columns], label.numpy()[from_rows, from_columns]
    if seen_label.shape == (height, width):  # nothing to pad
        return torch.from_numpy(seen.copy()), torch.from_numpy(seen_label.copy())
    crop = np.empty((3, height, width), np.uint8)
    crop[:] = np.reshape(MEAN_COLOR, (3, 1, 1))
    crop[:, to_rows, to_columns] = seen
    crop_label = np.full((height, width), VOID, np.uint8)
    crop_label[to_rows, to_columns] = seen_label
    return torch.from_numpy(crop), torch.from_numpy(crop_label)


def _draw_offset(size: int, crop: int, generator: torch.Generator | None) -> int:
    """Draw where the crop starts on the image; below zero where the image is the smaller one."""
    spare = size - crop
    return int(torch.randint(min(spare, 0), max(spare, 0) + 1, (), generator=generator))


def _overlap(offset: int, size: int, crop: int) -> tuple[slice, slice]:
    """Give the part of the crop that is image, and the part of the image that it shows."""
    length = min(size, crop)
    return slice(max(-offset, 0), max(-offset, 0) + length), slice(max(offset, 0), max(offset, 0) + length)


def _check_pair(image: Tensor, label: Tensor, name: str) -> None:
    """Refuse an image and a label that do not lie on each other."""
    if image.ndim != 3 or label.ndim != 2 or image.shape[1:] != label.shape:
        raise ValueError(
            f"{name}: image {tuple(image.shape)} and label {tuple(label.shape)} do not fit; expected "
            "(3, H, W) and (H, W) with the same H and W. Replace the wrong one; a mask may not be resized "
            "smoothly, and where the image's EXIF data turn it, the mask must be turned, too"
        )
    if image.dtype != torch.uint8 or label.dtype != torch.uint8:
        raise ValueError(f"{name}: expected uint8, got image {image.dtype} and label {label.dtype}")


def voc_rand_flip(
    image: Tensor, label: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Mirror an image and its label left to right, both or neither, with probability one half.

    Parameters
    ----------
    image : Tensor
        uint8 (3, H, W).
    label : Tensor
        uint8 (H, W).
    generator : torch.Generator, optional
        Source of the randomness; torch's global one by default.

    Returns
    -------
    tuple of Tensor
        Image (3, H, W) and label (H, W).

    Raises
    ------
    ValueError
        Where image and label do not lie on each other or are not uint8.
    """
    _check_pair(image, label, "voc_rand_flip")
    if torch.rand((), generator=generator) < 0.5:
        mirrored = (np.flip(part.numpy(), -1).copy() for part in (image, label))  # one thread, as above
        return tuple(map(torch.from_numpy, mirrored))
    return image, label


def voc_rand_scale(
    image: Tensor, label: Tensor, low: float, high: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Enlarge or shrink an image and its label by the same random factor.

    The image is interpolated bilinearly. The label takes the nearest pixel: a mean of two classes would be a
    third one.

    Parameters
    ----------
    image : Tensor
        uint8 (3, H, W).
    label : Tensor
        uint8 (H, W).
    low, high : float
        The factor is drawn evenly between them.
    generator : torch.Generator, optional
        Source of the randomness; torch's global one by default.

    Returns
    -------
    tuple of Tensor
        Image (3, H', W') and label (H', W'), with H' and W' the rounded multiples of H and W, at least 1.

    Raises
    ------
    ValueError
        Where image and label do not lie on each other, or not 0 < low <= high.
    """
    _check_pair(image, label, "voc_rand_scale")
    _check_scale((low, high))
    factor = low + (high - low) * torch.rand((), generator=generator).item()
    size = [max(1, round(factor * side)) for side in label.shape]
    # exact: the pixel whose centre is nearest, on the same grid as the image's interpolation
    label = resize(label[None], size, InterpolationMode.NEAREST_EXACT)[0]  # (H, W) -> (H', W')
    return resize(image, size, InterpolationMode.BILINEAR, antialias=True), label


def _check_scale(scale: tuple[float, float]) -> None:
    """Refuse factors that leave nothing or are in the wrong order."""
    if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale is {scale!r}; expected (low, high) with 0 < low <= high, such as (0.5, 2)")


class VOCSegDataset(Dataset):
    """Images and labels of one list of a folder in VOC layout, read when they are asked for.

    Parameters
    ----------
    voc_dir : str or Path
        The folder.
    split : str
        Name of the list: ``"train"``, ``"val"`` or any other one in ``ImageSets/Segmentation``.
        ``"trainval"`` joins the first two where the folder has no list of that name.
    crop_size : (int, int), optional
        (height, width) of a random crop; ``None`` gives whole images.
    flip : bool
        Whether half of the images, at random, are mirrored.
    seed : int
        Crops and flips are drawn from (seed, epoch, index) and nothing else, so that the number of
        workers, the order of reading and an interruption change nothing.
    cache : bool
        Whether to keep what has been read in memory (as uint8; each worker process keeps its own).
    target_transform : callable, optional
        Maps each label, uint8 (H, W), to another one of the same kind, before the crop: to merge classes,
        say. What the crop pads is void afterwards all the same.
    scale : (float, float), optional
        Smallest and largest factor of a random change of size before the crop; ``None`` changes none.
    classes : ClassList, optional
        The classes of the masks; by default those of the folder, see `folder_classes`.
    skip_bad : bool or mapping of str to str
        True reads every pair once, and leaves out those that cannot be read. A mapping, such as `check_files`
        gives, leaves out the names that it holds.

    Attributes
    ----------
    ids : list of str
        Names of the pictures.
    skipped : dict of str to str
        Names that were left out, and why.
    class_list : ClassList
        Names and colours of the classes.
    classes : tuple of str
        Names of the classes, by index.

    Raises
    ------
    FileNotFoundError
        Where the list, an image or a mask is missing.
    ValueError
        Where the list is empty or one of its lines cannot be a picture's name, ``crop_size`` is not two
        positive integers, ``scale`` not two factors, or no pair can be read.
    """

    def __init__(
        self,
        voc_dir: str | Path,
        split: str = "train",
        crop_size: tuple[int, int] | None = None,
        flip: bool = False,
        seed: int = 0,
        cache: bool = False,
        target_transform: Callable[[Tensor], Tensor] | None = None,
        scale: tuple[float, float] | None = None,
        classes: ClassList | None = None,
        skip_bad: bool | Mapping[str, str] = False,
    ) -> None:
        if scale is not None:
            _check_scale(scale)
        if crop_size is not None and (len(crop_size) != 2 or min(crop_size) < 1):
            raise ValueError(f"crop_size is {crop_size!r}; expected (height, width), both at least 1")
        self.voc_dir, self.split = Path(voc_dir), split
        self.crop_size, self.flip, self.seed = crop_size, flip, seed
        self.target_transform, self.scale = target_transform, scale
        self.class_list = classes or folder_classes(voc_dir)
        self.classes = self.class_list.names
        self.ids = _read_ids(self.voc_dir, split)
        self.skipped: dict[str, str] = {}
        if skip_bad is not False:
            self._leave_out(check_files(self) if skip_bad is True else skip_bad)
        self._check_files()
        self._cache: dict[int, tuple[Tensor, Tensor]] | None = {} if cache else None
        # Shared memory: workers that live on from one epoch to the next see set_epoch too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def _check_files(self) -> None:
        """Refuse a list with names that have no picture or no mask."""
        # one look into each folder: asking for each file would take longer than reading the first batch
        there = [_listed(self.voc_dir / part) for part in ("JPEGImages", "SegmentationClass")]
        for name in self.ids:
            image = any(f"{name}{suffix}" in there[0] for suffix in IMAGE_SUFFIXES)
            if not image or f"{name}.png" not in there[1]:
                path = self.paths(name)[image]
                raise FileNotFoundError(
                    f"{path}: missing, but {self.split!r} lists it; put it there, or take it off the list. "
                    f"python -m d2lseg doctor {self.voc_dir} finds all that are missing"
                )

    def _leave_out(self, bad: Mapping[str, str]) -> None:
        """Drop the bad names from the list, and keep what is wrong with them."""
        self.skipped = {name: bad[name] for name in dict.fromkeys(self.ids) if name in bad}
        if len(self.skipped) == len(set(self.ids)):
            first = next(iter(self.skipped.values()))
            raise ValueError(f"{self.voc_dir}: no picture of {self.split!r} can be used, the first: {first}")
        self.ids = [name for name in self.ids if name not in self.skipped]

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._epoch.share_memory_()  # a deep copy's is not shared yet

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def epoch(self) -> int:
        """The epoch that the next augmentation is drawn from."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch: other epochs give other crops and flips, the same epoch the same ones.

        Parameters
        ----------
        epoch : int
            Number of the epoch, from 0.
        """
        self._epoch.fill_(epoch)

    def paths(self, name: str) -> tuple[Path, Path]:
        """Give the files of one picture.

        Parameters
        ----------
        name : str
            One of ``ids``.

        Returns
        -------
        tuple of Path
            Image and mask.
        """
        return _paths(self.voc_dir, name)

    def __getitem__(self, index: int | tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Read one picture, then crop and mirror it where that was asked for.

        Parameters
        ----------
        index : int or (int, int)
            Position in ``ids``, or (epoch, position) to draw from another epoch than the current one.

        Returns
        -------
        tuple of Tensor
            Image, uint8 (3, H, W), and label, uint8 (H, W).

        Raises
        ------
        ValueError
            Where a file cannot be read, the sizes of image and mask differ, or ``target_transform`` gives
            anything but a uint8 label of the same size.
        IndexError
            Where there is no such position.
        """
        epoch, index = index if isinstance(index, tuple) else (self.epoch, index)
        index = range(len(self))[index]
        image, label = stored = self._read(index)
        if self.target_transform is not None:
            label = self.target_transform(label.clone())  # which may paint in what it gets
            _check_pair(image, label, "target_transform")
        generator = _generator(self.seed, epoch, 1 + index)
        if self.scale is not None:
            image, label = voc_rand_scale(image, label, *self.scale, generator)
        if self.crop_size is not None:
            image, label = voc_rand_crop(image, label, *self.crop_size, generator)
        if self.flip:
            image, label = voc_rand_flip(image, label, generator)
        if self._cache is not None:  # nobody shall paint in the cache
            image = image.clone() if image is stored[0] else image
            label = label.clone() if label is stored[1] else label
        return image, label

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one pair from the cache or from disk; what comes from the cache is the cache's own."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        image, label = self._read_pair(self.ids[index])
        if self._cache is not None:
            self._cache[index] = image, label
        return image, label

    def _read_pair(self, name: str) -> tuple[Tensor, Tensor]:
        """Read an image and its mask from disk."""
        image_path, mask_path = self.paths(name)
        for path in (image_path, mask_path):
            _check_listed(path, self.split)
        image, label = read_image(image_path), read_mask(mask_path, self.class_list)
        _check_pair(image, label, f"{image_path} and its mask")
        return image, label


def _check_listed(path: Path, split: str) -> None:
    """Refuse what can't be opened as a file, and would keep the readers of images waiting, for one."""
    if not os.path.isfile(path):  # a file's own faults are found by the reader
        check_file(path, "picture", f"{split!r} lists it: put it there, or take it off the list")


def _paths(voc_dir: Path, name: str) -> tuple[Path, Path]:
    """Give image and mask of a name; of the image its first ending that is there."""
    images = [voc_dir / "JPEGImages" / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    # a file; else whatever has the name, of which it can then be said why it is no picture
    image = next(filter(os.path.isfile, images), None) or next(filter(os.path.lexists, images), images[0])
    return image, voc_dir / "SegmentationClass" / f"{name}.png"


def check_files(dataset: VOCSegDataset, progress: bool | None = None) -> dict[str, str]:
    """Read every image and mask once, and collect those that cannot be used.

    Parameters
    ----------
    dataset : VOCSegDataset
        Its files are read, whatever it keeps in memory; nothing is cropped or kept.
    progress : bool, optional
        Whether to show a progress bar; by default where the output is a terminal.

    Returns
    -------
    dict of str to str
        For the name of each bad pair, what is wrong with it. Empty where all is well.
    """
    bad, hidden = {}, None if progress is None else not progress
    for name in tqdm(dict.fromkeys(dataset.ids), desc=f"reading {dataset.split}", disable=hidden):
        try:
            dataset._read_pair(name)
        except MemoryError:
            bad[name] = (
                f"{dataset.paths(name)[0]}: too large for the memory, it or its mask; make them smaller"
            )
        except (ValueError, OSError) as error:
            bad[name] = str(error)
    return bad


def _listed(folder: Path) -> set[str]:
    """Give the names in a folder; none where there is no folder."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise in_words(error, folder, "folder", _LAYOUT) from error


def _read_ids(voc_dir: Path, split: str) -> list[str]:
    """Read a list of names."""
    folder = voc_dir / "ImageSets" / "Segmentation"
    if split == "trainval" and not os.path.lexists(folder / "trainval.txt"):
        return _read_ids(voc_dir, "train") + _read_ids(voc_dir, "val")
    path = folder / f"{split}.txt"
    ids = [line.strip() for line in read_text(path, "list", _LAYOUT).splitlines() if line.strip()]
    if not ids:
        raise ValueError(f"{path}: the list is empty; expected one ID a line, such as 2007_000032")
    for name in ids:
        # none may lead out of the folder, on any system, or make a mess of the screen
        if PureWindowsPath(name).name != name or any(c < " " or c == "\x7f" for c in name):
            raise ValueError(
                f"{path}: {name[:80]!r} is no ID; expected the name of an image in JPEGImages, without a "
                "folder and an ending. Mend this line"
            )
    return ids


def _generator(*key: int) -> torch.Generator:
    """Make a generator that depends on all numbers of the key and on nothing else."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))  # torch takes 63 bits


class _EpochSampler(Sampler):
    """Shuffle by (seed, epoch); each pass that nobody chose an epoch for takes the next one.

    It hands out (epoch, position), so items still on their way to a worker keep their own epoch. Of several
    processes each takes every ``world_size``-th picture of the same order. As with torch's
    ``DistributedSampler`` all take equally many, for which the first few may come twice.
    """

    def __init__(self, dataset: VOCSegDataset, rank: int = 0, world_size: int = 1) -> None:
        self.dataset, self.rank, self.world_size = dataset, rank, world_size

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self.dataset.epoch
        self.dataset.set_epoch(epoch + 1)
        order = torch.randperm(len(self.dataset), generator=_generator(self.dataset.seed, epoch, 0))
        places = range(self.rank, len(self) * self.world_size, self.world_size)
        yield from ((epoch, int(order[place % len(order)])) for place in places)


def read_voc_images(
    voc_dir: str | Path, split: str = "train", limit: int | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Read whole images and their labels into two lists.

    Parameters
    ----------
    voc_dir : str or Path
        A folder in VOC layout.
    split : str
        Name of the list, as in ``VOCSegDataset``.
    limit : int, optional
        Read only that many from the top of the list.

    Returns
    -------
    tuple of list
        Images, each uint8 (3, H, W), and labels, each uint8 (H, W).

    Raises
    ------
    FileNotFoundError
        Where the list, an image or a mask is missing.
    ValueError
        Where a file cannot be read or the sizes of image and mask differ.
    """
    dataset = VOCSegDataset(voc_dir, split)
    pairs = [dataset[index] for index in range(len(dataset))[:limit]]
    return [image for image, _ in pairs], [label for _, label in pairs]


def load_data_voc(
    voc_dir: str | Path,
    batch_size: int,
    crop_size: tuple[int, int],
    num_workers: int | None = None,
    seed: int = 0,
    cache: bool = False,
    target_transform: Callable[[Tensor], Tensor] | None = None,
    scale: tuple[float, float] | None = None,
    classes: ClassList | None = None,
    rank: int = 0,
    world_size: int = 1,
    skip_bad: bool | Mapping[str, str] = False,
) -> tuple[DataLoader, DataLoader]:
    """Give batches for training and whole images for validation.

    Parameters
    ----------
    voc_dir : str or Path
        A folder in VOC layout.
    batch_size : int
        Pictures in a training batch. The last, smaller batch of a pass is left out when there is a full one.
    crop_size : (int, int)
        (height, width) of the training crops.
    num_workers : int, optional
        Processes that read ahead. By default none, and up to four on Linux with a GPU, where one reader
        is slower than the training.
    seed : int
        Order, crops and flips depend on it and on the epoch. Each pass over the training batches is the
        next epoch, unless ``train_iter.dataset.set_epoch`` chose one.
    cache : bool
        Whether to keep what has been read in memory.
    target_transform : callable, optional
        Maps each label of both, see `VOCSegDataset`.
    scale : (float, float), optional
        Smallest and largest factor of a random change of size of the training pictures.
    classes : ClassList, optional
        The classes of the masks; by default those of the folder, see `folder_classes`.
    rank, world_size : int
        Give only the share of this one of several processes: equally many training pictures to each, and
        each validation picture to exactly one.
    skip_bad : bool or mapping of str to str
        Leave out pairs that cannot be read, see `VOCSegDataset`; ``train_iter.dataset.skipped`` names them.
        Several processes must leave out the same: check in one and give its result to all.

    Returns
    -------
    tuple of DataLoader
        ``train_iter``, shuffled, cropped and mirrored at random: uint8 (N, 3, height, width) and (N, height,
        width). ``val_iter``, whole and in the list's order: uint8 (1, 3, H, W) and (1, H, W).

    Raises
    ------
    FileNotFoundError
        Where a list, an image or a mask is missing.
    ValueError
        Where a list is empty, ``crop_size`` is not two positive integers or ``scale`` not two factors.
    """
    kept = {"cache": cache, "target_transform": target_transform, "classes": classes, "skip_bad": skip_bad}
    train = VOCSegDataset(voc_dir, "train", crop_size, flip=True, seed=seed, scale=scale, **kept)
    sampler = _EpochSampler(train, rank, world_size)
    train_iter = DataLoader(
        train,
        batch_size,
        sampler=sampler,
        drop_last=len(sampler) >= batch_size,
        **_reading(num_workers, seed),
    )
    return train_iter, whole_images(VOCSegDataset(voc_dir, "val", **kept), num_workers, rank, world_size)


def whole_images(
    dataset: VOCSegDataset, num_workers: int | None = None, rank: int = 0, world_size: int = 1
) -> DataLoader:
    """Give the pictures of a list one by one, to evaluate on them.

    Parameters
    ----------
    dataset : VOCSegDataset
        Without a crop.
    num_workers : int, optional
        As in `load_data_voc`.
    rank, world_size : int
        Give only the share of this one of several processes: each picture to exactly one.

    Returns
    -------
    DataLoader
        In the list's order: uint8 (1, 3, H, W) and (1, H, W).
    """
    share = range(rank, len(dataset), world_size)
    return DataLoader(dataset, 1, sampler=share, **_reading(num_workers))


def _reading(num_workers: int | None, seed: int = 0) -> dict[str, Any]:
    """Tell a DataLoader how to read."""
    if num_workers is None:
        waits = sys.platform == "linux" and torch.cuda.is_available()
        num_workers = min(4, os.cpu_count() or 1) if waits else 0
    return {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        # so that the copy to the GPU runs beside its work
        "pin_memory": torch.cuda.is_available(),
        # a generator of its own: reading must not move torch's global random state
        "generator": torch.Generator().manual_seed(seed),
    }


def download(
    root: str | Path | None = None, source: str | Path | None = None, mirrors: Sequence[str] = ()
) -> Path:
    """Put VOC 2012 (2 GB to download) into place, unless it is already there.

    Parameters
    ----------
    root : str or Path, optional
        Where ``VOCdevkit`` goes; ``data_dir()`` by default.
    source : str or Path, optional
        The archive ``VOCtrainval_11-May-2012.tar``, if you have it already.
    mirrors : sequence of str
        Addresses of the archive to try first, see `download.install`, which also tells what is raised.

    Returns
    -------
    Path
        The folder ``VOCdevkit/VOC2012``, ready for ``load_data_voc``.
    """
    return install(voc2012(), data_dir() if root is None else root, source, mirrors)
