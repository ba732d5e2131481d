"""``python -m d2lseg data``: get datasets, or make one from your own images.

Each job is a function with the signature of ``run``, listed in `JOBS`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import classes, voc
from ..datasets import convert, download


def run(options: argparse.Namespace) -> int:
    """Run the job of the parsed options and return the exit status."""
    return JOBS[options.job](options)


def _voc2012(options: argparse.Namespace) -> int:
    """Install VOC 2012."""
    root = voc.data_dir() if options.out is None else options.out
    folder = voc.download(root, options.source, options.mirrors or ())
    print(_counts(folder))
    archive = folder.parents[1] / download.voc2012().name
    if archive.is_file():
        print(f"{archive} is no longer needed and can be deleted")
    return 0


def _labelme(options: argparse.Namespace) -> int:
    """Make a dataset from LabelMe files."""
    table = classes.read_classes(options.classes) if options.classes else None
    folder = convert.from_labelme(options.folder, options.out, table, options.val_share, options.seed)
    print(_counts(folder), _classes(folder), sep="\n")
    return 0


def _masks(options: argparse.Namespace) -> int:
    """Make a dataset from plain masks."""
    table = classes.read_classes(options.classes)
    mapping = dict(options.map) if options.map else None
    places = (options.images, options.masks, options.out)
    folder = convert.from_masks(*places, table, mapping, options.val_share, options.seed)
    print(_counts(folder), _classes(folder), sep="\n")
    return 0


def _counts(folder: Path) -> str:
    """Return how many images a dataset has."""
    train, val = (len(voc.VOCSegDataset(folder, split)) for split in ("train", "val"))
    return f"{folder}: {train:,} images to train on and {val:,} to validate on"


def _classes(folder: Path) -> str:
    """Return the classes of a dataset."""
    return f"classes: {', '.join(voc.folder_classes(folder).names)}"


JOBS = {"voc2012": _voc2012, "labelme": _labelme, "masks": _masks}
