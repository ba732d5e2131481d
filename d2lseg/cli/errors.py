"""Separate user errors from bugs, and print them on one line."""

from __future__ import annotations

import argparse


def is_user_error(error: BaseException) -> bool:
    """Return whether an error is about the input or the machine, and not a bug in the code.

    A RuntimeError is one if memory ran out, or if d2lseg raised it; torch's others are bugs.
    """
    if isinstance(error, (ValueError, OSError, MemoryError, FloatingPointError)):
        return True
    return isinstance(error, RuntimeError) and (_out_of_memory(error) or _is_ours(error))


def in_one_line(error: BaseException) -> str:
    """Return an error's message without line breaks; it is never empty."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(line.startswith("Original Traceback") for line in lines):
        lines = [lines[-1].partition(": ")[2]]  # from a worker process: "ValueError: its message"
    text = " ".join(lines) or type(error).__name__
    if _out_of_memory(error):
        return f"out of memory; try a smaller --batch, --crop or --tile, or --device cpu ({text})"
    return text


def with_classes(text: str, options: argparse.Namespace) -> str:
    """Repeat --classes where an error sends a user who gave it to the doctor, who needs it as well."""
    given, data = getattr(options, "classes", None), getattr(options, "data", None)
    if given is None or data is None:
        return text
    from ..engine.files import user_path

    advice = f"d2lseg doctor {user_path(data)}"
    return text.replace(advice, f"{advice} --classes {given}")


def _out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out; the import waits until there is an error, so that help is quick."""
    from ..engine.devices import out_of_memory

    return out_of_memory(error)


def _is_ours(error: BaseException) -> bool:
    """Return whether an error was raised in d2lseg itself."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("d2lseg.")
