"""Train and evaluate a segmentation model on one device, in the best precision it has."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from . import checkpoint, files, metrics

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "float32": torch.float32}
VOID = 255  # the label of pixels that count for nothing


def set_seed(seed: int) -> None:
    """Seed Python, NumPy and torch, on every device.

    Parameters
    ----------
    seed : int
        Call it before a model is made: its first weights are drawn at random.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def try_gpu(i: int = 0) -> torch.device:
    """Give the i-th CUDA GPU if there is one, else the CPU.

    Parameters
    ----------
    i : int
        Number of the GPU.

    Returns
    -------
    torch.device
        ``cuda:i`` or ``cpu``.
    """
    return torch.device(f"cuda:{i}") if torch.cuda.device_count() > i else torch.device("cpu")


def try_all_gpus() -> list[torch.device]:
    """List all CUDA GPUs, or the CPU where there is none.

    Returns
    -------
    list of torch.device
        Never empty.
    """
    count = torch.cuda.device_count()
    return [torch.device(f"cuda:{i}") for i in range(count)] or [torch.device("cpu")]


def best_device() -> torch.device:
    """Choose where to train: a CUDA GPU, else Apple's GPU, else the CPU.

    Returns
    -------
    torch.device
        The device.
    """
    if torch.cuda.is_available():
        return torch.device("cuda:0")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def best_precision(device: torch.device | str) -> str:
    """Choose the fastest number format that the device computes in hardware.

    Parameters
    ----------
    device : torch.device or str
        Where the model will run.

    Returns
    -------
    {"bf16", "fp16", "float32"}
        bf16 on CUDA from Ampere on and on CPUs with AVX-512 bf16 or AMX; fp16 on older CUDA; else float32.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    return "bf16" if device.type == "cpu" and _cpu_has_bf16() else "float32"


def _cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Ask Linux for the bf16 instructions; other systems do not say, and get float32."""
    try:
        words = cpuinfo.read_text().split()
    except OSError:
        return False
    return "avx512_bf16" in words or "amx_bf16" in words


def autocast(device: torch.device, precision: str) -> AbstractContextManager:
    """Run convolutions and matrix products in the chosen precision.

    Parameters
    ----------
    device : torch.device
        Where the model runs.
    precision : {"bf16", "fp16", "float32"}
        float32 leaves everything as it is.

    Returns
    -------
    context manager
        For a ``with`` statement around the forward pass.

    Raises
    ------
    ValueError
        If the precision has another name.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=PRECISIONS[precision])


def segmentation_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Average cross-entropy over the labelled pixels of a batch.

    Parameters
    ----------
    logits : Tensor
        float, (N, C, H, W).
    label : Tensor
        Class indices, any integer dtype, (N, H, W); 255 is void and counts for nothing.

    Returns
    -------
    Tensor
        float32 scalar. A batch that is all void gives 0, with zero gradients.
    """
    # One image at a time: a float32 copy of all the logits at once would be the largest tensor of the step.
    pairs = zip(logits.split(1), label.split(1), strict=True)
    parts = [F.cross_entropy(z.float(), y.long(), ignore_index=VOID, reduction="sum") for z, y in pairs]
    return torch.stack(parts).sum() / (label != VOID).sum().clamp(min=1)


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


