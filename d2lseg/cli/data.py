"""``python -m d2lseg data``: get datasets, or make one from your own images.

Each job is a function with the signature of ``run``, listed in `JOBS`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .. import voc
from ..datasets import convert, download
from ..engine.layout import list_path, read_ids


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


def _import(options: argparse.Namespace) -> int:
    """Make a dataset from what another tool has exported."""
    try:
        made = convert.import_dataset(
            options.source,
            options.out,
            options.classes,
            options.val_share,
            options.seed,
            skip_bad=options.skip_bad,
            told=print,
            form=options.form,
            masks=options.masks,
            suffix=options.suffix,
            mapping=dict(options.map) if options.map else None,
            line_width=options.line_width,
        )
    except convert.BadFiles as error:
        print(*error.findings, sep="\n", file=sys.stderr)
        raise ValueError(
            f"{options.source}: {len(error.findings)} faults, see above, and nothing was written; correct "
            "them, or leave bad files out with --skip-bad"
        ) from error
    print(*made.findings, _counts(made.folder), _classes(made.folder), sep="\n")
    return 0


def _counts(folder: Path) -> str:
    """Return how many images a dataset has on its lists."""
    train, val = (len(voc.VOCSegDataset(folder, split)) for split in ("train", "val"))
    listed = list_path(folder, "test").is_file()
    test = f", {len(read_ids(folder, 'test')):,} on the list test" if listed else ""
    return f"{folder}: {train:,} images to train on and {val:,} to validate on{test}"


def _classes(folder: Path) -> str:
    """Return the classes of a dataset."""
    return f"classes: {', '.join(voc.folder_classes(folder).names)}"


JOBS = {"voc2012": _voc2012, "import": _import, "labelme": _import, "masks": _import}
