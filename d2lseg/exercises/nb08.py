"""Checks for notebook 08, real photographs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..classes import VOID
from .compare import count_scores, tensor_fault
from .conclusions import experiment_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value


@check(
    "Loop over the classes that occur: x[y == c].mean(0) is the mean feature of class c. torch.cdist gives "
    "all distances at once; argmin finds the nearest mean, but its index is not yet a class number."
)
def nearest_mean(answer: Any) -> Fault:
    """Check exercise 08.1, a function (x, y, new) -> class of the nearest mean feature."""
    generator = torch.Generator().manual_seed(0)
    for classes in ([0, 1], [0, 3, 20], [2, 5, 6, 9]):
        centres = 4 * torch.randn(len(classes), 6, generator=generator)
        at = torch.randint(len(classes), (60,), generator=generator)
        at[: len(classes)] = torch.arange(len(classes))
        x = centres[at] + torch.randn(60, 6, generator=generator)
        y, new = torch.tensor(classes)[at], 5 * torch.randn(40, 6, generator=generator)
        given = x.clone(), y.clone(), new.clone()
        case = f"for the classes {classes}"
        if fault := tensor_fault(call(answer, *given), _nearest(x, y, new), case):
            return fault
    return None


def _nearest(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """Give each new feature the class whose mean feature is nearest, one at a time."""
    means = {int(c): x[y == c].mean(0) for c in y.unique()}
    return torch.tensor([min(means, key=lambda c: float((row - means[c]).norm())) for row in new])


@check(
    "Only one of the three scores counts the pixels labelled 255, and counts them as class 0. For mIoU sum "
    "the confusion matrices of all images first: metrics.confusion_matrix leaves 255 out."
)
def two_ways(answer: Any) -> Fault:
    """Check exercise 08.2, a function pairs -> (accuracy its way, pixel accuracy, mIoU)."""
    generator = torch.Generator().manual_seed(0)
    for sizes in ([(4, 6)], [(5, 4), (2, 9)], [(1, 3), (8, 8), (3, 2)]):
        pairs = []
        for height, width in sizes:
            label = torch.randint(0, 4, (height, width), generator=generator, dtype=torch.uint8)
            prediction = torch.where(torch.rand(label.shape, generator=generator) < 0.6, label, 0).byte()
            label[torch.rand(label.shape, generator=generator) < 0.3] = VOID
            pairs.append((prediction, label))
        got = value(call(answer, [(p.clone(), t.clone()) for p, t in pairs]))
        if fault := _scores_fault(got, pairs):
            return fault
    return None


def _scores_fault(got: Any, pairs: list[tuple[Tensor, Tensor]]) -> Fault:
    """Compare three scores with those of a count pixel by pixel."""
    counted = [
        both
        for prediction, label in pairs
        for both in zip(prediction.flatten().tolist(), label.flatten().tolist(), strict=True)
    ]
    labelled = [(p, t) for p, t in counted if t != VOID]
    its_way = sum(p == (0 if t == VOID else t) for p, t in counted) / len(counted)
    accuracy, miou = count_scores(labelled)
    if not isinstance(got, tuple) or len(got) != 3:
        return f"expected three numbers, got {got!r}"
    names = ("the accuracy its way", "the pixel accuracy", "the mIoU")
    for name, number, want in zip(names, got, (its_way, accuracy, miou), strict=True):
        if not isinstance(number, int | float) or abs(number - want) > 1e-4:
            sizes = ", ".join("x".join(map(str, label.shape)) for _, label in pairs)
            return f"for images of {sizes}: expected {want:.4f} for {name}, got {number!r}"
    return None


CURVES: dict[str, tuple[dict[int, list[float]], list[float], int | None]] = {
    "one that passes at once": ({25: [0.5, 0.6], 100: [0.7, 0.8]}, [0.3, 0.4], 25),
    "one that passes later": ({25: [0.3, 0.5], 100: [0.5, 0.6], 437: [0.7, 0.7]}, [0.4, 0.45], 100),
    "means that pass before the worst seed does": ({10: [0.3, 0.9], 20: [0.6, 0.7]}, [0.4, 0.5], 20),
    "one that never passes": ({25: [0.1, 0.2], 100: [0.2, 0.3]}, [0.3, 0.3], None),
    "a tie": ({25: [0.5, 0.6], 50: [0.6, 0.7]}, [0.5, 0.5], 50),
    "counts out of order": ({100: [0.9], 25: [0.8], 50: [0.1]}, [0.5], 25),
    "one that falls back": ({25: [0.6, 0.7], 100: [0.2, 0.3]}, [0.5, 0.4], 25),
}


@check(
    "Every seed must be above every seed of the rival, so compare the smallest with the largest: "
    "min(scores) > max(rival). Try the counts in increasing order, and return None if none will do."
)
def fewest(answer: Any) -> Fault:
    """Check exercise 08.3, a function (curve, rival) -> fewest photographs that beat the rival, or None."""
    for name, (curve, rival, want) in CURVES.items():
        given = {count: list(scores) for count, scores in curve.items()}
        got = answer(given, list(rival)) if want is None else value(call(answer, given, list(rival)))
        if got is ...:
            return "expected a number of photographs or None, got ..."
        if got != want:
            return f"for {name}, {curve} against {rival}: expected {want}, got {got!r}"
    return None


@check(
    "Train each arm with at least three seeds, decide by the rule of notebook 07, and write the conclusion "
    "in your own words: what you changed, both means, and what the result does not show."
)
def experiment(answer: Any) -> Fault:
    """Check exercise 08.4, a dict with "base", "change", "verdict" and "conclusion"."""
    return experiment_fault(answer)
