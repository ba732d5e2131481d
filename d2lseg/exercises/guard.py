"""Withhold functions from the student's code while a check runs that asks to write them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any

from torch.overrides import TorchFunctionMode


class Withheld(Exception):
    """The student's code called a function that the exercise asks to write."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} can't be used while this check runs: the exercise asks you to write it")


@contextmanager
def withheld(functions: Sequence[Callable[..., Any]]) -> Iterator[None]:
    """Let functions raise `Withheld`, under whatever name they are called.

    The student may have imported a function as another name, or wrapped it in one, before the check began.
    So a Python function gets another body, which all its names share. PyTorch's compiled functions have no
    body to exchange; they are caught when they are called.
    """
    whole = [inspect.unwrap(function) for function in functions]
    python = [function for function in whole if isinstance(function, FunctionType)]
    with ExitStack() as stack:
        for function in python:
            body, name = function.__code__, f"{function.__module__.split('.')[-1]}.{function.__qualname__}"
            stack.callback(setattr, function, "__code__", body)
            # with super() in it, a body has a free variable, and its replacement needs as many
            function.__code__ = _refuse.__code__.replace(co_name=name, co_freevars=body.co_freevars)
        if compiled := [function for function in whole if function not in python]:
            stack.enter_context(_Compiled(compiled))
        yield


def _refuse(*args: Any, **kwargs: Any) -> None:
    """Refuse any call. It stands in for functions of other modules, so it imports what it needs."""
    import inspect

    from d2lseg.exercises.guard import Withheld

    raise Withheld(inspect.currentframe().f_code.co_name)  # type: ignore[union-attr]


class _Compiled(TorchFunctionMode):
    """Refuse the given functions of PyTorch."""

    def __init__(self, functions: Sequence[Callable[..., Any]]) -> None:
        super().__init__()
        self.functions = functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Take the place of each of PyTorch's functions."""
        if any(func is function for function in self.functions):
            raise Withheld(f"torch.{func.__name__}")
        return func(*args, **(kwargs or {}))
