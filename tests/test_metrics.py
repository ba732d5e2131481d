import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassJaccardIndex,
)

from d2lseg import metrics

C = 5


def draw(seed, truth_classes, guess_classes, void_share):
    g = torch.Generator().manual_seed(seed)
    truth = torch.tensor(truth_classes)[torch.randint(len(truth_classes), (2, 9, 7), generator=g)]
    guess = torch.tensor(guess_classes)[torch.randint(len(guess_classes), (2, 9, 7), generator=g)]
    truth[torch.rand(truth.shape, generator=g) < void_share] = 255
    return guess, truth.to(torch.uint8)


classes = st.lists(st.integers(0, C - 1), min_size=1, max_size=C, unique=True)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9999), classes, classes, st.sampled_from([0.0, 0.3, 0.9]))
def test_equal_to_torchmetrics_with_absent_and_one_sided_classes(seed, in_truth, in_guess, void):
    guess, truth = draw(seed, in_truth, in_guess, void)
    matrix = metrics.confusion_matrix(guess, truth, C)
    oracle = MulticlassConfusionMatrix(C, ignore_index=255)(guess, truth.long())
    assert matrix.dtype == torch.int64 and torch.equal(matrix, oracle)
    if not (truth != 255).any():
        return
    ours, arguments = metrics.scores(matrix), (guess, truth.long())
    micro = MulticlassAccuracy(C, average="micro", ignore_index=255)(*arguments)
    assert ours.pixel_acc == pytest.approx(float(micro), abs=1e-6)
    jaccard = MulticlassJaccardIndex(C, average="none", ignore_index=255)(*arguments).double()
    present = (matrix.sum(0) + matrix.sum(1)) > 0
    # torchmetrics says 0 for a class in neither truth nor prediction; we say NaN and leave it out
    assert torch.equal(ours.per_class.isnan(), ~present)
    torch.testing.assert_close(ours.per_class[present], jaccard[present], atol=1e-6, rtol=0)
    assert ours.miou == pytest.approx(float(jaccard[present].mean()), abs=1e-6)
    recall = MulticlassAccuracy(C, average="none", ignore_index=255)(*arguments).double()
    in_truth_now = matrix.sum(1) > 0
    assert ours.mean_acc == pytest.approx(float(recall[in_truth_now].mean()), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 9999), classes, classes)
def test_fw_iou_equals_torchmetrics_weighted_average(seed, in_truth, in_guess):
    guess, truth = draw(seed, in_truth, in_guess, 0.2)
    ours = metrics.scores(metrics.confusion_matrix(guess, truth, C)).fw_iou
    oracle = MulticlassJaccardIndex(C, average="weighted", ignore_index=255)(guess, truth.long())
    assert ours == pytest.approx(float(oracle), abs=1e-6)


def test_naive_loop_on_a_case_with_an_absent_class():
    truth, guess = [0, 0, 0, 1, 1, 255], [0, 0, 1, 1, 0, 1]
    matrix = metrics.confusion_matrix(torch.tensor(guess), torch.tensor(truth), 3)
    counted = [[0] * 3 for _ in range(3)]
    for t, g in zip(truth, guess, strict=True):
        if t != 255:
            counted[t][g] += 1
    assert matrix.tolist() == counted == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    result = metrics.scores(matrix)
    assert result.per_class.tolist()[:2] == [2 / 4, 1 / 3] and math.isnan(result.per_class[2])
    assert result.miou == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert "mIoU 0.417" in str(result)


def test_all_void_scores_are_nan():
    matrix = metrics.confusion_matrix(torch.zeros(4, 4).long(), torch.full((4, 4), 255), C)
    assert matrix.sum() == 0
    result = metrics.scores(matrix)
    assert all(math.isnan(v) for v in (result.pixel_acc, result.mean_acc, result.miou, result.fw_iou))
    assert result.per_class.isnan().all()


def test_perfect_prediction_scores_one():
    label = torch.arange(C).repeat(3, 4)
    result = metrics.scores(metrics.confusion_matrix(label, label, C))
    assert (result.pixel_acc, result.mean_acc, result.miou, result.fw_iou) == (1, 1, 1, 1)


def test_background_baseline_is_the_score_of_an_all_zero_prediction():
    guess, truth = draw(3, list(range(C)), list(range(C)), 0.2)
    ours = metrics.background_baseline(metrics.confusion_matrix(guess, truth, C))
    direct = metrics.scores(metrics.confusion_matrix(torch.zeros_like(guess), truth, C))
    assert ours == direct and torch.equal(ours.per_class, direct.per_class)


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "(2, 3)"),
        (torch.full((2, 2), 7), torch.zeros(2, 2), "prediction holds class indices from 7 to 7"),
        (torch.zeros(2, 2), torch.full((2, 2), 9), "label holds class indices from 9 to 9"),
        (torch.full((2, 2), -1), torch.zeros(2, 2), "-1"),
    ],
)
def test_bad_input_is_named(prediction, label, message):
    with pytest.raises(ValueError) as error:
        metrics.confusion_matrix(prediction, label, C)
    assert message in str(error.value)


def test_scores_refuse_a_matrix_that_is_not_square():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        metrics.scores(torch.zeros(2, 3))
