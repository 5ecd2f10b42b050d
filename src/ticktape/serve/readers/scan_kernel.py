"""One pass over what is new on the tape: tallies by source, and where the gaps and statuses stand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ticktape.model.records import Flag, Kind

MAX_SOURCES = 1 << 16  # `source` is 16 bits

TALLY = np.dtype(
    [
        ("records", "<i8"),  # market records, flagged ones included
        ("doubtful", "<i8"),  # of them, with a quality flag
        ("spikes", "<i8"),
        ("quarantined", "<i8"),
        ("last_ts_event", "<i8"),  # newest venue time, backfill apart
        ("last_ts_recv", "<i8"),
    ],
    align=True,
)

# Words of `now`: what the last CLOCK record said, and the newest ts_recv of any record.
CLOCK_WALL, NEWEST_RECV = range(2)

_LAST_MARKET, _GAP, _STATUS = int(Kind.CANCEL), int(Kind.GAP), int(Kind.STATUS)
_CLOCK, _QUARANTINE = int(Kind.CLOCK), int(Kind.QUARANTINE)
_QUALITY, _BACKFILLED, _SPIKE = 0x7F, int(Flag.BACKFILLED), int(Flag.SPIKE)


@njit(cache=True, nogil=True)
def scan(records: Any, base: int, start: int, stop: int, tallies: Any, now: Any, found: Any) -> Any:
    """Tally [start, stop) and note positions of GAP and STATUS records in `found`.

    Returns (first position not looked at, how many were noted); stops early when `found` is full.
    """
    count = 0
    for position in range(start, stop):
        r = records[position - base]
        kind = r.kind
        if kind == 0 or kind > _QUARANTINE:
            continue
        if kind in (_GAP, _STATUS):
            if count == found.shape[0]:
                return position, count
            found[count] = position
            count += 1
        elif kind == _CLOCK:
            now[CLOCK_WALL] = r.a
        elif kind == _QUARANTINE:
            tallies[r.source].quarantined += 1
        elif kind <= _LAST_MARKET:
            tally = tallies[r.source]
            tally.records += 1
            if r.flags & _QUALITY:
                tally.doubtful += 1
            if r.flags & _SPIKE:
                tally.spikes += 1
            if not r.flags & _BACKFILLED:
                tally.last_ts_event = max(tally.last_ts_event, r.ts_event)
                tally.last_ts_recv = max(tally.last_ts_recv, r.ts_recv)
        now[NEWEST_RECV] = max(now[NEWEST_RECV], r.ts_recv)
    return stop, count
