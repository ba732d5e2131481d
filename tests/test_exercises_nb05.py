"""Typical wrong answers are refused, with a helpful message."""

import functools

import pytest
import torch
import torch.nn.functional as F

from d2lseg.exercises import nb05


def void_as_background(logits, label):
    return F.cross_entropy(logits, label.masked_fill(label == 255, 0))


def divided_by_all_pixels(logits, label):
    return F.cross_entropy(logits, label, ignore_index=255, reduction="sum") / label.numel()


def mean_of_the_images(logits, label):
    parts = [F.cross_entropy(z[None], y[None], ignore_index=255) for z, y in zip(logits, label, strict=True)]
    return torch.stack(parts).nanmean()


def nan_for_all_void(logits, label):
    return F.cross_entropy(logits, label, ignore_index=255)


def gathered(scores, label):
    return -scores.log_softmax(1).gather(1, label[:, None]).mean()


def without_long(logits, label, pick=gathered):
    keep = label != 255
    return pick(logits.movedim(1, -1)[keep], label[keep]) if keep.any() else logits.sum() * 0


def indexed(scores, label):
    """Index with uint8, which PyTorch takes for a mask."""
    return -scores.log_softmax(1)[torch.arange(len(label)), label].mean()


def counted_modulo(scores, label):
    return F.cross_entropy(scores, (label * 100 // 100).long())  # uint8 overflows at 256


@pytest.mark.filterwarnings("ignore:indexing with dtype torch.uint8")  # the mistake of one answer
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (void_as_background, "with void, unevenly spread"),
        (divided_by_all_pixels, "with void, unevenly spread"),
        (mean_of_the_images, "with void, unevenly spread"),
        (nan_for_all_void, "all void: expected 0, got nan"),
        (without_long, "of type uint8, as the course's data sets give them: your code raised RuntimeError"),
        (functools.partial(without_long, pick=indexed), "of type uint8"),
        (functools.partial(without_long, pick=counted_modulo), "data sets give them: expected"),
        (lambda logits, label: F.cross_entropy(logits, label), "raised"),
        (lambda logits, label: F.cross_entropy(logits, label, ignore_index=255).item(), "no gradients"),
    ],
)
def test_wrong_losses(wrong, words):
    verdict = nb05.void_loss(wrong)
    assert verdict.status == "wrong" and words in verdict.message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda m: m.diag() / m.sum(1), "expected"),  # accuracy of the class
        (lambda m: m.diag() / (m.sum(0) + m.sum(1)), "expected"),  # the intersection counted twice
        (lambda m: (m.diag() / (m.sum(0) + m.sum(1) - m.diag())).nan_to_num(0), "class 2 should be nan"),
        (lambda m: (m.diag() / (m.sum(0) + m.sum(1) - m.diag())).nanmean(), "expected shape (2,)"),
        (lambda m: 0.5, "expected a tensor"),
    ],
)
def test_wrong_ious(wrong, words):
    verdict = nb05.class_iou(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def miou(matrix):
    right = matrix.diag()
    return right / (matrix.sum(0) + matrix.sum(1) - right)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda ms: torch.stack([miou(m).nanmean() for m in ms]).mean(),
        lambda ms: miou(sum(ms)).mean(),  # NaN while a class is absent
        lambda ms: miou(sum(ms)).nan_to_num(0).mean(),
        lambda ms: sum(ms).diag().sum() / sum(ms).sum(),
    ],
)
def test_wrong_totals(wrong):
    assert nb05.total_miou(wrong).status == "wrong"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda b, k: (b, b, b / k),
        lambda b, k: (b, 1 / k, b),
        lambda b, k: (b, 1 / k, b / (k - 1)),
        lambda b, k: (b, 1 / 21, b / 21),
        lambda b, k: b,
    ],
)
def test_wrong_baselines(wrong):
    assert nb05.baseline(wrong).status == "wrong"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (
            (0.001, 0.001),
            "not 0.001: with it, a step with our loss is 0.03125 times as long as the textbook's",
        ),
        ((0.001 / 32, 0.004), "the first rate is not 3.125e-05"),
        ((0.032, 0.00025), "with it, a step with the textbook's loss and batch 8 is 0.0625 times as long"),
        (
            (0.032, 0.008),
            "the second rate is not 0.008: with it, a step with the textbook's loss and batch 8 is 2",
        ),
        (0.032, "expected a tuple"),
    ],
)
def test_wrong_rates(wrong, words):
    verdict = nb05.learning_rates(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_half_an_answer_is_not_yet():
    assert nb05.learning_rates((0.032, ...)).status == "not yet"
    assert nb05.baseline(lambda b, k: (b, ..., ...)).status == "not yet"
