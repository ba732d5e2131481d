"""What commands share: where to compute, and on which data."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import classes, emojivoc, voc
from ..engine import distributed
from ..engine.devices import best_device, best_precision


@dataclass(frozen=True)
class Machine:
    """Where and how this process computes.

    Parameters
    ----------
    ranks : distributed.Ranks
        Which of the processes it is.
    device : torch.device
        Where.
    precision : {"bf16", "fp16", "float32"}
        In which number format.
    """

    ranks: distributed.Ranks
    device: torch.device
    precision: str

    def __str__(self) -> str:
        threads, processes = torch.get_num_threads(), self.ranks.world_size
        words = f"{self.device}, {self.precision}, {threads} CPU thread{'s' if threads > 1 else ''}"
        return words + (f", {processes} processes" if processes > 1 else "")

    def say(self, *lines: object) -> None:
        """Print lines, in the first process only.

        Parameters
        ----------
        *lines : object
            One line each.
        """
        if self.ranks.first:
            print(*lines, sep="\n", flush=True)


@contextmanager
def machine(options: argparse.Namespace) -> Iterator[Machine]:
    """Choose where to compute, and join the processes that torchrun has started.

    Parameters
    ----------
    options : argparse.Namespace
        With ``device``, ``precision`` and ``threads``.

    Yields
    ------
    Machine
        For the length of a ``with`` block.

    Raises
    ------
    ValueError
        If this machine has no such device.
    """
    if options.device is not None:
        _check_device(options.device)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with distributed.joined(options.device) as ranks:
        device = torch.device(options.device or best_device())
        if device.type == "cuda" and (device.index is None or ranks.world_size > 1):
            device = best_device()  # of several processes each has taken a GPU of its own
        yield Machine(ranks, device, options.precision or best_precision(device))


def _check_device(name: str) -> None:
    """Refuse a device that this machine does not have."""
    try:
        device = torch.device(name)
        there = {
            "cpu": 1,
            "cuda": torch.cuda.device_count(),
            "mps": int(torch.backends.mps.is_available()),
        }.get(device.type, 0)
    except RuntimeError:  # torch knows no such name
        device, there = None, 0
    if device is None or there <= (device.index or 0):
        gpus = torch.cuda.device_count()
        raise ValueError(
            f"--device {name}: this machine has no such device; expected cpu, cuda or cuda:N (it has {gpus} "
            "CUDA GPUs), or mps (on a Mac)"
        )


def dataset(name: str) -> Path:
    """Give the folder of a dataset, made or downloaded where that is needed.

    Under torchrun all processes call it.

    Parameters
    ----------
    name : str
        ``"emojivoc"``, ``"voc2012"`` or a folder.

    Returns
    -------
    Path
        A folder in VOC layout.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    """
    make = {"emojivoc": emojivoc.prepare, "voc2012": voc.download}.get(name)
    if make is not None:
        return distributed.in_turns(make)
    if not Path(name).is_dir():
        raise FileNotFoundError(
            f"--data {name}: no such folder; expected emojivoc, voc2012 or a folder in VOC layout, see "
            "data/README.md"
        )
    return Path(name)


def class_list(folder: Path, path: str | None) -> classes.ClassList:
    """Tell which classes the masks of a dataset have.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    path : str, optional
        A file with their names; by default what `voc.folder_classes` finds.

    Returns
    -------
    ClassList
        Names and colours.
    """
    return classes.read_classes(path) if path else voc.folder_classes(folder)


def bad_pictures(
    options: argparse.Namespace, folder: Path, table: classes.ClassList, splits: Sequence[str]
) -> dict[str, str]:
    """Read every picture once, before the work begins, and stop where one is bad.

    Under torchrun all processes call it. The first one reads, so that all leave out the same pictures.

    Parameters
    ----------
    options : argparse.Namespace
        With ``skip_bad``, which does not stop, and ``no_check``, which does not read.
    folder : Path
        Of the dataset.
    table : ClassList
        The classes of the masks.
    splits : sequence of str
        The lists that will be used.

    Returns
    -------
    dict of str to str
        Names to leave out, and what is wrong with each.

    Raises
    ------
    ValueError
        If a picture is bad, and is not to be skipped.
    """
    if options.no_check:
        return {}
    bad = distributed.from_first(lambda: _find_bad(folder, table, splits))
    if bad and not options.skip_bad:
        count = "1 picture" if len(bad) == 1 else f"{len(bad):,} pictures"
        raise ValueError(
            f"{count} cannot be used, the first: {next(iter(bad.values()))}. See all with: python -m d2lseg "
            f"doctor {folder}. To go on without: --skip-bad"
        )
    return bad


def _find_bad(folder: Path, table: classes.ClassList, splits: Sequence[str]) -> dict[str, str]:
    """Read the pictures of all lists."""
    bad = {}
    for split in splits:
        bad |= voc.VOCSegDataset(folder, split, classes=table, skip_bad=True).skipped
    return bad


def left_out(bad: Mapping[str, str]) -> list[str]:
    """Say at the end which pictures were left out.

    Parameters
    ----------
    bad : mapping of str to str
        What `bad_pictures` gave.

    Returns
    -------
    list of str
        Lines; none where all pictures were used.
    """
    count = "1 picture" if len(bad) == 1 else f"{len(bad):,} pictures"
    return (
        [f"left out: {count} that cannot be read", *(f"  {name}: {why}" for name, why in bad.items())]
        if bad
        else []
    )
