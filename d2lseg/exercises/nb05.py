"""Checks for notebook 05, training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import metrics
from ..classes import VOID
from .compare import tensor_fault
from .conclusions import experiment_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value


class _Tiny(nn.Module):
    """A small model that remembers the most images and the most parts that it had to hold at once.

    Attributes
    ----------
    largest : int
        The size of the largest batch.
    waiting, most_waiting : int
        The number of outputs whose gradient has not been taken, now and at its highest.
    """

    def __init__(self) -> None:
        super().__init__()
        self.largest = self.waiting = self.most_waiting = 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.score = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 4, H, W) for uint8 images (N, 3, H, W)."""
        self.largest = max(self.largest, len(images))
        logits = self.score(images / 255)
        if logits.requires_grad:
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            logits.register_hook(self._done)
        return logits

    def _done(self, gradient: Tensor) -> None:
        """Note that the gradient of one output has been taken."""
        self.waiting -= 1


def _parts(sizes: Sequence[int], void: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
    """Draw small batches, each with its own share of void."""
    g = torch.Generator().manual_seed(len(sizes))
    parts = []
    for size, share in zip(sizes, void, strict=True):
        images = torch.randint(256, (size, 3, 5, 6), generator=g, dtype=torch.uint8)
        labels = torch.randint(4, (size, 5, 6), generator=g, dtype=torch.uint8)
        labels[torch.rand(labels.shape, generator=g) < share] = VOID
        parts.append((images, labels))
    return parts


# images and share of void of each part
PARTS: dict[str, tuple[list[int], list[float]]] = {
    "two parts without void": ([2, 2], [0, 0]),
    "two parts, the second nearly all void": ([2, 2], [0.1, 0.9]),
    "three parts of 1, 4 and 2 images": ([1, 4, 2], [0.5, 0.2, 0]),
    "three parts, one of them all void": ([2, 1, 2], [0.3, 1, 0]),
}


@check(
    "Count the labelled pixels of all parts first. Which share of the whole sum does one part's mean loss "
    "stand for? And what do the gradients hold before the first backward()?"
)
def accumulate(answer: Any) -> Fault:
    """Check exercise 05.1, a function (model, parts) -> mean loss, which leaves its gradient in the model."""
    for case, (sizes, void) in PARTS.items():
        parts, model, whole = _parts(sizes, void), _Tiny(), _Tiny()
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 7)  # left over from an earlier step
        got = float(torch.as_tensor(call(answer, model, [(x.clone(), y.clone()) for x, y in parts])).detach())
        images, labels = (torch.cat(both) for both in zip(*parts, strict=True))
        want = F.cross_entropy(whole(images), labels.long(), ignore_index=VOID)
        want.backward()
        if model.largest > max(sizes):
            return f"{case}: the model got {model.largest} images at once; give it one part at a time"
        if model.most_waiting > 1:
            parts_held = f"the graphs of {model.most_waiting} parts were held at once"
            return f"{case}: {parts_held}; call backward() for each part, before the model sees the next"
        if not math.isclose(got, float(want.detach()), abs_tol=1e-4):
            return f"{case}: expected the mean loss {float(want.detach()):.4f}, got {got:.4f}"
        for name, parameter in whole.named_parameters():
            if fault := tensor_fault(model.get_parameter(name).grad, parameter.grad, case):  # type: ignore[arg-type]
                return f"the loss is right, but the gradient of {name} is not. {fault}"
    return None


