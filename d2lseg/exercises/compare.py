"""Compare a student's tensor with the expected one, in words and in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from ..plotting import show_matrix
from .verdicts import Failure, Fault


def tensor_fault(got: Any, want: Tensor, case: str, atol: float = 1e-4) -> Fault:
    """Describe how a student's tensor differs from the expected one, or return None if it does not.

    Parameters
    ----------
    got : Any
        What the student's function returned.
    want : Tensor
        What it should have returned, any shape.
    case : str
        The arguments in words, which begin the message.
    atol : float
        Largest difference that is tolerated.

    Returns
    -------
    str or Failure or None
        The message; for a matrix, with a figure of both.
    """
    if not isinstance(got, Tensor):
        return f"{case}: expected a tensor, got {type(got).__name__}"
    if got.shape != want.shape:
        return f"{case}: expected shape {tuple(want.shape)}, got {tuple(got.shape)}"
    difference = (got.detach().to(want.dtype) - want).abs()
    if difference.max() <= atol:  # false for NaN too
        return None
    place = tuple(int(i) for i in torch.unravel_index(difference.nan_to_num(torch.inf).argmax(), want.shape))
    message = f"{case}: at {place} expected {want[place]:.4g}, got {got[place]:.4g}"
    if want.squeeze().ndim != 2:
        return message
    return Failure(message, lambda: draw_both(want.squeeze(), got.detach().squeeze()))


def count_scores(pixels: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Count pixel accuracy and mIoU of pairs (predicted, true), class by class."""
    right = sum(predicted == true for predicted, true in pixels)
    ious = []
    for c in {c for pair in pixels for c in pair}:
        both, either = (sum(test(c == part for part in pair) for pair in pixels) for test in (all, any))
        ious.append(both / either)
    return right / len(pixels), sum(ious) / len(ious)


def draw_both(want: Tensor, got: Tensor) -> None:
    """Draw the expected matrix and the student's side by side, (H, W) each."""
    _, axes = plt.subplots(1, 2, figsize=(1 + want.shape[1], 0.8 + 0.5 * want.shape[0]))
    for ax, matrix, title in zip(axes, (want, got), ("expected", "yours"), strict=True):
        show_matrix(matrix, ax, title, fmt="{:.3g}")
