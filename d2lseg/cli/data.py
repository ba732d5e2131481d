"""``python -m d2lseg data``: get data sets, and make them fit.

Each data set has a function here of the signature of ``run``, named in `JOBS`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .. import classes, voc
from ..datasets import convert, download


def run(options: argparse.Namespace) -> int:
    """Do what was asked for.

    Parameters
    ----------
    options : argparse.Namespace
        As `options.make_parser` gives them; ``job`` says which function.

    Returns
    -------
    int
        The exit status.
    """
    return JOBS[options.job](options)


def _voc2012(options: argparse.Namespace) -> int:
    """Put VOC 2012 into place."""
    root = voc.data_dir() if options.out is None else options.out
    folder = voc.download(root, options.source, options.mirrors or ())
    counts = [len(voc.VOCSegDataset(folder, split)) for split in ("train", "val")]
    print(f"{folder}: {counts[0]:,} images to train on and {counts[1]:,} to validate on")
    archive = folder.parents[1] / download.voc2012().name
    if archive.is_file():
        print(f"{archive} is no longer needed and can be deleted")
    return 0


def _labelme(options: argparse.Namespace) -> int:
    """Make a data set of LabelMe files."""
    table = classes.read_classes(options.classes) if options.classes else None
    return _told(convert.from_labelme(options.folder, options.out, table, options.val_share, options.seed))


def _masks(options: argparse.Namespace) -> int:
    """Make a data set of plain masks."""
    table = classes.read_classes(options.classes)
    mapping = dict(options.map) if options.map else None
    places = (options.images, options.masks, options.out)
    return _told(convert.from_masks(*places, table, mapping, options.val_share, options.seed))


def _told(folder: Path) -> int:
    """Say what has been made."""
    counts = [len(voc.VOCSegDataset(folder, split)) for split in ("train", "val")]
    print(f"{folder}: {counts[0]:,} images to train on and {counts[1]:,} to validate on")
    print(f"classes: {', '.join(voc.folder_classes(folder).names)}")
    return 0


JOBS = {"voc2012": _voc2012, "labelme": _labelme, "masks": _masks}
