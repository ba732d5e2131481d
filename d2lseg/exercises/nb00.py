"""Checks of notebook 00, the start."""

from __future__ import annotations

import math

import torch

from .. import metrics, voc
from ._engine import call, check, value

# The label of exercises 00.1 and 00.2: 0 is background, 7 car, 12 dog, 255 void.
LABEL = ((0, 0, 0, 255), (0, 0, 255, 7), (0, 255, 7, 12))


@check("Pascal VOC has 20 kinds of things. Which class do the pixels between them have?")
def number_of_classes(answer):
    """Check the warm-up of section 5, a whole number."""
    number, want = value(answer), len(voc.VOC_CLASSES)
    if number == want - 1:
        return f"{number} is the number of things, but background is a class too"
    if number != want:
        return f"expected the length of voc.VOC_CLASSES, got {number!r}"


@check("Twelve pixels in all. voc.VOC_CLASSES[7] and voc.VOC_CLASSES[12] tell who is who; 255 is void.")
def count_pixels(background, car, dog, void):
    """Check exercise 00.1, four counts for `LABEL`."""
    got = value((background, car, dog, void))
    flat = sum(LABEL, ())
    if not all(isinstance(number, int) for number in got):
        return f"expected four whole numbers, got {got!r}"
    if sum(got) != len(flat):
        return f"the label has {len(flat)} pixels, but your counts add up to {sum(got)}"
    for name, index, number in zip(("background", "car", "dog", "void"), (0, 7, 12, 255), got, strict=True):
        if number != flat.count(index):
            return f"{number} is not the number of pixels with the value {index} ({name})"


@check(
    "Void pixels do not count at all, neither as right nor as wrong. The IoU of a class is the number of "
    "pixels in both truth and prediction, divided by the number in at least one of them."
)
def all_background(pixel_accuracy, miou):
    """Check exercise 00.2, (pixel accuracy, mIoU) of predicting background everywhere on `LABEL`."""
    got = value((pixel_accuracy, miou))
    if not all(isinstance(number, (int, float)) for number in got):
        return f"expected two numbers, got {got!r}"
    label = torch.tensor(LABEL)
    matrix = metrics.confusion_matrix(torch.zeros_like(label), label, len(voc.VOC_CLASSES))
    want = metrics.background_baseline(matrix)
    if not math.isclose(got[0], want.pixel_acc, abs_tol=5e-3):
        return f"the pixel accuracy is not {got[0]:.4g}: {_accuracy_slip(got[0])}"
    if not math.isclose(got[1], want.miou, abs_tol=5e-3):
        return f"the pixel accuracy is right, but the mIoU is not {got[1]:.4g}: {_miou_slip(got[1], want)}"


def _accuracy_slip(number):
    """Name the usual slip behind a wrong pixel accuracy."""
    flat = sum(LABEL, ())
    background, void = flat.count(0), flat.count(255)
    if math.isclose(number, background / len(flat), abs_tol=5e-3):
        return "void pixels do not count below the fraction line either"
    if math.isclose(number, (background + void) / len(flat), abs_tol=5e-3):
        return "void is not background"
    return "it is the share of the labelled pixels that are predicted right, between 0 and 1"


def _miou_slip(number, want):
    """Name the usual slip behind a wrong mIoU."""
    if math.isclose(number, want.pixel_acc, abs_tol=5e-3):
        return "that is the IoU of background alone, and car and dog are in the mean too"
    if math.isclose(number, want.pixel_acc / len(voc.VOC_CLASSES), abs_tol=5e-3):
        return "a class that is in neither truth nor prediction is left out of the mean"
    return "take the mean of the IoU of background, car and dog"


@check("Images have 3 channels and logits have one for each class. A float32 is 32 bits, and a byte 8.")
def batch_bytes(answer):
    """Check exercise 00.3, a function (n, height, width) -> (bytes of uint8 images, of float32 logits)."""
    for n, height, width in [(1, 1, 1), (1, 2, 5), (16, 160, 224), (4, 375, 500)]:
        got, case = call(answer, n, height, width), f"for n={n}, height={height}, width={width}"
        if not isinstance(got, (tuple, list)) or len(got) != 2:
            return f"{case}: expected two numbers, got {got!r}"
        pixels = n * height * width
        want = (pixels * 3, pixels * len(voc.VOC_CLASSES) * 4)
        for what, number, right in zip(("images", "logits"), value(tuple(got)), want, strict=True):
            if number != right:
                return f"{case}: expected {right} bytes for the {what}, got {number!r}"
