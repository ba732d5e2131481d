"""The table of the sample answer to project 1, and what it does to labels and to confusion matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from d2lseg.classes import VOC_CLASSES, VOID

GROUPS = {
    "background": ("background",),
    "animal": ("bird", "cat", "cow", "dog", "horse", "sheep"),
    "person": ("person",),
    "vehicle": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    "indoor": ("bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor"),
}
TABLE = torch.full((256,), VOID, dtype=torch.uint8)  # from VOC's numbers to the groups', void stays void
for number, members in enumerate(GROUPS.values()):
    for member in members:
        TABLE[VOC_CLASSES.index(member)] = number


def group_label(label: Tensor) -> Tensor:
    """Replace VOC's class numbers by those of `GROUPS`; as `target_transform` it relabels a dataset."""
    return TABLE[label.long()]


def group_matrix(matrix: Tensor) -> Tensor:
    """Add up the rows and columns of each group: (21, 21) -> (5, 5)."""
    member = torch.nn.functional.one_hot(TABLE[:21].long())  # (21, 5)
    return member.T @ matrix @ member
