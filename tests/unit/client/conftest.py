"""Lets the tests of this folder use serve's support modules: pytest's importlib mode leaves sys.path alone."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "serve")]

from serve_support import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Yield a data folder with a real tape, open for writing."""
    made = House(tmp_path / "data")
    yield made
    made.close()
