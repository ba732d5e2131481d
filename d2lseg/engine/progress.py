"""How far a training run has come: steps, epochs, seconds, and whether its loss is still a number."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from . import distributed


class Progress:
    """Count the steps and the seconds of a run, and say when it is finished.

    Parameters
    ----------
    batches : int
        In an epoch.
    epochs, max_seconds : float or None
        How long to train; exactly one is given. Evaluation between epochs does not count.
    lr : float
        Peak learning rate, for error messages.
    live : bool
        Show a progress bar, in the first process.

    Raises
    ------
    ValueError
        If there is no batch, or not exactly one positive length is given.
    """

    def __init__(
        self, batches: int, epochs: float | None, max_seconds: float | None, lr: float, live: bool = False
    ) -> None:
        if (epochs is None) == (max_seconds is None) or (epochs or max_seconds or 0) <= 0:
            raise ValueError(
                f"give either epochs or max_seconds, above 0; got epochs={epochs}, max_seconds={max_seconds}"
            )
        if batches == 0:
            raise ValueError("train_iter has no batch: are there fewer images than the batch size?")
        self.steps = max(1, round(epochs * batches)) if epochs else None
        self.max_seconds, self.lr = max_seconds or math.inf, lr
        self.step = self.epoch = 0
        self.seconds = 0.0
        self.bar = tqdm(disable=True)
        self.live = live and distributed.ranks().first
        self.start_epoch()

    @property
    def share(self) -> float:
        """Share of the run that is done, from 0 to 1."""
        return self.step / self.steps if self.steps else self.seconds / self.max_seconds

    @property
    def finished(self) -> bool:
        """Whether the run has reached its length."""
        return self.share >= 1

    def restore(self, step: int, epoch: int, seconds: float) -> None:
        """Continue from where an earlier process was."""
        self.step, self.epoch, self.seconds = step, epoch, seconds

    def open(self) -> None:
        """Show the progress bar, where the run is live."""
        options = {"total": self.steps, "initial": self.step, "unit": "batch", "desc": "training"}
        self.bar = tqdm(disable=not self.live, **options)

    def close(self) -> None:
        """Leave the progress bar as it is."""
        self.bar.close()

    def start_epoch(self) -> None:
        """Start the clock of an epoch."""
        self.losses: list[Tensor] = []
        self.rates: list[float] = []
        self.images, self.seconds_before, self.started = 0, self.seconds, time.perf_counter()

    def advance(self, loss: Tensor, images: int, rate: float) -> None:
        """Count a step, with its loss, its number of images and its learning rate.

        Raises
        ------
        FloatingPointError
            If the loss of the step before is not finite. Reading this step's would make a GPU wait.
        """
        self.step += 1
        self.bar.update()
        self.images += images
        self.losses.append(loss.detach())
        self.rates.append(rate)
        self._check_loss(steps_ago=1)
        elapsed = time.perf_counter() - self.started
        if self.steps is None:  # the clock decides when to stop, so all processes must agree on it
            elapsed = distributed.mean(elapsed, loss.device)
        self.seconds = self.seconds_before + elapsed

    def end_epoch(self) -> dict[str, Any]:
        """Return the epoch's row of the history: its number, mean loss, speed, and seconds since the start.

        Raises
        ------
        FloatingPointError
            If the last loss is not finite.
        """
        self._check_loss(steps_ago=0)
        self.epoch += 1
        world_size = distributed.ranks().world_size
        loss = float(distributed.summed(torch.stack(self.losses).mean())) / world_size
        speed = self.images * world_size / (self.seconds - self.seconds_before)
        return {"epoch": self.epoch, "loss": loss, "images_per_second": speed, "seconds": self.seconds}

    def _check_loss(self, steps_ago: int) -> None:
        """Stop the run if a loss of this epoch is not finite: the weights are spoilt from there on."""
        place = -1 - steps_ago
        if steps_ago < len(self.losses) and not torch.isfinite(self.losses[place]):
            raise FloatingPointError(
                f"the loss is {float(self.losses[place])} at step {self.step - steps_ago}, with a learning "
                f"rate of {self.rates[place]:.2g}: lower the peak learning rate (now {self.lr:g}), use "
                "float32, and look for broken labels. The weights are spoilt, so start again or resume from "
                "the last checkpoint"
            )
