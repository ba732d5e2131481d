"""Typical wrong answers are refused, with a helpful message."""

import numpy as np
import pytest
import torch

from d2lseg import training
from d2lseg.exercises import nb05


def share_of_labels(labels, parts):
    return (labels != 255).sum() / sum((y != 255).sum() for _, y in parts)


def accumulate_with(share=share_of_labels, clear=True, backward=True, count=lambda loss: loss.item()):
    """The solution with one part of it changed."""

    def accumulate(model, parts):
        if clear:
            model.zero_grad()
        mean = 0.0
        for images, labels in parts:
            loss = training.segmentation_loss(model(images), labels) * share(labels, parts)
            if backward:
                loss.backward()
            mean += count(loss)
        return mean

    return accumulate


def all_at_once(model, parts):
    model.zero_grad()
    images, labels = (torch.cat(both) for both in zip(*parts, strict=True))
    loss = training.segmentation_loss(model(images), labels)
    loss.backward()
    return loss.item()


def backward_at_the_end(model, parts):
    model.zero_grad()
    loss = sum(training.segmentation_loss(model(x), y) * share_of_labels(y, parts) for x, y in parts)
    loss.backward()
    return loss.item()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (accumulate_with(share=lambda y, parts: 1), "two parts without void: expected the mean loss"),
        (accumulate_with(share=lambda y, parts: 1 / len(parts)), "nearly all void: expected the mean loss"),
        (
            accumulate_with(share=lambda y, parts: len(y) / sum(len(x) for x, _ in parts)),
            "nearly all void: expected the mean loss",
        ),
        (accumulate_with(clear=False), "but the gradient of score.weight is not. two parts without void: at"),
        (accumulate_with(backward=False), "two parts without void: the graphs of 2 parts were held at once"),
        (accumulate_with(count=lambda loss: 2 * loss.item()), "expected the mean loss"),
        (all_at_once, "the model got 4 images at once; give it one part at a time"),
        (backward_at_the_end, "the graphs of 2 parts were held at once; call backward() for each part"),
    ],
)
def test_wrong_accumulations(wrong, words):
    assert nb05.accumulate(accumulate_with())
    assert nb05.accumulate(accumulate_with(count=lambda loss: loss.detach()))  # a tensor is a number too
    verdict = nb05.accumulate(wrong)
    assert verdict.status == "wrong" and words in verdict.message


LAZY = [[90, 0, 0], [5, 0, 0], [5, 0, 0]]  # never names the rare classes
EAGER = [[78, 6, 6], [0, 5, 0], [0, 0, 5]]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (EAGER, LAZY, "the first must win in pixel accuracy, but has 0.880 against 0.900"),
        (LAZY, LAZY, "the first must win in pixel accuracy"),
        ([[90, 0, 0], [0, 5, 0], [0, 0, 5]], EAGER, "the second must win in mIoU, but has 0.592 against 1.0"),
        (LAZY, [[88, 0, 0], [0, 5, 0], [0, 0, 5]], "your rows sum to [90, 5, 5] and [88, 5, 5]"),
        ([[90, 0, 0], [5, 0, 0], [0, 0, 0]], [[80, 10, 0], [0, 5, 0], [0, 0, 0]], "each class must occur"),
        ([[9, 1], [1, 0]], EAGER, "the first matrix: expected 3 rows of 3 counts"),
        (3, EAGER, "the first matrix: expected 3 rows of 3 counts, got 3"),
        (LAZY, [[78.5, 5.5, 6], [0, 5, 0], [0, 0, 5]], "the second matrix: counts are whole numbers"),
        (LAZY, [[96, -3, -3], [0, 5, 0], [0, 0, 5]], "counts are whole numbers from 0 up"),
    ],
)
def test_wrong_pairs_of_matrices(first, second, words):
    assert nb05.disagree(LAZY, EAGER) and nb05.disagree(torch.tensor(LAZY), np.array(EAGER))
    verdict = nb05.disagree(first, second)
    assert verdict.status == "wrong" and words in verdict.message


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


def test_a_report_is_judged():
    conclusion = (
        "I started the learned layer from random weights instead of bilinear ones. The mean of three seeds "
        "fell from 0.57 to 0.36; whether longer training would close the gap, this does not show."
    )
    report = {"base": [0.57, 0.58, 0.56], "change": [0.35, 0.40, 0.33], "conclusion": conclusion}
    assert nb05.experiment(report | {"verdict": "worse"})
    assert "does not follow" in nb05.experiment(report | {"verdict": "not seen"}).message


def test_half_an_answer_is_not_yet():
    assert nb05.disagree(LAZY, ...).status == "not yet"
    assert nb05.disagree(LAZY, [[..., 0, 0], [0, 0, 0], [0, 0, 0]]).status == "not yet"
    report = {"base": [..., ..., ...], "change": [..., ..., ...], "verdict": ..., "conclusion": ...}
    assert nb05.experiment(report).status == "not yet"
    assert nb05.learning_rates((0.032, ...)).status == "not yet"
    assert nb05.baseline(lambda b, k: (b, ..., ...)).status == "not yet"
