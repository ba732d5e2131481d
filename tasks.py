"""The course's commands: ``python3 tasks.py lab`` (``py tasks.py lab`` on Windows); ``--help`` lists all.

This file is kept to syntax that any Python reads, so that an old one gets a sentence and not a
``SyntaxError``. The commands themselves are in ``tools/commands.py``.
"""

import sys

OLDEST = (3, 10)


def too_old(version):
    """Say in one sentence that this Python cannot run the course, or give None."""
    if tuple(version[:2]) >= OLDEST:
        return None
    return (
        "The course needs Python %d.%d or newer, and this is Python %d.%d: start the command "
        "with a newer one, for example 'python3.12 tasks.py lab' or 'make lab PYTHON=python3.12'."
    ) % (OLDEST + tuple(version[:2]))


if __name__ == "__main__":
    trouble = too_old(sys.version_info)
    if trouble:
        sys.exit(trouble)
    from tools import commands

    sys.exit(commands.main(sys.argv[1:]))
