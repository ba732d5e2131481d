"""Stop a training run and resume it with the same result, bit for bit."""

from __future__ import annotations

import os
import random
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from . import checkpoint, distributed
from .files import user_path
from .history import History
from .progress import Progress

LENGTH = ("epochs", "max_seconds")  # a resumed run may be longer


class TrainingState:
    """Everything that the next step of a run depends on, to be saved and restored as one."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        progress: Progress,
        history: History,
    ) -> None:
        self.model, self.optimizer, self.scaler = checkpoint.unwrapped(model), optimizer, scaler
        self.progress, self.history = progress, history

    def prepare(self, path: str | os.PathLike | None, resume: bool) -> None:
        """Restore a checkpoint if the run resumes and there is one; give each process its random numbers.

        Raises
        ------
        ValueError
            If there is no path to resume from, the path is a folder, the checkpoint is from another run, or
            the model is one that `save` could not write.
        """
        if path is not None:  # now, and not after an epoch that would be lost
            checkpoint.check_described(self.model)
            if user_path(path).is_dir():
                raise ValueError(f"{path}: a folder; give the checkpoint's file, such as checkpoint.pt in it")
        if resume:
            if path is None:
                raise ValueError("resume=True needs checkpoint_path, the file to resume from")
            file = user_path(path)
            # read once and handed on: the other machines need not see the file
            content = distributed.from_first(lambda: checkpoint.read(file) if file.is_file() else None)
            if content is not None:
                self._restore(path, content)
        rank = distributed.ranks().rank
        if rank:  # dropout must differ between processes
            torch.manual_seed(torch.initial_seed() + rank)

    def save(self, path: str | os.PathLike | None) -> None:
        """Write a checkpoint, in the first process."""
        if path is None or not distributed.ranks().first:
            return
        progress = self.progress
        training: dict[str, Any] = {"settings": self.history.settings, "rows": self.history.rows}
        training |= {"random": _random_states()}
        training |= {"epoch": progress.epoch, "step": progress.step, "seconds": progress.seconds}
        training |= {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        checkpoint.write(path, checkpoint.describe(self.model) | {"training": training})

    def _restore(self, path: str | os.PathLike, content: dict[str, Any]) -> None:
        """Put back what `save` wrote, after checking that it belongs to this run."""
        training = content.get("training")
        if training is None:
            raise ValueError(f"{path}: a model without the state of its run; start again without resume")
        ours, theirs = self.history.settings, training["settings"]
        fixed = [k for k in ours if k not in LENGTH]
        others = [f"{k}={theirs.get(k)!r} (now {ours[k]!r})" for k in fixed if theirs.get(k) != ours[k]]
        if others:
            raise ValueError(
                f"{path}: trained with {', '.join(others)}; resume with the same settings, or start again "
                "without resume"
            )
        try:
            self.model.load_state_dict(content["state"])
        except RuntimeError as error:
            raise ValueError(f"{path}: the checkpoint of another model: {error}") from error
        try:
            self.optimizer.load_state_dict(training["optimizer"])
        except ValueError as error:
            raise ValueError(
                f"{path}: trained with other parameters frozen, or in other groups ({error}); freeze the "
                "same parts as then, or start again without resume"
            ) from error
        self.scaler.load_state_dict(training["scaler"])
        self.progress.restore(training["step"], training["epoch"], training["seconds"])
        if self.progress.finished and any(ours[k] != theirs.get(k) for k in LENGTH):
            raise ValueError(
                f"{path}: already trained for {training['epoch']} epochs and {training['seconds']:.0f} "
                "seconds; to train longer, give more than that"
            )
        self.history.rows[:] = training["rows"]
        _set_random_states(training["random"])


def _random_states() -> dict[str, Any]:
    """Collect the states of all random generators as tensors and plain values."""
    name, keys, *rest = cast(tuple, np.random.get_state())  # numpy's stub says dict
    states = {"python": random.getstate(), "numpy": (name, keys.tolist(), *rest)}
    return states | {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _set_random_states(states: dict[str, Any]) -> None:
    """Restore what `_random_states` collected."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
