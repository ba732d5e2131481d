"""Checks for notebook 05, training."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import metrics
from ..classes import VOID
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value


@check("Pick the labelled pixels first: mask = label != 255. What do you divide by, and when is that 0?")
def void_loss(answer: Any) -> Fault:
    """Check exercise 05.1, a function (logits, label) -> loss."""
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, generator=g).requires_grad_()
    label = torch.randint(4, (3, 5, 6), generator=g)
    some_void = label.clone()
    some_void[0, :4], some_void[2, 1] = VOID, VOID  # uneven, so that averaging per image gives another number
    cases = {"without void": label, "with void, unevenly spread": some_void}
    for name, case in cases.items():
        loss = call(answer, logits, case.clone())
        got = _number(loss)
        want = float(F.cross_entropy(logits, case, ignore_index=VOID).detach())
        if not math.isclose(got, want, abs_tol=1e-4):
            return f"for a batch {name}: expected {want:.4f}, got {got:.4f}"
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            return "the number is right, but it has no gradients: keep it a tensor"
    got = _number(call(answer, logits, torch.full_like(label, VOID)))
    if got != 0:
        return f"for a batch that is all void: expected 0, got {got}"
    return _uint8_fault(answer, logits, some_void)


def _uint8_fault(answer: Any, logits: Tensor, label: Tensor) -> str | None:
    """Check the loss with labels of type uint8, which PyTorch does not take for indices."""
    case = "for labels of type uint8, as the course's data sets give them"
    try:
        got = _number(call(answer, logits, label.to(torch.uint8)))
    except (RuntimeError, IndexError, TypeError) as error:
        return f"{case}: your code raised {type(error).__name__}: {error}"
    want = float(F.cross_entropy(logits, label, ignore_index=VOID).detach())
    return None if math.isclose(got, want, abs_tol=1e-4) else f"{case}: expected {want:.4f}, got {got:.4f}"


def _number(loss: Any) -> float:
    """Return a loss as a plain number, whether it is a tensor or not."""
    return float(torch.as_tensor(loss).detach())


@check(
    "Divide the diagonal by row + column - diagonal. Let 0 / 0 be NaN, as it should be for an absent class."
)
def class_iou(answer: Any) -> Fault:
    """Check exercise 05.2, a function matrix -> IoU of each class."""
    cases = {
        "[[2, 1], [1, 4]]": torch.tensor([[2, 1], [1, 4]]),
        "with more misses than false alarms, [[5, 3], [0, 2]]": torch.tensor([[5, 3], [0, 2]]),
        "with an absent class": torch.tensor([[7, 1, 0], [2, 1, 0], [0, 0, 0]]),
    }
    for name, matrix in cases.items():
        got, want = call(answer, matrix.clone()), metrics.scores(matrix).per_class
        if isinstance(got, Tensor) and got.shape == want.shape:
            wrong = (got.isnan() != want.isnan()).nonzero().flatten().tolist()
            if wrong:
                return f"{name}: class {wrong[0]} should be {want[wrong[0]]:.4g}, got {got[wrong[0]]:.4g}"
            got, want = got.nan_to_num(-1), want.nan_to_num(-1)
        if fault := tensor_fault(got, want, name):
            return fault
    return None


@check("Add up the matrices first. Then take the mean over the classes that occur.")
def total_miou(answer: Any) -> Fault:
    """Check exercise 05.3, a function list of matrices -> mIoU."""
    first = torch.tensor([[90, 0, 0], [5, 5, 0], [0, 0, 0]])
    second = torch.tensor([[10, 40, 0], [0, 50, 0], [0, 0, 0]])
    third = torch.tensor([[30, 0, 0], [0, 0, 0], [3, 0, 7]])
    cases = {"two images without class 2": [first, second], "three images": [first, second, third]}
    for name, matrices in cases.items():
        got = float(call(answer, [m.clone() for m in matrices]))
        want = metrics.scores(torch.stack(matrices).sum(0)).miou
        if not math.isclose(got, want, abs_tol=1e-4):
            return f"for {name}: expected {want:.4f}, got {got:.4f}"
    return None


@check(
    "Which pixels are predicted correctly? What is the union for background? How many classes are averaged?"
)
def baseline(answer: Any) -> Fault:
    """Check exercise 05.4, a function (b, k) -> (pixel accuracy, mean accuracy, mIoU)."""
    for background, others in [(60, [40]), (750, [100, 80, 70]), (5, [0, 5, 90])]:
        matrix = torch.zeros(1 + len(others), 1 + len(others), dtype=torch.int64)
        matrix[:, 0] = torch.tensor([background, *others])
        result = metrics.scores(matrix)
        b, k = background / int(matrix.sum()), 1 + sum(n > 0 for n in others)
        got = value(call(answer, b, k))
        if not isinstance(got, (tuple, list)) or len(got) != 3:
            return f"for b={b:g}, k={k}: expected three numbers, got {got!r}"
        names = ("pixel accuracy", "mean accuracy", "mIoU")
        wanted = (result.pixel_acc, result.mean_acc, result.miou)
        for name, one, want in zip(names, got, wanted, strict=True):
            if not math.isclose(float(one), want, abs_tol=1e-6):
                return f"for b={b:g}, k={k}: expected {name} {want:.4f}, got {float(one):.4f}"
    return None


@check(
    "The step is the learning rate times the gradient. How does a sum over 32 compare with a mean, and "
    "with a sum over 8?"
)
def learning_rates(answer: Any) -> Fault:
    """Check exercise 05.5, a tuple (rate for our loss, textbook's rate at batch 8)."""
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
