"""Lets the tests of this folder share `crash_support` and the tape's `tape_support`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "unit" / "tape")]
