"""Read numbers on the command line; those out of range are wrong usage."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole(least: int) -> Callable[[str], int]:
    """Return a reader of whole numbers that are at least `least`."""

    def read(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return read


def _number(words: str, in_range: Callable[[float], bool]) -> Callable[[str], float]:
    """Return a reader of numbers in a range."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan  # in no range
        if not in_range(number):
            raise argparse.ArgumentTypeError(f"expected a number {words}, got {text!r}")
        return number

    return read


positive = _number("above 0", lambda number: 0 < number < math.inf)
not_negative = _number("of at least 0", lambda number: 0 <= number < math.inf)
below_one = _number("of at least 0 and below 1", lambda number: 0 <= number < 1)
share = _number("above 0 and below 1", lambda number: 0 < number < 1)


def old_to_new(text: str) -> tuple[int, int]:
    """Read two whole numbers written as ``OLD:NEW``."""
    old, _, new = text.partition(":")
    if not (old.strip().isdecimal() and new.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"expected two whole numbers OLD:NEW, such as 7:1, got {text!r}")
    return int(old), int(new)
