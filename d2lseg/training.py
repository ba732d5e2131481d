"""Train and evaluate a segmentation model, in the best precision of its device, in one process or many."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from . import metrics
from .engine import checkpoint, distributed
from .engine.devices import PRECISIONS, autocast, best_device, best_precision, set_seed, try_all_gpus, try_gpu
from .engine.history import History, LivePlot
from .engine.losses import VOID, check_labels, labelled, segmentation_loss, summed_loss

# what a training needs can be had from this room alone
__all__ = [
    "PRECISIONS",
    "SCHEDULES",
    "VOID",
    "History",
    "autocast",
    "best_device",
    "best_precision",
    "evaluate",
    "one_cycle",
    "poly",
    "segmentation_loss",
    "set_seed",
    "train",
    "try_all_gpus",
    "try_gpu",
]


def one_cycle(progress: float, warm_up: float = 0.3) -> float:
    """Give the learning rate as a share of its peak: up along a cosine, then down along one.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0..1.
    warm_up : float
        Share of the training after which the peak is reached.

    Returns
    -------
    float
        From 1/25 up to 1 and down to 1/250,000.

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
    share = min(max(share, 0.0), 1.0)
    return low + (1 - low) * (1 - math.cos(math.pi * share)) / 2


def poly(progress: float, power: float = 0.9) -> float:
    """Give the learning rate as a share of its peak: down from 1 to 0, nearly along a straight line.

    Parameters
    ----------
    progress : float
        Share of the training that is done, 0..1.
    power : float
        1 is a straight line; less stays high for longer.

    Returns
    -------
    float
        (1 - progress) ** power.

    Notes
    -----
    Source: Chen, Papandreou, Kokkinos, Murphy and Yuille, "DeepLab", arXiv 1606.00915, section 4.1.2.
    """
    return max(0.0, 1 - progress) ** power


SCHEDULES = {"one_cycle": one_cycle, "poly": poly}


def train(
    model: nn.Module,
    train_iter: DataLoader,
    val_iter: Iterable | None = None,
    epochs: float | None = None,
    max_seconds: float | None = None,
    lr: float = 2e-3,
    weight_decay: float = 1e-2,
    device: torch.device | str | None = None,
    precision: str | None = None,
    schedule: str = "one_cycle",
    seed: int = 0,
    live: bool = True,
    checkpoint_path: str | os.PathLike | None = None,
    resume: bool = False,
    sync_batch_norm: bool = False,
) -> History:
    """Train a model with AdamW.

    Inside `distributed.joined` all processes call it, each with its own share of the data. The first one
    prints and writes the checkpoint.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (N, 3, H, W) to logits (N, C, H, W); trained in place and left on ``device``. If it has
        an attribute ``sums_loss`` that is true, it is called with the labels too, and gives the summed loss.
    train_iter : DataLoader
        Batches of images, uint8 (N, 3, H, W), and labels, integer (N, H, W), 255 = void. A list of such
        batches will do.
    val_iter : iterable, optional
        Batches for `evaluate` after each epoch.
    epochs, max_seconds : float
        How long to train: give one of the two. A fraction of an epoch is that fraction of its batches. The
        learning rate follows the share that has passed; ``max_seconds`` counts training alone, not the
        evaluation between epochs.
    lr, weight_decay : float
        Peak learning rate and weight decay of AdamW.
    device : torch.device or str, optional
        `best_device` by default.
    precision : {"bf16", "fp16", "float32"}, optional
        `best_precision` by default.
    schedule : {"one_cycle", "poly"}
        How the learning rate moves, see `one_cycle` and `poly`.
    seed : int
        Of the batch order and the augmentation. On one machine the same model, data, seed and number of
        epochs give the same numbers again.
    live : bool
        Show a progress bar and a live curve.
    checkpoint_path : path, optional
        After each epoch, what is needed to go on is written there; `fcn.load` reads the model from it.
    resume : bool
        Go on from ``checkpoint_path`` if that file is there. With ``epochs``, on the same CPU and number
        of threads, the result is the same bit by bit as without the interruption.
    sync_batch_norm : bool
        Whether batch normalisation sees the batches of all processes at once, see
        `distributed.synchronize_batch_norm`. Worth it where a process has few pictures a batch.

    Returns
    -------
    History
        One row an epoch. If the cell is interrupted, the rows so far.

    Raises
    ------
    ValueError
        If not exactly one of ``epochs`` and ``max_seconds`` is given and positive, there is no batch, the
        schedule has another name, the checkpoint is of a training with other settings, or
        ``sync_batch_norm`` is asked for without CUDA.
    FloatingPointError
        If the loss is no longer a finite number.
    MemoryError
        If a batch does not fit into the device's memory.
    """
    if resume and checkpoint_path is None:
        raise ValueError("resume=True needs checkpoint_path, the file to go on from")
    settings = {"schedule": schedule, "seed": seed, "epochs": epochs, "max_seconds": max_seconds}
    _check_settings(settings, train_iter)
    device = torch.device(device) if device is not None else best_device()
    run = _Run(model, device, precision or best_precision(device), lr, weight_decay, sync_batch_norm)
    run.history.settings |= settings | {"batches": len(train_iter)}
    if resume:
        run.restore(checkpoint_path)
    live = live and run.ranks.first
    curve = LivePlot(run.history) if live else None
    run.steps = max(1, round(epochs * len(train_iter))) if epochs else None
    try:
        with tqdm(total=run.steps, initial=run.step, disable=not live, unit="batch", desc="training") as bar:
            while not run.finished:
                _shuffle(train_iter, seed, run.epoch)
                run.train_epoch(train_iter, bar)
                run.end_epoch(val_iter)
                if checkpoint_path is not None:
                    run.save(checkpoint_path)
                if curve:
                    curve.update()
    except KeyboardInterrupt:
        run.history.interrupted = True
        if run.ranks.first:
            print(f"Interrupted in epoch {run.epoch + 1}: the model keeps what it has learned so far.")
    return run.history


