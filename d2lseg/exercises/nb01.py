"""Checks for notebook 01, transposed convolution."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from .. import upsampling
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Failure, Fault, call, check, value


@check(
    "Where does the last of the n stamps start, and how long is it? Then cut off the padding at both ends.",
    withhold=[upsampling.trans_conv_size],
)
def size_formula(answer: Any) -> Fault:
    """Check exercise 01.1, a function (n, k, s, p, op) -> output size."""
    for n, k, s, p in itertools.product((1, 3, 8), (3, 4, 64), (1, 2, 32), (0, 1)):
        for op in {0, s - 1}:
            got, want = call(answer, n, k, s, p, op), len(_stamps(n, k, s)) - 2 * p + op
            if got != want:
                return f"for n={n}, k={k}, s={s}, p={p}, op={op}: expected {want}, got {got!r}"
    return None


def _stamps(n: int, k: int, s: int) -> list[int]:
    """Stamp n cells one after the other, and count the stamps on each position of the canvas."""
    counts: list[int] = []
    for i in range(n):
        counts += [0] * (i * s + k - len(counts))  # the canvas grows to where this stamp ends
        for position in range(i * s, i * s + k):
            counts[position] += 1
    return counts


@check("The convolution divides n + 2p - k by s and rounds down. How much does rounding down throw away?")
def output_padding(answer: Any) -> Fault:
    """Check exercise 01.2, a function (n, k, s, p) -> output padding."""
    for n, k, s, p in itertools.product((7, 15, 16, 20), (2, 3, 5), (1, 2, 3, 4), (0, 1, 2)):
        small = (n + 2 * p - k) // s + 1
        want = n - (len(_stamps(small, k, s)) - 2 * p)
        got = call(answer, n, k, s, p)
        if got != want:
            return (
                f"for n={n}, k={k}, s={s}, p={p}: {n} -> {small}, and the way back gives {n - want} + output "
                f"padding, so expected {want}, got {got!r}"
            )
    return None


@check(
    "Spread out, X has (h - 1) * stride + 1 rows. Make the border so wide that the window's first position "
    "touches the first cell with its bottom right weight only. K.flip(0, 1) rotates K by 180 degrees.",
    withhold=[F.conv_transpose2d, upsampling.trans_conv],
)
def gather(answer: Any) -> Fault:
    """Check exercise 01.3, a function (X, K, stride) -> the transposed convolution."""
    generator = torch.Generator().manual_seed(0)
    for (h, w), (kh, kw), s in [((2, 2), (2, 2), 1), ((2, 2), (2, 2), 2), ((3, 2), (2, 4), 3)]:
        X = torch.randint(1, 6, (h, w), generator=generator).float()
        K = torch.randint(1, 6, (kh, kw), generator=generator).float()
        want = torch.zeros((h - 1) * s + kh, (w - 1) * s + kw)
        for i, j in itertools.product(range(h), range(w)):
            want[i * s : i * s + kh, j * s : j * s + kw] += X[i, j] * K
        got = call(answer, X.clone(), K.clone(), s)
        if fault := tensor_fault(got, want, f"for X {h}x{w}, K {kh}x{kw}, stride {s}"):
            return fault
    return None


@check(
    "In the explorer, set stride 2 and try kernels 2, 3 and 4. When does a stamp end where another begins?"
)
def even_overlap(answer: Any) -> Fault:
    """Check exercise 01.4, a function (k, s) -> bool."""
    for k, s in itertools.product(range(1, 9), range(1, 5)):
        counts = _stamps(12, k, s)
        inside = counts[k : len(counts) - k]
        want, got = len(set(inside)) == 1, value(call(answer, k, s))
        if not isinstance(got, (bool, int)) or got != want:
            seen = f"for k={k}, s={s} the counts inside are {inside[: 2 * s]}..."
            return Failure(
                f"{seen}: expected {want}, got {got!r}",
                functools.partial(_draw_counts, counts, k, s),
            )
    return None


def _draw_counts(counts: Sequence[int], k: int, s: int) -> None:
    """Draw the counts as bars."""
    _, ax = plt.subplots(figsize=(6, 1.6))
    ax.bar(range(len(counts)), counts, color="#0072b2")
    ax.set(title=f"k={k}, s={s}", xlabel="output position", ylabel="stamps")


@check(
    "For which k is a stamp centred on a pixel, not between two? Which padding then puts cell 0 on pixel 0? "
    "The size formula gives the rest. Finally, check that the last stamp reaches the last pixel."
)
def centred_layer(kernel_size: Any, padding: Any, output_padding: Any) -> Fault:
    """Check exercise 01.5, (kernel_size, padding, output_padding) of a layer with stride 32."""
    numbers = value((kernel_size, padding, output_padding))
    for name, number in zip(("kernel_size", "padding", "output_padding"), numbers, strict=True):
        if not isinstance(number, (int, float)) or number % 1:
            return f"{name} must be a whole number, got {number!r} (// divides and rounds down)"
    k, p, op = (int(number) for number in numbers)  # PyTorch refuses 31.0, which / gives
    if k < 1 or p < 0:
        return f"the kernel needs at least 1 weight and the padding cannot be negative, got {k} and {p}"
    if not 0 <= op < 32:
        return f"output_padding must be in 0..31, got {op}"
    for n in (1, 10, 15):
        size = (n - 1) * 32 - 2 * p + k + op  # trans_conv_size would raise where nothing is left
        if size != 32 * n:
            return f"{n} {'cell' if n == 1 else 'cells'} should become {32 * n} pixels, but became {size}"
    centres = [32 * i - p + (k - 1) / 2 for i in (0, 1)]
    if centres != [0, 32]:
        return f"cells 0 and 1 should be centred on pixels 0 and 32, but are on {centres}"
    touched = F.conv_transpose1d(torch.ones(1, 1, 3), torch.ones(1, 1, k), None, 32, p, op)[0, 0]
    if (touched == 0).any():
        return f"{int((touched == 0).sum())} of the pixels get no stamp: the kernel is too small"
    if k > 63:
        return f"this works with k={k}, but a smaller kernel works too"
    return None
