"""The Pascal VOC 2012 segmentation layout: reading, cropping, batches, download.

A folder in this layout holds ``JPEGImages/ID.jpg``, ``SegmentationClass/ID.png`` and the lists
``ImageSets/Segmentation/{train,val}.txt`` with one ID a line. Images are uint8 RGB tensors (3, H, W). Labels
are uint8 tensors (H, W) of class indices 0..C-1, with 255 for void: pixels without a class, which no loss and
no score may count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import (
    InterpolationMode,
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    resize,
)

from .classes import VOC, VOC_COLORMAP, VOID, VOID_COLOR, ClassList, as_class_list, read_classes, voc_colormap
from .classes import VOC_CLASSES as VOC_CLASSES  # for readers of the textbook, who look for it here
from .engine import images, layout, sampling
from .engine.files import data_dir as data_dir
from .engine.files import user_path

MEAN_COLOR = (124, 116, 104)  # the mean colour of ImageNet, (0.485, 0.456, 0.406) * 255, rounded
CLASSES_FILE = "classes.txt"  # in the folder of a dataset that has classes of its own
Pair = tuple[Tensor, Tensor]  # an image, uint8 (3, H, W), and its label, uint8 (H, W)


def folder_classes(voc_dir: str | Path) -> ClassList:
    """Return the classes of a folder's masks: those in its ``classes.txt``, or VOC's if it has none."""
    path = user_path(voc_dir) / CLASSES_FILE
    return read_classes(path) if os.path.lexists(path) else VOC


def read_image(path: str | Path) -> Tensor:
    """Read a photograph as a uint8 RGB tensor (3, H, W); a missing or bad file raises an error that names it.

    The EXIF orientation is applied; colour profiles are not. Greyscale becomes three equal channels, 16 bits
    become 8, and transparent parts lie on white, as in a browser. Of an animation, the first frame is read.
    """
    return images.read_rgb(path)


def read_mask(path: str | Path, classes: ClassList | Sequence[str] = VOC) -> Tensor:
    """Read a mask as class indices, uint8 (H, W), 255 = void.

    A palette PNG, VOC's own format, is read by index, and its palette is compared with the classes' own
    colours. The values of a greyscale mask are taken as indices. An RGB mask is read by colour. An index or
    colour that belongs to no class is a ValueError, and so is a JPEG, which changes values.
    """
    return mask_label(images.read_mask(path), as_class_list(classes), str(path))


def mask_label(mask: images.MaskFile, classes: ClassList, name: str) -> Tensor:
    """Turn the content of a mask file into class indices, as `read_mask` does; errors call it `name`."""
    if mask.pixels.ndim == 3:  # (H, W, 3) -> (3, H, W)
        return voc_label_indices(torch.from_numpy(mask.pixels).permute(2, 0, 1), name, classes.colormap)
    # compared with NumPy, on one thread, for the reason given in voc_rand_crop
    images.check_indices(mask.pixels, len(classes.names), VOID, name)
    if mask.palette is not None and classes.colours is not None:
        images.check_palette(mask, {VOID: VOID_COLOR, **dict(enumerate(classes.colours))}, name)
    return torch.from_numpy(mask.pixels)


def voc_label_indices(
    colour_image: Tensor, name: str = "label", colormap: Sequence[Sequence[int]] = VOC_COLORMAP
) -> Tensor:
    """Turn a mask painted in colours, uint8 (3, H, W), into class indices, uint8 (H, W), 255 = void.

    The few known colours are found by binary search, so no table of all 16.7 million is needed. An unknown
    colour is a ValueError that gives its position and calls the mask `name`.
    """
    if colour_image.ndim != 3 or colour_image.shape[0] != 3 or colour_image.dtype != torch.uint8:
        raise ValueError(
            f"{name}: expected uint8 RGB (3, H, W), got {colour_image.dtype} {tuple(colour_image.shape)}"
        )
    known = torch.tensor([*colormap, VOID_COLOR], dtype=torch.int32)  # (C + 1, 3)
    index = torch.tensor([*range(len(colormap)), VOID], dtype=torch.uint8)  # (C + 1,)
    codes, order = _colour_code(known.T).sort()
    wanted = _colour_code(colour_image.int())  # (3, H, W) -> (H, W)
    place = torch.searchsorted(codes, wanted).clamp(max=len(codes) - 1)
    wrong = codes[place] != wanted
    if wrong.any():
        row, column = images.first_true(wrong)
        raise ValueError(
            f"{name}: colour {tuple(colour_image[:, row, column].tolist())} at (row, column) {(row, column)} "
            "is not one of the classes' colours. A mask must be saved without loss (PNG, never JPEG) and "
            "never be resized smoothly"
        )
    return index[order][place]


def _colour_code(colours: Tensor) -> Tensor:
    """Write each colour of an int32 (3, ...) as one number (...)."""
    red, green, blue = colours
    return (red << 16) | (green << 8) | blue


def label2image(label: Tensor, colormap: Sequence[Sequence[int]] = VOC_COLORMAP) -> Tensor:
    """Paint class indices (H, W) in colours, uint8 (3, H, W): the inverse of `voc_label_indices`.

    `colormap` holds one RGB triple a class. An index without a colour raises a ValueError with its position.
    """
    label = torch.as_tensor(label)
    if label.ndim != 2 or label.is_floating_point():
        raise ValueError(f"expected integer indices (H, W), got {label.dtype} {tuple(label.shape)}")
    images.check_indices(label.cpu().numpy(), len(colormap), VOID, "label")
    table = torch.zeros(256, 3, dtype=torch.uint8, device=label.device)
    table[: len(colormap)] = torch.tensor(colormap, dtype=torch.uint8)
    table[VOID] = torch.tensor(VOID_COLOR, dtype=torch.uint8)
    return table[label.long()].permute(2, 0, 1).contiguous()  # (H, W, 3) -> (3, H, W)


def write_mask(
    path: str | Path | BinaryIO, label: Tensor | np.ndarray, classes: ClassList | Sequence[str] = VOC
) -> None:
    """Write class indices (H, W) as a palette PNG: the classes' colours, and VOC's beyond them."""
    table = as_class_list(classes)
    colours = table.colormap + voc_colormap(256)[len(table.names) :]
    mask = Image.fromarray(images.as_indices(label, "write_mask"))
    mask.putpalette([value for colour in colours for value in colour])
    mask.save(user_path(path) if isinstance(path, (str, Path)) else path, format="PNG")


def voc_rand_crop(
    image: Tensor, label: Tensor, height: int, width: int, generator: Generator | None = None
) -> Pair:
    """Cut the same random rectangle out of an image (3, H, W) and its label (H, W).

    An image that is too small along a side is padded, not dropped: it is put at a random place in the crop,
    with ``MEAN_COLOR`` around the image and void around the label. All positions are equally likely.
    """
    images.check_pair(image, label, "voc_rand_crop")
    if height < 1 or width < 1:
        raise ValueError(f"a crop of {height} x {width} has no pixels; expected at least 1 x 1")
    to_rows, from_rows = _draw_window(image.shape[1], height, generator)
    to_columns, from_columns = _draw_window(image.shape[2], width, generator)
    # NumPy copies on one thread. PyTorch would wake all of them for a few thousand bytes, which takes
    # longer, and far longer when other programs keep the cores busy.
    seen, seen_label = image.numpy()[:, from_rows, from_columns], label.numpy()[from_rows, from_columns]
    if seen_label.shape == (height, width):  # nothing to pad
        return torch.from_numpy(seen.copy()), torch.from_numpy(seen_label.copy())
    crop = np.empty((3, height, width), np.uint8)
    crop[:] = np.reshape(MEAN_COLOR, (3, 1, 1))
    crop[:, to_rows, to_columns] = seen
    crop_label = np.full((height, width), VOID, np.uint8)
    crop_label[to_rows, to_columns] = seen_label
    return torch.from_numpy(crop), torch.from_numpy(crop_label)


def _draw_window(size: int, crop: int, generator: Generator | None) -> tuple[slice, slice]:
    """Draw along one side: which part of the crop is image, and which part of the image it shows."""
    spare, length = size - crop, min(size, crop)
    # offset >= 0: the crop starts there on the image; below 0: the image starts at -offset in the crop
    offset = int(torch.randint(min(spare, 0), max(spare, 0) + 1, (), generator=generator))
    return slice(max(-offset, 0), max(-offset, 0) + length), slice(max(offset, 0), max(offset, 0) + length)


def voc_rand_flip(image: Tensor, label: Tensor, generator: Generator | None = None) -> Pair:
    """Mirror an image (3, H, W) and its label (H, W) left to right, both or neither, with probability 1/2."""
    images.check_pair(image, label, "voc_rand_flip")
    if torch.rand((), generator=generator) >= 0.5:
        return image, label
    mirrored, mirrored_label = (np.flip(part.numpy(), -1).copy() for part in (image, label))  # one thread
    return torch.from_numpy(mirrored), torch.from_numpy(mirrored_label)


def voc_rand_scale(
    image: Tensor, label: Tensor, low: float, high: float, generator: Generator | None = None
) -> Pair:
    """Resize an image (3, H, W) and its label (H, W) by one random factor between `low` and `high`.

    The image is interpolated bilinearly. The label takes the nearest pixel: a mean of two classes would be a
    third one.
    """
    images.check_pair(image, label, "voc_rand_scale")
    _check_scale((low, high))
    factor = low + (high - low) * torch.rand((), generator=generator).item()
    size = [max(1, round(factor * side)) for side in label.shape]
    # exact: the pixel whose centre is nearest, on the same grid as the image's interpolation
    label = resize(label[None], size, InterpolationMode.NEAREST_EXACT)[0]  # (H, W) -> (H', W')
    return resize(image, size, InterpolationMode.BILINEAR, antialias=True), label


def voc_rand_jitter(image: Tensor, strength: float, generator: Generator | None = None) -> Tensor:
    """Change the brightness, contrast and saturation of an image, uint8 (3, H, W), each by a random factor.

    The factors lie between 1 - `strength` and 1 + `strength`; 0.4 is usual. Labels are not concerned.
    """
    factors = 1 + strength * (2 * torch.rand(3, generator=generator) - 1)
    for adjust, factor in zip(
        (adjust_brightness, adjust_contrast, adjust_saturation), factors.tolist(), strict=True
    ):
        image = adjust(image, factor)
    return image


def _check_scale(scale: Sequence[float]) -> None:
    if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale is {scale!r}; expected (low, high) with 0 < low <= high, such as (0.5, 2)")


class VOCSegDataset(Dataset):
    """Images and labels of one list of a folder in VOC layout, read when they are needed.

    A missing list, image or mask is a FileNotFoundError, here and not in the middle of an epoch.

    Parameters
    ----------
    voc_dir, split : path and str
        The folder, and a list in its ``ImageSets/Segmentation``; ``"trainval"`` joins train and val.
    crop_size : int or (int, int), optional
        (height, width) of a random crop, or the side of a square; ``None`` gives whole images.
    flip : bool
        Mirror half of the images, at random.
    seed : int
        Augmentation is drawn from (seed, epoch, index) and nothing else, so that the number of workers, the
        order of reading and an interruption change nothing.
    cache : bool
        Keep what has been read in memory; each worker process keeps its own.
    target_transform : callable, optional
        Maps each uint8 label (H, W) to another one, before the crop: to merge classes, for example.
    scale : (float, float), optional
        Smallest and largest factor of a random resize before the crop.
    classes : ClassList or names, optional
        By default those of the folder, see `folder_classes`.
    jitter : float
        Strength of `voc_rand_jitter`; 0 leaves colours alone.
    transform : callable, optional
        Maps an image and its label to another such pair, before the resize and the crop. What it draws from
        torch's random numbers depends on (seed, epoch, index) too.
    skip_bad : bool or mapping of str to str
        Move bad pairs from ``ids`` to ``skipped``: those of `check_files` for True, or those of the mapping.
    """

    def __init__(
        self,
        voc_dir: str | Path,
        split: str = "train",
        crop_size: int | tuple[int, int] | None = None,
        flip: bool = False,
        seed: int = 0,
        cache: bool = False,
        target_transform: Callable[[Tensor], Tensor] | None = None,
        scale: tuple[float, float] | None = None,
        jitter: float = 0.0,
        classes: ClassList | Sequence[str] | None = None,
        skip_bad: bool | Mapping[str, str] = False,
        transform: Callable[[Tensor, Tensor], Pair] | None = None,
    ) -> None:
        if scale is not None:
            _check_scale(scale)
        if not 0 <= jitter < 1:
            raise ValueError(
                f"jitter is {jitter!r}; expected a strength of at least 0 and below 1, such as 0.4"
            )
        self.voc_dir, self.split, self.target_transform = user_path(voc_dir), split, target_transform
        voc_dir = self.voc_dir
        self.crop_size, self.flip, self.seed = sampling.crop_size(crop_size), flip, seed
        self.scale, self.jitter, self.transform = scale, jitter, transform
        self.class_list = as_class_list(classes) if classes else folder_classes(voc_dir)
        self.classes = self.class_list.names
        self.ids = layout.read_ids(voc_dir, split)
        bad = check_files(self) if skip_bad is True else skip_bad or {}
        self.ids, self.skipped = layout.without(self.ids, bad, voc_dir, split)
        layout.check_present(voc_dir, split, self.ids)
        self._cache: dict[int, Pair] | None = {} if cache else None
        self._epoch = sampling.SharedEpoch()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def epoch(self) -> int:
        """The epoch that the next augmentation is drawn from."""
        return self._epoch.number

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0: another one gives other crops and flips, the same one the same."""
        self._epoch.number = epoch

    def paths(self, name: str) -> tuple[Path, Path]:
        """Return the image and mask paths for one of ``ids``."""
        return layout.pair_paths(self.voc_dir, name)

    def __getitem__(self, index: int | tuple[int, int]) -> Pair:
        """Read and augment one pair; (epoch, position) draws from another epoch."""
        epoch, index = index if isinstance(index, tuple) else (self.epoch, index)
        index = range(len(self))[index]  # takes negative indices, and raises IndexError past the end
        image, label = self._read(index)
        if self.target_transform is not None:
            label = self.target_transform(label.clone())  # it may paint in what it is given
            images.check_pair(image, label, "target_transform")
        generator = sampling.generator(self.seed, epoch, 1 + index)  # 0 is the key of the order
        if self.transform is not None:
            with sampling.global_seed(self.seed, epoch, 1 + index):
                image, label = images.transformed(self.transform, image, label)
        if self.scale is not None:
            image, label = voc_rand_scale(image, label, *self.scale, generator)
        if self.crop_size is not None:
            image, label = voc_rand_crop(image, label, *self.crop_size, generator)
        if self.flip:
            image, label = voc_rand_flip(image, label, generator)
        if self.jitter:
            image = voc_rand_jitter(image, self.jitter, generator)
        return image, label

    def _read(self, index: int) -> Pair:
        if self._cache is None:
            return self.read_pair(self.ids[index])
        if index not in self._cache:
            self._cache[index] = self.read_pair(self.ids[index])
        image, label = self._cache[index]
        if self.crop_size is None:  # callers may modify the result, so protect the cache; a crop is a copy
            image, label = (torch.from_numpy(part.numpy().copy()) for part in (image, label))  # one thread
        return image, label

    def read_pair(self, name: str) -> Pair:
        """Read image and mask of one name from disk; a ValueError or OSError names the file at fault."""
        image_path, mask_path = self.paths(name)
        layout.check_listed(self.split, image_path, mask_path)
        image, label = read_image(image_path), read_mask(mask_path, self.class_list)
        images.check_pair(image, label, f"{image_path} and its mask")
        return image, label


