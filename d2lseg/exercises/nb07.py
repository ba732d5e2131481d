"""Checks for notebook 07, skip connections."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import fcn, upsampling
from ..classes import VOID
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value


def _sample_label(height: int, width: int, seed: int = 0) -> Tensor:
    """Draw a small label: two touching objects, some void, and single pixels of a third class."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(height, width, dtype=torch.uint8)
    label[height // 3 :, : width // 2] = 15
    label[height // 2 :, width // 2 :] = 8
    noise = torch.rand(height, width, generator=generator)
    label[noise < 0.15] = 3
    label[noise > 0.85] = VOID
    return label


@check(
    "Take one block at a time, leave out its void, and count the classes: torch.bincount(...).argmax() "
    "returns the smallest of the most frequent ones. What if nothing is left to count?"
)
def vote(answer: Any) -> Fault:
    """Check exercise 07.1, a function (label, stride) -> label of blocks."""
    only_void = torch.full((3, 5), VOID, dtype=torch.uint8)
    only_void[:, 3:] = 9
    labels = [(_sample_label(6, 8), 2), (_sample_label(7, 11), 3), (_sample_label(9, 9), 4)]
    labels += [(_sample_label(5, 6), 8), (_sample_label(4, 5), 1), (only_void, 3)]
    for label, stride in labels:
        case = f"for a label of {label.shape[0]}x{label.shape[1]} and stride {stride}"
        given = label.clone()
        if fault := tensor_fault(call(answer, given, stride), _majority(label, stride), case):
            return fault
        if not torch.equal(given, label):
            return f"{case}: the result is right, but you changed the caller's label; write into a copy"
    return None


def _majority(label: Tensor, stride: int) -> Tensor:
    """Fill each stride x stride block with its most frequent class."""
    voted = torch.zeros(label.shape, dtype=torch.int32)
    for top, left in itertools.product(*(range(0, size, stride) for size in label.shape)):
        rows, columns = slice(top, top + stride), slice(left, left + stride)
        block = label[rows, columns]
        counts = torch.bincount(block[block != VOID], minlength=1)
        voted[rows, columns] = int(counts.argmax())  # the first of the largest
    return voted


RESNET18, VGG16 = (128, 256, 512), (256, 512, 4096)  # channels of the maps of stride 8, 16 and 32
# (variant, channels, classes) -> parameters outside the backbone, with fixed and with learned layers
HEADS = {
    ("32s", RESNET18, 21): (10_773, 1_817_109),
    ("32s", VGG16, 5): (20_485, 122_885),
    ("16s", RESNET18, 21): (16_170, 474_810),
    ("16s", VGG16, 5): (23_050, 49_050),
    ("8s", RESNET18, 21): (18_879, 145_887),
    ("8s", VGG16, 5): (24_335, 31_535),
}


@check(
    "Which maps does the variant score, and by which factors does it enlarge? Score layers have biases, the "
    "layers that enlarge have none. Exercise 04.2 counts a learned layer.",
    withhold=[fcn.FCN.__init__, fcn.parameter_counts],
)
def head_parameters(answer: Any) -> Fault:
    """Check exercise 07.2, a function (variant, channels, classes, learned) -> number of parameters."""
    for (variant, channels, classes), counts in HEADS.items():
        for learned, want in enumerate(counts):
            got = value(call(answer, variant, channels, classes, bool(learned)))
            if got != want:
                case = f"FCN-{variant}, channels {channels}, {classes} classes, learned={bool(learned)}"
                return f"for {case}: expected {want:,}, got {got!r}"
    return None


@check(
    "Which of the two maps must be enlarged before they can be added, and by how much? What factor then "
    'remains to the pixels? Enlarge with F.interpolate(..., mode="bilinear") or upsampling.BilinearUpsample.'
)
def fuse(answer: Any) -> Fault:
    """Check exercise 07.3, a function (scores at 32, scores at 16) -> logits."""
    generator = torch.Generator().manual_seed(0)
    for n, classes, h, w in [(1, 3, 2, 3), (2, 21, 1, 2)]:
        coarse = 3 * torch.randn(n, classes, h, w, generator=generator)
        fine = torch.randn(n, classes, 2 * h, 2 * w, generator=generator)
        given = coarse.clone(), fine.clone()
        got = call(answer, *given)
        case = f"for scores of shapes {tuple(coarse.shape)} and {tuple(fine.shape)}"
        if not (torch.equal(given[0], coarse) and torch.equal(given[1], fine)):
            return f"{case}: you changed the caller's scores; write the sum into a new tensor"
        if fault := tensor_fault(got, _enlarge(_enlarge(coarse, 2) + fine, 16), case):
            if tensor_fault(got, _enlarge(coarse, 32) + _enlarge(fine, 16), case) is None:
                return f"{case}: you enlarge both maps to pixels and add those; FCN-16s adds at stride 16"
            if tensor_fault(got, _fade(_fade(coarse, 2) + fine, 16), case) is None:
                return (
                    f"{case}: your scores fade towards the border (notebook 02); replicate the border instead"
                )
            return fault
    return None


def _enlarge(scores: Tensor, factor: int) -> Tensor:
    """Enlarge scores bilinearly."""
    return F.interpolate(scores, scale_factor=factor, mode="bilinear", align_corners=False)


def _fade(scores: Tensor, factor: int) -> Tensor:
    """Enlarge scores with a bilinear transposed convolution, which fades towards the border."""
    return upsampling.bilinear_conv_transpose(scores.shape[1], factor)(scores).detach()
