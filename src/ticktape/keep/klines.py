"""Puts a venue's own bars of minutes into the lake, each once: what is there is not asked for again.

A commit holds whole minutes of one instrument and leaves the position of the table where it is, so that a crash
leaves them there or not, and a flush goes on where it was. See lake/klines.py for what such a row is.
"""

from __future__ import annotations

import numpy as np

from ticktape.clock import Clock, SystemClock
from ticktape.keep.flush import Flusher
from ticktape.keep.parts import by_month
from ticktape.lake import bars, klines
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker, pieces_of
from ticktape.lake.place import place
from ticktape.lake.scan import columns_of, scan
from ticktape.model.bars import Bars
from ticktape.model.records import Ints
from ticktape.tape.lock import Lock
from ticktape.tape.reader import Reader


class KlineStore:
    """The lake of one world, for as long as its bars are fetched: nobody else commits meanwhile."""

    def __init__(self, reader: Reader, disk: Disk | None = None, clock: Clock | None = None) -> None:
        """Take the lake's lock. Raises Busy while `keep` runs, Misconfigured when the lake is of another tape."""
        lake = reader.folder.parent / "lake"
        lake.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(lake / "keep.lock", "bootstrap")
        self._disk, self._maker, self._clock = disk or Disk(), Maker(), clock or SystemClock()
        try:
            self._table = Flusher(lake, reader, self._disk, clock=self._clock).tables["bars"]
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def missing(self, instrument_id: int, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Return the ranges [start, end) of whole minutes that are not stored. Raises Damaged."""
        names = ["ts_event", "basis"]
        version, table = self._table.version(), self._table.table
        rows = scan(self._table.folder, table, version.files, [instrument_id], start_ns, end_ns, columns=names)
        columns = columns_of(rows)
        have: Ints = np.unique(columns["ts_event"][klines.among(columns)])
        edges = np.concatenate([[start_ns - bars.MINUTE_NS], have, [end_ns]])
        holes = np.flatnonzero(np.diff(edges) > bars.MINUTE_NS)
        return [(int(edges[k]) + bars.MINUTE_NS, int(edges[k + 1])) for k in holes]

    def add(self, instrument_id: int, minutes: Bars) -> int:
        """Store minutes that `missing` named. Returns how many."""
        if not len(minutes):
            return 0
        who = np.full(len(minutes), instrument_id, dtype=np.int32)
        position = klines.position_of(self._clock.now_ns())
        columns = bars.to_columns(bars.Built(who, minutes), bars.KLINES, position)
        version, table = self._table.version(), self._table.table
        self._disk.step("klines.begun")
        written = [
            place(self._maker, self._table.folder, table, month, pieces_of(part), bounds, self._disk)
            for month, part, bounds in by_month(columns)
        ]
        self._disk.step("klines.written")
        self._table.commit(version.number, written, note={"ticktape": {"klines": len(minutes)}})
        self._disk.step("klines.committed")
        return len(minutes)
