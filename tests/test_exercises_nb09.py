"""Typical wrong answers are refused, with a helpful message."""

import pytest
import torch

from d2lseg.exercises import nb09


def kinds(prediction, label, void=255, wrong=(1, 2, 3)):
    """The solution of 09.1, with parts to exchange."""
    found = torch.zeros_like(label)
    found[(prediction == 0) & (label != 0)] = wrong[0]
    found[(prediction != 0) & (label == 0)] = wrong[1]
    found[(prediction != label) & (prediction != 0) & (label != 0)] = wrong[2]
    found[label == 255] = void
    return found


def in_place(prediction, label):
    found = kinds(prediction, label)
    label[:] = found
    return label


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda p, y: kinds(p, y, void=0), "expected 255"),
        (lambda p, y: kinds(p, y, wrong=(2, 1, 3)), "at ("),
        (lambda p, y: kinds(p, y, wrong=(1, 2, 2)), "expected 3"),
        (lambda p, y: kinds(y, p), "at ("),
        (lambda p, y: (p != y).byte(), "at ("),
        (lambda p, y: kinds(p, y)[0], "expected shape"),
        (in_place, "changed the caller's"),
    ],
)
def test_wrong_kinds(wrong, words):
    assert nb09.kinds(kinds)
    verdict = nb09.kinds(wrong)
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


def calibration(confidence, right, bins, weigh=True, gap=abs):
    """The solution of 09.3, with parts to exchange."""
    index = (confidence * bins).long().clamp(max=bins - 1)
    error, used = 0.0, index.unique()
    for k in used:
        inside = index == k
        weight = inside.float().mean() if weigh else 1 / len(used)
        error += weight * gap(confidence[inside].mean() - right[inside].float().mean())
    return float(error)


@pytest.mark.parametrize(
    "wrong",
    [
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
    for check in (nb09.kinds, nb09.worst, nb09.calibration):
        assert check(...).status == "not yet"
        assert check(lambda *arguments: None).status == "not yet"
