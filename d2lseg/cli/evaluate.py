"""``python -m d2lseg evaluate``: score a network, beside one that says background everywhere."""

from __future__ import annotations

import argparse
import math
import platform
from typing import Any

import torch
import torchvision
from torch import Tensor

from .. import __version__, fcn, metrics, training, voc
from ..engine import files
from .common import Machine, bad_pictures, class_list, dataset, left_out, machine

SCORES = {
    "pixel_acc": "pixel accuracy",
    "mean_acc": "mean accuracy",
    "miou": "mIoU",
    "fw_iou": "frequency-weighted IoU",
}


def run(options: argparse.Namespace) -> int:
    """Score a network.

    Parameters
    ----------
    options : argparse.Namespace
        As `options.make_parser` gives them.

    Returns
    -------
    int
        The exit status.
    """
    with machine(options) as here:
        model = fcn.load(options.checkpoint, here.device)
        folder = dataset(options.data)
        table = class_list(folder, options.classes)
        _check_classes(model, table.names, options.checkpoint)
        bad = bad_pictures(options, folder, table, (options.split,))
        pictures = voc.VOCSegDataset(folder, options.split, classes=table, skip_bad=bad)
        share = voc.whole_images(pictures, options.workers, here.ranks.rank, here.ranks.world_size)
        matrix = training.evaluate(model, share, here.device, here.precision)
        result = _result(matrix, pictures.classes) | {"settings": _settings(options, len(pictures), here)}
        if options.json and here.ranks.first:
            files.write_json(options.json, result)
        here.say(f"{options.checkpoint} on {len(pictures)} pictures ({options.data}, {options.split})", here)
        here.say(*_table(result), *([f"written: {options.json}"] if options.json else []), *left_out(bad))
    return 0


def _check_classes(model: fcn.FCN, names: tuple[str, ...], path: str) -> None:
    """Refuse data whose masks mean something else than the network's scores."""
    count = model.arguments["num_classes"]
    advice = "give the list it was trained with: --classes FILE"
    if count != len(names):
        raise ValueError(f"{path}: a network of {count} classes, and the data has {len(names)}; {advice}")
    for i, (ours, theirs) in enumerate(zip(model.classes or names, names, strict=True)):
        if ours != theirs:
            raise ValueError(f"{path}: its class {i} is {ours!r}, that of the data is {theirs!r}; {advice}")


def _result(matrix: Tensor, names: tuple[str, ...]) -> dict[str, Any]:
    """Read all scores from a confusion matrix; None stands for NaN, which JSON does not have."""
    ours, base = metrics.scores(matrix), metrics.background_baseline(matrix)
    result = {key: _or_none(getattr(ours, key)) for key in SCORES}
    per_class = map(_or_none, ours.per_class.tolist())
    result["per_class"] = dict(zip(names, per_class, strict=True))
    result["baseline"] = {key: _or_none(getattr(base, key)) for key in SCORES}
    return result


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number


def _settings(options: argparse.Namespace, images: int, here: Machine) -> dict[str, Any]:
    """Say what the scores were measured on, and with what."""
    versions = {
        "d2lseg": __version__,
        "torch": str(torch.__version__),
        "torchvision": torchvision.__version__,
    }
    return {
        "checkpoint": str(options.checkpoint),
        "data": options.data,
        "split": options.split,
        "images": images,
        "device": here.device.type,
        "precision": here.precision,
        "versions": versions | {"python": platform.python_version()},
    }


def _table(result: dict[str, Any]) -> list[str]:
    """Write the scores as a table."""
    lines = ["", f"{'':24}{'network':>10}{'all background':>17}"]
    for key, name in SCORES.items():
        lines.append(f"{name:24}{_cell(result[key]):>10}{_cell(result['baseline'][key]):>17}")
    lines += ["", f"{'class':24}{'IoU':>10}"]
    lines += [f"{name:24}{_cell(iou):>10}" for name, iou in result["per_class"].items()]
    absent = [name for name, iou in result["per_class"].items() if iou is None]
    return [*lines, *(["", "-: neither there nor predicted, and left out of the mean"] if absent else []), ""]


def _cell(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"
