"""Cross-entropy over the labelled pixels of a batch, with and without all its logits in memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..classes import VOID

# Logits in work at a time. On a CPU a band of rows that stays in the cache; on a GPU few, large pieces.
_BAND = {"cpu": 2**20, "cuda": 2**25}


def segmentation_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Average cross-entropy over the labelled pixels of a batch.

    Parameters
    ----------
    logits : Tensor
        float, (N, C, H, W).
    label : Tensor
        Class indices, any integer dtype, (N, H, W); 255 is void and counts for nothing.

    Returns
    -------
    Tensor
        float32 scalar. A batch that is all void gives 0, with zero gradients.
    """
    return summed_loss(logits, label) / labelled(label).clamp(min=1)


def labelled(label: Tensor) -> Tensor:
    """Count the pixels that are not void.

    Parameters
    ----------
    label : Tensor
        Class indices of any shape; 255 is void.

    Returns
    -------
    Tensor
        int64 scalar.
    """
    return (label != VOID).sum()


def check_labels(label: Tensor, num_classes: int) -> None:
    """Refuse class indices that no score belongs to.

    Only labels on the CPU are looked at: to look at those on a GPU would mean to wait for it.

    Parameters
    ----------
    label : Tensor
        Class indices, any integer dtype, any shape; 255 is void.
    num_classes : int
        Number of classes C.

    Raises
    ------
    ValueError
        Where an index is neither in 0..C-1 nor 255.
    """
    if label.device.type != "cpu":
        return
    values = label.numpy()  # whose comparisons of bytes take a sixth of torch's time
    wrong = (values >= num_classes) & (values != VOID)
    if label.dtype != torch.uint8:
        wrong |= values < 0
    if wrong.any():
        where = tuple(int(place[0]) for place in wrong.nonzero())
        raise ValueError(
            f"the label holds the class index {int(values[where])} at {where}; expected "
            f"0..{num_classes - 1}, or {VOID} for void. Were the masks made for other "
            f"classes than the model's {num_classes}?"
        )


def summed_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Sum the cross-entropy over the labelled pixels of a batch.

    Parameters
    ----------
    logits : Tensor
        float, (N, C, H, W).
    label : Tensor
        Class indices, any integer dtype, (N, H, W); 255 is void.

    Returns
    -------
    Tensor
        float32 scalar.

    Raises
    ------
    ValueError
        Where a label is out of range, see `check_labels`.
    """
    check_labels(label, logits.shape[1])
    # One image at a time: a float32 copy of all the logits at once would be the largest tensor of the step.
    pairs = zip(logits.split(1), label.split(1), strict=True)
    return torch.stack([_cross_entropy(z.float(), y) for z, y in pairs]).sum()


def _cross_entropy(logits: Tensor, label: Tensor) -> Tensor:
    """Sum over the labelled pixels: logits float32 (N, C, ...), label (N, ...)."""
    return F.cross_entropy(logits, label.long(), ignore_index=VOID, reduction="sum")


def upsampled_loss(scores: Tensor, U_h: Tensor, U_w: Tensor, label: Tensor) -> Tensor:
    """Enlarge scores bilinearly and sum the cross-entropy over the labelled pixels, a few rows at a time.

    The same number as ``summed_loss(U_h @ scores @ U_w.T, label)``. But there the logits and their gradient
    are the largest tensors of a training step; here they exist for one band of rows only, in the cache of a
    CPU. What is kept for the backward pass is the gradient of the scores, which is as small as they are.

    Parameters
    ----------
    scores : Tensor
        float, (N, C, h, w).
    U_h, U_w : Tensor
        float32, (H, h) and (W, w): bilinear upsampling along each axis, see `upsampling.bilinear_matrix`.
    label : Tensor
        Class indices, any integer dtype, (N, H, W); 255 is void.

    Returns
    -------
    Tensor
        float32 scalar. It can be differentiated once.

    Raises
    ------
    ValueError
        Where a label is out of range, see `check_labels`.
    """
    check_labels(label, scores.shape[1])
    if torch.is_grad_enabled() and scores.requires_grad:
        return _UpsampledLoss.apply(scores, U_h, U_w, label)
    return _over_batch(scores, U_h, U_w, label, backward=False)[0]


class _UpsampledLoss(torch.autograd.Function):
    """Take the gradient in the forward pass, while a band of logits is at hand."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, U_h: Tensor, U_w: Tensor, label: Tensor) -> Tensor:
        loss, gradients = _over_batch(scores, U_h, U_w, label, backward=True)
        ctx.save_for_backward(torch.stack(gradients))
        ctx.dtype = scores.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream).to(ctx.dtype), None, None, None


def _over_batch(
    scores: Tensor, U_h: Tensor, U_w: Tensor, label: Tensor, backward: bool
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Give the summed loss of a batch, and the gradient of each image's scores."""
    with torch.autocast(scores.device.type, enabled=False):  # the softmax needs float32
        pairs = [_in_bands(z.float(), U_h, U_w, y, backward) for z, y in zip(scores, label, strict=True)]
    losses, gradients = zip(*pairs, strict=True)
    return torch.stack(losses).sum(), gradients


def _in_bands(
    z: Tensor, U_h: Tensor, U_w: Tensor, label: Tensor, backward: bool
) -> tuple[Tensor, Tensor | None]:
    """Give the summed loss of one image, z float32 (C, h, w), and its gradient for z."""
    (classes, height, _), width = z.shape, len(U_w)
    wide = z.transpose(0, 1) @ U_w.T  # (C, h, w) -> (h, C, w) -> (h, C, W)
    wide = wide.reshape(height, classes * width)  # one matrix for all classes
    gradient, total = torch.zeros_like(wide), z.new_zeros(())
    counted = (label != VOID)[:, None]  # (H, W) -> (H, 1, W)
    index = label[:, None].where(counted, 0).long()
    counted = counted.to(z.dtype)
    band = max(1, _BAND.get(z.device.type, _BAND["cuda"]) // (classes * width))
    room = wide.new_empty(min(band, len(U_h)), classes * width)  # one for all bands: new memory is slow
    for U, c, i in zip(U_h.split(band), counted.split(band), index.split(band), strict=True):
        logits = torch.mm(U, wide, out=room[: len(U)]).view(-1, classes, width)  # -> (rows, C, W)
        total += _loss_then_gradient(logits, i, c)
        if backward:
            gradient.addmm_(U.T, logits.view(-1, classes * width))
    if not backward:
        return total, None
    return total, (gradient.view(height, classes, width) @ U_w).transpose(0, 1)  # -> (C, h, w)


def _loss_then_gradient(logits: Tensor, index: Tensor, counted: Tensor) -> Tensor:
    """Give the summed loss of logits (R, C, W), and put its gradient in their place.

    ``index``, int64, and ``counted``, 0 or 1, are (R, 1, W). The gradient of -log softmax(z)[y] is
    softmax(z) - onehot(y): written out, it needs none of the copies that autograd would keep.
    """
    logits -= logits.amax(1, keepdim=True)  # so that exp does not overflow
    true = logits.gather(1, index)
    norm = logits.exp_().sum(1, keepdim=True)
    logits.mul_(counted / norm).scatter_add_(1, index, -counted)
    return ((norm.log() - true) * counted).sum()
