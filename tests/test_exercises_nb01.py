"""Typical wrong answers are refused, with a helpful message."""

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F

from d2lseg.exercises import nb01
from d2lseg.exercises.compare import tensor_fault


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n, k, s, p, op: (n + 2 * p - k) // s + 1,  # the convolution's
        lambda n, k, s, p, op: (n - 1) * s - 2 * p + k,  # output padding forgotten
        lambda n, k, s, p, op: (n - 1) * s + 2 * p + k + op,  # padding added
        lambda n, k, s, p, op: (n - 1) * s - p + k + op,  # cut at one end
        lambda n, k, s, p, op: n * s - 2 * p + k + op,  # one stamp too many
        lambda n, k, s, p, op: (n - 1) * s - 2 * p + k + 2 * op,  # lengthened at both ends
        lambda n, k, s, p, op: n * s,  # the usual case taken for the rule
    ],
)
def test_wrong_size_formulas(wrong):
    verdict = nb01.size_formula(wrong)
    assert verdict.status == "wrong" and "expected" in verdict.message


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n, k, s, p: s - 1,  # right for even n at k3 s2 p1 only
        lambda n, k, s, p: n % s,
        lambda n, k, s, p: (n - k) % s,
        lambda n, k, s, p: (n + 2 * p - k) // s,
        lambda n, k, s, p: 0,
    ],
)
def test_wrong_remainders(wrong):
    verdict = nb01.output_padding(wrong)
    assert verdict.status == "wrong" and "the way back gives" in verdict.message


def gather_with(spread=lambda s: s, border=lambda k: k - 1, turn=lambda K: K.flip(0, 1)):
    """The solution with one part of it changed."""

    def gather(X, K, stride):
        step = spread(stride)
        grid = torch.zeros((X.shape[0] - 1) * step + 1, (X.shape[1] - 1) * step + 1)
        grid[::step, ::step] = X
        b, a = (border(k) for k in K.shape)
        return F.conv2d(F.pad(grid, (a, a, b, b))[None, None], turn(K)[None, None])[0, 0]

    return gather


def test_gather_and_its_wrong_variants():
    assert nb01.gather(gather_with())
    for part in (
        {"turn": lambda K: K},  # not turned
        {"turn": lambda K: K.flip(0)},  # mirrored only
        {"border": lambda k: k},
        {"border": lambda k: k // 2},
        {"spread": lambda s: s + 1},
        {"spread": lambda s: 1},  # stride forgotten
    ):
        assert nb01.gather(gather_with(**part)).status == "wrong", part


def test_gather_draws_the_failing_case():
    verdict = nb01.gather(gather_with(turn=lambda K: K))
    assert "for X 2x2, K 2x2, stride 1: at (" in verdict.message
    assert [ax.get_title() for ax in plt.gcf().axes] == ["expected", "yours"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda k, s: k >= s,
        lambda k, s: k == 2 * s,
        lambda k, s: k % 2 == 0,
        lambda k, s: s % k == 0,
        lambda k, s: True,
        lambda k, s: "yes",
    ],
)
def test_wrong_overlap_rules(wrong):
    verdict = nb01.even_overlap(wrong)
    assert verdict.status == "wrong" and "the counts inside are" in verdict.message
    assert len(plt.gcf().axes) == 1


@pytest.mark.parametrize(
    "answer, words",
    [
        ((64, 16, 0), "centred on pixels 0 and 32, but are on [15.5, 47.5]"),
        ((63, 31, 0), "should become 32 pixels, but became 1"),
        ((63, 16, 1), "but are on [15.0, 47.0]"),
        ((63, 15, 1), "1 cell should become 32 pixels, but became 34"),
        ((61, 30, 31), "get no stamp"),
        ((65, 32, 31), "smaller kernel"),
        ((64, 32, 32), "0..31"),
        ((63, -1, 0), "cannot be negative, got 63 and -1"),
        ((0, 0, 0), "at least 1 weight"),
        ((1, 31, 0), "1 cell should become 32 pixels, but became -61"),
        ((63, 31.5, 31), "padding must be a whole number, got 31.5"),
        (("63", 31, 31), "kernel_size must be a whole number, got '63'"),
    ],
)
def test_wrong_layers(answer, words):
    verdict = nb01.centred_layer(*answer)
    assert verdict.status == "wrong" and words in verdict.message


def test_whole_floats_are_numbers():
    assert nb01.centred_layer(63, 62 / 2, torch.tensor(31.0))


def test_a_half_answered_layer_is_not_yet():
    assert nb01.centred_layer(63, ..., ...).status == "not yet"


def test_tensor_fault_tells_kind_shape_value_and_nan():
    want = torch.zeros(3)
    assert tensor_fault([0, 0, 0], want, "case") == "case: expected a tensor, got list"
    assert tensor_fault(torch.zeros(2), want, "case") == "case: expected shape (3,), got (2,)"
    assert tensor_fault(torch.tensor([0.0, 0, torch.nan]), want, "c") == "c: at (2,) expected 0, got nan"
    assert tensor_fault(torch.tensor([0, 0, 0]), want, "case") is None
