"""Train and evaluate a segmentation model: one loop, from a laptop's core to many GPUs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from . import metrics, prediction
from .classes import VOID
from .engine import distributed
from .engine.devices import (
    PRECISIONS,
    autocast,
    best_device,
    best_precision,
    explaining_full_memory,
    set_seed,
    try_all_gpus,
    try_gpu,
)
from .engine.freezing import trainable
from .engine.history import History, LivePlot
from .engine.labels import check_labels
from .engine.progress import Progress
from .engine.resume import TrainingState
from .engine.sampling import start_epoch

__all__ = [
    "PRECISIONS",
    "SCHEDULES",
    "VOID",
    "History",
    "autocast",
    "balanced_weights",
    "best_device",
    "best_precision",
    "count_pixels",
    "cross_entropy_and_dice",
    "dice_loss",
    "evaluate",
    "one_cycle",
    "poly",
    "segmentation_loss",
    "set_seed",
    "train",
    "try_all_gpus",
    "try_gpu",
]


def segmentation_loss(logits: Tensor, label: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Average cross-entropy over the labelled pixels of a batch.

    Parameters
    ----------
    logits : Tensor
        float, (N, C, H, W).
    label : Tensor
        Class indices, any integer dtype, (N, H, W); 255 is void and is ignored.
    class_weights : Tensor, optional
        float, (C,): how much a pixel of each true class counts, both in the sum and in what it is divided by.

    Returns
    -------
    Tensor
        float32 scalar. A batch that is all void gives 0, with zero gradients.

    Raises
    ------
    ValueError
        If a label is neither a class nor void, or the sizes differ.
    """
    label = _checked(label, logits)
    weights = None if class_weights is None else class_weights.to(logits.device, torch.float32)
    # One image at a time: a float32 copy of the whole batch of logits would be the largest tensor of a step.
    sums = [
        F.cross_entropy(z.float(), y.long(), weights, ignore_index=VOID, reduction="sum")
        for z, y in zip(logits.split(1), label.split(1), strict=True)  # (1, C, H, W), (1, H, W)
    ]
    labelled = label != VOID
    count = labelled.sum() if weights is None else weights[label[labelled].long()].sum()
    return torch.stack(sums).sum() / count.clamp(min=1 if weights is None else 1e-12)


def dice_loss(logits: Tensor, label: Tensor) -> Tensor:
    """One minus the soft Dice score, averaged over the classes that occur in a batch.

    For one class the score is ``2 |P T| / (|P| + |T|)``, with probabilities P in place of a set of pixels, so
    a small class counts as much as a large one. Use it beside cross-entropy: `cross_entropy_and_dice`.

    Parameters
    ----------
    logits, label : Tensor
        As for `segmentation_loss`.

    Returns
    -------
    Tensor
        float32 scalar, 0..1. A batch that is all void gives 0, with zero gradients.

    Notes
    -----
    Source: Milletari, Navab and Ahmadi, "V-Net", 3DV 2016, section 3, without the squares.
    """
    label = _checked(label, logits)
    labelled = (label != VOID)[:, None]  # (N, 1, H, W)
    predicted = logits.float().softmax(dim=1) * labelled  # (N, C, H, W)
    true = F.one_hot(label.masked_fill(label == VOID, 0).long(), logits.shape[1]).movedim(-1, 1) * labelled
    overlap, sizes = (predicted * true).sum((0, 2, 3)), (predicted + true).sum((0, 2, 3))  # (C,), (C,)
    occurs = true.sum((0, 2, 3)) > 0
    return ((1 - 2 * overlap / sizes.clamp(min=1e-12)) * occurs).sum() / occurs.sum().clamp(min=1)


