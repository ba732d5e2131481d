"""Seven classes of Pascal VOC's photographs: what the shipped weights know, and how they were trained.

The classes are those of which the course had enough photographs. The other 14 of VOC become void, so that a
model is neither trained nor scored on them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..classes import VOC, VOC_CLASSES, VOID, ClassList

NAMES = ("background", "cat", "cow", "dog", "horse", "person", "sheep")
_NUMBERS = tuple(VOC_CLASSES.index(name) for name in NAMES)
CLASSES = ClassList(NAMES, tuple(VOC.colormap[number] for number in _NUMBERS))

_TABLE = torch.full((256,), VOID, dtype=torch.uint8)
_TABLE[list(_NUMBERS)] = torch.arange(len(NAMES), dtype=torch.uint8)


def seven_classes(label: Tensor) -> Tensor:
    """Turn VOC's class numbers, uint8 (H, W), into those of `CLASSES`; the classes left out become void.

    It serves as the ``target_transform`` of `voc.VOCSegDataset`.
    """
    return _TABLE[label.long()]
