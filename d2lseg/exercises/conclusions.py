"""Judge the report of a designed experiment: its seeds, its verdict and its conclusion."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from .verdicts import Fault, value

VERDICTS = ("better", "worse", "not seen")
SEEDS, WORDS = 3, 25  # of each arm, and of a conclusion
SLACK = 1e-9  # of sums of decimals: 0.55 - 0.45 is a little more than 0.50 - 0.40


def experiment_fault(report: Mapping[str, Any]) -> Fault:
    """Describe what is wrong with a report.

    It holds the scores of both arms, ``"base"`` and ``"change"``, one of `VERDICTS` as ``"verdict"``, and a
    ``"conclusion"`` in words that quotes both means to two digits.
    """
    if not isinstance(value(report), Mapping):
        return f"expected a dictionary, got {type(report).__name__}"
    missing = {"base", "change", "verdict", "conclusion"} - set(report)
    if missing:
        return f"the dictionary lacks {', '.join(map(repr, sorted(missing)))}"
    base, change = _scores(report["base"]), _scores(report["change"])
    verdict, conclusion = value(report["verdict"]), value(report["conclusion"])
    for name, scores in (("base", base), ("change", change)):
        if len(scores) < SEEDS or not all(isinstance(s, float) and 0 <= s <= 1 for s in scores):
            return f"{name}: expected the mIoU of at least {SEEDS} seeds, 0 to 1 each; got {list(scores)}"
    if verdict not in VERDICTS:
        return f"the verdict is one of {', '.join(map(repr, VERDICTS))}; got {verdict!r}"
    gain, spread = _difference(base, change)
    if verdict != _verdict(gain, spread):
        seen = f"the mean changes by {gain:+.3f}, and the larger spread is {spread:.3f}"
        return f"{verdict!r} does not follow from your scores: {seen}"
    return _words_fault(conclusion, [statistics.mean(scores) for scores in (base, change)])


def _words_fault(conclusion: Any, means: Sequence[float]) -> Fault:
    """Describe what is missing in a conclusion: words, or one of the means."""
    if not isinstance(conclusion, str):
        return f"expected the conclusion in words, got {conclusion!r}"
    if len(conclusion.split()) < WORDS:
        return f"the conclusion has {len(conclusion.split())} words; write at least {WORDS}"
    quoted = [float(number) for number in re.findall(r"\d*\.\d\d+", conclusion)]
    for mean in means:
        if not any(abs(number - mean) <= 0.005 + SLACK for number in quoted):
            return f"the conclusion does not quote the mean {mean:.2f}; give both means to two digits"
    return None


def _scores(given: Any) -> tuple[Any, ...]:
    """Read one arm's scores, a list, an array or a tensor; a single number is an arm of one seed."""
    scores = value(given.tolist() if isinstance(given, (Tensor, np.ndarray)) else given)
    return scores if isinstance(scores, tuple) else (scores,)


def _difference(base: Sequence[float], change: Sequence[float]) -> tuple[float, float]:
    """Give the difference of the means, and the larger of the two spreads."""
    gain = statistics.mean(change) - statistics.mean(base)
    return gain, max(max(scores) - min(scores) for scores in (base, change))


def _verdict(gain: float, spread: float) -> str:
    """Call a difference real only if it is larger than the larger spread."""
    if abs(gain) <= spread + SLACK:
        return "not seen"
    return "better" if gain > 0 else "worse"
