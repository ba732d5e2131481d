"""How numbers on the command line are read: what is out of range is wrong usage."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def whole(least: int) -> Callable[[str], int]:
    """Make the reader of a whole number.

    Parameters
    ----------
    least : int
        The smallest that is allowed.

    Returns
    -------
    callable
        For ``type=`` of an argument.
    """

    def read(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
        return int(text)

    return read


def positive(text: str) -> float:
    """Read a number above zero.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    ArgumentTypeError
        If it is anything else.
    """
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def not_negative(text: str) -> float:
    """Read a number of at least zero.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    ArgumentTypeError
        If it is anything else.
    """
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return number


def share(text: str) -> float:
    """Read a number above 0 and below 1.

    Parameters
    ----------
    text : str
        What was typed.

    Returns
    -------
    float
        A share.

    Raises
    ------
    ArgumentTypeError
        If it is anything else.
    """
    number = _number(text)
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"expected a number above 0 and below 1, got {text!r}")
    return number


def old_to_new(text: str) -> tuple[int, int]:
    """Read what a value becomes.

    Parameters
    ----------
    text : str
        Two whole numbers, ``OLD:NEW``.

    Returns
    -------
    tuple of int
        Both.

    Raises
    ------
    ArgumentTypeError
        If it is anything else.
    """
    old, _, new = text.partition(":")
    if not (old.strip().isdecimal() and new.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"expected two whole numbers OLD:NEW, such as 7:1, got {text!r}")
    return int(old), int(new)


def _number(text: str) -> float:
    """Read a number, or NaN, which no range holds."""
    try:
        return float(text)
    except ValueError:
        return math.nan
