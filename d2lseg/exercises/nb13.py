"""Checks for notebook 13, which goes beyond the FCN."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .conclusions import experiment_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value

# (kernel size, stride, dilation) of layers, the first one next to the image.
STACKS = {
    "one 3x3 layer": ((3, 1, 1),),
    "one 3x3 layer with dilation 4": ((3, 1, 4),),
    "3x3 layers with dilations 1, 2 and 4": ((3, 1, 1), (3, 1, 2), (3, 1, 4)),
    "two 3x3 layers, the first with stride 2": ((3, 2, 1), (3, 1, 1)),
    "the same two, the second dilated and no stride": ((3, 1, 1), (3, 1, 2)),
    "a stride behind the other layer": ((3, 1, 1), (3, 2, 1)),
    "a 1x1 layer with stride 4": ((1, 4, 1),),
    "a 5x5 layer, 2x2 pooling, a dilated 3x3 layer": ((5, 2, 1), (2, 2, 1), (3, 1, 3)),
}


@check(
    "Start with one cell of the last map and go back layer by layer. n neighbouring cells of an output start "
    "(n - 1) * stride cells apart in the input, and the last one reads as far as its kernel goes, which "
    "dilation spreads to dilation * (kernel - 1) + 1 cells."
)
def reach(answer: Any) -> Fault:
    """Check exercise 13.1, a function layers -> width in pixels of what one cell can read."""
    for name, layers in STACKS.items():
        width = 1
        for kernel, stride, dilation in reversed(layers):
            width = (width - 1) * stride + dilation * (kernel - 1) + 1
        got = value(call(answer, list(layers)))
        if got != width:
            return f"for {name}, {list(layers)}: expected {width}, got {got!r}"
    return None


FIELDS: dict[str, tuple[dict[str, tuple[float, float]], list[str]]] = {
    "a network that is slower and worse": ({"a": (10, 0.6), "b": (20, 0.5)}, ["a"]),
    "one that is slower and better": ({"b": (20, 0.7), "a": (10, 0.6)}, ["a", "b"]),
    "one that is as fast and better": ({"a": (10, 0.6), "b": (10, 0.7)}, ["b"]),
    "one that is faster and as good": ({"a": (10, 0.6), "b": (9, 0.6)}, ["b"]),
    "two that are equal in both": ({"a": (10, 0.6), "b": (10, 0.6)}, ["a", "b"]),
    "four networks": ({"a": (40, 0.8), "b": (5, 0.3), "c": (20, 0.7), "d": (30, 0.6)}, ["b", "c", "a"]),
    "one network": ({"a": (10, 0.6)}, ["a"]),
}


@check(
    "For each network, ask of every other one: is its time at most as long and its score at least as high, "
    "and is one of the two strictly better? Sort what is left by time."
)
def unbeaten(answer: Any) -> Fault:
    """Check exercise 13.2, a function networks -> names of those that no other beats, the fastest first."""
    for name, (networks, want) in FIELDS.items():
        got = list(value(call(answer, dict(networks))))
        alike = name == "two that are equal in both" and sorted(got) == want
        if got != want and not alike:
            return f"with {name}, {networks}: expected {want}, got {got}"
    return None


def _rectangles(*boxes: tuple[int, int, int, int]) -> Tensor:
    """Draw numbered rectangles (top, left, bottom, right), the later ones in front: int64 (6, 8)."""
    objects = torch.zeros(6, 8, dtype=torch.int64)
    for number, (top, left, bottom, right) in enumerate(boxes, start=1):
        objects[top:bottom, left:right] = 3 * number  # numbers need not be 1, 2, 3
    return objects


LEFT, RIGHT_HALF, WHOLE = (0, 0, 4, 4), (0, 4, 4, 8), (0, 0, 4, 8)
MAPS = {
    "a perfect guess": (_rectangles(LEFT, RIGHT_HALF), _rectangles(LEFT, RIGHT_HALF)),
    "the same objects with other numbers": (_rectangles(RIGHT_HALF, LEFT), _rectangles(LEFT, RIGHT_HALF)),
    "two objects guessed as one": (_rectangles(WHOLE), _rectangles(LEFT, RIGHT_HALF)),
    "one object guessed as two": (_rectangles((0, 0, 4, 5), (0, 5, 4, 8)), _rectangles(WHOLE)),
    "an IoU of exactly 1/2": (_rectangles((0, 0, 2, 4)), _rectangles(LEFT)),
    "a missed object": (_rectangles((0, 0, 3, 4)), _rectangles(LEFT, RIGHT_HALF)),
    "an invented object": (_rectangles(LEFT, (5, 0, 6, 2)), _rectangles((0, 0, 4, 3))),
    "nothing guessed": (_rectangles(), _rectangles(LEFT)),
    "no object on either side": (_rectangles(), _rectangles()),
}


@check(
    "Take each pair of a guessed and a true number (0 is none), and divide the pixels that have both by "
    "those that have one of them. Objects without a match count a half each, in the divisor only."
)
def panoptic_quality(answer: Any) -> Fault:
    """Check exercise 13.3, a function (guess, truth) -> panoptic quality of one class."""
    for name, (guess, truth) in MAPS.items():
        want = _quality(guess, truth)
        try:
            got = value(call(answer, guess.clone(), truth.clone()))
        except ZeroDivisionError:
            return f"for {name}: expected {want:.3f}, but your code divides by zero"
        if not isinstance(got, int | float):
            return f"for {name}: expected a number, got {got!r}"
        if not math.isclose(got, want, abs_tol=1e-4):
            return f"for {name}: expected {want:.3f}, got {got:.3f}"
    return None


def _quality(guess: Tensor, truth: Tensor) -> float:
    """Compute the panoptic quality; source: Kirillov and others, CVPR 2019, section 4.1."""
    guessed, true = ([ids == number for number in ids.unique() if number] for ids in (guess, truth))
    ious = [float((a & b).sum() / (a | b).sum()) for a in guessed for b in true]
    matches = [iou for iou in ious if iou > 0.5]
    alone = len(guessed) + len(true) - 2 * len(matches)
    return sum(matches) / (len(matches) + alone / 2) if guessed or true else 1.0


@check(
    "Train each arm with at least three seeds, decide by the rule of the spreads, and write the conclusion "
    "in your own words: what you changed, both means, and what the result does not show."
)
def experiment(answer: Any) -> Fault:
    """Check exercise 13.4, a dict with "base", "change", "verdict" and "conclusion"."""
    return experiment_fault(answer)
