"""A world with a real tape and its lake, and a market to put on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ticktape.clock import ManualClock
from ticktape.keep.compact import compact
from ticktape.keep.flush import Flushed, Flusher
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker
from ticktape.lake.history import Lake, Snapshot
from ticktape.model.records import Flag, GapState, Ints, Kind, Records, empty, pack_gap
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

CAPACITY = 8192
SECOND = 10**9
DAY = 86_400 * SECOND
NOON = 1_763_640_000 * SECOND  # 2025-11-20T12:00:00Z
EVER = (-(2**62), 2**62)


def market(
    n: int, *, start_ns: int = NOON, step_ns: int = SECOND // 10, instruments: int = 3, seed: int = 1
) -> Records:
    """Return a mixed market: trades, quotes, book levels, a status now and then, some rows out of order."""
    chance = np.random.default_rng(seed)
    records = empty(n)
    kinds = [Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.AGG_TRADE, Kind.STATUS, Kind.GAP, Kind.CLOCK]
    records["kind"] = chance.choice(kinds, n, p=[0.5, 0.2, 0.2, 0.04, 0.02, 0.02, 0.02])
    records["instrument"] = chance.integers(1, instruments + 1, n)
    records["ts_recv"] = start_ns + step_ns * np.arange(n)
    records["ts_event"] = records["ts_recv"] - chance.integers(0, 3 * SECOND, n)
    records["a"] = 10**10 + chance.integers(-(10**6), 10**6, n)
    records["b"] = chance.integers(1, 10**9, n)
    records["c"] = np.arange(1, n + 1)
    records["d"] = chance.integers(0, 5, n)
    records["side"] = chance.integers(0, 3, n)
    records["source"] = 1
    records["flags"] = np.where(chance.random(n) < 0.01, int(Flag.SPIKE), 0)
    gaps = records["kind"] == Kind.GAP
    records["side"][gaps], records["d"][gaps] = GapState.CLOSED, pack_gap(1, 1, 5000)
    return records


def trades(n: int, **more: Any) -> Records:
    """Return trades only."""
    records = market(n, **more)
    records["kind"], records["flags"] = Kind.TRADE, 0
    return records


NOTHING_NEEDED = 1 << 60  # no recorder will start on it, so it may be trimmed


class World:
    """A data folder with a tape that can be written and a lake."""

    def __init__(self, folder: Path, *, capacity: int = CAPACITY) -> None:
        self.folder = folder
        self.lake = folder / "lake"
        self.clock = ManualClock(NOON + 30 * DAY)
        self.tape = Writer(folder / "tape", capacity=capacity, sync_every_ms=0, clock=self.clock)
        self.tape.head.needed = NOTHING_NEEDED
        self.reader = Reader(folder / "tape")
        self._flusher: Flusher | None = None
        self._lake: Lake | None = None

    def append(self, records: Records) -> None:
        """Append records in batches."""
        for start in range(0, len(records), 500):
            self.tape.append(records[start : start + 500])

    def flusher(self, disk: Disk | None = None, chunk: int = 1 << 20) -> Flusher:
        """Return a new flusher, as after a restart."""
        return Flusher(self.lake, Reader(self.folder / "tape"), disk, chunk=chunk)

    def flush(self, stop: int | None = None, **more: Any) -> list[Flushed]:
        """Flush with one flusher."""
        if self._flusher is None or more:
            self._flusher = self.flusher(**more)
        return self._flusher.flush(stop)

    def compact(self, table: str, partition: str, disk: Disk | None = None) -> Any:
        """Compact one partition."""
        return compact(self.flusher().tables[table], partition, disk or Disk(""), Maker())

    def snapshot(self) -> Snapshot:
        """Return what the lake has now."""
        self._lake = self._lake or Lake(self.lake)
        return self._lake.snapshot()

    def on_tape(self, *kinds: Kind) -> tuple[Ints, Records]:
        """Return (positions, records) of some kinds, without their links, sorted as the lake sorts."""
        end = self.reader.refresh()
        everything = self.reader.view(self.reader.first, end)
        positions: Ints = np.flatnonzero(np.isin(everything["kind"], kinds)) + self.reader.first
        found = everything[positions - self.reader.first].copy()
        found["back"] = 0
        order = np.lexsort((positions, found["ts_event"], found["instrument"]))
        return positions[order], found[order]

    def close(self) -> None:
        """Close the tape."""
        self.tape.close()


def same_rows(got: tuple[Ints, Records], wanted: tuple[Ints, Records]) -> bool:
    """Say whether two are the same rows, whatever their order."""
    a, b = np.argsort(got[0]), np.argsort(wanted[0])
    return bool(np.array_equal(got[0][a], wanted[0][b]) and np.array_equal(got[1][a], wanted[1][b]))
