"""The command line, run in this process, and a small tape for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ticktape.cli.main import app
from ticktape.model.records import Kind, empty
from ticktape.tape.writer import Writer

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Return a function that runs `ticktape ARGS`."""
    runner = CliRunner()
    return lambda *args: runner.invoke(app, [str(arg) for arg in args])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder with a tape of 3 segments and one blob."""
    tape = Writer(tmp_path / "data" / "tape", capacity=4096, sync_every_ms=0)
    batch = empty(1000)
    batch["kind"], batch["instrument"], batch["ts_recv"] = Kind.TRADE, 1, 1_763_640_000_000_000_000
    for _ in range(10):
        tape.append(batch)
    record = empty(1)
    record["kind"] = Kind.BLOB
    record["a"], record["b"], record["c"] = tape.blob(b"a frame as it came")
    tape.append(record)
    tape.close()
    return tmp_path / "data"
