import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
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


ZEROS = torch.zeros(2, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2), "(2, 3)"),
        (torch.full((2, 2), 7), ZEROS, "prediction holds class indices from 7 to 7"),
        (ZEROS, torch.full((2, 2), 9), "label holds class indices from 9 to 9"),
        (torch.full((2, 2), -1), ZEROS, "-1"),
        (torch.full((2, 2), 0.7), ZEROS, "prediction is torch.float32; expected class indices"),
        (ZEROS, torch.zeros(2, 2), "label is torch.float32; expected class indices"),
    ],
)
def test_bad_input_is_named(prediction, label, message):
    with pytest.raises(ValueError) as error:
        metrics.confusion_matrix(prediction, label, C)
    assert message in str(error.value)


def test_scores_refuse_a_matrix_that_is_not_square():
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        metrics.scores(torch.zeros(2, 3))


def naive_band(label, width):
    """Ask each pixel about all others: is one of another label near enough?"""
    height, columns = label.shape
    places = [(y, x) for y in range(height) for x in range(columns)]
    band = torch.zeros(height, columns, dtype=torch.bool)
    for y, x in places:
        near = [(v, u) for v, u in places if max(abs(v - y), abs(u - x)) <= width]
        band[y, x] = any(label[v, u] != label[y, x] for v, u in near)
    return band


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 9999),
    st.integers(1, 12),  # wider than the image too
    st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    st.sampled_from([[0, 1], [0, 15, 255], [255], [0, 0, 0, 0, 0, 0, 0, 3]]),
    st.sampled_from([torch.uint8, torch.int64]),
)
def test_band_is_that_of_a_naive_loop(seed, width, shape, labels, dtype):
    g = torch.Generator().manual_seed(seed)
    label = torch.tensor(labels, dtype=dtype)[torch.randint(len(labels), shape, generator=g)]
    before, band = label.clone(), metrics.boundary_band(label, width)
    assert band.dtype == torch.bool and torch.equal(label, before)
    # a batch is its images one by one: a neighbour in the batch is no neighbour in the image
    assert torch.equal(band, torch.stack([naive_band(image, width) for image in label]))
    assert torch.equal(metrics.boundary_band(label[0], width), band[0])


def test_band_on_both_sides_of_a_straight_boundary():
    label = torch.zeros(2, 8, dtype=torch.uint8)
    label[:, 4:] = 7
    for width, columns in [(1, [3, 4]), (2, [2, 3, 4, 5]), (4, list(range(8))), (99, list(range(8)))]:
        band = metrics.boundary_band(label, width)
        assert band.all(0).nonzero().flatten().tolist() == columns and torch.equal(band[0], band[1])


def test_band_counts_diagonal_neighbours_and_no_edge_of_the_image():
    label = torch.zeros(5, 6, dtype=torch.int64)
    assert not metrics.boundary_band(label, 2).any() and not metrics.boundary_band(label[:1, :1], 9).any()
    label[1, 1] = 4
    want = torch.zeros(5, 6, dtype=torch.bool)
    want[:3, :3] = True
    assert torch.equal(metrics.boundary_band(label, 1), want)


def test_band_takes_void_for_a_label_like_any_other():
    label = torch.tensor([[0, 0, 0, 255, 0, 0, 0]], dtype=torch.uint8)  # the same class on both sides
    assert metrics.boundary_band(label, 1).tolist() == [[False, False, True, True, True, False, False]]
    assert not metrics.boundary_band(torch.full((3, 3), 255), 1).any()


def test_band_takes_a_label_that_is_not_contiguous():
    label = torch.randint(0, 3, (2, 6, 5), generator=torch.Generator().manual_seed(0))
    for view in (label.transpose(1, 2), label[:, 1:4, ::2], label.transpose(0, 1)):
        assert torch.equal(metrics.boundary_band(view, 1), metrics.boundary_band(view.contiguous(), 1))


