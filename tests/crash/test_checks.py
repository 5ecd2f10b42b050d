"""R2: the keeper killed while it notes spot checks and settled days: each note is there once or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from ticktape.lake.history import Lake
from ticktape.lake.notes import FIRST, Note, Noted, read
from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import Kind, empty
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(300)

CHILD = Path(__file__).parent / "checks_child.py"
DAY = 86_400 * 10**9
MIDNIGHT = 1_763_596_800 * 10**9  # 2025-11-20
EVER = (-(2**62), 2**62)
WHO = [0, 1, 2, 3]
STEPS = [f"{what}.{step}" for what in ("settle", "spot") for step in ("begun", "written", "committed")]
SAMPLED = ("settle.written", "spot.committed")


def recorded(data: Path, n: int = 3000) -> None:
    """Record three days of trades of three instruments; the last has not settled."""
    directory = TapeDirectory(data / "tape")
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        listing = Listing(
            symbol=symbol, venue="binance", asset_class=AssetClass.CRYPTO, tick_size=Decimal("0.01"),
            size_step=Decimal("0.00001"),
        )  # fmt: skip
        directory.enrol("binance", symbol, listing)
    directory.source_id("binance")
    directory.close()
    tape = Writer(data / "tape", capacity=1024, sync_every_ms=0)
    records = empty(n)
    records["kind"], records["source"] = Kind.TRADE, 1
    records["instrument"] = 1 + np.arange(n) % 3
    records["ts_event"] = records["ts_recv"] = MIDNIGHT + np.arange(n) * (3 * DAY // n)
    records["a"], records["b"], records["c"] = 10**9 + np.arange(n), 1, np.arange(n) + 1
    for start in range(0, n, 100):
        tape.append(records[start : start + 100])
    tape.close()


def child(data: Path, crash_at: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "TICKTAPE_CRASH_AT": crash_at}
    return subprocess.Popen([sys.executable, str(CHILD), str(data)], env=environment, stdout=subprocess.PIPE, text=True)


def notes_of(data: Path, *kinds: Noted) -> list[Note]:
    return read(Lake(data / "lake").snapshot(), kinds, WHO, *EVER)


def check(data: Path) -> None:
    """Check that what is noted is whole: a settled day with all its summaries, and nothing twice."""
    settled, summaries = notes_of(data, Noted.SETTLED), notes_of(data, Noted.SUMMARY)
    assert max(Counter(note.ts_event for note in settled).values(), default=1) == 1
    assert Counter(note.ts_event for note in summaries) == {note.ts_event: 3 for note in settled}
    spots = notes_of(data, Noted.SPOT)
    assert max(Counter((n.c, n.d, n.side) for n in spots).values(), default=1) == 1
    assert all(note.a == note.b for note in spots)
    places = [note.position for note in (*settled, *summaries, *spots)]
    assert len(set(places)) == len(places)
    assert all(place >= FIRST for place in places)


@pytest.mark.parametrize("step", [pytest.param(s, marks=[] if s in SAMPLED else pytest.mark.slow) for s in STEPS])
def test_killed_while_it_notes(tmp_path: Path, step: str) -> None:
    recorded(tmp_path)
    with child(tmp_path, step) as process:
        assert process.wait() == -signal.SIGKILL, f"nobody passes {step}"
    check(tmp_path)
    with child(tmp_path) as process:
        assert process.communicate()[0] == "done\n"
    check(tmp_path)
    assert len(notes_of(tmp_path, Noted.SETTLED)) == 2
    assert not list((tmp_path / "lake").glob("*/*/*.new"))
