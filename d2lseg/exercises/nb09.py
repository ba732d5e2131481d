"""Checks for notebook 09, where it fails."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .. import metrics
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value


@check(
    "The pixels of cell (t, g) have the true class t and were called g. Repaired, they are in the diagonal "
    "cell (t, t). Missed pixels are in column 0, made-up ones in row 0, confused ones in neither."
)
def repaired(answer: Any) -> Fault:
    """Check exercise 09.1, a function (matrix, kind) -> matrix without the mistakes of that kind."""
    generator = torch.Generator().manual_seed(0)
    for classes in (3, 5):
        matrix = torch.randint(1, 50, (classes, classes), generator=generator)
        for kind in ("missed", "made up", "confused"):
            want, given = _repair(matrix.tolist(), kind), matrix.clone()
            got = call(answer, given, kind)
            if fault := tensor_fault(got, want, f"for {kind!r} and {classes} classes"):
                return fault
            if not torch.equal(given, matrix):
                return (
                    f"for {kind!r}: the result is right, but you changed the caller's matrix; copy it first"
                )
    return None


def _repair(matrix: list[list[int]], kind: str) -> Tensor:
    """Move every mistake of one kind to the diagonal, cell by cell."""
    for true, row in enumerate(matrix):
        for guess, pixels in enumerate(row):
            if true != guess and kind == ("missed" if guess == 0 else "made up" if true == 0 else "confused"):
                row[guess] = 0
                row[true] += pixels
    return torch.tensor(matrix)


@check(
    "Only images that contain the class count: row c of the matrix has its true pixels. The IoU is the "
    "diagonal cell divided by row sum plus column sum minus the diagonal cell."
)
def worst(answer: Any) -> Fault:
    """Check exercise 09.2, a function (matrices, c) -> index of the image with the lowest IoU of class c."""
    generator = torch.Generator().manual_seed(1)
    for images in (3, 6, 9, 20, 30):
        matrices = torch.randint(1, 20, (images, 4, 4), generator=generator)
        matrices[0, 2] = 0  # class 2 is not in the first image, though it is predicted there
        for c in (0, 2, 3):
            ious = {i: _iou(m, c) for i, m in enumerate(matrices.tolist()) if sum(m[c])}
            want = min(ious, key=lambda i: ious[i])
            got = value(call(answer, [m.clone() for m in matrices], c))
            if got != want:
                lacks = (
                    f", which has no pixel of class {c}" if got in range(images) and got not in ious else ""
                )
                return f"for {images} images and class {c}: expected image {want}, got {got!r}{lacks}"
    return None


def _iou(matrix: list[list[int]], c: int) -> float:
    """Divide the intersection by the union."""
    return matrix[c][c] / (sum(matrix[c]) + sum(row[c] for row in matrix) - matrix[c][c])


@check(
    "Take one bin at a time: its pixels, their mean confidence, and the share of them that is right. Weigh "
    "the gap of each bin by its share of all pixels, and skip empty bins.",
    withhold=[metrics.reliability, metrics.calibration_error],
)
def calibration(answer: Any) -> Fault:
    """Check exercise 09.3, a function (confidence, right, bins) -> expected calibration error."""
    generator = torch.Generator().manual_seed(2)
    for pixels, bins in [(50, 5), (200, 10), (7, 3)]:
        confidence = 0.25 + 0.75 * torch.rand(pixels, generator=generator)
        # wrong and right in turn, so that the number of bins matters: a wide bin averages over both
        right = ((confidence * 30).long() % 2 == 0) | (confidence > 0.8)
        # a certain one is wrong, which counts less in one bin with the right ones than in a bin of its own
        confidence[0], right[0] = 1.0, False
        want, got = (
            _error(confidence, right, bins),
            value(call(answer, confidence.clone(), right.clone(), bins)),
        )
        if not isinstance(got, float) or not math.isclose(got, want, abs_tol=1e-5):
            return f"for {pixels} pixels and {bins} bins: expected {want:.4f}, got {got!r}"
    return None


def _error(confidence: Tensor, right: Tensor, bins: int) -> float:
    """Average the gaps of the bins, each weighed by its pixels."""
    error = 0.0
    for k in range(bins):
        inside = [i for i, c in enumerate(confidence.tolist()) if min(int(c * bins), bins - 1) == k]
        if inside:
            gap = float(confidence[inside].mean()) - float(right[inside].float().mean())
            error += abs(gap) * len(inside) / len(confidence)
    return error
