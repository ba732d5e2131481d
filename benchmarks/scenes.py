"""Images for the measurements, as large as photographs and as costly to decode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from d2lseg.classes import VOC_COLORMAP, VOID, VOID_COLOR

PALETTE = [value for i in range(256) for value in (VOC_COLORMAP + (VOID_COLOR,) * 235)[i]]


def draw(folder: Path, train: int, val: int, size: tuple[int, int] = (360, 480), seed: int = 0) -> Path:
    """Draw a dataset in VOC layout, determined by the seed, and return its folder.

    Parameters
    ----------
    folder : Path
        Where to write it.
    train, val : int
        Number of images in each split.
    size : (int, int)
        Height and width of the images.
    seed : int
        Seed of images and masks.
    """
    rng = np.random.default_rng(seed)
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("val", val)):
        names = [f"{split}_{i:05d}" for i in range(count)]
        for name in names:
            photograph(size, rng).save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
            mask(size, rng).save(folder / "SegmentationClass" / f"{name}.png")
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return folder


def photograph(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Draw noise at four scales, the coarsest strongest, similar to the spectrum of a photograph."""
    height, width = size
    total = np.full((height, width, 3), 128, np.float32)
    for grain, strength in ((96, 60), (24, 30), (6, 20), (2, 14)):
        cells = (-(-height // grain), -(-width // grain), 3)
        coarse = Image.fromarray(rng.integers(0, 256, cells, dtype=np.uint8))
        wide = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        total += (wide - 128) * (strength / 128)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def mask(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Draw a palette mask of one to three objects, each surrounded by void."""
    height, width = size
    image = Image.new("P", (width, height), 0)
    image.putpalette(PALETTE)
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 4)):
        h, w = rng.integers(height // 5, height * 2 // 3), rng.integers(width // 5, width * 2 // 3)
        top, left = rng.integers(0, height - h), rng.integers(0, width - w)
        box = [int(left), int(top), int(left + w), int(top + h)]
        pen.ellipse(box, fill=int(rng.integers(1, 21)), outline=VOID, width=5)
    return image