@check(
    "Let two of the three classes be rare. Which model wins on pixels by never naming them, and what does "
    "the mean over the classes say about it?"
)
def disagree(first: Any, second: Any) -> Fault:
    """Check exercise 05.2, two matrices of counts over the same pixels."""
    found = []
    for name, given in (("first", first), ("second", second)):
        matrix = value(given.tolist() if isinstance(given, (Tensor, np.ndarray)) else given)
        if not isinstance(matrix, tuple) or [len(row) for row in matrix if isinstance(row, tuple)] != [3] * 3:
            return f"the {name} matrix: expected 3 rows of 3 counts, got {matrix!r}"
        if any(not isinstance(n, int) or n < 0 for row in matrix for n in row):
            return f"the {name} matrix: counts are whole numbers from 0 up, got {matrix!r}"
        found.append(matrix)
    rows = [[sum(row) for row in matrix] for matrix in found]
    if rows[0] != rows[1]:
        return f"both models see the same pixels, but your rows sum to {rows[0]} and {rows[1]}"
    if 0 in rows[0]:
        return f"each class must occur, but the rows sum to {rows[0]}"
    (accuracy, miou), (other_accuracy, other_miou) = (_scores(matrix) for matrix in found)
    if accuracy <= other_accuracy:
        return f"the first must win in pixel accuracy, but has {accuracy:.3f} against {other_accuracy:.3f}"
    if miou >= other_miou:
        return f"the second must win in mIoU, but has {other_miou:.3f} against {miou:.3f}"
    return None


def _scores(matrix: Sequence[Sequence[int]]) -> tuple[float, float]:
    """Count pixel accuracy and mIoU of a matrix in which each class occurs."""
    ious = []
    for c, row in enumerate(matrix):
        ious.append(row[c] / (sum(row) + sum(other[c] for other in matrix) - row[c]))
    right, pixels = sum(matrix[c][c] for c in range(len(matrix))), sum(map(sum, matrix))
    return right / pixels, sum(ious) / len(ious)


@check(
    "Which pixels are predicted correctly? What is the union for background? How many classes are averaged?",
    withhold=[metrics.background_baseline],
)
def baseline(answer: Any) -> Fault:
    """Check exercise 05.3, a function (b, k) -> (pixel accuracy, mean accuracy, mIoU)."""
    for background, others in [(60, [40]), (750, [100, 80, 70]), (5, [0, 5, 90])]:
        occurring = [background, *(n for n in others if n > 0)]
        b, k = background / sum(occurring), len(occurring)
        got = value(call(answer, b, k))
        if not isinstance(got, (tuple, list)) or len(got) != 3:
            return f"for b={b:g}, k={k}: expected three numbers, got {got!r}"
        names = ("pixel accuracy", "mean accuracy", "mIoU")
        accuracies, ious = [1] + [0] * (k - 1), [b] + [0] * (k - 1)  # background takes all pixels
        wanted = (b, sum(accuracies) / k, sum(ious) / k)
        for name, one, want in zip(names, got, wanted, strict=True):
            if not math.isclose(float(one), want, abs_tol=1e-6):
                return f"for b={b:g}, k={k}: expected {name} {want:.4f}, got {float(one):.4f}"
    return None


@check(
    "The step is the learning rate times the gradient. How does a sum over 32 compare with a mean, and "
    "with a sum over 8?"
)
def learning_rates(answer: Any) -> Fault:
    """Check exercise 05.4, a tuple (rate for our loss, textbook's rate at batch 8)."""
    got = value(answer)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        return f"expected a tuple of two numbers, got {got!r}"
    names = {"first": "our loss", "second": "the textbook's loss and batch 8"}
    for (name, loss), rate, want in zip(names.items(), got, (0.032, 0.004), strict=True):
        if not math.isclose(float(rate), want, rel_tol=1e-3):
            return (
                f"the {name} rate is not {float(rate):g}: with it, a step with {loss} is "
                f"{float(rate) / want:g} times as long as the textbook's, with rate 0.001 and batch 32"
            )
    return None


@check(
    "Train each arm with at least three seeds, compare the means with the larger spread, and write the "
    "conclusion in your own words: what you changed, both means, and what the result does not show."
)
def experiment(answer: Any) -> Fault:
    """Check exercise 05.5, a dict with "base", "change", "verdict" and "conclusion"."""
    return experiment_fault(answer)
