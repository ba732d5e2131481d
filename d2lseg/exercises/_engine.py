"""The engine of the exercise checks: three verdicts, one way to write a check.

A check is a function of the student's answer that returns ``None`` when the answer is right and a
sentence (or a ``Failure`` with a picture) about the failing case when it is wrong::

    @check("Count the stamps: the last one starts at (size - 1) * stride.")
    def size_formula(answer):
        for n in range(1, 6):
            got, want = call(answer, n), upsampling.trans_conv_size(n, 3)
            if got != want:
                return f"for size {n}: expected {want}, got {got!r}"

A stub (an answer that is ``...``, or a function that gives ``None`` or ``...`` or raises
``NotImplementedError``) is "not yet"; an exception in the student's code is "wrong", with its text.
A check never raises, so *Run All* always reaches the end of a notebook.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# How the verdicts begin. The kept outputs of the notebooks are held against them.
RIGHT, NOT_YET, WRONG = "Right.", "Not yet.", "Not right:"


class NotYet(Exception):
    """The answer is still the stub."""


@dataclass(frozen=True)
class Failure:
    """What is wrong with an answer, with an optional picture of it.

    Parameters
    ----------
    message
        What was expected and what came, on the failing case.
    draw
        Called without arguments to draw the case with matplotlib.
    """

    message: str
    draw: Callable[[], Any] | None = None


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check; true in a condition only when the answer is right.

    Parameters
    ----------
    status
        ``"right"``, ``"not yet"`` or ``"wrong"``.
    message
        What was printed.
    """

    status: str
    message: str = field(repr=False)

    def __bool__(self) -> bool:
        return self.status == "right"

    def _ipython_display_(self) -> None:
        """Show nothing: the message has been printed already."""


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the student's function.

    Parameters
    ----------
    function
        What the student wrote.
    *args, **kwargs
        Passed on.

    Returns
    -------
    Any
        What the function returned.

    Raises
    ------
    NotYet
        Where the function is still a stub.
    """
    if function is ...:
        raise NotYet
    try:
        result = function(*args, **kwargs)
    except NotImplementedError:
        raise NotYet from None
    if result is None or result is ...:
        raise NotYet
    return result


def value(answer: Any) -> Any:
    """Give back an answer that is a plain value.

    Parameters
    ----------
    answer
        What the student wrote.

    Returns
    -------
    Any
        The same answer; a list has become a tuple, a tensor or array of a single number that number.

    Raises
    ------
    NotYet
        Where the answer is still ``...`` or ``None``, or a tuple or list that holds one of them.
    """
    if isinstance(answer, (tuple, list)):
        return tuple(value(part) for part in answer)
    if answer is ... or answer is None:
        raise NotYet
    return answer.item() if getattr(answer, "ndim", None) == 0 else answer


def check(hint: str) -> Callable[[Callable[..., Any]], Callable[..., Verdict]]:
    """Turn a function that finds faults into a check that prints a verdict and never raises.

    Parameters
    ----------
    hint
        Printed with "Not yet" and after a wrong answer.

    Returns
    -------
    Callable
        A decorator. The check it makes takes the student's answer and returns a ``Verdict``.
    """

    def decorate(find_fault: Callable[..., Any]) -> Callable[..., Verdict]:
        @functools.wraps(find_fault)
        def run(*answer: Any, **kwargs: Any) -> Verdict:
            verdict, draw = _judge(find_fault, hint, answer, kwargs)
            print(verdict.message)
            if draw is not None:
                draw()
            return verdict

        return run

    return decorate


def _judge(find_fault, hint, answer, kwargs):
    """Run one check and put its outcome in words."""
    try:
        fault = find_fault(*answer, **kwargs)
    except NotYet:
        return Verdict("not yet", f"{NOT_YET} Hint: {hint}"), None
    except Exception as error:  # whatever the student's code raised is shown, never thrown
        fault = f"your code raised {type(error).__name__}: {error}"
    if fault is None:
        return Verdict("right", RIGHT), None
    if isinstance(fault, str):
        fault = Failure(fault)
    return Verdict("wrong", f"{WRONG} {fault.message}\nHint: {hint}"), fault.draw
