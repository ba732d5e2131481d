"""Labels: what void is, and the check that a label names classes that exist."""

from __future__ import annotations

import torch
from torch import Tensor

VOID = 255


def check_labels(label: Tensor, num_classes: int) -> None:
    """Raise unless a label has an integer dtype and every index is a class or void (255).

    Only on the CPU are the indices looked at: reading them on a GPU would synchronise. On a GPU an index out
    of range ends the process, so check before the copy.

    Parameters
    ----------
    label : Tensor
        Class indices, any integer dtype, any shape.
    num_classes : int
        Number of classes C.

    Raises
    ------
    ValueError
        If the label holds floats, or an index that is neither in 0..C-1 nor 255.
    """
    if label.is_floating_point():
        raise ValueError(
            f"the label is {label.dtype}; expected class indices of an integer dtype. Was the mask resized "
            "smoothly or divided by 255?"
        )
    if label.device.type != "cpu":
        return
    values = label.numpy()  # NumPy compares bytes in a sixth of torch's time
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
