"""``python -m d2lseg train``: train a network, and write everything about the run into one folder."""

from __future__ import annotations

import argparse
import json
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader

from .. import __version__, backbones, fcn, voc
from ..classes import ClassList
from ..engine import distributed, files
from ..engine.devices import set_seed
from ..engine.history import History
from ..training import train
from . import INTERRUPTED, losses
from .common import Machine, bad_images, class_list, dataset, left_out, machine, trained_model
from .options import ARCHITECTURE

# the settings that a resumed run must keep, besides those that `training.train` itself checks
FIXED = (
    "variant",
    "backbone",
    "upsampling",
    "geometry",
    "classes",
    "batch",
    "crop",
    "scale",
    "sync_batch_norm",
)
# further ones, and what stands for them in the settings of older runs
FIXED_LATER: dict[str, str | float | None] = {
    "init": None,
    "jitter": 0.0,
    "freeze": None,
    "backbone_lr": None,
    "loss": "ce",
    "class_weights": None,
}
WRITTEN = ("model.pt", "best.pt", "checkpoint.pt", "history.csv", "history.png", "settings.json")


def run(options: argparse.Namespace) -> int:
    """Train a network and return the exit status."""
    out = options.out = files.user_path(options.out)
    with machine(options) as here:
        if here.ranks.first:
            _check_out(out, options.resume)
        folder = dataset(options.data)
        table = class_list(folder, options.classes, here)
        options.crop = options.crop or ((160, 224) if options.data == "emojivoc" else (320, 480))
        source = None if options.init is None else trained_model(options.init, torch.device("cpu"))
        _complete(options, source)
        bad = bad_images(options, folder, table, ("train", "val"))
        loaders = _loaders(options, folder, table, here, bad)
        # in turns, because the first process may have to download the weights
        model = distributed.in_turns(lambda: _model(options, table, here))
        left = _start(model, source, options.init) if source else []
        settings = _settings(options, table, here)
        if here.ranks.first:
            _keep_settings(out / "settings.json", settings, resumed=(out / "checkpoint.pt").is_file())
        here.say(*_description(options, folder, loaders, model, left, here))
        history = _train(options, model, loaders, here, settings)
        if here.ranks.first:
            with _uninterrupted(history.interrupted):
                _write_results(out, model, history, settings)
        here.say(*_end(out, history), *left_out(bad))
    return INTERRUPTED if history.interrupted else 0


def _check_out(out: Path, resume: bool) -> None:
    """Raise ValueError rather than overwrite an earlier run."""
    found = [path for path in (out / "checkpoint.pt", out / "model.pt") if path.exists()]
    if found and not resume:
        raise ValueError(
            f"{found[0]}: this folder already has a training run. Resume it with the same command and "
            "--resume, or choose another folder with --out"
        )


def _complete(options: argparse.Namespace, source: fcn.FCN | None) -> None:
    """Fill in the architecture that was left to ``--init``, and refuse options that contradict each other."""
    for name, default in ARCHITECTURE.items():
        if getattr(options, name) is None:
            setattr(options, name, source.arguments.get(name, default) if source else default)
    if source and options.backbone != source.arguments["backbone"]:
        raise ValueError(
            f"--init {options.init}: a network on {source.arguments['backbone']}, which is not --backbone "
            f"{options.backbone}; leave --backbone out"
        )
    if options.freeze == "backbone" and options.backbone_lr:
        raise ValueError("--backbone-lr has no meaning with a frozen backbone; give one of them")


def _loaders(
    options: argparse.Namespace, folder: Path, table: ClassList, here: Machine, bad: dict[str, str]
) -> tuple[DataLoader, DataLoader]:
    """Return this process's share of the training and validation images."""
    return voc.load_data_voc(
        folder,
        options.batch,
        tuple(options.crop),
        num_workers=options.workers,
        seed=options.seed,
        cache=options.cache,
        scale=tuple(options.scale) if options.scale else None,
        jitter=options.jitter,
        classes=table,
        rank=here.ranks.rank,
        world_size=here.ranks.world_size,
        skip_bad=bad,
    )


def _model(options: argparse.Namespace, table: ClassList, here: Machine) -> fcn.FCN:
    """Build the network, always from the same random numbers."""
    set_seed(options.seed)
    model = fcn.FCN(
        options.variant,
        len(table.names),
        options.backbone,
        options.upsampling,
        options.geometry,
        options.weights,
        table,
    )
    if options.sync_batch_norm:
        model = distributed.synchronize_batch_norm(model, here.device)
    if options.freeze:
        fcn.freeze(model.backbone, nn.Module if options.freeze == "backbone" else fcn.BATCH_NORM)
    return model


def _start(model: fcn.FCN, source: fcn.FCN, name: str) -> list[str]:
    """Take over the weights of `source` that fit, and return lines on what was left out, and a slip."""
    left = fcn.start_from(model, source)
    lines = [f"left out of {name}: {', '.join(left)}"] if left else []
    ours, theirs = model.classes or (), source.classes or ()
    if ours != theirs and set(ours) == set(theirs):
        order = f"the same in another order ({', '.join(theirs)})"
        lines.append(f"its classes are {order}: is the list of these masks right?")
    return lines


def _settings(options: argparse.Namespace, table: ClassList, here: Machine) -> dict[str, Any]:
    """Return everything that the result depends on, as plain values."""
    aside = ("command", "traceback", "out", "resume", "cache", "workers", "skip_bad", "no_check")
    given = {key: value for key, value in vars(options).items() if key not in aside}
    given |= {key: list(given[key]) for key in ("crop", "scale") if given[key]}
    found = {"device": here.device.type, "precision": here.precision, "threads": torch.get_num_threads()}
    found |= {"processes": here.ranks.world_size, "classes": list(table.names)}
    return given | found | {"d2lseg": __version__, "torch": str(torch.__version__)}


