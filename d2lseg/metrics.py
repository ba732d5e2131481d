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
    """Count the pixels of each true class by the class that was predicted for them.

    Parameters
    ----------
    prediction : Tensor
        Predicted class indices, any integer dtype, any shape.
    label : Tensor
        True class indices of the same shape; pixels equal to ``ignore_index`` (void) are left out.
    num_classes : int
        Number of classes C.
    ignore_index : int
        The label of void.

    Returns
    -------
    Tensor
        int64, shape (C, C): row = true class, column = predicted class.

    Raises
    ------
    ValueError
        If the shapes differ, or a counted pixel holds a class outside 0..C-1.
    """
    if prediction.shape != label.shape:
        shapes = f"{tuple(prediction.shape)} and {tuple(label.shape)}"
        raise ValueError(f"prediction and label must have the same shape, got {shapes}")
    counted = label != ignore_index
    truth, guess = label[counted].long(), prediction[counted].long()
    _check_range("label", truth, num_classes)
    _check_range("prediction", guess, num_classes)
    # one number for each (truth, guess) pair, so that one histogram counts them all
    pairs = truth * num_classes + guess
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def _check_range(name: str, classes: Tensor, num_classes: int) -> None:
    """Refuse class indices that the matrix has no place for."""
    if classes.numel() == 0:
        return
    low, high = classes.aminmax()
    if low < 0 or high >= num_classes:
        raise ValueError(
            f"{name} holds class indices from {int(low)} to {int(high)}; "
            f"with {num_classes} classes they must lie in 0..{num_classes - 1} (void pixels aside)"
        )


@dataclass(frozen=True)
class Scores:
    """The scores of one confusion matrix; NaN where there was nothing to score.

    Parameters
    ----------
    pixel_acc : float
        Share of the labelled pixels that are right.
    mean_acc : float
        Mean over the classes of the share of their pixels that are right.
    miou : float
        Mean over the classes of intersection over union.
    fw_iou : float
        Intersection over union weighted with each class's share of the labelled pixels.
    per_class : Tensor
        float64, shape (C,): intersection over union of each class, NaN where a class is in neither truth
        nor prediction. Such a class is left out of the mean.
    """

    pixel_acc: float
    mean_acc: float
    miou: float
    fw_iou: float
    per_class: Tensor = field(repr=False, compare=False)

    def __str__(self) -> str:
        return (
            f"pixel accuracy {self.pixel_acc:.3f}, mean accuracy {self.mean_acc:.3f}, "
            f"mIoU {self.miou:.3f}, frequency-weighted IoU {self.fw_iou:.3f}"
        )


def scores(matrix: Tensor) -> Scores:
    """Turn a confusion matrix into the four scores and the IoU of each class.

    Parameters
    ----------
    matrix : Tensor
        Counts of shape (C, C), rows = truth, columns = prediction; sum the matrices of several images first.

    Returns
    -------
    Scores
        Means run over the classes for which the value is defined. With no labelled pixel all are NaN.

    Raises
    ------
    ValueError
        If the matrix is not square.
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


def background_baseline(matrix: Tensor) -> Scores:
    """Score the model that says "background" (class 0) for each pixel, on the same images.

    Parameters
    ----------
    matrix : Tensor
        The confusion matrix of any prediction on these images, shape (C, C); only its row sums are used.

    Returns
    -------
    Scores
        What a real model has to beat.
    """
    baseline = torch.zeros_like(matrix)
    baseline[:, 0] = matrix.sum(1)
    return scores(baseline)


def boundary_band(label: Tensor, width: int) -> Tensor:
    """Find the pixels near a boundary: within ``width`` pixels of one with another label.

    Void counts as a label here, so a ring of void around an object is a boundary on both sides. To score the
    band alone, set the labels outside it to void: ``label.masked_fill(~band, 255)``.

    Parameters
    ----------
    label : Tensor
        Class indices 0..255, (H, W) or (N, H, W).
    width : int
        Pixels, at least 1; counted as the larger of the two distances along the axes.

    Returns
    -------
    Tensor
        bool, of the label's shape.

    Raises
    ------
    ValueError
        If the width is below 1, or the label has another number of axes.

    Notes
    -----
    Source of the idea: Kohli, Ladicky and Torr, "Robust higher order potentials for enforcing label
    consistency", CVPR 2008, section 5 (the "trimap" around the boundaries).
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
