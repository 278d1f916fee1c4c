"""Runs the package when Python is given its folder: python3 tools/plot DIR..."""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from plot.command import main  # noqa: E402 (the folder of the package is made known first)

sys.exit(main(sys.argv[1:]))
