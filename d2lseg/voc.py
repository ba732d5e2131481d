"""The Pascal VOC 2012 segmentation layout: reading, cropping, batches, download.

A folder in this layout holds ``JPEGImages/ID.jpg``, ``SegmentationClass/ID.png`` and the lists
``ImageSets/Segmentation/{train,val}.txt`` with one ID a line. Images are uint8 tensors (3, H, W);
labels are uint8 tensors (H, W) of class indices 0..20, with 255 for void: pixels that nobody labelled,
which no loss and no score may count.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import sys
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.datasets import VOCSegmentation
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

from .classes import VOC, VOC_CLASSES, VOC_COLORMAP, VOID, VOID_COLOR, ClassList, read_classes
from .files import read_text

MEAN_COLOR = (124, 116, 104)  # the mean colour of ImageNet, (0.485, 0.456, 0.406) * 255, rounded

CLASSES_FILE = "classes.txt"  # in the folder of a dataset that has classes of its own
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
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
    return read_classes(path) if path.is_file() else VOC


def read_image(path: str | Path) -> Tensor:
    """Read a photograph.

    Parameters
    ----------
    path : str or Path
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
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))  # (H, W, 3) -> (3, H, W)


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
        mode, palette, pixels = image.mode, image.getpalette(), np.array(image)
    if mode == "RGB":
        return voc_label_indices(torch.from_numpy(pixels).permute(2, 0, 1), str(path), classes.colormap)
    if mode not in ("P", "L"):
        raise ValueError(
            f"{path}: its PIL mode is {mode!r}; a mask is a palette PNG ('P'), a greyscale PNG of "
            "class indices ('L') or an RGB PNG of the classes' colours. Save it as one of them"
        )
    label = torch.from_numpy(pixels)
    present = np.bincount(pixels.ravel(), minlength=256).nonzero()[0].tolist()
    if any(len(classes.names) <= index < VOID for index in present):
        _check_indices(label, str(path), len(classes.names))
    if mode == "P" and classes.colours:
        _check_palette(label, present, palette, classes.colours, str(path))
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


