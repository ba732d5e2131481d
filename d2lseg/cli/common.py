"""What the commands share: the machine to compute on, and the dataset."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import classes, emojivoc, fcn, voc
from ..datasets import class_order
from ..datasets.examination import stop_at
from ..engine import distributed, files
from ..engine.devices import best_device, best_precision


@dataclass(frozen=True)
class Machine:
    """Which of the processes this is, and where and in which precision it computes."""

    ranks: distributed.Ranks
    device: torch.device
    precision: str

    def __str__(self) -> str:
        threads, processes = torch.get_num_threads(), self.ranks.world_size
        words = f"{self.device}, {self.precision}, {threads} CPU thread{'s' if threads > 1 else ''}"
        return words + (f", {processes} processes" if processes > 1 else "")

    def say(self, *lines: object) -> None:
        """Print each argument on a line of its own, in the first process only."""
        if self.ranks.first:
            print(*lines, sep="\n", flush=True)


@contextmanager
def machine(options: argparse.Namespace) -> Iterator[Machine]:
    """Choose where to compute, and join the processes started by torchrun, if any.

    Raises ValueError if this machine has no such device.
    """
    if options.device is not None:
        _check_device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with distributed.joined(options.device) as ranks:
        device = torch.device(options.device or best_device())
        if device.type == "cuda" and (device.index is None or ranks.world_size > 1):
            device = best_device()  # each of several processes has taken its own GPU
        yield Machine(ranks, device, options.precision or best_precision(device))


def trained_model(name: str, device: torch.device) -> fcn.FCN:
    """Return the model of a checkpoint, or one that comes with the package, by its name."""
    return fcn.pretrained(name, device) if name in fcn.PRETRAINED else fcn.load(name, device)


def _check_device(name: str) -> None:
    """Raise ValueError if this machine does not have a device."""
    gpus = torch.cuda.device_count()
    counts = {"cpu": 1, "cuda": gpus, "mps": int(torch.backends.mps.is_available())}
    try:
        device = torch.device(name)
        known = counts.get(device.type, 0) > (device.index or 0)
    except RuntimeError:  # not a device name
        known = False
    if not known:
        raise ValueError(
            f"--device {name}: this machine has no such device; expected cpu, cuda or cuda:N (it has {gpus} "
            "CUDA GPUs), or mps (on a Mac)"
        )


def dataset(name: str) -> Path:
    """Return the folder of a dataset, which is drawn or downloaded if needed. All processes must call it.

    Parameters
    ----------
    name : str
        ``"emojivoc"``, ``"voc2012"`` or a folder in VOC layout.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    if name == "emojivoc":
        return distributed.in_turns(emojivoc.prepare)
    if name == "voc2012":
        return distributed.in_turns(voc.download)
    folder = files.user_path(name)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"--data {name}: no such folder; expected emojivoc, voc2012 or a folder in VOC layout; "
            "python -m d2lseg data import makes one, see docs/command-line.md"
        )
    return folder


def class_list(folder: Path, path: str | None, here: Machine) -> classes.ClassList:
    """Return the classes in the file `path`, or by default those that `voc.folder_classes` finds.

    Raises ValueError if the folder has a list that gives one of the names another number; other names for the
    same numbers are said.
    """
    if path is None:
        return voc.folder_classes(folder)
    table = classes.read_classes(path)
    findings = class_order.check_order(folder, table, path)
    stop_at(folder, findings, ())
    for finding in findings:
        here.say(finding)
    return table


def bad_images(
    options: argparse.Namespace, folder: Path, table: classes.ClassList, splits: Sequence[str]
) -> dict[str, str]:
    """Read every image and mask before the work begins, and return what is wrong with each bad one, by ID.

    All processes must call it; the first one reads, so that all leave out the same images.

    Parameters
    ----------
    options : argparse.Namespace
        With ``no_check``, which skips the reading.
    folder : Path
        The dataset.
    table : ClassList
        The classes of its masks.
    splits : sequence of str
        The lists to read.

    Raises
    ------
    ValueError
        If an image is bad, unless ``options.skip_bad`` is set.
    """
    if options.no_check:
        return {}
    bad = distributed.from_first(lambda: _find_bad(folder, table, splits))
    if bad and not options.skip_bad:
        raise ValueError(
            f"{_images(bad)} cannot be used, the first: {next(iter(bad.values()))}. See all with: python -m "
            f"d2lseg doctor {folder}. To continue without them: --skip-bad"
        )
    return bad


def _find_bad(folder: Path, table: classes.ClassList, splits: Sequence[str]) -> dict[str, str]:
    """Return what is wrong with each unusable image on the lists."""
    bad: dict[str, str] = {}
    for split in splits:
        bad |= voc.VOCSegDataset(folder, split, classes=table, skip_bad=True).skipped
    return bad


def left_out(bad: Mapping[str, str]) -> list[str]:
    """Return lines on the images that were left out, as `bad_images` returned them; none if all were used."""
    if not bad:
        return []
    return [
        f"left out: {_images(bad)} that cannot be used",
        *(f"  {name}: {why}" for name, why in bad.items()),
    ]


def _images(bad: Mapping[str, str]) -> str:
    """Return the number of images in words."""
    return "1 image" if len(bad) == 1 else f"{len(bad):,} images"
