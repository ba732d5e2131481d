"""Typical wrong answers are refused, with a helpful message."""

import math
import operator
import statistics

import pytest

from d2lseg.exercises import nb10


def verdict(old, new, bar=lambda a, b: max(a, b), middle=statistics.mean, beats=operator.gt):
    """The solution of 10.1, with a part of the rule to exchange."""
    gain = middle(new) - middle(old)
    if not beats(abs(gain), bar(max(old) - min(old), max(new) - min(new))):
        return "not seen"
    return "better" if gain > 0 else "worse"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda old, new: verdict(old, new, bar=min), "spread"),
        (lambda old, new: verdict(old, new, bar=lambda a, b: a), "old spread only"),
        (lambda old, new: verdict(old, new, bar=lambda a, b: b), "new spread only"),
        (lambda old, new: verdict(old, new, bar=lambda a, b: a + b), "not their sum"),
        (lambda old, new: verdict(old, new, bar=lambda a, b: (a + b) / 2), "expected"),
        (lambda old, new: verdict(old, new, beats=operator.ge), "as large as the spread"),
        (lambda old, new: verdict(old, new, middle=max), "expected"),
        (lambda old, new: verdict(new, old), "clear gain"),
        (lambda old, new: "better" if statistics.mean(new) > statistics.mean(old) else "worse", "small gain"),
        (lambda old, new: "better" if min(new) > max(old) else "not seen", "expected"),
        (lambda old, new: verdict(old, new) == "better", "expected 'better', got True"),
        (lambda old, new: verdict(old[:3], new[: len(old)]), "expected"),
    ],
)
def test_wrong_verdicts(wrong, words):
    assert nb10.verdict(verdict)
    found = nb10.verdict(wrong)
    assert found.status == "wrong" and words in found.message


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n: 0.5**n,
        lambda n: 0.5 ** (n + 1),
        lambda n: 1 - 0.5 ** (n - 1),
        lambda n: 1 / n,
        lambda n: 100 * 0.5 ** (n - 1),
        lambda n: 0.25,
        lambda n: "half",
    ],
)
def test_wrong_chances(wrong):
    assert nb10.agree(lambda n: 0.5 ** (n - 1))
    verdict = nb10.agree(wrong)
    assert verdict.status == "wrong" and "expected" in verdict.message


def looks(layers, centre=lambda k, s, p, i: s * i - p + (k - 1) / 2):
    position = 0
    for layer in reversed(layers):
        position = centre(*layer, position)
    return position


def painted(layers):
    return (math.prod(s for _, s, _ in layers) - 1) / 2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda layers: 15.5,
        painted,  # as if every backbone looked at its corners
        looks,
        lambda layers: looks(layers) - painted(layers),  # the other way
        lambda layers: abs(painted(layers) - looks(layers)),
        lambda layers: painted(layers) - looks(layers[::-1]),  # the first layer last
        lambda layers: painted(layers) - looks(layers, lambda k, s, p, i: s * i - p + k / 2),
        lambda layers: painted(layers) - looks(layers, lambda k, s, p, i: s * i - p),  # where windows begin
        lambda layers: (painted(layers) * 2 + 1) / 2 - looks(layers),  # half a stride
    ],
)
def test_wrong_shifts(wrong):
    assert nb10.shift(lambda layers: painted(layers) - looks(layers))
    verdict = nb10.shift(wrong)
    assert verdict.status == "wrong" and "cell 0 looks at" in verdict.message


def test_half_an_answer_is_not_yet():
    for check in (nb10.verdict, nb10.agree, nb10.shift):
        assert check(...).status == "not yet"
        assert check(lambda *arguments: None).status == "not yet"
    report = {"base": [..., ..., ...], "change": [..., ..., ...], "verdict": ..., "conclusion": ...}
    assert nb10.experiment(report).status == "not yet"


def test_a_report_is_judged_as_in_notebook_08():
    words = (
        "I mirrored no image. The mean of three seeds fell from 0.60 to 0.40, by more than either spread, "
    )
    conclusion = words + "so on these scenes mirroring helps; other data may differ."
    report = {"base": [0.6, 0.62, 0.58], "change": [0.4, 0.38, 0.42], "conclusion": conclusion}
    assert nb10.experiment(report | {"verdict": "worse"})
    assert "does not follow" in nb10.experiment(report | {"verdict": "better"}).message
