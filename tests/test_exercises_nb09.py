"""Typical wrong answers are refused, with a helpful message."""

import pytest
import torch

from d2lseg.exercises import nb09


def cells(matrix, kind):
    """The mistakes of one kind, as a map of cells."""
    chosen = torch.zeros_like(matrix, dtype=torch.bool)
    if kind == "missed":
        chosen[1:, 0] = True
    elif kind == "made up":
        chosen[0, 1:] = True
    else:
        chosen[1:, 1:] = True
    return chosen


def repaired(matrix, kind, cells=cells, to_diagonal=lambda moved: moved.sum(1).diag()):
    """The solution of 09.1, with parts to exchange."""
    moved = matrix * cells(matrix, kind)
    return matrix - moved + to_diagonal(moved)


def in_place(matrix, kind):
    matrix[:] = repaired(matrix, kind)
    return matrix


SWAPPED = {"missed": "made up", "made up": "missed", "confused": "confused"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda m, kind: m, "'missed' and 3 classes: at (2, 0) expected 0"),
        (lambda m, kind: repaired(m, SWAPPED[kind]), "'missed'"),
        (lambda m, kind: repaired(m, kind, to_diagonal=torch.zeros_like), "'missed'"),  # lost, not moved
        (lambda m, kind: repaired(m, kind, to_diagonal=lambda moved: moved.sum(0).diag()), "'missed'"),
        (lambda m, kind: repaired(m, "missed"), "'made up'"),
        (lambda m, kind: repaired(m, kind) if kind != "confused" else m.sum(1).diag(), "'confused'"),
        (lambda m, kind: repaired(m, kind)[1:], "expected shape"),
        (in_place, "changed the caller's"),
    ],
)
def test_wrong_repairs(wrong, words):
    assert nb09.repaired(repaired)
    verdict = nb09.repaired(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def iou(matrix, c):
    return matrix[c, c] / (matrix[c].sum() + matrix[:, c].sum() - matrix[c, c])


def worst(matrices, c, score=iou, counts=lambda matrix, c: matrix[c].sum() > 0, pick=min):
    """The solution of 09.2, with parts to exchange."""
    return pick((i for i, m in enumerate(matrices) if counts(m, c)), key=lambda i: score(matrices[i], c))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda m, c: worst(m, c, counts=lambda matrix, c: True),  # 0 where the class is not there
        lambda m, c: worst(m, c, pick=max),
        lambda m, c: worst(m, c, score=lambda matrix, c: matrix[c, c] / matrix[c].sum()),  # recall
        lambda m, c: worst(m, c, score=lambda matrix, c: matrix[c, c]),
        lambda m, c: worst(m, c, score=lambda matrix, c: matrix.diag().sum() / matrix.sum()),
        lambda m, c: worst(m, 0),
        lambda m, c: worst(m, c) + 1,
    ],
)
def test_wrong_worst_images(wrong):
    assert nb09.worst(worst)
    verdict = nb09.worst(wrong)
    assert verdict.status == "wrong" and "expected image" in verdict.message


def test_an_image_without_the_class_is_named():
    verdict = nb09.worst(lambda m, c: worst(m, c, counts=lambda matrix, c: True))
    assert "got 0, which has no pixel of class 2" in verdict.message


def calibration(confidence, right, bins, weigh=True, gap=abs, mean=None):
    """The solution of 09.3, with parts to exchange; ``mean`` averages other confidences than it sorts."""
    mean = confidence if mean is None else mean
    index = (confidence * bins).long().clamp(max=bins - 1)
    error, used = 0.0, index.unique()
    for k in used:
        inside = index == k
        weight = inside.float().mean() if weigh else 1 / len(used)
        error += weight * gap(mean[inside].mean() - right[inside].float().mean())
    return float(error)


def without_clamp(confidence, right, bins, kept=1):
    """Confidence 1.0 gets a bin of its own, or with ``kept=0`` none at all."""
    index, error = (confidence * bins).long(), 0.0
    for k in range(bins + kept):
        inside = index == k
        if inside.any():
            error += inside.float().mean() * abs(confidence[inside].mean() - right[inside].float().mean())
    return float(error)


def of_equal_counts(confidence, right, bins):
    parts = torch.stack([confidence, right.float()]).gather(1, confidence.argsort().expand(2, -1))
    gaps = [(part[0].mean() - part[1].mean()).abs() * part.shape[1] for part in parts.chunk(bins, dim=1)]
    return float(sum(gaps)) / len(confidence)


@pytest.mark.parametrize("fixed", range(1, 31))
def test_a_fixed_number_of_bins_is_wrong(fixed):
    assert nb09.calibration(lambda c, r, bins: calibration(c, r, fixed)).status == "wrong"


def test_bins_that_include_their_upper_ends_are_right():
    def upper(confidence, right, bins):
        index = (confidence * bins).ceil().long().clamp(min=1)
        return calibration((index - 0.5) / bins, right, bins, mean=confidence)

    assert nb09.calibration(upper)


@pytest.mark.parametrize(
    "wrong",
    [
        without_clamp,
        lambda c, r, b: without_clamp(c, r, b, kept=0),
        of_equal_counts,
        lambda c, r, b: calibration(c, r, b - 1),
        lambda c, r, b: calibration(c, r, b, weigh=False),
        lambda c, r, b: calibration(c, r, b, gap=lambda g: g),
        lambda c, r, b: calibration(c, r, b, gap=lambda g: g**2),
        lambda c, r, b: calibration(c, r, 15),
        lambda c, r, b: float((c - r.float()).abs().mean()),
        lambda c, r, b: 100 * calibration(c, r, b),
        lambda c, r, b: "small",
    ],
)
def test_wrong_calibration_errors(wrong):
    assert nb09.calibration(calibration)
    verdict = nb09.calibration(wrong)
    assert verdict.status == "wrong" and "expected" in verdict.message


def test_half_an_answer_is_not_yet():
    for check in (nb09.repaired, nb09.worst, nb09.calibration):
        assert check(...).status == "not yet"
        assert check(lambda *arguments: None).status == "not yet"
