"""Typical wrong answers are refused, with a helpful message."""

import statistics

import pytest
import torch

from d2lseg import metrics
from d2lseg.exercises import nb08


def nearest_mean(x, y, new):
    """The solution of 08.1."""
    classes = y.unique()
    means = torch.stack([x[y == c].mean(0) for c in classes])
    return classes[torch.cdist(new, means).argmin(1)]


def nearest_point(x, y, new):
    return y[torch.cdist(new, x).argmin(1)]


def row_of_the_mean(x, y, new):
    means = torch.stack([x[y == c].mean(0) for c in y.unique()])
    return torch.cdist(new, means).argmin(1)


def farthest_mean(x, y, new):
    return nearest_mean(x, y, -new)


def median_feature(x, y, new):
    classes = y.unique()
    return classes[torch.cdist(new, torch.stack([x[y == c].median(0).values for c in classes])).argmin(1)]


def test_nearest_means():
    assert nb08.nearest_mean(nearest_mean)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (nearest_point, "at ("),
        (row_of_the_mean, "at ("),
        (farthest_mean, "at ("),
        (median_feature, "at ("),
        (lambda x, y, new: torch.zeros(len(new)), "at ("),
        (lambda x, y, new: nearest_mean(x, y, x), "expected shape (40,)"),
        (lambda x, y, new: nearest_mean(x, y, new).tolist(), "expected a tensor"),
        (lambda x, y, new: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_wrong_nearest_means(wrong, words):
    verdict = nb08.nearest_mean(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def two_ways(pairs, void=0, mean_of_images=False, scored=slice(None)):
    """The solution of 08.2, with parts to exchange."""
    hits = sum(int((p == torch.where(t == 255, void, t)).sum()) for p, t in pairs)
    its_way = hits / sum(t.numel() for _, t in pairs)
    matrices = [metrics.confusion_matrix(p, t, 4) for p, t in pairs]
    each = [metrics.scores(m) for m in matrices] if mean_of_images else [metrics.scores(sum(matrices))]
    honest = statistics.mean(s.pixel_acc for s in each), statistics.mean(s.miou for s in each)
    return (its_way, *honest)[scored]


def test_two_ways_to_score():
    assert nb08.two_ways(two_ways)
    assert nb08.two_ways(lambda pairs: list(map(torch.tensor, two_ways(pairs))))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda pairs: two_ways(pairs, void=255), "for the accuracy its way"),
        (lambda pairs: two_ways(pairs, void=1), "for the accuracy its way"),
        (lambda pairs: two_ways(pairs, mean_of_images=True), "for the mIoU"),
        (lambda pairs: two_ways(pairs, scored=slice(2)), "expected three numbers"),
        (lambda pairs: (*two_ways(pairs)[:2], 0.5), "for the mIoU"),
        (lambda pairs: two_ways(pairs)[::-1], "for the accuracy its way"),
        (lambda pairs: ("high", "higher", "highest"), "got 'high'"),
    ],
)
def test_wrong_ways_to_score(wrong, words):
    verdict = nb08.two_ways(wrong)
    assert verdict.status == "wrong" and words in verdict.message


def fewest(curve, rival, best=min, least=max, order=sorted):
    """The solution of 08.3, with parts to exchange."""
    return next((n for n in order(curve) if best(curve[n]) > least(rival)), None)


def test_fewest_photographs():
    assert nb08.fewest(fewest)
    assert nb08.fewest(
        lambda curve, rival: min((n for n in curve if min(curve[n]) > max(rival)), default=None)
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda c, r: fewest(c, r, best=statistics.mean, least=statistics.mean), "the worst seed"),
        (lambda c, r: fewest(c, r, best=max), "one that passes later"),
        (lambda c, r: fewest(c, r, best=statistics.mean), "the worst seed"),
        (lambda c, r: next((n for n in sorted(c) if min(c[n]) >= max(r)), None), "a tie"),
        (lambda c, r: fewest(c, r, order=list), "counts out of order"),
        (lambda c, r: fewest(c, r) or 0, "one that never passes"),
        (lambda c, r: fewest(c, r) or ..., "got ..."),
        (lambda c, r: fewest(c, r, order=lambda c: sorted(c, reverse=True)), "at once"),
    ],
)
def test_wrong_fewest(wrong, words):
    verdict = nb08.fewest(wrong)
    assert verdict.status == "wrong" and words in verdict.message


CONCLUSION = (
    "I froze the backbone and raised the rate of the score layers. The mean of three seeds rose from 0.40 to "
    "0.60, by more than either spread. It says nothing about longer runs or about other data."
)
REPORT = {
    "base": [0.4, 0.38, 0.42],
    "change": [0.6, 0.62, 0.58],
    "verdict": "better",
    "conclusion": CONCLUSION,
}


def test_an_experiment_is_judged_by_its_seeds():
    assert nb08.experiment(REPORT)
    worse = REPORT | {"base": REPORT["change"], "change": REPORT["base"], "verdict": "worse"}
    assert nb08.experiment(worse)
    close = REPORT | {"base": [0.3, 0.4, 0.5], "change": [0.55, 0.6, 0.65]}
    assert nb08.experiment(close | {"verdict": "not seen"}).status == "right"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": [0.4, 0.4]}, "at least 3 seeds"),
        ({"change": [0.6, 0.6, 62.0]}, "at least 3 seeds"),
        ({"verdict": "not seen"}, "does not follow"),
        ({"verdict": "yes"}, "the verdict is one of"),
        ({"conclusion": "It works, from 0.40 to 0.60."}, "write at least 25"),
        ({"conclusion": CONCLUSION.replace("0.40", "low")}, "does not quote the mean 0.40"),
        ({"conclusion": CONCLUSION.replace("0.60", "high")}, "does not quote the mean 0.60"),
    ],
)
def test_wrong_experiments(change, words):
    verdict = nb08.experiment(REPORT | change)
    assert verdict.status == "wrong" and words in verdict.message


def test_a_report_without_a_conclusion_is_wrong_and_one_of_dots_is_not_yet():
    short = {k: v for k, v in REPORT.items() if k != "conclusion"}
    assert "lacks 'conclusion'" in nb08.experiment(short).message
    assert nb08.experiment(REPORT | {"change": [..., ..., ...]}).status == "not yet"
    assert nb08.experiment(REPORT | {"conclusion": ...}).status == "not yet"
