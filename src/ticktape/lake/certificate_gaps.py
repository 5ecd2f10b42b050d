"""The ledger of gaps as a certificate reads it: GAP records folded to one a gap, newest word last."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ticktape.model.gaps import FOREVER_NS, Gap, read_gap
from ticktape.model.records import Channel, Ints, Kind, Records

CUT_NS = 999  # a gap's end was cut to whole microseconds: what is missing may lie so much later


def ledger(records: Records, positions: Ints | None = None) -> list[Gap]:
    """Fold GAP records, in the order of the tape or with their positions, to one gap each, by start."""
    chosen = np.flatnonzero(records["kind"] == Kind.GAP)
    if positions is not None:
        chosen = chosen[np.argsort(positions[chosen], kind="stable")]
    gaps: dict[int, Gap] = {}
    for record in records[chosen]:
        word = read_gap(record)
        if word.end_ns != FOREVER_NS:
            word.end_ns += CUT_NS
        known = gaps.setdefault(word.gap_id, word)
        if known is not word:
            known.move_on(word)
    return sorted(gaps.values(), key=lambda gap: (gap.start_ns, gap.gap_id))


def concerning(rows: Iterable[Gap], instrument_id: int, channel: Channel, source_ids: Iterable[int] = ()) -> list[Gap]:
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

    def __init__(self, rows: Iterable[Gap]) -> None:
        self._rows = sorted(rows, key=lambda row: (row.start_ns, row.gap_id))
        self._starts = np.array([row.start_ns for row in self._rows], dtype=np.int64)
        self._ends = np.array([row.end_ns for row in self._rows], dtype=np.int64)

    def touching(self, start_ns: int, end_ns: int) -> list[Gap]:
        """Return the gaps whose window has something in common with [start_ns, end_ns)."""
        if not self._rows:
            return []
        found = np.flatnonzero((self._starts < end_ns) & (self._ends >= start_ns))
        return [self._rows[i] for i in found.tolist()]
