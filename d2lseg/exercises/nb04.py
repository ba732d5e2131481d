"""Checks for notebook 04, the FCN model."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import nn

from .. import backbones, upsampling
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value

STAGES = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4")
# (kernel size, stride, padding) of ResNet-18: conv1, maxpool, then the 3x3 convolutions of its four layers.
RESNET18 = (
    (7, 2, 3),
    (3, 2, 1),
    *[(3, 1, 1)] * 4,
    *[(3, 2, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1)] * 3,
)


@check(
    "The kernel must be as large as the map. flatten reads channel by channel, row by row: in which order "
    "must the numbers of one row of linear.weight lie in the kernel? And is there always a bias?"
)
def to_conv(answer: Any) -> Fault:
    """Check exercise 04.1, a function (linear, k) -> convolution."""
    generator = torch.Generator().manual_seed(0)
    for (channels, out, k), bias in itertools.product(((5, 3, 1), (4, 3, 2), (2, 6, 3)), (True, False)):
        case = f"for nn.Linear({channels} * {k} * {k}, {out}, bias={bias})"
        linear = nn.Linear(channels * k * k, out, bias=bias)
        x = torch.randn(2, channels, k, k, generator=generator)
        want = linear(x.flatten(1)).detach()[..., None, None]  # (2, out) -> (2, out, 1, 1)
        conv = call(answer, linear, k)
        if not isinstance(conv, nn.Conv2d):
            return f"{case}: expected an nn.Conv2d, got {type(conv).__name__}"
        if fault := tensor_fault(conv(x), want, f"{case}, on a {k}x{k} map"):
            return fault
        slid = tuple(conv(torch.zeros(1, channels, k + 2, k + 3)).shape)
        if slid != (1, out, 3, 4):
            return f"{case}: over a {k + 2}x{k + 3} map expected scores of shape (1, {out}, 3, 4), got {slid}"
    return None


# (classes, factor) -> (weights, weights that are not zero)
WEIGHTS = {
    (21, 32): (1806336, 86016),
    (2, 2): (64, 32),
    (5, 3): (625, 125),
    (11, 8): (30976, 2816),
    (3, 7): (1521, 507),
}


@check(
    "The weight has the shape (in, out, k, k). Which kernel size belongs to the factor, also to an odd one "
    "(exercise 02.1)? And how many of the in x out kernels are not empty?",
    withhold=[upsampling.bilinear_conv_transpose, upsampling.bilinear_kernel],
)
def dense_weights(answer: Any) -> Fault:
    """Check exercise 04.2, a function (C, f) -> (weights, weights that are not zero)."""
    for (classes, factor), want in WEIGHTS.items():
        got = value(call(answer, classes, factor))
        if got != want:
            return f"for {classes} classes and factor {factor}: expected {want}, got {got!r}"
    return None


@check(
    "Five of the six halve the size. Notebook 01 has the formula for a convolution; conv1 has k7 s2 p3, the "
    "others k3 s2 p1. Does it round up or down?",
    withhold=[backbones.make_backbone],
)
def heights(answer: Any) -> Fault:
    """Check exercise 04.3, a function n -> six heights."""
    for n in (320, 32, 224, 33, 163, 1, 500):
        want, height = [], n
        for k, s, p in (RESNET18[0], RESNET18[1], RESNET18[2], *[(3, 2, 1)] * 3):
            height = sum(1 for _ in range(-p, height + p - k + 1, s))  # the window's positions
            want.append(height)
        got = list(value(call(answer, n)))
        if got != want:
            return f"for n={n}, after {', '.join(STAGES)}: expected {want}, got {got}"
    return None


@check(
    "Start with one layer of stride s and padding p: at which cell of the previous map does the window of "
    "cell i begin, and at which does it end? Then do that for both ends of a range, from the last layer back."
)
def sees(answer: Any) -> Fault:
    """Check exercise 04.4, a function (layers, i) -> (first pixel, last pixel)."""
    stacks = {
        "one layer k3 s1 p1": [(3, 1, 1)],
        "one layer k7 s2 p3": [(7, 2, 3)],
        "k2 s2 p0, then k3 s1 p0": [(2, 2, 0), (3, 1, 0)],
        "k5 s3 p1, then k3 s2 p0, then k4 s1 p2": [(5, 3, 1), (3, 2, 0), (4, 1, 2)],
        "ResNet-18's backbone": list(RESNET18),
    }
    for (name, layers), i in itertools.product(stacks.items(), (0, 8)):
        first = last = i
        for k, s, p in reversed(layers):
            first, last = first * s - p, last * s - p + k - 1
        got = value(call(answer, list(layers), i))
        if got != (first, last):
            return f"for {name}, cell {i}: expected {(first, last)}, got {got!r}"
    return None