def _check_settings(settings: dict[str, Any], train_iter: DataLoader) -> None:
    """Refuse a training that has no length, no batch or no such schedule."""
    epochs, max_seconds = settings["epochs"], settings["max_seconds"]
    if (epochs is None) == (max_seconds is None) or (epochs or max_seconds or 0) <= 0:
        raise ValueError(
            f"give either epochs or max_seconds, above 0; got epochs={epochs}, max_seconds={max_seconds}"
        )
    if settings["schedule"] not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, got {settings['schedule']!r}")
    if len(train_iter) == 0:
        raise ValueError("train_iter has no batch: are there fewer images than the batch size?")


def _shuffle(train_iter: DataLoader, seed: int, epoch: int) -> None:
    """Make the order and the augmentation of an epoch depend on (seed, epoch) alone."""
    dataset, generator = getattr(train_iter, "dataset", None), getattr(train_iter, "generator", None)
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(epoch)
    if generator is not None:
        generator.manual_seed(seed * 100_003 + epoch)


def _random_states() -> dict[str, Any]:
    """Collect the states of all random generators as tensors and plain values."""
    name, keys, *rest = np.random.get_state()
    states = {"python": random.getstate(), "numpy": (name, keys.tolist(), *rest)}
    return states | {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random_states(states: dict[str, Any]) -> None:
    """Put the random generators back."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def _out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.cuda.OutOfMemoryError) or "can't allocate memory" in str(error)


class _Run:
    """The moving parts of one training run: optimiser, clock, step counter."""

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        precision: str,
        lr: float,
        weight_decay: float,
        sync_batch_norm: bool = False,
    ) -> None:
        if sync_batch_norm:
            model = distributed.synchronize_batch_norm(model, device)
        # channels_last is the order in which the fast convolution kernels read
        self.model = model.to(device, memory_format=torch.channels_last)
        self.device, self.precision, self.lr = device, precision, lr
        self.ranks = distributed.ranks()
        trained = [p for p in model.parameters() if p.requires_grad]
        # fused: one pass over all parameters, about a third of the time
        fused = device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay, fused=fused)
        # fp16 has few exponent bits: the scaler keeps small gradients from becoming zero
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.loss = distributed.parallel(_SummedLoss(self.model), device)
        self.steps: int | None = None
        self.step = self.epoch = self.images = 0
        self.seconds = 0.0
        self.losses: list[Tensor] = []
        self.rates: list[float] = []
        settings = {"device": device.type, "precision": precision, "lr": lr, "weight_decay": weight_decay}
        settings |= {"processes": self.ranks.world_size, "sync_batch_norm": sync_batch_norm}
        self.history = History(settings)
        self._random_apart()

    def _random_apart(self) -> None:
        """Let every process but the first draw random numbers, for dropout, of its own."""
        if not self.ranks.first:
            torch.manual_seed(torch.initial_seed() + self.ranks.rank)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model and all that the next step depends on."""
        if not self.ranks.first:
            return
        state = {"settings": self.history.settings, "rows": self.history.rows, "random": _random_states()}
        state |= {"epoch": self.epoch, "step": self.step, "seconds": self.seconds}
        state |= {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        checkpoint.write(path, checkpoint.describe(self.model) | {"training": state})

    def restore(self, path: str | os.PathLike) -> None:
        """Go back to where `save` was, if it ever was."""
        # read once and handed on: the other machines need not see the file
        content = distributed.from_first(lambda: checkpoint.read(path) if Path(path).is_file() else None)
        if content is None:
            return
        state = content.get("training")
        if state is None:
            raise ValueError(f"{path}: a model without the state of its training; start anew without resume")
        ours, theirs = self.history.settings, state["settings"]
        others = [f"{k}={theirs.get(k)!r} (now {ours[k]!r})" for k in ours if theirs.get(k) != ours[k]]
        if others:
            raise ValueError(
                f"{path}: trained with {', '.join(others)}; go on with the same settings, or start anew "
                "without resume"
            )
        try:
            self.model.load_state_dict(content["state"])
        except RuntimeError as error:
            raise ValueError(f"{path}: the checkpoint of another model: {error}") from error
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.history.rows[:] = state["rows"]
        _set_random_states(state["random"])
        self._random_apart()

    @property
    def progress(self) -> float:
        """The share of the training that is done."""
        return self.step / self.steps if self.steps else self.seconds / self.history.settings["max_seconds"]

    @property
    def finished(self) -> bool:
        return self.progress >= 1

    def train_epoch(self, train_iter: DataLoader, bar: tqdm) -> None:
        """Go through the batches once, or until the time is up."""
        self.model.train()
        self.losses, self.rates, self.images, before = [], [], 0, self.seconds
        schedule = SCHEDULES[self.history.settings["schedule"]]
        started = time.perf_counter()
        for images, labels in train_iter:
            self.train_step(images, labels, self.lr * schedule(self.progress))
            bar.update()
            self.seconds = before + self._elapsed(started)
            if self.finished:
                break
        self.speed = self.images * self.ranks.world_size / (self.seconds - before)

    def _elapsed(self, started: float) -> float:
        """Give the seconds since then; where the time decides on the end, all processes get the same."""
        elapsed = time.perf_counter() - started
        if self.steps or self.ranks.world_size == 1:
            return elapsed
        clock = torch.tensor(elapsed, dtype=torch.float64, device=self.device)
        return float(distributed.summed(clock)) / self.ranks.world_size

    def train_step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        """Take a step, and put words to what can go wrong in it."""
        try:
            self._step(images, labels, lr)
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            n, height, width = labels.shape
            raise MemoryError(
                f"out of memory on {self.device} with a batch of {n} pictures of {height}x{width}: try a "
                f"batch of {max(1, n // 2)}, or a smaller crop, and restart the kernel"
            ) from error
        # the loss of the step before is there already; this one's would make a GPU wait
        self._check_loss(steps_ago=1)

    def _check_loss(self, steps_ago: int) -> None:
        """Stop where a loss of this epoch is no number: from there on the weights are spoilt."""
        place = -1 - steps_ago
        if steps_ago < len(self.losses) and not torch.isfinite(self.losses[place]):
            loss, step = float(self.losses[place]), self.step - steps_ago
            raise FloatingPointError(
                f"the loss is {loss} at step {step}, with a learning rate of {self.rates[place]:.2g}: lower "
                f"the peak learning rate (now {self.lr:g}), use float32, and look for broken labels; the "
                "weights are spoilt, so start anew or go on from the last checkpoint"
            )

    def _step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        """Forward, loss, backward, step."""
        classes = (getattr(self.model, "arguments", None) or {}).get("num_classes")
        if classes is not None and self.device.type != "cpu":  # there a label out of range ends the process
            check_labels(labels, classes)
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        # The gradients of all processes will be averaged. So each divides its sum by the mean number of
        # labelled pixels of all, not by its own: a pixel weighs the same wherever it lies.
        pixels = distributed.summed(labelled(labels)).clamp(min=1) / self.ranks.world_size
        with autocast(self.device, self.precision):
            loss = self.loss(images, labels) / pixels
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.losses.append(loss.detach())
        self.rates.append(lr)
        self.images += len(images)
        self.step += 1

    def end_epoch(self, val_iter: Iterable | None) -> None:
        """Write the epoch's row."""
        self._check_loss(steps_ago=0)
        self.epoch += 1
        loss = float(distributed.summed(torch.stack(self.losses).mean())) / self.ranks.world_size
        row = {"epoch": self.epoch, "loss": loss, "images_per_second": self.speed}
        row["seconds"] = self.seconds
        if val_iter is not None:
            distributed.share_buffers(self.model)  # the running means are each process's own until now
            matrix = evaluate(self.model, val_iter, self.device, self.precision)
            ours, base = metrics.scores(matrix), metrics.background_baseline(matrix)
            row |= {"pixel_acc": ours.pixel_acc, "miou": ours.miou}
            row |= {"baseline_acc": base.pixel_acc, "baseline_miou": base.miou}
        self.history.rows.append(row)


class _SummedLoss(nn.Module):
    """A model and its loss as one module, because DistributedDataParallel wraps what gives the loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Sum the cross-entropy over the labelled pixels."""
        if getattr(self.model, "sums_loss", False):
            return self.model(images, labels)
        return summed_loss(self.model(images), labels)


def evaluate(
    model: nn.Module,
    data_iter: Iterable,
    device: torch.device | str | None = None,
    precision: str | None = None,
) -> Tensor:
    """Predict every batch and count true against predicted classes.

    Inside `distributed.joined` all processes call it, each with its own share of the pictures, and all get
    the sum.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (N, 3, H, W) to logits (N, C, H, W). Its mode is restored afterwards.
    data_iter : iterable
        Batches of images, uint8 (N, 3, H, W), and labels, integer (N, H, W), 255 = void.
    device : torch.device or str, optional
        Where the model is, by default.
    precision : {"bf16", "fp16", "float32"}, optional
        `best_precision` by default.

    Returns
    -------
    Tensor
        The confusion matrix, int64, (C, C), on the CPU; `metrics.scores` reads all scores from it.

    Raises
    ------
    ValueError
        If there is no batch, in any of the processes.
    """
    device = torch.device(device) if device is not None else next(model.parameters()).device
    precision = precision or best_precision(device)
    was_training, total = model.training, None
    model.to(device).eval()
    try:
        # no_grad: in inference_mode autocast would cast all weights anew for each batch
        with torch.no_grad(), autocast(device, precision):
            for images, labels in data_iter:
                logits = model(images.to(device))
                # like argmax, but a third of its time on a CPU
                prediction = logits.max(dim=1).indices  # (N, C, H, W) -> (N, H, W)
                counts = metrics.confusion_matrix(prediction, labels.to(device), logits.shape[1])
                total = counts if total is None else total + counts
    finally:
        model.train(was_training)
    # a process without a picture, where there are fewer pictures than processes, adds zeros
    classes = distributed.largest(0 if total is None else len(total), device)
    if classes == 0:
        raise ValueError("nothing to evaluate: the iterator gave no batch")
    if total is None:
        total = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    return distributed.summed(total).cpu()
