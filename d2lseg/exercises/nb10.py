"""Checks for notebook 10, which asks whether a difference is real."""

from __future__ import annotations

import itertools
import math
from typing import Any

from .conclusions import experiment_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value

# (kernel size, stride, padding) of the layers with a stride, first layer first. A 3x3 convolution with stride
# 1 and padding 1 moves no centre.
RESNET18 = ((7, 2, 3), *[(3, 2, 1)] * 4)
VGG16 = ((2, 2, 0),) * 5


COMPARISONS = {
    "a clear gain": ([0.5, 0.5625, 0.53125], [0.75, 0.6875, 0.71875], "better"),
    "a clear loss": ([0.75, 0.6875, 0.71875], [0.5, 0.5625, 0.53125], "worse"),
    "a small gain": ([0.5, 0.5625, 0.53125], [0.5625, 0.53125, 0.5], "not seen"),
    "a gain above the old spread only": ([0.5, 0.53125, 0.5], [0.5, 0.75, 0.625], "not seen"),
    "a gain above the new spread only": ([0.5, 0.75, 0.625], [0.75, 0.75, 0.78125], "not seen"),
    "a loss within the old spread": ([0.75, 0.5, 0.625], [0.5, 0.5, 0.53125], "not seen"),
    "a gain above both spreads but not their sum": ([0.5, 0.625], [0.6875, 0.8125], "better"),
    "a gain above the mean of the spreads": ([0.5, 0.5], [0.5625, 0.8125], "not seen"),
    "lists of different lengths": ([0.25, 0.3125], [0.5, 0.5, 0.9375, 0.125], "not seen"),
    "one seed each": ([0.5], [0.53125], "better"),
    "a gain as large as the spread": ([0.25, 0.5], [0.5, 0.75], "not seen"),
    "one seed apart from the others": ([0.5, 0.5, 0.5, 0.625], [0.625, 0.75, 0.75, 0.75], "better"),
    "the same twice": ([0.5], [0.5], "not seen"),
}


@check(
    "Three numbers decide: the difference of the two means, and the spread (largest minus smallest) of each "
    "list. Compare the difference with the larger spread; an equal one is not larger."
)
def verdict(answer: Any) -> Fault:
    """Check exercise 10.1, a function (old, new) -> "better", "worse" or "not seen"."""
    for name, (old, new, want) in COMPARISONS.items():
        got = value(call(answer, list(old), list(new)))
        if got != want:
            return f"for {name}, old {old} and new {new}: expected {want!r}, got {got!r}"
    return None


@check(
    "If the recipes do not differ, each difference is as likely to be positive as negative, like a coin. In "
    "how many of the 2 ** n results do all coins agree?"
)
def agree(answer: Any) -> Fault:
    """Check exercise 10.2, a function seeds -> probability that all differences have one sign by luck."""
    for seeds in range(1, 11):
        results = itertools.product((-1, 1), repeat=seeds)
        want = sum(abs(sum(signs)) == seeds for signs in results) / 2**seeds
        got = value(call(answer, seeds))
        if not isinstance(got, int | float) or not math.isclose(got, want, rel_tol=1e-6):
            return f"for {seeds} seeds: expected {want:.4f}, got {got!r}"
    return None


@check(
    "Where it looks: start with cell 0 and go back layer by layer, the last layer first; position i of a "
    "layer is centred on s * i - p + (k - 1) / 2 of the layer before. Where it is painted: the middle of the "
    "first block, whose width is the product of all strides."
)
def shift(answer: Any) -> Fault:
    """Check exercise 10.3, a function layers -> pixels from where cell 0 looks to where it is painted."""
    stacks = {
        "ResNet-18, stride 32": RESNET18,
        "ResNet-18, stride 8": RESNET18[:3],
        "VGG-16, stride 32": VGG16,
        "one layer k3 s1 p0": ((3, 1, 0),),
        "k16 s16 p0, a layer of patches": ((16, 16, 0),),
        "k7 s2 p3, then k2 s2 p0": ((7, 2, 3), (2, 2, 0)),
        "k2 s2 p0, then k5 s3 p0, then k3 s1 p1": ((2, 2, 0), (5, 3, 0), (3, 1, 1)),
    }
    for name, layers in stacks.items():
        looks, stride = 0.0, math.prod(s for _, s, _ in layers)
        for k, s, p in reversed(layers):
            looks = s * looks - p + (k - 1) / 2
        painted = (stride - 1) / 2
        got = float(value(call(answer, list(layers))))
        if not math.isclose(got, painted - looks, abs_tol=1e-6):
            told = f"cell 0 looks at {looks:g} and is painted around {painted:g}"
            return f"for {name}: {told}, so expected {painted - looks:g}, got {got:g}"
    return None


@check(
    "Train each arm with at least three seeds, decide by the rule of section 1, and write the conclusion in "
    "your own words: what you changed, both means, and what the result does not show."
)
def experiment(answer: Any) -> Fault:
    """Check exercise 10.4, a dict with "base", "change", "verdict" and "conclusion"."""
    return experiment_fault(answer)
