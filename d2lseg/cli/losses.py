"""The loss of a training run, as the command line names it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .. import training, voc
from ..classes import ClassList
from ..engine import distributed, files

LOSSES = {"ce": training.segmentation_loss, "ce+dice": training.cross_entropy_and_dice}


def loss(options: argparse.Namespace, images: voc.VOCSegDataset) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss that was chosen, with the class weights that were chosen.

    All processes must call it; the first one counts the pixels of the training images.
    """
    chosen = LOSSES[options.loss]
    if options.class_weights is None:
        return chosen
    weights = distributed.from_first(lambda: _weights(options.class_weights, images))
    return partial(chosen, class_weights=torch.tensor(weights))


def _weights(source: str, images: voc.VOCSegDataset) -> list[float]:
    """Return the weight of each class."""
    table = images.class_list
    if source != "balanced":
        return read_weights(source, table)
    labels = (voc.read_mask(images.paths(name)[1], table) for name in images.ids)  # the images are not needed
    return training.balanced_weights(training.count_pixels(labels, len(table.names))).tolist()


def read_weights(path: str, table: ClassList) -> list[float]:
    """Read a text file with a line ``NAME WEIGHT`` for each class, in any order.

    Raises
    ------
    ValueError
        If a line is none, a class is missing, unknown or there twice, or all weights are 0.
    """
    advice = "give balanced, or a text file with a line NAME WEIGHT for each class"
    lines = [line.strip() for line in files.read_text(path, "file of class weights", advice).splitlines()]
    found: dict[str, float] = {}
    for line in filter(None, lines):
        name, _, text = line.replace(":", " ").replace(",", " ").rpartition(" ")
        name = name.strip()
        if name not in table.names or name in found:
            raise ValueError(
                f"{path}: {line!r} does not begin with a class, or with one that had a line; {advice}"
            )
        found[name] = _weight(path, line, text)
    missing = [name for name in table.names if name not in found]
    if missing or not any(found.values()):
        what = f"no weight for {', '.join(missing)}" if missing else "all weights are 0"
        raise ValueError(f"{path}: {what}; {advice}")
    return [found[name] for name in table.names]


def _weight(path: str, line: str, text: str) -> float:
    """Read one weight."""
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ValueError(f"{path}: {line!r} does not end in a number of at least 0")
    return weight
