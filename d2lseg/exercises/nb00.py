"""Checks for notebook 00, the start."""

from __future__ import annotations

import math
from typing import Any

from ..classes import VOC_CLASSES
from .quiz import quiz as quiz
from .report import report as report  # check.report()
from .verdicts import Fault, call, check, value

# The label of exercises 00.1 and 00.2: 0 is background, 7 car, 12 dog, 255 void.
LABEL = ((0, 0, 0, 255), (0, 0, 255, 7), (0, 255, 7, 12))
ALL_BACKGROUND = (6 / 9, (6 / 9 + 0 + 0) / 3)  # pixel accuracy and mIoU of a model that says background only


@check("Pascal VOC has 20 kinds of objects. Which class do the pixels between the objects get?")
def number_of_classes(answer: Any) -> Fault:
    """Check the warm-up of section 5, a whole number."""
    number, want = value(answer), len(VOC_CLASSES)
    if number == want - 1:
        return f"{number} is the number of kinds of objects, but background is a class too"
    if number != want:
        return f"expected the number of names in voc.VOC_CLASSES, got {number!r}"
    return None


@check("There are twelve pixels in all. Look up voc.VOC_CLASSES[7] and voc.VOC_CLASSES[12]; 255 is void.")
def count_pixels(background: Any, car: Any, dog: Any, void: Any) -> Fault:
    """Check exercise 00.1, four counts for `LABEL`."""
    got = value((background, car, dog, void))
    flat = sum(LABEL, ())
    if not all(isinstance(number, int) for number in got):
        return f"expected four whole numbers, got {got!r}"
    if sum(got) != len(flat):
        return f"the label has {len(flat)} pixels, but your counts add up to {sum(got)}"
    for name, index, number in zip(("background", "car", "dog", "void"), (0, 7, 12, 255), got, strict=True):
        if number != flat.count(index):
            return f"the label does not hold the value {index} ({name}) {number} times; count it row by row"
    return None


@check(
    "Void pixels do not count at all, neither as right nor as wrong. The IoU of a class is the number of "
    "pixels that have it in both truth and prediction, divided by the number that have it in at least one."
)
def all_background(pixel_accuracy: Any, miou: Any) -> Fault:
    """Check exercise 00.2, (pixel accuracy, mIoU) of predicting background everywhere on `LABEL`."""
    got = value((pixel_accuracy, miou))
    if not all(isinstance(number, (int, float)) for number in got):
        return f"expected two numbers, got {got!r}"
    if not math.isclose(got[0], ALL_BACKGROUND[0], abs_tol=5e-3):
        return f"the pixel accuracy is not {got[0]:.4g}: {_accuracy_slip(got[0])}"
    if not math.isclose(got[1], ALL_BACKGROUND[1], abs_tol=5e-3):
        return f"the pixel accuracy is right, but the mIoU is not {got[1]:.4g}: {_miou_slip(got[1])}"
    return None


def _accuracy_slip(number: float) -> str:
    """Name the usual slip behind a wrong pixel accuracy."""
    flat = sum(LABEL, ())
    background, void = flat.count(0), flat.count(255)
    if math.isclose(number, background / len(flat), abs_tol=5e-3):
        return "void pixels do not count in the denominator either"
    if math.isclose(number, (background + void) / len(flat), abs_tol=5e-3):
        return "void is not background"
    return "it is the share of the labelled pixels that are predicted correctly, between 0 and 1"


def _miou_slip(number: float) -> str:
    """Name the usual slip behind a wrong mIoU."""
    if math.isclose(number, ALL_BACKGROUND[0], abs_tol=5e-3):
        return "that is the IoU of background alone, and the mean includes car and dog"
    if math.isclose(number, ALL_BACKGROUND[0] / len(VOC_CLASSES), abs_tol=5e-3):
        return "the mean leaves out classes that are in neither truth nor prediction"
    return "take the mean of the IoU of background, car and dog"


@check("Images have 3 channels, logits one per class. A float32 takes 32 bits, and a byte has 8.")
def batch_bytes(answer: Any) -> Fault:
    """Check exercise 00.3, a function (n, height, width) -> (bytes of uint8 images, of float32 logits)."""
    for n, height, width in [(1, 1, 1), (1, 2, 5), (16, 160, 224), (4, 375, 500)]:
        got, case = call(answer, n, height, width), f"for n={n}, height={height}, width={width}"
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            return f"{case}: expected two numbers, got {got!r}"
        pixels = n * height * width
        want = (pixels * 3, pixels * len(VOC_CLASSES) * 4)
        for what, number, right in zip(("images", "logits"), value(tuple(got)), want, strict=True):
            if number != right:
                return f"{case}: expected {right} bytes for the {what}, got {number!r}"
    return None
