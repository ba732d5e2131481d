"""``python -m d2lseg evaluate``: score a network, next to one that predicts background everywhere."""

from __future__ import annotations

import argparse
import math
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from .. import __version__, fcn, metrics, training, voc
from ..engine import files
from .common import Machine, bad_images, class_list, dataset, left_out, machine, trained_model

SCORES = {
    "pixel_acc": "pixel accuracy",
    "mean_acc": "mean accuracy",
    "miou": "mIoU",
    "fw_iou": "frequency-weighted IoU",
}


def run(options: argparse.Namespace) -> int:
    """Score a network and return the exit status."""
    with machine(options) as here:
        model = trained_model(options.checkpoint, here.device)
        folder = dataset(options.data)
        table = class_list(folder, options.classes, here)
        check_classes(model, table.names, options.checkpoint, options.classes, folder)
        bad = bad_images(options, folder, table, (options.split,))
        images = voc.VOCSegDataset(folder, options.split, classes=table, skip_bad=bad)
        share = voc.whole_images(images, options.workers, here.ranks.rank, here.ranks.world_size)
        tiles = tuple(options.tile), options.overlap
        matrix = training.evaluate(model, share, here.device, here.precision, *tiles)
        result = _result(matrix, images.classes) | {"settings": _settings(options, len(images), here)}
        if options.json and here.ranks.first:
            files.write_json(options.json, result)
        here.say(f"{options.checkpoint} on {len(images)} images ({options.data}, {options.split})", here)
        here.say(*_table(result), *([f"written: {options.json}"] if options.json else []), *left_out(bad))
    return 0


def check_classes(
    model: fcn.FCN, names: Sequence[str], path: str, given: str | None, folder: str | Path
) -> None:
    """Raise ValueError if the classes of the data are not those of the network read from `path`.

    `given` is the file that the names are from, if the user gave one; otherwise they are from the `folder`.
    """
    count = model.arguments["num_classes"]
    data = given or _listed(folder)
    if count != len(names):
        what = f"{path}: the network has {count} classes, but {data} has {len(names)}"
        raise ValueError(f"{what}; {_advice(model, given, folder)}")
    for i, (ours, theirs) in enumerate(zip(model.classes or names, names, strict=True)):
        if ours != theirs:
            what = f"{path}: its class {i} is {ours!r}, but that of {data} is {theirs!r}"
            raise ValueError(f"{what}; {_advice(model, given, folder)}")


def _listed(folder: str | Path) -> str:
    """Return where the names of the data are from if no file was given, in words."""
    path = Path(folder) / voc.CLASSES_FILE
    return str(path) if path.is_file() else f"VOC's list, which holds for {folder} as it has no {path.name},"


def _advice(model: fcn.FCN, given: str | None, folder: str | Path) -> str:
    """Say what to do about other classes; the numbers in the masks must be the network's, not just a list."""
    network = f"the network's classes are {', '.join(model.classes)}" if model.classes else "it has no names"
    own = Path(folder) / voc.CLASSES_FILE
    if given and own.is_file() and voc.folder_classes(folder).names == model.classes:
        return f"{network}, as in {own}: leave --classes out"
    if given:
        doubt = f"Is {given} the list of these masks? If not, give theirs with --classes; if so, this network"
        return f"{network}. {doubt} cannot be scored on them"
    if own.is_file():
        doubt = f"If the lines of {own} are in the wrong order or misnamed, put them right"
        return f"{network}. {doubt}; if the masks do hold other numbers, data import --map renumbers them"
    return f"{network}. If the masks hold its numbers, give the list of its names: --classes FILE"


def _result(matrix: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """Return all scores of a confusion matrix, with None for NaN, which JSON lacks."""
    ours, base = metrics.scores(matrix), metrics.background_baseline(matrix)
    result: dict[str, Any] = {key: _or_none(getattr(ours, key)) for key in SCORES}
    result["per_class"] = dict(zip(names, map(_or_none, ours.per_class.tolist()), strict=True))
    result["baseline"] = {key: _or_none(getattr(base, key)) for key in SCORES}
    return result


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number


def _settings(options: argparse.Namespace, images: int, here: Machine) -> dict[str, Any]:
    """Return what the scores were measured on, and with what."""
    return {
        "checkpoint": str(options.checkpoint),
        "data": options.data,
        "split": options.split,
        "images": images,
        "tile": list(options.tile),
        "overlap": options.overlap,
        "device": here.device.type,
        "precision": here.precision,
        "versions": {
            "d2lseg": __version__,
            "torch": str(torch.__version__),
            "torchvision": torchvision.__version__,
            "python": platform.python_version(),
        },
    }


def _table(result: dict[str, Any]) -> list[str]:
    """Return the scores as the lines of a table."""
    lines = ["", f"{'':24}{'network':>10}{'all background':>17}"]
    for key, name in SCORES.items():
        lines.append(f"{name:24}{_cell(result[key]):>10}{_cell(result['baseline'][key]):>17}")
    lines += ["", f"{'class':24}{'IoU':>10}"]
    lines += [f"{name:24}{_cell(iou):>10}" for name, iou in result["per_class"].items()]
    if None in result["per_class"].values():
        lines += ["", "-: neither labelled nor predicted, and left out of the mean"]
    return [*lines, ""]


def _cell(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"