def _check_palette(
    label: Tensor,
    present: Sequence[int],
    palette: Sequence[int],
    colormap: Sequence[Sequence[int]],
    name: str,
) -> None:
    """Refuse a palette that gives one of the indices in use another colour than its class has."""
    for index in present:
        found = tuple(palette[3 * index : 3 * index + 3])
        expected = VOID_COLOR if index == VOID else colormap[index]
        if found != expected:
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
    crop = np.empty((3, height, width), np.uint8)
    crop[:] = np.reshape(MEAN_COLOR, (3, 1, 1))
    crop[:, to_rows, to_columns] = image.numpy()[:, from_rows, from_columns]
    crop_label = np.full((height, width), VOID, np.uint8)
    crop_label[to_rows, to_columns] = label.numpy()[from_rows, from_columns]
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
            "(3, H, W) and (H, W) with the same H and W"
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

    Attributes
    ----------
    ids : list of str
        Names of the pictures.
    class_list : ClassList
        Names and colours of the classes.
    classes : tuple of str
        Names of the classes, by index.

    Raises
    ------
    FileNotFoundError
        Where the list, an image or a mask is missing.
    ValueError
        Where the list is empty, ``crop_size`` is not two positive integers or ``scale`` not two factors.
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
        for path in (path for name in self.ids for path in self.paths(name)):
            if not path.is_file():
                raise FileNotFoundError(f"{path}: missing, but {split!r} lists it; {_LAYOUT}")
        self._cache: dict[int, tuple[Tensor, Tensor]] | None = {} if cache else None
        # Shared memory: workers that live on from one epoch to the next see set_epoch too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

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
        images = [self.voc_dir / "JPEGImages" / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
        image = next((path for path in images if path.is_file()), images[0])
        return image, self.voc_dir / "SegmentationClass" / f"{name}.png"

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
        image, label = self._read(index)
        if self.target_transform is not None:
            label = self.target_transform(label)
            _check_pair(image, label, "target_transform")
        generator = _generator(self.seed, epoch, 1 + index)
        if self.scale is not None:
            image, label = voc_rand_scale(image, label, *self.scale, generator)
        if self.crop_size is not None:
            image, label = voc_rand_crop(image, label, *self.crop_size, generator)
        if self.flip:
            image, label = voc_rand_flip(image, label, generator)
        return image, label

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one pair from the cache or from disk."""
        if self._cache is not None and index in self._cache:
            image, label = self._cache[index]
            return image.clone(), label.clone()  # so that nobody paints in the cache
        image_path, mask_path = self.paths(self.ids[index])
        image, label = read_image(image_path), read_mask(mask_path, self.class_list)
        _check_pair(image, label, f"{image_path} and its mask")
        if self._cache is not None:
            self._cache[index] = image.clone(), label.clone()
        return image, label


def _read_ids(voc_dir: Path, split: str) -> list[str]:
    """Read a list of names."""
    folder = voc_dir / "ImageSets" / "Segmentation"
    if split == "trainval" and not (folder / "trainval.txt").is_file():
        return _read_ids(voc_dir, "train") + _read_ids(voc_dir, "val")
    path = folder / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list; {_LAYOUT}")
    ids = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not ids:
        raise ValueError(f"{path}: the list is empty; expected one ID a line")
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
    if num_workers is None:
        waits = sys.platform == "linux" and torch.cuda.is_available()
        num_workers = min(4, os.cpu_count() or 1) if waits else 0
    kept = {"cache": cache, "target_transform": target_transform, "classes": classes}
    train = VOCSegDataset(voc_dir, "train", crop_size, flip=True, seed=seed, scale=scale, **kept)
    val = VOCSegDataset(voc_dir, "val", **kept)
    # A generator of their own: reading must not move torch's global random state.
    shared = {"num_workers": num_workers, "persistent_workers": num_workers > 0}
    shared["pin_memory"] = torch.cuda.is_available()  # so that the copy to the GPU runs beside its work
    sampler = _EpochSampler(train, rank, world_size)
    train_iter = DataLoader(
        train,
        batch_size,
        sampler=sampler,
        drop_last=len(sampler) >= batch_size,
        generator=torch.Generator().manual_seed(seed),
        **shared,
    )
    share = range(rank, len(val), world_size)
    return train_iter, DataLoader(
        val, 1, sampler=share, generator=torch.Generator().manual_seed(seed), **shared
    )


def download(root: str | Path | None = None) -> Path:
    """Fetch VOC 2012 (2 GB) with torchvision's own class, unless it is already there.

    Parameters
    ----------
    root : str or Path, optional
        Where ``VOCdevkit`` goes; ``data_dir()`` by default.

    Returns
    -------
    Path
        The folder ``VOCdevkit/VOC2012``, ready for ``load_data_voc``.

    Raises
    ------
    ConnectionError
        Where the host cannot be reached, or breaks off.
    RuntimeError
        Where the archive's checksum is wrong.
    """
    root = Path(root) if root is not None else data_dir()
    folder = root / "VOCdevkit" / "VOC2012"
    if _is_complete(folder):
        return folder
    try:
        with _socket_timeout(60):
            VOCSegmentation(root, year="2012", image_set="trainval", download=True)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise ConnectionError(
            f"VOC 2012 could not be downloaded ({error}). The host is often down: try again later, or put "
            f"VOCtrainval_11-May-2012.tar from elsewhere into {root} and call this again (its checksum is "
            "verified). Until then emojivoc.prepare() gives a dataset that needs no network"
        ) from error
    except RuntimeError as error:
        raise RuntimeError(
            f"{root / 'VOCtrainval_11-May-2012.tar'}: broken, or not the official archive ({error}). "
            "Calling this again downloads it anew"
        ) from error
    if not _is_complete(folder):
        raise RuntimeError(f"{folder}: incomplete after extraction; is the disk full? {_LAYOUT}")
    return folder


def _is_complete(folder: Path) -> bool:
    """Tell whether every listed picture and mask is there."""
    try:
        return all(len(VOCSegDataset(folder, split)) > 0 for split in ("train", "val"))
    except (FileNotFoundError, ValueError):
        return False


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Give up on a host that stays silent; torchvision sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
