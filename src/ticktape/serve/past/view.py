"""The lake and the tape as one, fixed for one question. Only workers import this: it loads Arrow and Delta."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ticktape.errors import Damaged, Misconfigured, Unavailable
from ticktape.lake import files
from ticktape.lake.arrow import numpy_of
from ticktape.lake.history import Cursor, Lake, Limits, Page, Snapshot
from ticktape.lake.scan import Wanted, columns_of, groups_of, pruned
from ticktape.lake.schema import TABLES
from ticktape.model.gaps import Gap
from ticktape.model.records import Channel, Records
from ticktape.serve import answers as a
from ticktape.serve.past.asks import Allowance, Ask, Ranged
from ticktape.serve.readers.gaps import GapLedger
from ticktape.tape.reader import Reader

BEGIN_NS, EVER_NS = -(2**63), 2**63 - 1


class Upto:
    """A tape that ends at a position."""

    def __init__(self, reader: Reader, end: int) -> None:
        self._reader = reader
        self.first = reader.first
        self.end = min(reader.end, end)

    def view(self, start: int, stop: int) -> Records:
        """Return records [start, stop) without copying."""
        return self._reader.view(start, min(stop, self.end))


class World:
    """A data folder as a worker has it open."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._lake = Lake(data / "lake")
        self._reader: Reader | None = None

    def view(self, ask: Ask) -> View:
        """Return what there is now, or was known then. The lake first and the tape after: so nothing lies between."""
        if self._reader is None:
            try:
                self._reader = Reader(self._data / "tape")
            except (Misconfigured, FileNotFoundError):
                raise Unavailable("there is no tape yet", hint="ticktape up") from None
        self._reader.release()
        try:
            snapshot = self._lake.snapshot()
        except Damaged:
            raise Damaged("the lake's log is not what was committed", hint="ticktape lake verify") from None
        self._reader.refresh()
        known_ns = ask.known_ns if isinstance(ask, Ranged) else None
        upto = ask.known_position if isinstance(ask, Ranged) else None
        return View(snapshot, self._reader, ask.allowance, known_ns, upto)


