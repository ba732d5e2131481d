"""Typical wrong answers are refused, with a helpful message."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from d2lseg.exercises import nb13


def reach(layers, extent=lambda k, s, d: d * (k - 1) + 1, grow=lambda width, s: (width - 1) * s):
    width = 1
    for k, s, d in reversed(layers):
        width = grow(width, s) + extent(k, s, d)
    return width


@pytest.mark.parametrize("layers", nb13.STACKS.values())
def test_the_reach_is_that_of_real_layers(layers):
    """The oracle: how many pixels have a gradient."""
    x = torch.zeros(1, 1, 65, requires_grad=True)
    y = x
    for k, s, d in layers:
        y = F.conv1d(y, torch.ones(1, 1, k), stride=s, dilation=d)
    y[..., 0].sum().backward()
    read = x.grad[0, 0].nonzero()
    assert int(read.max() - read.min()) + 1 == reach(layers)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda layers: reach(layers, lambda k, s, d: k), "dilation 4"),
        (lambda layers: reach(layers, lambda k, s, d: d * k), "expected 9"),
        (lambda layers: reach(layers, grow=lambda width, s: width - 1), "stride 2"),
        (lambda layers: reach(layers, grow=lambda width, s: width * s), "expected 3"),
        (lambda layers: reach(layers[::-1]), "expected"),
        (lambda layers: sum(d * (k - 1) for k, _, d in layers), "expected 3"),
    ],
)
def test_wrong_reaches(wrong, words):
    assert nb13.reach(reach)
    verdict = nb13.reach(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def beats(other, one):
    return other[0] <= one[0] and other[1] >= one[1] and other != one


def unbeaten(networks, better=beats):
    left = [n for n, one in networks.items() if not any(better(other, one) for other in networks.values())]
    return sorted(left, key=lambda name: networks[name][0])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda networks: unbeaten(networks, lambda other, one: other[0] < one[0] and other[1] > one[1]),
        lambda networks: unbeaten(networks, lambda other, one: other[1] > one[1]),  # the best score only
        lambda networks: unbeaten(networks, lambda other, one: other[0] <= one[0] and other[1] >= one[1]),
        lambda networks: unbeaten(networks, lambda other, one: other[0] >= one[0] and other[1] >= one[1]),
        lambda networks: sorted(unbeaten(networks)),
        lambda networks: list(networks),
        lambda networks: unbeaten(networks)[::-1],
    ],
)
def test_wrong_choices(wrong):
    assert nb13.unbeaten(unbeaten)
    assert nb13.unbeaten(lambda networks: unbeaten(dict(reversed(networks.items()))))  # ties either way
    verdict = nb13.unbeaten(wrong)
    assert verdict.status == "wrong" and "expected" in verdict.message


def quality(guess, truth, least=lambda iou: iou > 0.5, alone=0.5, empty=1.0, background=False, first=False):
    guessed, true = (
        [ids == number for number in ids.unique() if number or background] for ids in (guess, truth)
    )
    ious = [float((a & b).sum() / (a | b).sum()) for a in guessed for b in true]
    matches = [iou for iou in ious if least(iou)]
    left = len(guessed) + len(true) - 2 * len(matches)
    if first or guessed or true:
        return sum(matches) / (len(matches) + alone * left)
    return empty


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda g, t: quality(g, t, least=lambda iou: iou >= 0.5), "two objects guessed as one"),
        (lambda g, t: quality(g, t, alone=1.0), "expected"),
        (lambda g, t: quality(g, t, empty=0.0), "no object on either side"),
        (lambda g, t: quality(g, t, background=True), "expected"),
        (lambda g, t: float(((g > 0) & (t > 0)).sum() / ((g > 0) | (t > 0)).sum().clamp(min=1)), "expected"),
        (lambda g, t: float((g == t).float().mean()), "other numbers"),
        (lambda g, t: "good", "expected a number"),
        (
            lambda g, t: quality(g, t, first=True),
            "for no object on either side: expected 1.000, but your code divides by zero",
        ),
        (
            lambda g, t: quality(g, t, alone=0),
            "for two objects guessed as one: expected 0.000, but your code divides by zero",
        ),
    ],
)
def test_wrong_qualities(wrong, words):
    assert nb13.panoptic_quality(quality)
    verdict = nb13.panoptic_quality(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def test_half_an_answer_is_not_yet():
    for check in (nb13.reach, nb13.unbeaten, nb13.panoptic_quality):
        assert check(...).status == "not yet"
        assert check(lambda *arguments: None).status == "not yet"
    report = {"base": [..., ..., ...], "change": [..., ..., ...], "verdict": ..., "conclusion": ...}
    assert nb13.experiment(report).status == "not yet"


def test_a_report_is_judged_by_the_rule_of_the_spreads():
    conclusion = (
        "I dilated the backbone. The mean of three seeds rose from 0.40 to 0.60, by more than either spread, "
        "so it pays on these scenes; photographs may differ from drawings."
    )
    report = {"base": [0.4, 0.38, 0.42], "change": [0.6, 0.62, 0.58], "conclusion": conclusion}
    assert nb13.experiment(report | {"verdict": "better"})
    assert "does not follow" in nb13.experiment(report | {"verdict": "not seen"}).message


TEXT = "Both arms had three seeds and 40 seconds each, and only the learning rate was changed: {} became {}. "
TEXT += "What longer runs would show, these do not say."


@pytest.mark.parametrize(
    ("base", "change", "means"),
    [
        ([0.45, 0.47, 0.46], np.array([0.52, 0.53, 0.51]), (".46", "0.520")),
        (torch.tensor([0.45, 0.47, 0.46]), [0.52, 0.53, 0.51], ("0.46", "0.52")),
        ([0.565] * 3, [0.575] * 3, ("0.57", "0.57")),  # a mean in the middle, rounded in either direction
        ([0.565] * 3, [0.575] * 3, ("0.56", "0.58")),
    ],
)
def test_means_may_be_written_in_any_usual_way(base, change, means):
    report = {"base": base, "change": change, "verdict": "better", "conclusion": TEXT.format(*means)}
    assert nb13.experiment(report)


def test_a_difference_as_large_as_the_spread_is_not_seen():
    """In decimals both are 0.1; in floats the difference is a little larger."""
    report = {"base": [0.40, 0.45, 0.50], "change": [0.50, 0.55, 0.60], "verdict": "not seen"}
    assert nb13.experiment(report | {"conclusion": TEXT.format("0.45", "0.55")})


REPORT = {"base": [0.4] * 3, "change": [0.5] * 3, "verdict": "better"}
REPORT["conclusion"] = TEXT.format("0.40", "0.50")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ([0.4, 0.5], "expected a dictionary, got list"),
        (REPORT | {"base": 0.4}, "base: expected the mIoU of at least 3 seeds"),
        (REPORT | {"base": [40.0, 41.0, 42.0]}, "0 to 1 each"),
        (REPORT | {"conclusion": 0.5}, "expected the conclusion in words, got 0.5"),
        (REPORT | {"conclusion": "0.40 0.50"}, "has 2 words"),
        (REPORT | {"conclusion": TEXT.format("0.40", "0.5")}, "does not quote the mean 0.50"),
        (REPORT | {"conclusion": TEXT.format("40 %", "0.50")}, "does not quote the mean 0.40"),
    ],
)
def test_wrong_reports(wrong, words):
    assert nb13.experiment(REPORT)
    verdict = nb13.experiment(wrong)
    assert verdict.status == "wrong" and words in verdict.message
    for missing in (..., REPORT | {"base": None}, REPORT | {"conclusion": ...}):
        assert nb13.experiment(missing).status == "not yet"
