"""R2: the keeper killed at each named step, and anywhere: old state or new, every row once."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from lake_child import ended, start

from ticktape.keep.process import Keeper, KeepSettings
from ticktape.lake.history import Lake
from ticktape.lake.schema import TABLES
from ticktape.model.records import Kind, Records, Side, empty
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(300)

CAPACITY = 1024
DAY = 86_400 * 10**9
START = 1_763_640_000 * 10**9
EVER = (-(2**62), 2**62)
CHECKED = ("trades", "quotes", "gaps")  # book expires, bars are summed up below

_OF_A_FLUSH = [f"flush.{name}.{s}" for name in ("trades", "quality", "bars") for s in ("begun", "written", "committed")]
FLUSH = ["create.trades", "create.bars", "trades.writing", "trades.written", "bars.written", *_OF_A_FLUSH]
COMMIT = ["commit.trades.committed", "commit.quotes.committed"]
COMPACT = [f"compact.{name}.{step}" for name in ("trades", "bars") for step in ("begun", "written", "committed")]
EXPIRE = ["expire.book.begun", "expire.book.committed", "vacuum.trades.begun", "vacuum.trades.done"]
TRIM = ["trim.begun", "trim.done"]


def market(n: int) -> Records:
    """Return four days of trades, quotes, book and gaps, so that days close and expire."""
    chance = np.random.default_rng(7)
    records = empty(n)
    records["kind"] = chance.choice([Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.GAP], n)
    records["side"] = Side.BUY
    records["instrument"], records["source"] = chance.integers(1, 4, n), 1
    records["ts_event"] = records["ts_recv"] = START + np.arange(n) * (4 * DAY // n)
    records["a"], records["b"], records["c"] = 10**9 + np.arange(n), 1 + chance.integers(0, 10**6, n), np.arange(n) + 1
    return records


def recorded(folder: Path, n: int = 4000) -> Records:
    tape = Writer(folder / "tape", capacity=CAPACITY, sync_every_ms=0)
    tape.head.needed = 1 << 60  # no recorder will start on it, so it may be trimmed
    records = market(n)
    for k in range(0, n, 100):
        tape.append(records[k : k + 100])
    tape.close()
    reader = Reader(folder / "tape")
    return reader.view(reader.first, reader.end).copy()


def check(folder: Path, tape: Records) -> None:
    """Check that lake and tape together have every row once, at whatever step the keeper was killed."""
    reader = Reader(folder / "tape")
    snapshot = Lake(folder / "lake").snapshot()
    for name in CHECKED:
        positions, records = snapshot.records(name, None, *EVER, tape=reader)
        wanted = np.flatnonzero(np.isin(tape["kind"], TABLES[name].kinds))
        order = np.argsort(positions)
        assert np.array_equal(positions[order], wanted)
        plain = tape[wanted].copy()
        plain["back"] = 0
        assert np.array_equal(records[order], plain)
    built = snapshot.bars(None, *EVER, 3600 * 10**9, tape=reader).bars
    traded = tape[tape["kind"] == Kind.TRADE]
    assert (int(built["count"].sum()), int(built["volume_low"].sum())) == (len(traded), int(traded["b"].sum()))


def finish(folder: Path, tape: Records) -> None:
    """Let the next keeper go on from there, and check that it ends whole, with nothing left lying about."""
    made = Keeper(KeepSettings(data=folder, hot_hours=0), Reader(folder / "tape"))
    made.flush()
    made.close()
    check(folder, tape)
    assert made.flusher.position() == len(tape)
    assert not list((folder / "lake").glob("*/*/*.new"))


SAMPLED = ("flush.trades.written", "commit.trades.committed", "compact.bars.written", "trim.begun")
STEPS = [
    pytest.param(step, marks=[] if step in SAMPLED else pytest.mark.slow)
    for step in (*FLUSH, *COMMIT, *COMPACT, *EXPIRE, *TRIM)
]


@pytest.mark.parametrize("step", STEPS)
def test_r02_killed_at_a_named_step(tmp_path: Path, step: str) -> None:
    tape = recorded(tmp_path)
    assert ended(start(tmp_path, step)) == "killed", f"nobody passes {step}"
    check(tmp_path, tape)
    assert ended(start(tmp_path)) == "done"
    check(tmp_path, tape)
    finish(tmp_path, tape)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_r02_killed_anywhere(tmp_path: Path, seed: int) -> None:
    tape, chance = recorded(tmp_path), random.Random(seed)
    for _ in range(10):
        process = start(tmp_path)
        if ended(process, chance.uniform(0.1, 2.0)) == "running":
            process.kill()
            process.join()
        check(tmp_path, tape)
    finish(tmp_path, tape)