def cross_entropy_and_dice(logits: Tensor, label: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Add the two losses, for ``train(loss=...)``; class weights concern the cross-entropy."""
    return segmentation_loss(logits, label, class_weights) + dice_loss(logits, label)


def count_pixels(labels: Iterable[Tensor], num_classes: int) -> Tensor:
    """Count the labelled pixels of each class over many labels (H, W): int64 (C,)."""
    total = torch.zeros(num_classes, dtype=torch.int64)
    for label in labels:
        check_labels(label, num_classes)
        total += label[label != VOID].bincount(minlength=num_classes)
    return total


def balanced_weights(counts: Tensor) -> Tensor:
    """Weigh classes so that each counts as much as any other: n / (C' n_c), for `segmentation_loss`.

    Parameters
    ----------
    counts : Tensor
        Labelled pixels n_c of each class, (C,); n is their sum, and C' the number of classes that occur.

    Returns
    -------
    Tensor
        float32, (C,). A class that does not occur gets 0.
    """
    weights = counts.sum() / ((counts > 0).sum() * counts.clamp(min=1).double())
    return weights.where(counts > 0, 0.0).float()  # 0 / 0 too, where every pixel is void


def _checked(label: Tensor, logits: Tensor) -> Tensor:
    """Return a label on the device of its logits, after a check that it belongs to them."""
    if label.shape != (len(logits), *logits.shape[2:]):
        raise ValueError(
            f"expected labels {(len(logits), *logits.shape[2:])} for these logits, got {tuple(label.shape)}: "
            "were the masks resized or cropped apart from their images?"
        )
    check_labels(label, num_classes=logits.shape[1])
    return label.to(logits.device, non_blocking=True)


def one_cycle(progress: float, warm_up: float = 0.3) -> float:
    """Learning rate as a share of its peak: up along a cosine from 1/25, then down along one to 1/250,000.

    Parameters
    ----------
    progress : float
        Share of the training run that is done, 0..1.
    warm_up : float
        Share of the run after which the peak is reached.

    Notes
    -----
    Source: Smith and Topin, "Super-convergence", 2018, in the cosine form of
    ``torch.optim.lr_scheduler.OneCycleLR``, with constant momentum.
    """
    start, end = 1 / 25, 1 / 250_000
    if progress < warm_up:
        low, share = start, progress / warm_up
    else:
        low, share = end, (1 - progress) / (1 - warm_up)
    phase = min(max(share, 0.0), 1.0)
    return low + (1 - low) * (1 - math.cos(math.pi * phase)) / 2


def poly(progress: float, power: float = 0.9) -> float:
    """Learning rate as a share of its peak: (1 - progress) ** power.

    Notes
    -----
    Source: Chen, Papandreou, Kokkinos, Murphy and Yuille, "DeepLab", arXiv 1606.00915, section 4.1.2.
    """
    return max(0.0, 1 - progress) ** power


# A schedule maps the share of the run that is done before a step, from 0 to just below 1, to the share of the
# peak rate for that step. The command line knows the names too: see cli/options.py.
SCHEDULES = {"one_cycle": one_cycle, "poly": poly}


def train(
    model: nn.Module,
    train_iter: DataLoader | list[tuple[Tensor, Tensor]],
    val_iter: Iterable | None = None,
    epochs: float | None = None,
    max_seconds: float | None = None,
    lr: float = 2e-3,
    device: torch.device | str | None = None,
    precision: str | None = None,
    schedule: str = "one_cycle",
    loss: Callable[[Tensor, Tensor], Tensor] = segmentation_loss,
    parameters: list[dict[str, Any]] | None = None,
    seed: int = 0,
    live: bool = True,
    checkpoint_path: str | os.PathLike | None = None,
    resume: bool = False,
    after_epoch: Callable[[nn.Module, History], object] | None = None,
) -> History:
    """Train a model with AdamW, in place.

    Under ``torchrun`` every process calls it, inside ``with engine.distributed.joined() as ranks:`` and with
    batches loaded for its ``ranks.rank`` and ``ranks.world_size``. The step is then as large as all their
    batches together; the learning rate stays as given. The first process prints and writes the checkpoint.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (N, 3, H, W) to logits (N, C, H, W).
    train_iter : DataLoader or list
        Batches of images, uint8 (N, 3, H, W), and labels, integer (N, H, W), 255 = void.
    val_iter : iterable, optional
        Batches for `evaluate` after each epoch.
    epochs, max_seconds : float
        How long to train: give one. A fraction of an epoch is that fraction of its batches; ``max_seconds``
        counts training only, not the evaluation after each epoch.
    lr : float
        Peak learning rate.
    device, precision : optional
        `best_device` and `best_precision` by default.
    schedule : {"one_cycle", "poly"}
        How the learning rate moves over the run.
    loss : callable
        Maps logits and labels to their loss, a mean over the labelled pixels.
    parameters : list of dict, optional
        What to train, in groups that may have a peak rate ``lr`` and a ``weight_decay`` (0.01) of their own,
        see `fcn.parameter_groups`. By default everything that is not frozen.
    seed : int
        Seeds the order of a DataLoader that shuffles with a ``generator`` of its own. The batches of
        `voc.load_data_voc` have a seed of their own, for order and augmentation: give both.
    live : bool
        Show a progress bar and a live curve.
    checkpoint_path : path, optional
        After each epoch, everything that the next step depends on is written there.
    resume : bool
        Continue from ``checkpoint_path`` if it exists. With ``epochs``, on the same CPU and number of
        threads, the result is bit for bit that of a run without the interruption. More epochs than before
        make the run longer.
    after_epoch : callable, optional
        Called in the first process with the model and the history, whose last row is the epoch's: to keep the
        best model, for example. The checkpoint is written after it.

    Returns
    -------
    History
        One row per epoch: the rows so far if the run is interrupted.

    Raises
    ------
    ValueError
        If the settings contradict each other, there is no batch, everything is frozen, the checkpoint is from
        another run, or the model could not be written into one.
    FloatingPointError
        If the loss is no longer finite.
    MemoryError
        If a batch does not fit into the device's memory.
    """
    device = torch.device(device) if device is not None else best_device()
    precision = precision or best_precision(device)
    progress = Progress(len(train_iter), epochs, max_seconds, lr, live)
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}; got {schedule!r}")
    model.to(device).to(memory_format=torch.channels_last)  # the order in which fast convolutions read
    fused = device.type in ("cpu", "cuda")  # one pass over all parameters, in a third of the time
    optimizer = torch.optim.AdamW(trainable(model, parameters), lr, weight_decay=1e-2, fused=fused)
    peaks = [group["lr"] for group in optimizer.param_groups]
    # fp16 has few exponent bits: the scaler keeps small gradients from becoming zero
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    settings = {"device": device.type, "precision": precision, "lr": lr}
    settings |= {"weight_decay": optimizer.param_groups[0]["weight_decay"]}
    settings |= {"processes": distributed.ranks().world_size, "schedule": schedule, "seed": seed}
    settings |= {"epochs": epochs, "max_seconds": max_seconds, "batches": len(train_iter)}
    history = History(settings)
    state = TrainingState(model, optimizer, scaler, progress, history)
    state.prepare(checkpoint_path, resume)
    network = distributed.parallel(model, device)  # averages gradients; with one process, just the model
    curve = LivePlot(history, live)
    try:
        progress.open()
        while not progress.finished:
            start_epoch(train_iter, seed, progress.epoch)
            progress.start_epoch()
            model.train()
            for images, labels in train_iter:
                share = SCHEDULES[schedule](progress.share)
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * share
                with explaining_full_memory(device, labels):
                    with autocast(device, precision):
                        logits = network(images.to(device, non_blocking=True))  # (N, 3, H, W) -> (N, C, H, W)
                    # weighted so that a pixel counts the same, whichever process it is in
                    batch_loss = loss(logits, labels) * distributed.labelled_weight(labels, device)
                    optimizer.zero_grad()
                    scaler.scale(batch_loss).backward()
                    scaler.step(optimizer)
                    scaler.update()
                progress.advance(batch_loss, len(images), lr * share)
                if progress.finished:
                    break
            row = progress.end_epoch()
            if val_iter is not None:
                distributed.share_buffers(model)  # the last step's running means differ between processes
                matrix = evaluate(model, val_iter, device, precision)
                ours, base = metrics.scores(matrix), metrics.background_baseline(matrix)
                row |= {"pixel_acc": ours.pixel_acc, "miou": ours.miou}
                row |= {"baseline_acc": base.pixel_acc, "baseline_miou": base.miou}
            history.rows.append(row)
            if after_epoch is not None and distributed.ranks().first:
                after_epoch(model, history)
            state.save(checkpoint_path)
            curve.update()
    except KeyboardInterrupt:
        history.interrupt(progress.epoch + 1)
    finally:
        progress.close()
    return history


def evaluate(
    model: nn.Module,
    data_iter: Iterable,
    device: torch.device | str | None = None,
    precision: str | None = None,
    tile: tuple[int, int] = prediction.TILE,
    overlap: int = prediction.OVERLAP,
) -> Tensor:
    """Predict every batch and count true against predicted classes.

    Images larger than a tile are scored in tiles, as `prediction.predict_tiled` predicts them. Under
    ``torchrun`` every process calls it with its own share of the images, and all get the sum.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (N, 3, H, W) to logits (N, C, H, W). Its mode is restored afterwards.
    data_iter : iterable
        Batches of images, uint8 (N, 3, H, W), and labels, integer (N, H, W), 255 = void.
    device : torch.device or str, optional
        By default where the model is.
    precision : {"bf16", "fp16", "float32"}, optional
        `best_precision` by default.
    tile, overlap : (int, int) and int
        As in `prediction.tiled_logits`.

    Returns
    -------
    Tensor
        Confusion matrix, int64 (C, C), on the CPU; `metrics.scores` reads all scores from it.

    Raises
    ------
    ValueError
        If no process has a batch.
    """
    device = torch.device(device) if device is not None else next(model.parameters()).device
    precision = precision or best_precision(device)
    was_training, matrix = model.training, None
    model.to(device).eval()
    try:
        # no_grad: under inference_mode autocast would cast all weights anew for each batch
        with torch.no_grad(), autocast(device, precision):
            for images, labels in data_iter:
                for place, logits in prediction.scored_parts(model, images, tile, overlap):
                    guess = logits.max(dim=-3).indices  # argmax over the classes, in a third of its time
                    counts = metrics.confusion_matrix(guess, labels[place].to(device), logits.shape[-3])
                    matrix = counts if matrix is None else matrix + counts
    finally:
        model.train(was_training)
    return distributed.summed_matrix(matrix, device).cpu()