def _keep_settings(path: Path, settings: dict[str, Any], resumed: bool) -> None:
    """Write the settings of a new run; raise ValueError if those of a resumed one have changed."""
    if not (resumed and path.is_file()):
        files.write_json(path, settings)
        return
    try:
        before = json.loads(files.read_text(path))
        before = FIXED_LATER | before
        fixed = (*FIXED, *FIXED_LATER)
        others = [f"{k}={before[k]!r} (now {settings[k]!r})" for k in fixed if before[k] != settings[k]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({error!r}); delete it to resume without this check") from error
    if others:
        raise ValueError(
            f"{path}: trained with {', '.join(others)}; resume with the same settings, or start a new run "
            "with another --out"
        )


def _description(
    options: argparse.Namespace,
    folder: Path,
    loaders: tuple[DataLoader, DataLoader],
    model: fcn.FCN,
    left: list[str],
    here: Machine,
) -> list[str]:
    """Return lines on what will be trained, and how."""
    train_set, val_set = (cast(voc.VOCSegDataset, loader.dataset) for loader in loaders)
    images = f"{len(train_set)} training and {len(val_set)} validation images"
    title = f"FCN-{options.variant} on {backbones.design(options.backbone).title}"
    start = {None: "random weights", "imagenet": "ImageNet weights"}.get(options.weights, options.weights)
    start = f"weights of {options.init}" if options.init else start
    start += f", {options.freeze} frozen" if options.freeze else ""
    count = fcn.parameter_counts(model)["total"]
    length = f"{options.epochs:g} epochs" if options.epochs else f"{options.minutes:g} minutes"
    lines = [
        f"data      {folder}: {images}, {len(train_set.classes)} classes",
        f"model     {title}, {count / 1e6:.1f} million parameters, {start}",
        f"training  {length}, batch {options.batch}, crop {options.crop[0]}x{options.crop[1]}, learning rate "
        f"{options.lr:g} ({options.schedule}), seed {options.seed}",
        f"machine   {here}",
    ]
    path = options.out / "checkpoint.pt"
    if options.resume and path.is_file():
        lines += [f"resuming from {path}", str(History())]  # the table's head, whose rows follow
    else:
        lines[2:2] = [f"          {line}" for line in left]
    return lines


def _train(
    options: argparse.Namespace,
    model: fcn.FCN,
    loaders: tuple[DataLoader, DataLoader],
    here: Machine,
    settings: dict[str, Any],
) -> History:
    """Call `training.train`."""
    return train(
        model,
        *loaders,
        epochs=options.epochs,
        max_seconds=60 * options.minutes if options.minutes else None,
        lr=options.lr,
        parameters=fcn.parameter_groups(model, options.backbone_lr, options.weight_decay),
        loss=losses.loss(options, cast(voc.VOCSegDataset, loaders[0].dataset)),
        device=here.device,
        precision=here.precision,
        schedule=options.schedule,
        seed=options.seed,
        checkpoint_path=options.out / "checkpoint.pt",
        resume=options.resume,
        after_epoch=partial(keep_best, options.out, settings),
    )


def keep_best(out: Path, settings: dict[str, Any], model: nn.Module, history: History) -> None:
    """Write the table of all epochs so far, and the network if its mIoU is the best of them."""
    history.write_csv(out / "history.csv")
    mious = [-1.0 if math.isnan(row["miou"]) else row["miou"] for row in history.rows]
    if mious[-1] > max(mious[:-1], default=-2.0):
        fcn.save(cast(fcn.FCN, model), out / "best.pt", settings=settings, rows=history.rows)


@contextmanager
def _uninterrupted(interrupted: bool) -> Iterator[None]:
    """After one Ctrl-C, ignore the second, which torchrun always sends, until the results are written."""
    if not interrupted:
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write_results(out: Path, model: fcn.FCN, history: History, settings: dict[str, Any]) -> None:
    """Write the network without its optimizer, and what was measured after each epoch."""
    notes = {"settings": settings, "rows": history.rows, "interrupted": history.interrupted}
    fcn.save(model, out / "model.pt", **notes)
    files.write_json(out / "settings.json", settings)  # a resumed run may be longer than it was
    if history.rows:
        history.write_csv(out / "history.csv")
        with files.written_whole(out / "history.png") as file:
            history.plot(Figure(figsize=(8, 2.8), layout="constrained")).savefig(file, format="png", dpi=150)


def _end(out: Path, history: History) -> list[str]:
    """Return lines on the result, and where it is."""
    lines = []
    if history.rows:
        row = history.rows[-1]
        lines += [
            f"after epoch {row['epoch']}, on the validation images:",
            f"  pixel accuracy {row['pixel_acc']:.3f}, all background {row['baseline_acc']:.3f}",
            f"  mIoU           {row['miou']:.3f}, all background {row['baseline_miou']:.3f}",
        ]
        best = max(history.rows, key=lambda row: -1.0 if math.isnan(row["miou"]) else row["miou"])
        if best is not row and (out / "best.pt").is_file():
            lines.append(f"best.pt is the network after epoch {best['epoch']}, mIoU {best['miou']:.3f}")
    names = [name for name in WRITTEN if (out / name).is_file()]
    lines.append(f"in {out}: {', '.join(names)}")
    if history.interrupted:
        lines.append("to resume after the last complete epoch: the same command and --resume")
    return lines
