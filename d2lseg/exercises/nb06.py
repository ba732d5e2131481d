"""Checks for notebook 06, prediction."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from .. import prediction
from .compare import tensor_fault
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Failure, Fault, call, check


@check(
    "First compute probabilities with softmax over the classes. Then topk(2, dim=0) gives the two largest."
)
def margin(answer: Any) -> Fault:
    """Check exercise 06.1, a function logits (C, H, W) -> largest minus second largest probability (H, W)."""
    generator = torch.Generator().manual_seed(0)
    for classes, height, width in [(3, 2, 4), (21, 3, 3), (2, 1, 5)]:
        logits = 3 * torch.randn(classes, height, width, generator=generator)
        best, second = logits.softmax(dim=0).sort(dim=0, descending=True).values[:2]
        got = call(answer, logits.clone())
        if fault := tensor_fault(got, best - second, f"for logits of shape {tuple(logits.shape)}"):
            return fault
    return None


TILINGS = ((10, 4, 0), (10, 4, 2), (500, 224, 64), (448, 160, 64), (8, 4, 0), (4, 4, 2), (3, 4, 1))


@check(
    "Begin with i * (tile - overlap). No tile may start after size - tile, and none before 0.",
    withhold=[prediction.tile_starts],
)
def full_tiles(answer: Any) -> Fault:
    """Check exercise 06.2, a function (size, tile, overlap) -> list of starts."""
    for size, tile, overlap in TILINGS:
        want = [0]
        while want[-1] + tile < size:
            want.append(min(want[-1] + tile - overlap, size - tile))
        got = call(answer, size, tile, overlap)
        got = got.tolist() if isinstance(got, Tensor) else list(got)
        if got != want:
            return Failure(
                f"for size {size}, tile {tile}, overlap {overlap}: expected {want}, got {got}",
                functools.partial(_draw_tiles, size, tile, want, got),
            )
    return None


def _draw_tiles(size: int, tile: int, want: Sequence[int], got: Sequence[int]) -> None:
    """Draw the expected tiles and the student's as bars along the image."""
    _, axes = plt.subplots(2, 1, figsize=(6, 2.6), sharex=True, layout="constrained")
    for ax, starts, title in zip(axes, (want, got), ("expected", "yours"), strict=True):
        for row, start in enumerate(starts):
            ax.barh(row, tile, left=start, color="#0072b2", alpha=0.6)
        ax.axvspan(0, size, color="#e69f00", alpha=0.25)
        ax.set(title=title, yticks=[])
    axes[1].set_xlabel("pixel (the image is shaded)")


@check(
    "In column j of the overlap (j = 0, 1, ...) the right tile has weight (j + 0.5) / overlap, and the left "
    "tile the rest. Join three parts with torch.cat(..., dim=-1): left alone, the blend, right alone."
)
def blend(answer: Any) -> Fault:
    """Check exercise 06.3, a function (left, right, overlap) -> joined logits."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 1, 4, 4, 4), (1, 2, 5, 4, 2), (1, 2, 4, 6, 3), (21, 3, 8, 9, 4)]
    for classes, height, a, b, overlap in shapes:
        left = torch.randint(0, 9, (classes, height, a), generator=generator).float()
        right = torch.randint(0, 9, (classes, height, b), generator=generator).float()
        weight = (torch.arange(overlap) + 0.5) / overlap
        middle = (1 - weight) * left[..., a - overlap :] + weight * right[..., :overlap]
        want = torch.cat([left[..., : a - overlap], middle, right[..., overlap:]], dim=-1)
        got = call(answer, left.clone(), right.clone(), overlap)
        if fault := tensor_fault(got, want, f"for widths {a} and {b}, overlap {overlap}"):
            return fault
    return None


class _Small(nn.Module):
    """A small model that distinguishes left from right, and training from evaluation.

    Attributes
    ----------
    trained : bool
        Whether it has ever been called in training mode.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trained = False
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
            nn.init.normal_(self.layers.get_buffer("1.running_mean"))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 4, H, W) for uint8 images (N, 3, H, W)."""
        self.trained = self.trained or self.training
        return self.layers(images / 255)


@check(
    "flip(-1) mirrors left to right. Mirror the image, score it with prediction.predict_logits (which also "
    "calls eval), and mirror the result back before you average, so that pixel meets pixel."
)
def mirrored(answer: Any) -> Fault:
    """Check exercise 06.4, a function (model, image) -> averaged logits (C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    for height, width in [(4, 6), (5, 7)]:
        model = _Small().train()
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        straight = prediction.predict_logits(model, image)
        flipped = prediction.predict_logits(model, image.flip(-1))
        got, case = call(answer, model, image.clone()), f"for an image of {height}x{width}"
        if fault := tensor_fault(got, (straight + flipped.flip(-1)) / 2, case):
            if model.trained:
                return (
                    f"{case}: the network ran in training mode, where batch normalisation uses the image's "
                    "own mean; call model.eval() first, or use prediction.predict_logits, which does"
                )
            if tensor_fault(got, (straight + flipped) / 2, case) is None:
                return f"{case}: the second map is still mirrored when it is averaged with the first"
            return fault
    return None
