"""The ledger of gaps as a certificate reads it: GAP records folded to one row a gap, newest word last."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from msgspec import Struct

from ticktape.model.records import Channel, GapCause, GapState, Ints, Kind, Records, unpack_gap

FOREVER_NS = 2**63 - 1


class GapRow(Struct, frozen=True, kw_only=True):
    """One gap. What is missing lies in [start_ns, end_ns] of venue time; end_ns is FOREVER_NS while it is open."""

    gap_id: int
    instrument_id: int  # 0: everything the source carries
    source_id: int  # 0: the recorder itself, so everything
    channel: Channel
    cause: GapCause
    state: GapState
    start_ns: int
    end_ns: int
    first_missing: int | None = None
    last_missing: int | None = None
    proven: bool = False  # dense ids went on where they ended: nothing was missed

    @property
    def has_ids(self) -> bool:
        """Whether the missing ids are known."""
        return self.first_missing is not None

    @property
    def may_renumber(self) -> bool:
        """Whether the venue may have begun to number anew: the gap is over, and no ids are known of it."""
        return self.state != GapState.OPENED and not self.has_ids and not self.proven


def ledger(records: Records, positions: Ints | None = None) -> list[GapRow]:
    """Fold GAP records, in the order of the tape or with their positions, to one row a gap, by start.

    An end (filled, unfillable) is never undone by an older word, and ids once named stay named.
    """
    chosen = np.flatnonzero(records["kind"] == Kind.GAP)
    if positions is not None:
        chosen = chosen[np.argsort(positions[chosen], kind="stable")]
    rows: dict[int, GapRow] = {}
    for record in records[chosen]:
        gap_id = int(record["a"])
        row = _read(record)
        known = rows.get(gap_id)
        rows[gap_id] = row if known is None else _moved_on(known, row)
    return sorted(rows.values(), key=lambda row: (row.start_ns, row.gap_id))


def _read(record: Records) -> GapRow:
    shape, state = unpack_gap(int(record["d"])), GapState(int(record["side"]))
    start, first, last = int(record["ts_event"]), int(record["b"]), int(record["c"])
    return GapRow(
        gap_id=int(record["a"]),
        instrument_id=int(record["instrument"]),
        source_id=int(record["source"]),
        channel=shape.channel,
        cause=shape.cause,
        state=state,
        start_ns=start,
        end_ns=FOREVER_NS if state == GapState.OPENED else start + shape.duration_ns + 999,  # it was cut to whole us
        first_missing=first if last >= first else None,
        last_missing=last if last >= first else None,
        proven=last == first - 1 and last >= 0,
    )


def _moved_on(known: GapRow, row: GapRow) -> GapRow:
    if known.state >= GapState.FILLED and row.state < GapState.FILLED:
        return known
    named = known if known.has_ids else row
    return GapRow(
        gap_id=known.gap_id,
        instrument_id=known.instrument_id,
        source_id=known.source_id,
        channel=known.channel,
        cause=known.cause,
        state=row.state,
        start_ns=known.start_ns,
        end_ns=row.end_ns if known.end_ns == FOREVER_NS else known.end_ns,
        first_missing=named.first_missing,
        last_missing=named.last_missing,
        proven=row.proven,
    )


def concerning(
    rows: Iterable[GapRow], instrument_id: int, channel: Channel, source_ids: Iterable[int] = ()
) -> list[GapRow]:
    """Return the gaps of an instrument's channel, and those of its whole sources and of the recorder, by start."""
    sources = {0, *source_ids}
    chosen = [
        row
        for row in rows
        if row.channel in (Channel.ALL, channel)
        and (row.instrument_id == instrument_id or (row.instrument_id == 0 and row.source_id in sources))
    ]
    return sorted(chosen, key=lambda row: (row.start_ns, row.gap_id))


class GapTimes:
    """Gaps by time: which touch a window."""

    def __init__(self, rows: Iterable[GapRow]) -> None:
        self._rows = sorted(rows, key=lambda row: (row.start_ns, row.gap_id))
        self._starts = np.array([row.start_ns for row in self._rows], dtype=np.int64)
        self._ends = np.array([row.end_ns for row in self._rows], dtype=np.int64)

    def touching(self, start_ns: int, end_ns: int) -> list[GapRow]:
        """Return the gaps whose window has something in common with [start_ns, end_ns)."""
        if not self._rows:
            return []
        found = np.flatnonzero((self._starts < end_ns) & (self._ends >= start_ns))
        return [self._rows[i] for i in found.tolist()]
