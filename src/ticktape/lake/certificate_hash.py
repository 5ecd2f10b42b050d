"""The hash of a day's data: position-independent, so lake, tape and a compacted file give the same. Version 1.

Anybody can recompute it:

1. Take the records of one instrument and channel with start <= ts_event < end. Trades: kinds TRADE, CORRECT, CANCEL.
2. A row is these bytes, little endian, without padding: ts_event, a, b, c, d (int64), kind, side (uint8): 42 bytes.
   This is what the market said. The hash of what was *stored* appends ts_recv (int64) and flags (uint32): 54 bytes.
   Position, `back`, instrument id and source id are numbers of one installation and are left out.
3. Sort rows by (ts_event, c, kind, side, a, b, d, ts_recv, flags); for trades c is the venue's id.
4. For every UTC hour of ts_event that has rows, in order: H = BLAKE2b-256 of its rows. The day's hash is BLAKE2b-256
   of, hour after hour: start of the hour in ns (int64), number of rows (int64), H (32 bytes).

A day filled from history has the market hash of a day that never had a gap; its stored hash differs. With hours in
between, only an hour has to fit in memory, and two days that differ can be compared hour by hour.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

import numpy as np

from ticktape.model.records import Ints, Records

VERSION = "blake2b-256/1"
HOUR_NS = 3600 * 10**9
_FIELDS = [("ts_event", "<i8"), ("a", "<i8"), ("b", "<i8"), ("c", "<i8"), ("d", "<i8"), ("kind", "u1"), ("side", "u1")]
_MARKET = np.dtype(_FIELDS)
_STORED = np.dtype([*_FIELDS, ("ts_recv", "<i8"), ("flags", "<u4")])
_TIES = ("flags", "ts_recv", "d", "b", "a", "side", "kind", "c", "ts_event")  # np.lexsort: the last counts most


def canonical(records: Records) -> Records:
    """Return records in canonical order; the same array when they are in it."""
    ts, ids = records["ts_event"], records["c"]
    steps = np.diff(ts)
    if ((steps > 0) | ((steps == 0) & (np.diff(ids) > 0))).all():
        return records
    order = np.argsort(ts, kind="stable")
    ts = ts[order]
    same = ts[1:] == ts[:-1]
    tied = np.flatnonzero(np.concatenate((same, [False])) | np.concatenate(([False], same)))
    if len(tied):
        among = records[order[tied]]
        order[tied] = order[tied][np.lexsort([among[name] for name in _TIES])]
    return records[order]


def hours(ts_sorted: Ints) -> list[tuple[int, int]]:
    """Return where each UTC hour of ascending times begins and ends, as places."""
    cuts = np.flatnonzero(np.diff(ts_sorted // HOUR_NS)) + 1
    return list(pairwise([0, *cuts.tolist(), len(ts_sorted)])) if len(ts_sorted) else []


class DayHash:
    """Takes in a day hour by hour, ascending, each in canonical order."""

    def __init__(self) -> None:
        self._market, self._stored = blake2b(digest_size=32), blake2b(digest_size=32)

    def add_hour(self, records: Records) -> None:
        """Take in all records of one hour, in canonical order."""
        start = int(records["ts_event"][0]) // HOUR_NS * HOUR_NS
        head = np.array([start, len(records)], dtype="<i8").tobytes()
        for whole, layout in ((self._market, _MARKET), (self._stored, _STORED)):
            rows = np.empty(len(records), dtype=layout)
            for name in layout.names or ():
                rows[name] = records[name]
            whole.update(head + blake2b(rows.data, digest_size=32).digest())

    def market(self) -> str:
        """Return the hash of what the market said, as hex."""
        return self._market.hexdigest()

    def stored(self) -> str:
        """Return the hash of what was stored, with our times and flags, as hex."""
        return self._stored.hexdigest()


def day_hashes(records: Records) -> tuple[str, str]:
    """Return (market, stored) hash of records of one instrument and channel, in any order."""
    ordered, made = canonical(records), DayHash()
    for first, end in hours(ordered["ts_event"]):
        made.add_hour(ordered[first:end])
    return made.market(), made.stored()


def combined(parts: list[tuple[str, str]]) -> str:
    """Return one hash for several channels: BLAKE2b-256 of `channel=hash` lines, sorted."""
    lines = "\n".join(sorted(f"{channel}={value}" for channel, value in parts))
    return blake2b(lines.encode(), digest_size=32).hexdigest()
