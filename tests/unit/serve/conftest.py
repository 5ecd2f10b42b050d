"""Lets the tests of this folder share `serve_support`: pytest's importlib mode leaves sys.path alone."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from serve_support import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Yield a data folder with a real tape, open for writing."""
    made = House(tmp_path / "data")
    yield made
    made.close()
