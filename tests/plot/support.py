"""Makes the package tools/plot known to its tests; they are skipped where Python lacks what it draws with."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

try:
    import matplotlib  # noqa: F401
    import numpy  # noqa: F401
    import yaml  # noqa: F401
except ImportError as error:
    raise unittest.SkipTest(f"this Python cannot draw: {error}") from error
