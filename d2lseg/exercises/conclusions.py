"""Judge the report of a designed experiment: its seeds, its verdict and its conclusion."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .verdicts import Fault, value

VERDICTS = ("better", "worse", "not seen")
SEEDS, WORDS = 3, 25  # of each arm, and of a conclusion


def experiment_fault(report: Mapping[str, Any]) -> Fault:
    """Describe what is wrong with a report.

    It holds the scores of both arms, ``"base"`` and ``"change"``, one of `VERDICTS` as ``"verdict"``, and a
    ``"conclusion"`` in words that quotes both means to two digits.
    """
    missing = {"base", "change", "verdict", "conclusion"} - set(report)
    if missing:
        return f"the dictionary lacks {', '.join(sorted(missing))}"
    base, change = value(list(report["base"])), value(list(report["change"]))
    verdict, conclusion = value(report["verdict"]), value(report["conclusion"])
    for name, scores in (("base", base), ("change", change)):
        if len(scores) < SEEDS or not all(isinstance(s, float) and 0 <= s <= 1 for s in scores):
            return f"{name}: expected the mIoU of at least {SEEDS} seeds, 0 to 1 each; got {list(scores)}"
    if verdict not in VERDICTS:
        return f"the verdict is one of {', '.join(map(repr, VERDICTS))}; got {verdict!r}"
    if verdict != _verdict(base, change):
        return f"{verdict!r} does not follow: compare the difference of the means with the larger spread"
    if len(conclusion.split()) < WORDS:
        return f"the conclusion has {len(conclusion.split())} words; write at least {WORDS}"
    means = [f"{statistics.mean(scores):.2f}" for scores in (base, change)]
    if absent := [mean for mean in means if mean not in conclusion]:
        return f"the conclusion does not quote the mean {absent[0]}; give both means to two digits"
    return None


def _verdict(base: Sequence[float], change: Sequence[float]) -> str:
    """Call a difference real only if it is larger than the larger of the two spreads."""
    gain = statistics.mean(change) - statistics.mean(base)
    if abs(gain) <= max(max(scores) - min(scores) for scores in (base, change)):
        return "not seen"
    return "better" if gain > 0 else "worse"
