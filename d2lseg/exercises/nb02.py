"""Checks for notebook 02, the bilinear kernel."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import upsampling
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Failure, Fault, call, check, value

# factor -> (kernel size, padding)
GEOMETRY = {2: (4, 1), 3: (5, 1), 4: (8, 2), 5: (9, 2), 8: (16, 4), 31: (61, 15), 32: (64, 16)}


@check(
    "A stamp reaches all pixels less than f pixels from its centre. Where is the centre if f is odd?",
    withhold=[upsampling.bilinear_geometry],
)
def geometry(answer: Any) -> Fault:
    """Check exercise 02.1, a function f -> (kernel_size, padding)."""
    for f, want in GEOMETRY.items():
        got = value(call(answer, f))
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            return f"for f={f}: expected two numbers (kernel size, padding), got {got!r}"
        if tuple(got) != want:
            return f"for f={f}: expected {want}, got {tuple(got)}, {_geometry_fault(f, want[0], *got)}"
    return None


def _geometry_fault(f: int, hat: int, kernel_size: float, padding: float) -> str:
    """Say what is wrong with a kernel size and a padding, where the hat is so many pixels wide."""
    for name, number in (("kernel size", kernel_size), ("padding", padding)):
        if number % 1:
            return f"but the {name} must be a whole number"
    size = (5 - 1) * f - 2 * padding + kernel_size
    turns = f"which turns 5 cells into {size:g} pixels"
    if size != 5 * f:
        return f"{turns} instead of {5 * f}"
    wrong = (
        "the kernel's ends are zeros" if kernel_size > hat else "the kernel is too short for the whole hat"
    )
    return f"{turns}, as it should, but {wrong}"


def _hat_matrix(size: int, factor: int, repaired: bool = False) -> Tensor:
    """Weigh cell by cell what reaches each pixel: (size * factor, size); repaired, no pixel lies outside."""
    U = torch.zeros(size * factor, size)
    for j in range(size * factor):
        x = (j + 0.5) / factor - 0.5
        if repaired:
            x = min(max(x, 0), size - 1)
        for i in range(size):
            U[j, i] = max(0, 1 - abs(x - i))
    return U


@check(
    "Where does pixel j lie, measured in cells? If that is negative, only one cell reaches it.",
    withhold=[upsampling.bilinear_matrix],
)
def weight_sum(answer: Any) -> Fault:
    """Check exercise 02.2, a function (f, j) -> sum of the weights at pixel j from the edge."""
    for f in (1, 2, 3, 4, 32):
        want = _hat_matrix(3, f).sum(1)
        got = [float(call(answer, f, j)) for j in range(2 * f)]
        for j in range(2 * f):
            if not math.isclose(got[j], want[j].item(), abs_tol=1e-5):
                return Failure(
                    f"for f={f}, j={j}: expected {want[j]:.4f}, got {got[j]:.4f}",
                    functools.partial(_draw_sums, f, want[: 2 * f], got),
                )
    return None


def _draw_sums(f: int, want: Tensor, got: Sequence[float]) -> None:
    """Draw the expected sums and the student's."""
    _, ax = plt.subplots(figsize=(5, 2.2))
    ax.plot(want, "o-", label="expected")
    ax.plot(got, "x--", label="yours")
    ax.set(title=f"f={f}", xlabel="pixel from the edge", ylabel="sum of the weights")
    ax.legend()


@check("Which cell does pixel j lie in? Row j of U has a single 1. torch.eye and repeat_interleave may help.")
def nearest_matrix(answer: Any) -> Fault:
    """Check exercise 02.3, a function (size, factor) -> U of shape (size * factor, size)."""
    for size, factor in [(2, 3), (3, 2), (4, 1), (1, 4), (10, 32)]:
        want = torch.zeros(size * factor, size)
        for j in range(size * factor):
            want[j, j // factor] = 1
        if fault := tensor_fault(call(answer, size, factor), want, f"for size={size}, factor={factor}"):
            return fault
    return None


@check(
    "A frame one cell wide on each side is enough. How many pixels has one cell become?",
    withhold=[upsampling.BilinearUpsample.forward, upsampling.bilinear_matrix, F.interpolate],
)
def enlarge(answer: Any) -> Fault:
    """Check exercise 02.4, a function (Z, factor) -> Z enlarged, equal to interpolation at the border too."""
    generator = torch.Generator().manual_seed(0)
    for shape, factor in [((1, 1, 2, 3), 2), ((2, 3, 4, 3), 3), ((1, 21, 2, 2), 32), ((1, 2, 1, 1), 4)]:
        Z = torch.randn(shape, generator=generator)
        down, across = (_hat_matrix(size, factor, repaired=True) for size in shape[2:])
        want = down @ Z @ across.T  # (N, C, h, w) -> (N, C, h * factor, w * factor)
        got = call(answer, Z.clone(), factor)
        if fault := tensor_fault(got, want, f"for Z of shape {shape}, factor {factor}"):
            return fault
    return None
