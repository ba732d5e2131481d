"""Small folders in VOC layout for the tests, written with PIL only."""

from pathlib import Path

import numpy as np
from PIL import Image

from d2lseg import voc

SIZES = {"train": [(40, 60), (24, 50), (64, 30), (33, 33), (50, 47)], "val": [(41, 52), (20, 70)]}


def palette():
    """The flat palette of a VOC mask: 768 numbers."""
    flat = np.zeros((256, 3), np.uint8)
    flat[: len(voc.VOC_COLORMAP)] = voc.VOC_COLORMAP
    flat[voc.VOID] = voc.VOID_COLOR
    return flat.flatten().tolist()


def write_mask(path, label):
    """Write indices (H, W) as a palette PNG, like VOC's."""
    image = Image.fromarray(np.asarray(label, np.uint8), "L")
    image.putpalette(palette())
    image.save(path)


def write_pair(folder, name, label, seed=0):
    """Write a mask and a random image of the same size."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*np.shape(label), 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.jpg", quality=90)
    write_mask(folder / "SegmentationClass" / f"{name}.png", label)


def make_folder(folder, sizes=SIZES):
    """Make a folder of images with the given sizes, and return the labels by name."""
    folder, labels = Path(folder), {}
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for split, shapes in sizes.items():
        names = [f"{split}_{i:02d}" for i in range(len(shapes))]
        for name, shape in zip(names, shapes, strict=True):
            labels[name] = rng.choice([0, 0, 0, 3, 12, 20, voc.VOID], shape).astype(np.uint8)
            write_pair(folder, name, labels[name], seed=len(labels))
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return labels