def check_files(dataset: VOCSegDataset, progress: bool | None = None) -> dict[str, str]:
    """Read every pair once, and return what is wrong with each bad one, by name.

    The progress bar is shown if the output is a terminal, or as `progress` says.
    """
    return layout.unreadable(dataset.ids, dataset.read_pair, f"reading {dataset.split}", progress)


def read_voc_images(
    voc_dir: str | Path, split: str = "train", limit: int | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Read whole images and their labels into two lists, `limit` of them from the top of the list."""
    dataset = VOCSegDataset(voc_dir, split)
    pairs = [dataset[index] for index in range(len(dataset))[:limit]]
    return [image for image, _ in pairs], [label for _, label in pairs]


def load_data_voc(
    voc_dir: str | Path,
    batch_size: int,
    crop_size: int | tuple[int, int],
    num_workers: int | None = None,
    seed: int = 0,
    cache: bool = False,
    target_transform: Callable[[Tensor], Tensor] | None = None,
    scale: tuple[float, float] | None = None,
    jitter: float = 0.0,
    classes: ClassList | Sequence[str] | None = None,
    rank: int = 0,
    world_size: int = 1,
    skip_bad: bool | Mapping[str, str] = False,
    train_split: str = "train",
    transform: Callable[[Tensor, Tensor], Pair] | None = None,
) -> tuple[DataLoader, DataLoader]:
    """Make batches for training, shuffled, cropped and mirrored, and whole images for validation.

    The training iterator yields uint8 (N, 3, height, width) and (N, height, width), without the last, smaller
    batch if there is a full one. Each pass is the next epoch, unless ``train_iter.dataset.set_epoch`` chose
    one. The validation iterator is that of `whole_images`.

    Parameters
    ----------
    batch_size : int
        Images in a training batch of one process.
    num_workers : int, optional
        Processes that read ahead: by default none, or up to four on Linux with a GPU.
    rank, world_size : int
        Load only this process's share. All processes must skip the same bad files: find them in one process,
        and pass the result as ``skip_bad``.
    train_split : str
        The list to train on, such as ``"train_aug"``.
    voc_dir, crop_size, seed, cache, target_transform, scale, jitter, classes, skip_bad, transform
        As in `VOCSegDataset`; ``transform``, like all that is random, is for training alone.
    """
    kept: Any = dict(cache=cache, target_transform=target_transform, classes=classes, skip_bad=skip_bad)
    drawn: Any = dict(flip=True, seed=seed, scale=scale, jitter=jitter, transform=transform)
    train = VOCSegDataset(voc_dir, train_split, crop_size, **drawn, **kept)
    order = sampling.EpochSampler(train, rank, world_size)
    options = sampling.loader_options(num_workers, seed)
    train_iter = DataLoader(train, batch_size, sampler=order, drop_last=len(order) >= batch_size, **options)
    return train_iter, whole_images(VOCSegDataset(voc_dir, "val", **kept), num_workers, rank, world_size)


def whole_images(
    dataset: VOCSegDataset, num_workers: int | None = None, rank: int = 0, world_size: int = 1
) -> DataLoader:
    """Load the images of an uncropped dataset one by one, in order: uint8 (1, 3, H, W) and (1, H, W).

    Each of several processes gets its own share, and each image goes to exactly one.
    """
    share = range(rank, len(dataset), world_size)
    return DataLoader(dataset, 1, sampler=share, **sampling.loader_options(num_workers))


def download(
    root: str | Path | None = None, source: str | Path | None = None, mirrors: Sequence[str] = ()
) -> Path:
    """Download VOC 2012 (2 GB), unless it is there, and return its folder, ready for `load_data_voc`.

    ``VOCdevkit`` goes into `root`, by default `data_dir()`. `source` is the archive
    ``VOCtrainval_11-May-2012.tar``, if you have it already; `mirrors` are addresses of it to try first.
    """
    from .datasets.download import install, voc2012  # not at the top: the datasets import this module

    return install(voc2012(), data_dir() if root is None else root, source, mirrors)
