"""Run ``tasks.py classroom``: ``tag``, ``student``, ``collect``, ``grade`` and ``sample``."""

import sys

from tools.classroom import cli

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
