"""Typical wrong answers are refused, with a helpful message."""

import pytest
from notebook_cells import cells

from d2lseg import voc
from d2lseg.exercises import nb00 as check

NAME = "00_start_here"


def test_the_notebook_shows_each_of_the_three_verdicts():
    verdicts = [check.number_of_classes(answer).status for answer in (..., 20, 21)]
    assert verdicts == ["not yet", "wrong", "right"]
    assert any("(..., 20, 21)" in cell for cell in cells(NAME, "nbval-check-output"))


def test_the_label_has_a_different_count_for_each_value():
    flat = sum(check.LABEL, ())
    counts = [flat.count(value) for value in (0, 7, 12, 255)]
    assert sum(counts) == len(flat) == 12 and len(set(counts)) == 4
    assert (voc.VOC_CLASSES[7], voc.VOC_CLASSES[12], voc.VOID) == ("car", "dog", 255)


def refused(verdict, text):
    return verdict.status == "wrong" and text in verdict.message


@pytest.mark.parametrize(
    ("answer", "text"),
    [(20, "background is a class too"), (255, "expected"), (22, "expected"), ("21", "expected")],
)
def test_wrong_numbers_of_classes(answer, text):
    assert refused(check.number_of_classes(answer), text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((9, 2, 1, 3), "add up to 15"),  # void counted twice
        ((9, 2, 1, 0), "the value 0 (background)"),  # void as background
        ((6, 1, 2, 3), "the value 7 (car)"),  # classes mixed up
        ((6, 2, 0, 4), "the value 12 (dog)"),
        ((6, 3, 1, 2), "the value 7 (car)"),
        ((6, 2, 1.0, 3), "four whole numbers"),
        (("6", 2, 1, 3), "four whole numbers"),
    ],
)
def test_wrong_counts(answer, text):
    assert refused(check.count_pixels(*answer), text)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((6 / 12, 2 / 9), "in the denominator either"),
        ((9 / 12, 2 / 9), "void is not background"),
        ((66.7, 22.2), "between 0 and 1"),
        ((1.0, 2 / 9), "between 0 and 1"),
        ((6 / 9, 6 / 9), "background alone"),
        ((6 / 9, 6 / 9 / 21), "the mean leaves out"),
        ((6 / 9, 0.5), "mean of the IoU of background, car and dog"),
        ((6 / 9, 0), "mean of the IoU of background, car and dog"),
        ((float("nan"), 2 / 9), "between 0 and 1"),
        (("two thirds", 2 / 9), "expected two numbers"),
    ],
)
def test_wrong_baselines(answer, text):
    assert refused(check.all_background(*answer), text)


def test_three_digits_are_enough():
    assert check.all_background(0.667, 0.222)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda n, h, w: (n * h * w, n * 21 * h * w * 4), "expected 3 bytes for the images, got 1"),
        (lambda n, h, w: (n * 3 * h * w * 4, n * 21 * h * w * 4), "for the images, got 12"),
        (lambda n, h, w: (n * 3 * h * w, n * 3 * h * w * 4), "for the logits, got 12"),  # classes forgotten
        (
            lambda n, h, w: (n * 3 * h * w, n * 20 * h * w * 4),
            "for the logits, got 80",
        ),  # background forgotten
        (lambda n, h, w: (n * 3 * h * w, n * 21 * h * w * 32), "for the logits, got 672"),  # bits
        (lambda n, h, w: (n * 3 * h * w, n * 21 * h * w), "for the logits, got 21"),
        (lambda n, h, w: (n * 3 * h * h, n * 21 * h * w * 4), "height=2, width=5"),
        (lambda n, h, w: (3 * h * w, 21 * h * w * 4), "n=16"),  # one image only
        (
            lambda n, h, w: (n * 21 * h * w * 4, n * 3 * h * w),
            "for the images, got 84",
        ),  # in the wrong order
        (lambda n, h, w: n * 3 * h * w, "expected two numbers"),
        (lambda n, h, w: [1, 2, 3], "expected two numbers"),
        (lambda n, h, w: n / 0, "ZeroDivisionError"),
    ],
)
def test_wrong_bytes(answer, text):
    assert refused(check.batch_bytes(answer), text)


@pytest.mark.parametrize(
    "verdict",
    [
        lambda: check.count_pixels(6, 2, 1, ...),
        lambda: check.all_background(6 / 9, ...),
        lambda: check.batch_bytes(lambda n, h, w: (n * 3 * h * w, ...)),
        lambda: check.batch_bytes(...),
    ],
)
def test_half_answers_are_not_yet(verdict):
    assert verdict().status == "not yet"
