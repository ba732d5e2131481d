"""The command line: ``python -m d2lseg train``, ``evaluate``, ``predict``, ``export``, ``doctor``, ``data``.

`options` defines what each command accepts. A command is a module of the same name with a function ``run``,
imported when it is called, so that ``--help`` need not wait for torch.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from .errors import in_one_line, is_user_error, with_classes
from .options import make_parser

INTERRUPTED = 130  # the exit status that shells expect after Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    A user error is printed as one line on stderr. ``--traceback``, or ``D2LSEG_TRACEBACK=1`` in the
    environment, shows where it was raised; a bug always does.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default ``sys.argv`` without the program.

    Returns
    -------
    int
        0, 1 after an error, or 130 after Ctrl-C. Wrong usage exits with 2 at once.
    """
    options = make_parser().parse_args(arguments)
    try:
        return importlib.import_module(f".{options.command}", __package__).run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        shown = options.traceback or os.environ.get("D2LSEG_TRACEBACK", "0") != "0"
        if shown or not is_user_error(error):
            raise
        print(f"error{_process()}: {with_classes(in_one_line(error), options)}", file=sys.stderr)
        return 1


def _process() -> str:
    """Return which of several processes this is, in words."""
    from ..engine.distributed import ranks

    return f" in process {ranks().rank}" if ranks().world_size > 1 else ""
