"""What every test may ask for: a folder for a tape, a free port, and a command line that keeps to itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog


@pytest.fixture
def tape_folder(tmp_path: Path) -> Path:
    """Return a folder that does not exist yet, for a tape."""
    return tmp_path / "tape"


@pytest.fixture
def port() -> int:
    """Return a port that was free a moment ago; bind port 0 where the part allows it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a command without --data away from the user's own data."""
    monkeypatch.setenv("TICKTAPE_DATA", str(tmp_path / "data"))


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Forget what a command run in this process said of logs: its stderr is closed when the next test begins."""
    yield
    structlog.reset_defaults()
