"""Verdicts of the exercise checks, and the decorator that turns a function into a check.

A check receives the student's answer. It returns ``None`` if the answer is right, and otherwise a sentence
about the failing case, or a ``Failure`` with a figure of it::

    @check("Count the stamps: the last one starts at (size - 1) * stride.")
    def size_formula(answer: Any) -> Fault:
        for n, want in ((1, 3), (2, 4), (5, 7)):
            got = call(answer, n)
            if got != want:
                return f"for size {n}: expected {want}, got {got!r}"
        return None

What is expected comes from kept values or a naive loop, never from the module's own function: where a
student is asked to write one, ``@check(hint, withhold=[upsampling.trans_conv_size])`` keeps it from the
answer, and from the check.

A stub gets the verdict "not yet": an answer that is ``...``, or a function that returns ``None`` or ``...``
or raises ``NotImplementedError`` without a message. A function that returns ``None`` though its body does
something is told so, because it may be finished except for its ``return``.
Any other exception in the student's code gets "wrong" and is quoted with its line, also the
``NotImplementedError`` with which PyTorch refuses a wrong shape or type. A check itself never raises, so
*Run All* always reaches the end of a notebook.
"""

from __future__ import annotations

import dis
import functools
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
from torch import Tensor

from .guard import Withheld, withheld

# How each printed verdict begins; the notebooks' stored outputs are tested for it.
RIGHT, NOT_YET, WRONG = "Right.", "Not yet.", "Not right:"

# Printed after "Not yet." where a function may be finished.
RETURNED_NONE = "Your function returned None. If it is finished, does it end with a return statement?"

# What a body of nothing but ..., pass, a docstring or return None consists of, in any version of Python.
_IDLE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}

# The folder of the checks, and the package around it.
CHECKS = Path(__file__).resolve().parent
PACKAGE = CHECKS.parent

# The latest verdict of each check in this session and its time, by the check's module and name; see `report`.
GIVEN: dict[tuple[str, str], tuple[Verdict, float]] = {}


class NotYet(Exception):
    """The answer is still the stub; a message, if it has one, is printed before the hint."""


@dataclass(frozen=True)
class Failure:
    """What is wrong with an answer, with an optional figure of the failing case.

    Parameters
    ----------
    message
        The failing case, what was expected and what the answer gave.
    draw
        Draws the case with matplotlib; called without arguments.
    """

    message: str
    draw: Callable[[], Any] | None = None


Fault = str | Failure | None


@dataclass(frozen=True)
class Verdict:
    """The outcome of a check, true in a condition only if the answer is right.

    Parameters
    ----------
    status
        ``"right"``, ``"not yet"`` or ``"wrong"``.
    message
        The printed text.
    """

    status: str
    message: str = field(repr=False)

    def __bool__(self) -> bool:
        return self.status == "right"

    def _ipython_display_(self) -> None:
        """Display nothing, because the message has already been printed."""


def call(function: Callable[..., Any] | EllipsisType, *args: Any, **kwargs: Any) -> Any:
    """Call the student's function and return its result.

    Raises
    ------
    NotYet
        If the function is still a stub.
    """
    if function is ...:
        raise NotYet
    try:
        result = function(*args, **kwargs)
    except NotImplementedError as error:
        if str(error):  # PyTorch refuses a wrong shape or type with this error, and says so
            raise
        raise NotYet from None
    if result is None and not _is_idle(function):
        raise NotYet(RETURNED_NONE)
    if result is None or result is ...:
        raise NotYet
    return result


def _is_idle(function: Callable[..., Any]) -> bool:
    """Tell whether a function's body does nothing: a stub returns None, as does one that only prints."""
    code = getattr(function, "__code__", None)
    return code is not None and {step.opname for step in dis.get_instructions(code)} <= _IDLE


def value(answer: Any) -> Any:
    """Return a plain value: a list as a tuple, a tensor or array without dimensions as a number.

    Raises
    ------
    NotYet
        If the answer is still ``...`` or ``None``, or a tuple or list that contains one of them.
    """
    if isinstance(answer, (tuple, list)):
        return tuple(value(part) for part in answer)
    if answer is ... or answer is None:
        raise NotYet
    is_number = isinstance(answer, (Tensor, np.ndarray, np.generic)) and answer.ndim == 0
    return answer.item() if is_number else answer


def check(
    hint: str, withhold: Sequence[Callable[..., Any]] = ()
) -> Callable[[Callable[..., Fault]], Callable[..., Verdict]]:
    """Turn a function that finds faults into a check, which prints a verdict and never raises.

    Parameters
    ----------
    hint
        Printed with "Not yet" and after a wrong answer.
    withhold
        Functions that the exercise asks to write; they raise while the check runs.

    Returns
    -------
    Callable
        A decorator. The check that it makes takes the student's answer and returns a ``Verdict``.
    """

    def decorate(find_fault: Callable[..., Fault]) -> Callable[..., Verdict]:
        @functools.wraps(find_fault)
        def run(*answer: Any, **kwargs: Any) -> Verdict:
            with withheld(withhold):
                verdict, draw = _judge(lambda: find_fault(*answer, **kwargs), hint)
            GIVEN[find_fault.__module__, find_fault.__name__] = verdict, time.time()
            print(verdict.message)
            if draw is not None:
                draw()
            return verdict

        return run

    return decorate


def _judge(find_fault: Callable[[], Fault], hint: str) -> tuple[Verdict, Callable[[], Any] | None]:
    """Run one check and return its verdict, with the function that draws the failing case, if any."""
    try:
        fault = find_fault()
    except NotYet as stub:
        message = " ".join(part for part in (NOT_YET, str(stub), f"Hint: {hint}") if part)
        return Verdict("not yet", message), None
    except Withheld as error:
        fault = str(error)
    except Exception as error:  # the student's code may raise anything: report it, never raise it
        fault = _raised(error)
    if fault is None:
        return Verdict("right", RIGHT), None
    if isinstance(fault, str):
        fault = Failure(fault)
    return Verdict("wrong", f"{WRONG} {fault.message}\nHint: {hint}"), fault.draw


def _raised(error: Exception) -> str:
    """Say what was raised, and by which line of the student's function, or that the check itself tripped."""
    told = f"{type(error).__name__}: {error}"
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.parent == CHECKS:
            continue
        own = PACKAGE not in path.parents and "site-packages" not in path.parts
        return f"your code raised {told}" + (f", in the line `{frame.line}`" if own and frame.line else "")
    return f"the check can't use your answer as it is ({told}): what should it take, and return?"