class View:
    """One version of every table, and the tape up to a position."""

    def __init__(
        self, snapshot: Snapshot, reader: Reader, allowance: Allowance, known_ns: int | None, upto: int | None
    ) -> None:
        self.snapshot = snapshot
        self.reader = reader
        self.known_ns = known_ns
        self.known = known_ns is not None or upto is not None
        self.tape = Upto(reader, EVER_NS if upto is None else upto)
        self.limits = Limits(allowance.rows_read, (allowance.memory_mb << 20) // 2, allowance.seconds)

    @property
    def sample(self) -> bool:
        """Whether the tape is SAMPLE."""
        return self.reader.meta.sample

    def state(self, table: str) -> a.LakeState:
        """Return which version of a table this is."""
        version = self.snapshot.versions[table]
        return a.LakeState(table, version.number, version.position)

    def read(
        self, table: str, ids: Sequence[int] | None, start_ns: int, end_ns: int, *, limit: int | None = None,
        after: Cursor | None = None, columns: Sequence[str] | None = None,
    ) -> Page:  # fmt: skip
        """Return rows, as known."""
        return self.snapshot.read(
            table, ids, start_ns, end_ns, limit=limit, after=after, columns=columns, known_at_ns=self.known_ns,
            tape=self.tape, limits=self.limits,
        )  # fmt: skip

    # -- gaps --------------------------------------------------------------------------------------

    def gaps(self, ids: Iterable[int], end_ns: int) -> GapLedger:
        """Return the ledger of some instruments and of whole sources, as known, of what began before `end_ns`."""
        page = self.read("gaps", [0, *ids], BEGIN_NS, end_ns)
        columns = columns_of(page.rows)
        names = {"ts_event": "ts_event", "ts_recv": "ts_recv", "instrument": "instrument_id", "source": "source_id",
                 "side": "side", "a": "gap_id", "b": "first_missing", "c": "last_missing", "d": "detail"}  # fmt: skip
        order = np.argsort(columns["position"], kind="stable")
        ledger = GapLedger(most=1_000_000)
        rows: dict[str, list[int]] = {field: columns[name][order].tolist() for field, name in names.items()}
        for i, position in enumerate(columns["position"][order].tolist()):
            record: dict[str, Any] = {field: values[i] for field, values in rows.items()}
            ledger.absorb(record, position)
        return ledger

    # -- when it began -----------------------------------------------------------------------------

    def recorded(self, table: str, instrument_id: int, kinds: Sequence[int] | None = None) -> tuple[int, int] | None:
        """Return the first and last venue time of an instrument's rows in a table, or None. Reads little."""
        first = self._end(table, instrument_id, kinds, newest=False)
        last = self._end(table, instrument_id, kinds, newest=True)
        return None if first is None or last is None else (first, last)

    def begin(self, table: str, instrument_id: int, kinds: Sequence[int] | None = None) -> int | None:
        """Return the first venue time of an instrument's rows in a table, or None."""
        return self._end(table, instrument_id, kinds, newest=False)

    def _end(self, table: str, instrument_id: int, kinds: Sequence[int] | None, *, newest: bool) -> int | None:
        wanted = Wanted((instrument_id,), BEGIN_NS, EVER_NS)
        found = [ts for ts in (self._tail_end(table, instrument_id, kinds, newest=newest),) if ts is not None]
        hits = pruned(self.snapshot.versions[table].files, wanted)
        partitions = sorted({entry.partition for entry in hits}, reverse=newest)
        for partition in partitions:
            entries = [entry for entry in hits if entry.partition == partition]
            if not any(self._may_hold(table, entry, wanted) for entry in entries):
                continue
            low = min(entry.low["ts_event"] for entry in entries)
            high = max(entry.high["ts_event"] for entry in entries)
            page = self.snapshot.read(
                table, [instrument_id], low, high + 1, columns=["ts_event", "kind", "ts_recv"], limits=self.limits,
                known_at_ns=self.known_ns,
            )  # fmt: skip
            ts = numpy_of(page.rows.column("ts_event"))
            if kinds is not None:
                ts = ts[np.isin(numpy_of(page.rows.column("kind")), kinds)]
            if len(ts):
                found.append(int(ts.max() if newest else ts.min()))
                break
        return (max if newest else min)(found, default=None)

    def _may_hold(self, table: str, entry: Any, wanted: Wanted) -> bool:
        try:
            return bool(groups_of(files.stored(self.snapshot.folder / table / entry.path, entry.size), wanted))
        except Damaged:
            return False

    def _tail_end(self, table: str, instrument_id: int, kinds: Sequence[int] | None, *, newest: bool) -> int | None:
        # Nothing of the lake: an empty list of its rows and the tape's own.
        start = max(self.snapshot.position(table), self.tape.first)
        records = self.tape.view(start, self.tape.end)
        mine = records["ts_event"][self._mine(table, records, instrument_id, kinds)]
        return int(mine.max() if newest else mine.min()) if len(mine) else None

    def _mine(self, table: str, records: Records, instrument_id: int, kinds: Sequence[int] | None) -> Any:
        mine = (records["instrument"] == instrument_id) & np.isin(records["kind"], kinds or TABLES[table].kinds)
        return mine if self.known_ns is None else mine & (records["ts_recv"] < self.known_ns)


def touching(
    ledger: GapLedger,
    instrument_id: int,
    start_ns: int,
    end_ns: int,
    channels: Iterable[Channel],
    sources: Iterable[int],
) -> list[Gap]:
    """Return the gaps that touch [start_ns, end_ns)."""
    return ledger.within(instrument_id, start_ns, end_ns - 1, channels, sources)
