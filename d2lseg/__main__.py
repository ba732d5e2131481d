"""``python -m d2lseg``: the command line, see `cli`."""

import io
import os
import sys

from .cli import main

if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # so that a log shows each epoch when it ends
    if not sys.stderr.isatty():
        # in a log, one line of a progress bar per minute is enough; tqdm reads this
        os.environ.setdefault("TQDM_MININTERVAL", "60")
    sys.exit(main())
