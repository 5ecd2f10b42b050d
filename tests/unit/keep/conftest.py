"""Lets the tests of this folder share the `lake_support` of the lake: pytest's importlib mode leaves sys.path alone."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / "lake"), str(Path(__file__).parent)]

from lake_support import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Yield a world with a real tape, open for writing, and a lake."""
    made = World(tmp_path / "world")
    yield made
    made.close()
