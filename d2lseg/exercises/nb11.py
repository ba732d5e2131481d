"""Checks for notebook 11, your own data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from ..classes import VOID
from ..datasets import lists
from .compare import count_scores, tensor_fault
from .conclusions import experiment_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Failure, Fault, call, check, value

Point = tuple[float, float]


@check(
    "Look each value up in the old mask and write the new one into a new mask: if you write into the mask "
    "you read from, a pixel can be changed twice. 255 stays 255. mask.unique() lists the values that occur."
)
def remap(answer: Any) -> Fault:
    """Check exercise 11.1, a function (mask, mapping) -> mask with the new numbers."""
    generator = torch.Generator().manual_seed(0)
    for mapping in ({0: 0, 7: 1, 9: 2}, {0: 1, 1: 2, 2: 0}, {3: 0, 4: 0, 5: 1}, {0: 0, 200: 1, 1: 255}):
        values = torch.tensor([*mapping, VOID], dtype=torch.uint8)
        mask = values[torch.randint(len(values), (4, 6), generator=generator)]
        want = torch.tensor([{VOID: VOID, **mapping}[v] for v in mask.flatten().tolist()]).view(4, 6)
        given, case = mask.clone(), f"for the mapping {mapping}"
        if fault := tensor_fault(call(answer, given, dict(mapping)), want, case):
            return fault
        if not torch.equal(given, mask):
            return f"{case}: the result is right, but you changed the caller's mask; write into a new one"
    return _unknown_value_fault(answer)


def _unknown_value_fault(answer: Callable[..., Any]) -> str | None:
    """Check that a value without an entry in the mapping raises an error that names it."""
    mask = torch.tensor([[0, 7], [255, 8]], dtype=torch.uint8)
    try:
        call(answer, mask, {0: 0, 7: 1})
    except ValueError as error:
        if "8" in str(error):
            return None
        return f"the mapping has no entry for 8: your ValueError says {str(error)!r}; name the value in it"
    return "the mask contains 8, and the mapping has no entry for it: expected a ValueError, but none came"


_U = [(0, 0), (6, 0), (6, 6), (4, 6), (4, 2), (2, 2), (2, 6), (0, 6)]
_STAR = [(5 + 5 * math.sin(0.8 * math.pi * k), 5 - 5 * math.cos(0.8 * math.pi * k)) for k in range(5)]
_TRIANGLE = [(0, 0), (6, 0), (3, 5)]
POLYGONS: dict[str, Sequence[Point]] = {
    "a triangle": _TRIANGLE,
    "the same triangle, in the opposite direction": _TRIANGLE[::-1],
    "a U, open at the bottom": _U,
    "a star drawn in one line (its outline surrounds the middle twice, so the middle is outside)": _STAR,
}


def _crosses(x: float, y: float, corners: Sequence[Point]) -> bool:
    """Test by the even-odd rule whether a point lies in a polygon."""
    odd = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            odd = not odd
    return odd


@check(
    "A ray to the right crosses an edge if one end lies above y and the other does not, and if the edge's x "
    "at this height is larger than yours. An odd number of crossings means inside. Remember the edge from "
    "the last corner to the first."
)
def inside(answer: Any) -> Fault:
    """Check exercise 11.2, a function (x, y, corners) -> True or False."""
    for name, corners in POLYGONS.items():
        for row in range(-1, 11):
            for column in range(-1, 11):
                x, y = column + 0.47, row + 0.53
                got, want = value(call(answer, x, y, list(corners))), _crosses(x, y, corners)
                if got not in (True, False) or got != want:
                    return _polygon_fault(name, corners, (x, y), want, got)
    # at the height of a corner where a rising edge and a falling edge meet
    if not value(call(answer, 3.0, 3.0, [(3, 0), (6, 3), (3, 6), (0, 3)])):
        return "for a square on its corner: (3, 3) is inside, but your code counts the corner (6, 3) twice"
    return None


def _polygon_fault(name: str, corners: Sequence[Point], point: Point, want: bool, got: Any) -> Failure:
    """Describe a wrong answer for one point, and draw it."""
    where = {True: "inside", False: "outside"}
    said = where.get(got, repr(got))
    message = f"for {name}: ({point[0]:.2f}, {point[1]:.2f}) is {where[want]}, but your function says {said}"
    return Failure(message, lambda: _draw_polygon(corners, point))


def _draw_polygon(corners: Sequence[Point], point: Point) -> None:
    """Draw the polygon and the point."""
    _, ax = plt.subplots(figsize=(2.6, 2.6), layout="constrained")
    ax.plot(*zip(*corners, corners[0], strict=True), color="#0072b2")
    ax.plot(*point, "o", color="#d55e00")
    ax.invert_yaxis()
    ax.set_aspect("equal")


_SIZES = (("a", 1), ("b", 7), ("c", 2), ("d", 4), ("e", 1), ("f", 5))
NAME_SETS = {
    "two images from each source": [f"{s}_{k}" for s in "abcdefghij" for k in range(2)],
    "sources of different sizes": [f"{s}_{k}" for s, n in _SIZES for k in range(n)],
    "names that are not sorted": [f"{s}_{k}" for k in range(3) for s in "dbac"],
    # the same share of the sources is too few images if the small ones come first, or else too many
    "seven sources of one image, then three of five": [
        *(f"{s}_0" for s in "abcdefg"),
        *(f"{s}_{k}" for s in "hij" for k in range(5)),
    ],
    # 2.4 images must not be rounded down to 2
    "twelve images, each from its own source": [f"{s}_0" for s in "abcdefghijkl"],
}


def _source(name: str) -> str:
    """Return the part of a name before the underscore."""
    return name.split("_")[0]


@check(
    "First collect the names of each source in a dictionary. Then move whole sources into val until it holds "
    "enough images; all others go into train.",
    withhold=[lists.split],
)
def split(answer: Any) -> Fault:
    """Check exercise 11.3, a function (names, source, share) -> (train, val)."""
    for name, names in NAME_SETS.items():
        for share in (0.2, 0.5):
            case = f"for {name}, share {share}"
            got = call(answer, list(names), _source, share)
            try:
                train, val = (list(part) for part in got)
            except (TypeError, ValueError):
                return f"{case}: expected two lists (train, val), got {got!r}"
            if fault := _split_fault(names, share, train, val):
                return f"{case}: {fault}"
    return None


def _split_fault(names: Sequence[str], share: float, train: list[str], val: list[str]) -> str | None:
    """Describe what is wrong with two lists."""
    if sorted([*train, *val]) != sorted(names):
        return f"{len(names)} names went in, {len(train)} + {len(val)} came out; expected each exactly once"
    both = {_source(name) for name in train} & {_source(name) for name in val}
    if both:
        return f"source {min(both)!r} is in both lists"
    if len(val) < share * len(names):
        return f"val has {len(val)} of {len(names)} images, fewer than the share {share}"
    sizes = {s: sum(_source(name) == s for name in val) for s in map(_source, val)}
    if len(val) - max(sizes.values()) >= share * len(names):
        return f"val has {len(val)} of {len(names)} images, and would have enough without its largest source"
    return None


@check(
    "A pixel counts only if both people labelled it. Add up the counts of all images first, then divide: "
    "metrics.confusion_matrix and metrics.scores do most of the work. What do they leave out by themselves?"
)
def agreement(answer: Any) -> Fault:
    """Check exercise 11.4, a function (first, second, num_classes) -> mean IoU of two annotators."""
    generator = torch.Generator().manual_seed(0)
    for num_classes, highest in ((3, 3), (5, 4)):
        pairs = [_two_labels(size, highest, generator) for size in ((4, 5), (9, 7), (2, 2))]
        first, second = zip(*pairs, strict=True)
        pixels = [
            both
            for a, b in pairs
            for both in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
            if VOID not in both
        ]
        want = count_scores(pixels)[1]
        got = float(value(call(answer, [a.clone() for a in first], [b.clone() for b in second], num_classes)))
        if not math.isclose(got, want, abs_tol=1e-4):
            case = f"for three images with {highest} of {num_classes} classes"
            return f"{case}: expected {want:.4f}, got {got:.4f}"
    return None


def _two_labels(size: tuple[int, int], classes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw two labels of one image that mostly agree, each with void of its own."""
    first = torch.randint(classes, size, generator=generator, dtype=torch.uint8)
    second = torch.randint(classes, size, generator=generator, dtype=torch.uint8)
    second = torch.where(torch.rand(size, generator=generator) < 0.7, first, second)
    first, second = (
        label.masked_fill(torch.rand(size, generator=generator) < 0.15, VOID) for label in (first, second)
    )
    return first, second


@check(
    "Train each arm with at least three seeds, decide by the rule of notebook 07, and write the conclusion "
    "in your own words: what you changed, both means, and what the result does not show."
)
def experiment(answer: Any) -> Fault:
    """Check exercise 11.5, a dict with "base", "change", "verdict" and "conclusion"."""
    return experiment_fault(answer)
