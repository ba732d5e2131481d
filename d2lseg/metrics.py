"""Scores of a segmentation, all read from one confusion matrix.

Source of the four definitions: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic
segmentation", CVPR 2015, section 5 ("Metrics").
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Count the pixels of each true class by predicted class: int64 (C, C), row = truth, column = prediction.

    Both arguments hold class indices of any integer dtype, in the same shape. Pixels labelled `ignore_index`
    (void) do not count. A counted index outside 0..C-1 is a ValueError.
    """
    prediction, label = torch.as_tensor(prediction), torch.as_tensor(label)
    if prediction.shape != label.shape:
        shapes = f"{tuple(prediction.shape)} and {tuple(label.shape)}"
        raise ValueError(f"prediction and label must have the same shape, got {shapes}")
    for name, classes in (("prediction", prediction), ("label", label)):
        if classes.is_floating_point() or classes.is_complex():
            raise ValueError(
                f"{name} is {classes.dtype}; expected class indices of an integer dtype. Scores become "
                "indices with .argmax(1), a sigmoid's probability with > 0.5"
            )
    counted = label != ignore_index
    truth, guess = label[counted].long(), prediction[counted].long()
    _check_range("label", truth, num_classes)
    _check_range("prediction", guess, num_classes)
    # one number for each (truth, guess) pair, so that one histogram counts them all
    pairs = truth * num_classes + guess
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def _check_range(name: str, classes: Tensor, num_classes: int) -> None:
    """Raise unless the matrix has a place for all class indices."""
    if classes.numel() == 0:
        return
    low, high = classes.aminmax()
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} holds class indices from {int(low)} to {int(high)}; "
            f"with {num_classes} classes they must lie in 0..{num_classes - 1} (apart from void pixels)"
        )


@dataclass(frozen=True)
class Scores:
    """The scores of one confusion matrix; NaN where there was nothing to score.

    IoU is intersection over union. ``per_class`` holds it for each class, float64 (C,). A class absent from
    truth and prediction is NaN there, and left out of the means.
    """

    pixel_acc: float  # share of the labelled pixels that are right
    mean_acc: float  # mean over the classes of the share of their pixels that are right
    miou: float  # mean over the classes of IoU
    fw_iou: float  # IoU weighted by each class's share of the labelled pixels
    per_class: Tensor = field(repr=False, compare=False)

    def __str__(self) -> str:
        return (
            f"pixel accuracy {self.pixel_acc:.3f}, mean accuracy {self.mean_acc:.3f}, "
            f"mIoU {self.miou:.3f}, frequency-weighted IoU {self.fw_iou:.3f}"
        )


def scores(matrix: Tensor) -> Scores:
    """Compute the scores from a confusion matrix (C, C); sum the matrices of several images first.

    Means run over the classes for which the value is defined. Without labelled pixels all scores are NaN.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"expected a square confusion matrix (C, C), got shape {tuple(matrix.shape)}")
    counts = matrix.double()
    right, truth, guess = counts.diag(), counts.sum(1), counts.sum(0)
    per_class = right / (truth + guess - right)  # 0 / 0 = NaN: the class is absent from both
    total = truth.sum()
    return Scores(
        pixel_acc=float(right.sum() / total),
        mean_acc=float((right / truth).nanmean()),
        miou=float(per_class.nanmean()),
        fw_iou=float((truth * per_class).nansum() / total),
        per_class=per_class,
    )


def bootstrap(matrices: Tensor, rounds: int = 1000, seed: int = 0) -> list[Scores]:
    """Score random selections of the images, to see how far the scores depend on which images there were.

    Each selection draws as many images as there are, with replacement.

    Parameters
    ----------
    matrices : Tensor
        The confusion matrix of each image, int64 (N, C, C).

    Notes
    -----
    Source: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13 (percentile intervals).
    """
    n = len(matrices)
    drawn = torch.randint(n, (rounds, n), generator=torch.Generator().manual_seed(seed))
    times = torch.stack([row.bincount(minlength=n) for row in drawn])  # (rounds, N): how often each was drawn
    sums = torch.einsum("rn,nij->rij", times.double(), matrices.double())
    return [scores(matrix) for matrix in sums]


def background_baseline(matrix: Tensor) -> Scores:
    """Score the model that predicts background (class 0) for every pixel of the same images.

    A real model has to beat it. Only the row sums of the confusion matrix are used.
    """
    baseline = torch.zeros_like(matrix)
    baseline[:, 0] = matrix.sum(1)
    return scores(baseline)


def boundary_band(label: Tensor, width: int) -> Tensor:
    """Return the pixels within `width` pixels of one with another label: bool, of the label's shape.

    The label is (H, W) or (N, H, W); distance is the larger of the two along the axes. Void counts as a
    label, so a void band along an outline is a boundary on both sides. To score the band alone, set the
    labels outside it to void: ``label.masked_fill(~band, 255)``. Source: Kohli, Ladicky and Torr, "Robust
    higher order potentials for enforcing label consistency", CVPR 2008, section 5 (the "trimap").
    """
    if width < 1:
        raise ValueError(f"width must be at least 1 pixel, got {width}")
    if label.ndim not in (2, 3):
        raise ValueError(f"expected labels (H, W) or (N, H, W), got shape {tuple(label.shape)}")
    values = label.float().view(-1, 1, *label.shape[-2:])  # (H, W) or (N, H, W) -> (N, 1, H, W)
    largest, smallest = values, values
    for axis in (0, 1):  # the square window one axis after the other: 2 (2w + 1) comparisons, not (2w + 1)^2
        size, padding = [1, 1], [0, 0]
        size[axis], padding[axis] = 2 * width + 1, width
        largest = F.max_pool2d(largest, size, stride=1, padding=padding)
        smallest = -F.max_pool2d(-smallest, size, stride=1, padding=padding)
    return (largest != smallest).view(label.shape)


def reliability(logits: Tensor, label: Tensor, bins: int = 10, ignore_index: int = 255) -> Tensor:
    """Sort the labelled pixels into bins of equal width by confidence, the largest softmax probability.

    Takes logits (C, H, W) and a label (H, W). Returns float64 (bins, 3): for each bin its pixels, the sum of
    their confidence, and how many are right. The tables of several images may be added. Source: Guo, Pleiss,
    Sun and Weinberger, "On calibration of modern neural networks", ICML 2017, section 2.
    """
    counted = label != ignore_index
    confidence, guess = logits.softmax(dim=0).max(dim=0)
    confidence, right = confidence[counted].double(), (guess == label)[counted].double()
    index = (confidence * bins).long().clamp(max=bins - 1)  # a confidence of exactly 1 is in the last bin
    rows = torch.stack([torch.ones_like(right), confidence, right], dim=1)  # (pixels, 3)
    return torch.zeros(bins, 3, dtype=torch.float64, device=logits.device).index_add_(0, index, rows)


def calibration_error(table: Tensor) -> float:
    """Average the gap between confidence and accuracy over the pixels of a `reliability` table (ECE)."""
    pixels, confidence, right = table.T
    return float((confidence - right).abs().sum() / pixels.sum())
