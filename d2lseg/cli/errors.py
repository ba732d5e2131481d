"""Which errors a user can mend, and how they are said in one line."""

from __future__ import annotations


def can_be_mended(error: BaseException) -> bool:
    """Tell whether an error is about the input or the machine, and not a bug.

    Parameters
    ----------
    error : BaseException
        What a command has raised.

    Returns
    -------
    bool
        Of the RuntimeErrors those that d2lseg raises, and those of torch on full memory; its others are bugs.
    """
    if isinstance(error, (ValueError, OSError, MemoryError, FloatingPointError)):
        return True
    return isinstance(error, RuntimeError) and (_out_of_memory(error) or _is_ours(error))


def in_one_line(error: BaseException) -> str:
    """Write an error's message without line breaks.

    Parameters
    ----------
    error : BaseException
        Whose message.

    Returns
    -------
    str
        Never empty.
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any(line.startswith("Original Traceback") for line in lines):
        lines = [lines[-1].partition(": ")[2]]  # from a process that reads ahead: "ValueError: its message"
    text = " ".join(lines) or type(error).__name__
    if isinstance(error, RuntimeError) and _out_of_memory(error):
        return f"out of memory; try a smaller --batch, --crop or --tile, or --device cpu ({text})"
    return text


def _out_of_memory(error: BaseException) -> bool:
    """Tell whether torch says that memory ran out, on a GPU or on the CPU."""
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


def _is_ours(error: BaseException) -> bool:
    """Tell whether d2lseg itself has raised an error."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "").startswith("d2lseg.")