@dataclass
class History:
    """What a training run measured, one row an epoch.

    Parameters
    ----------
    settings : dict
        Device, precision, seed, learning rate and so on.
    rows : list of dict
        Keys ``epoch``, ``loss``, ``images_per_second``, ``seconds`` (since the start) and, where there was a
        validation set, ``pixel_acc``, ``miou``, ``baseline_acc``, ``baseline_miou``.
    interrupted : bool
        Whether the run was stopped before its end.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    interrupted: bool = False

    def __str__(self) -> str:
        columns = ["epoch", "loss", "pixel_acc", "miou", "images_per_second", "seconds"]
        heads = ["epoch", "loss", "pixel acc", "mIoU", "images/s", "seconds"]
        shapes = ["{:.0f}", "{:.3f}", "{:.3f}", "{:.3f}", "{:.1f}", "{:.0f}"]
        lines = ["  ".join(f"{head:>9}" for head in heads)]
        for row in self.rows:
            cells = (s.format(row[c]) if c in row else "-" for c, s in zip(columns, shapes, strict=True))
            lines.append("  ".join(f"{cell:>9}" for cell in cells))
        return "\n".join(lines)

    def write_csv(self, path: str | os.PathLike) -> Path:
        """Write the rows to a CSV file.

        Parameters
        ----------
        path : path
            The file; its first line names the columns.

        Returns
        -------
        Path
            The file written.

        Raises
        ------
        ValueError
            If there is no row.
        """
        if not self.rows:
            raise ValueError(f"{path}: nothing to write, no epoch has ended yet")
        return files.write_csv(path, self.rows)

    def plot(self, figure: Figure | None = None) -> Figure:
        """Draw the loss on the left, the validation scores and their baselines on the right.

        Parameters
        ----------
        figure : Figure, optional
            A figure to draw again; a new one by default.

        Returns
        -------
        Figure
            The figure drawn on.
        """
        figure = figure or plt.figure(figsize=(8, 2.8), layout="constrained")
        figure.clear()
        left, right = figure.subplots(1, 2)
        epochs = [row["epoch"] for row in self.rows]
        left.plot(epochs, [row["loss"] for row in self.rows], "o-", color="#0072b2")
        left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
        if self.rows and "miou" in self.rows[0]:
            for key, base, name, colour in (
                ("pixel_acc", "baseline_acc", "pixel accuracy", "#d55e00"),
                ("miou", "baseline_miou", "mIoU", "#009e73"),
            ):
                right.plot(epochs, [row[key] for row in self.rows], "o-", color=colour, label=name)
                right.axhline(self.rows[0][base], ls="--", color=colour, label=f"{name}, all background")
            right.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
        right.set(xlabel="epoch", ylabel="validation score", ylim=(0, 1))
        return figure


class _LivePlot:
    """Redraw a history in one place of a notebook; outside notebooks print its newest row."""

    def __init__(self, history: History) -> None:
        self.history, self.handle, self.figure = history, None, None
        try:
            from IPython import get_ipython

            self.in_notebook = getattr(get_ipython(), "kernel", None) is not None
        except ImportError:
            self.in_notebook = False

    def update(self) -> None:
        """Show the newest row."""
        if not self.in_notebook:
            lines = str(self.history).splitlines()
            print("\n".join(lines if len(lines) == 2 else lines[-1:]))
            return
        from IPython.display import display

        self.figure = self.history.plot(self.figure)
        if self.handle is None:
            self.handle = display(self.figure, display_id=True)
        else:
            self.handle.update(self.figure)
        plt.close(self.figure)  # or the notebook would draw it once more at the end of the cell


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
) -> History:
    """Train a model with AdamW.

    Parameters
    ----------
    model : nn.Module
        Maps uint8 (N, 3, H, W) to logits (N, C, H, W); trained in place and left on ``device``.
    train_iter : DataLoader
        Batches of images, uint8 (N, 3, H, W), and labels, integer (N, H, W), 255 = void.
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
        Go on from ``checkpoint_path`` if that file is there. With ``epochs``, on the same machine and number
        of threads, the result is the same bit by bit as without the interruption.

    Returns
    -------
    History
        One row an epoch. If the cell is interrupted, the rows so far.

    Raises
    ------
    ValueError
        If not exactly one of ``epochs`` and ``max_seconds`` is given and positive, there is no batch, the
        schedule has another name, or the checkpoint is of a training with other settings.
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
    run = _Run(model, device, precision or best_precision(device), lr, weight_decay)
    run.history.settings |= settings | {"batches": len(train_iter)}
    if resume and Path(checkpoint_path).is_file():
        run.restore(checkpoint_path)
    curve = _LivePlot(run.history) if live else None
    steps = max(1, round(epochs * len(train_iter))) if epochs else None
    try:
        with tqdm(total=steps, initial=run.step, disable=not live, unit="batch", desc="training") as bar:
            while not run.finished(steps, max_seconds):
                _shuffle(train_iter, seed, run.epoch)
                run.train_epoch(train_iter, steps, max_seconds, bar)
                run.end_epoch(val_iter)
                if checkpoint_path is not None:
                    run.save(checkpoint_path)
                if curve:
                    curve.update()
    except KeyboardInterrupt:
        run.history.interrupted = True
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
    if hasattr(train_iter.dataset, "set_epoch"):
        train_iter.dataset.set_epoch(epoch)
    if train_iter.generator is not None:
        train_iter.generator.manual_seed(seed * 100_003 + epoch)


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
        self, model: nn.Module, device: torch.device, precision: str, lr: float, weight_decay: float
    ) -> None:
        # channels_last is the order in which the fast convolution kernels read
        self.model = model.to(device, memory_format=torch.channels_last)
        self.device, self.precision, self.lr = device, precision, lr
        trained = [p for p in model.parameters() if p.requires_grad]
        # fused: one pass over all parameters, about a third of the time
        fused = device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay, fused=fused)
        # fp16 has few exponent bits: the scaler keeps small gradients from becoming zero
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.step = self.epoch = 0
        self.seconds = 0.0
        self.losses: list[Tensor] = []
        self.rates: list[float] = []
        settings = {"device": str(device), "precision": precision, "lr": lr, "weight_decay": weight_decay}
        self.history = History(settings)

    def save(self, path: str | os.PathLike) -> None:
        """Write the model and all that the next step depends on."""
        state = {"settings": self.history.settings, "rows": self.history.rows, "random": _random_states()}
        state |= {"epoch": self.epoch, "step": self.step, "seconds": self.seconds}
        state |= {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        checkpoint.write(path, checkpoint.describe(self.model) | {"training": state})

    def restore(self, path: str | os.PathLike) -> None:
        """Go back to where `save` was."""
        content = checkpoint.read(path)
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

    def progress(self, steps: int | None, max_seconds: float | None) -> float:
        return self.step / steps if steps else self.seconds / max_seconds

    def finished(self, steps: int | None, max_seconds: float | None) -> bool:
        return self.progress(steps, max_seconds) >= 1

    def train_epoch(
        self, train_iter: DataLoader, steps: int | None, max_seconds: float | None, bar: tqdm
    ) -> None:
        """Go through the batches once, or until the time is up."""
        self.model.train()
        self.losses, self.rates, self.images, before = [], [], 0, self.seconds
        schedule = SCHEDULES[self.history.settings["schedule"]]
        started = time.perf_counter()
        for images, labels in train_iter:
            self.train_step(images, labels, self.lr * schedule(self.progress(steps, max_seconds)))
            bar.update()
            self.seconds = before + time.perf_counter() - started
            if self.finished(steps, max_seconds):
                break
        self.speed = self.images / (self.seconds - before)

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
        images = images.to(self.device, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with autocast(self.device, self.precision):
            logits = self.model(images)
        loss = segmentation_loss(logits, labels)
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
        loss = float(torch.stack(self.losses).mean())
        row = {"epoch": self.epoch, "loss": loss, "images_per_second": self.speed}
        row["seconds"] = self.seconds
        if val_iter is not None:
            matrix = evaluate(self.model, val_iter, self.device, self.precision)
            ours, base = metrics.scores(matrix), metrics.background_baseline(matrix)
            row |= {"pixel_acc": ours.pixel_acc, "miou": ours.miou}
            row |= {"baseline_acc": base.pixel_acc, "baseline_miou": base.miou}
        self.history.rows.append(row)


def evaluate(
    model: nn.Module,
    data_iter: Iterable,
    device: torch.device | str | None = None,
    precision: str | None = None,
) -> Tensor:
    """Predict every batch and count true against predicted classes.

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
        If there is no batch.
    """
    device = torch.device(device) if device is not None else next(model.parameters()).device
    precision = precision or best_precision(device)
    was_training, total = model.training, None
    model.to(device).eval()
    try:
        with torch.inference_mode(), autocast(device, precision):
            for images, labels in data_iter:
                logits = model(images.to(device))
                # like argmax, but a third of its time on a CPU
                prediction = logits.max(dim=1).indices  # (N, C, H, W) -> (N, H, W)
                counts = metrics.confusion_matrix(prediction, labels.to(device), logits.shape[1])
                total = counts if total is None else total + counts
    finally:
        model.train(was_training)
    if total is None:
        raise ValueError("nothing to evaluate: the iterator gave no batch")
    return total.cpu()