def test_band_and_the_rest_share_out_the_confusion_matrix():
    guess, truth = draw(5, list(range(C)), list(range(C)), 0.2)
    truth[:, 3:8, 2:6] = 1  # an inside
    band = metrics.boundary_band(truth, 1)
    parts = [metrics.confusion_matrix(guess, truth.masked_fill(out, 255), C) for out in (band, ~band)]
    assert torch.equal(sum(parts), metrics.confusion_matrix(guess, truth, C))
    assert all(part.sum() > 0 for part in parts)


@pytest.mark.parametrize("width", [0, -1])
def test_band_refuses_a_width_below_one(width):
    with pytest.raises(ValueError, match=rf"at least 1 pixel, got {width}"):
        metrics.boundary_band(torch.zeros(3, 3), width)


@pytest.mark.parametrize("shape", [(3,), (2, 1, 3, 3), ()])
def test_band_refuses_other_axes(shape):
    with pytest.raises(ValueError, match="expected labels") as error:
        metrics.boundary_band(torch.zeros(shape), 1)
    assert str(tuple(shape)) in str(error.value)


def test_bootstrap_equals_a_naive_loop():
    matrices = torch.randint(0, 50, (5, 3, 3), generator=torch.Generator().manual_seed(0))
    found = metrics.bootstrap(matrices, rounds=20, seed=4)
    drawn = torch.randint(5, (20, 5), generator=torch.Generator().manual_seed(4))
    for row, selection in zip(found, drawn, strict=True):
        expected = metrics.scores(sum(matrices[i] for i in selection.tolist()))
        assert row == expected and torch.equal(row.per_class, expected.per_class)


def test_bootstrap_needs_memory_for_the_counts_alone():
    matrices = torch.ones(5_000_000, 1, 1, dtype=torch.int64)  # a table of images x images would take 200 TB
    assert [found.pixel_acc for found in metrics.bootstrap(matrices, rounds=1)] == [1]


def test_bootstrap_of_equal_images_has_no_spread_and_of_different_ones_has():
    matrix = torch.tensor([[8, 2], [1, 9]])
    same = [s.miou for s in metrics.bootstrap(matrix.expand(6, 2, 2), rounds=50)]
    assert max(same) - min(same) < 1e-12
    other = [s.miou for s in metrics.bootstrap(torch.stack([matrix, matrix.flip(1)]), rounds=50)]
    assert max(other) - min(other) > 0.2


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_calibration_error_equals_torchmetrics(bins):
    g = torch.Generator().manual_seed(bins)
    total, all_logits, labels = 0, [], []
    for height, width in ((9, 7), (4, 12)):
        logits = 3 * torch.randn(C, height, width, generator=g)
        label = torch.randint(C, (height, width), generator=g, dtype=torch.uint8)
        label[torch.rand(label.shape, generator=g) < 0.2] = 255
        total = total + metrics.reliability(logits, label, bins)
        all_logits.append(logits.flatten(1).T)
        labels.append(label.flatten().long())
    oracle = MulticlassCalibrationError(C, n_bins=bins, norm="l1", ignore_index=255)
    want = oracle(torch.cat(all_logits).softmax(1), torch.cat(labels))
    assert metrics.calibration_error(total) == pytest.approx(float(want), abs=1e-6)
    assert total.shape == (bins, 3) and total[:, 0].sum() == int((torch.cat(labels) != 255).sum())


def test_reliability_of_sure_and_of_undecided_pixels():
    logits = torch.zeros(2, 1, 3)
    logits[0, 0, :2] = 100  # two pixels are sure of class 0, one can't decide
    table = metrics.reliability(logits, torch.tensor([[0, 1, 255]], dtype=torch.uint8))
    assert table[-1].tolist() == [2, 2, 1] and table[:-1].sum() == 0
    assert metrics.calibration_error(table) == 0.5


def test_arrays_are_counted_as_tensors_are():
    rng = np.random.default_rng(0)
    guess, truth = rng.integers(0, C, (2, 5, 6))
    want = metrics.confusion_matrix(torch.from_numpy(guess), torch.from_numpy(truth), C)
    assert torch.equal(metrics.confusion_matrix(guess, truth, C), want)
