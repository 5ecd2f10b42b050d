"""Bars of all timeframes in one pass over the tape.

Ticks of one instrument within one second are gathered first; the gathered second is then merged into the seven
rings of bars at once, so that seven timeframes cost little more than one. Every bar is exact and independent of
the order its ticks came in: open and close go by (venue time, venue id), sums are 128-bit integers.

Time is read from the tape. A bar is closed when its end lies at or before the watermark: the newest venue time of
the instrument, or the venue's clock carried on by the recorder's CLOCK records (by their monotonic part, so that a
step of the machine's clock closes nothing). A tick that comes after raises the bar's revision.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel, part
from ticktape.model.bar_math import add_bar, add_tick, begin
from ticktape.model.bars import BAR, SECOND_NS, WIDTHS, BarFlag
from ticktape.model.records import Flag, Kind

FRAMES = len(WIDTHS)
# Kept in memory, by timeframe: a quarter of an hour, half a day, two days, four days, two weeks, a month, half a year.
ROOM = np.array([900, 720, 576, 384, 336, 180, 180], dtype=np.int32)
GRACE_NS = SECOND_NS  # how long after its end the clock alone closes a bar
MAX_AHEAD_NS = 10 * SECOND_NS  # a tick further ahead of our clock than this moves no watermark

RING = np.dtype([("at", "<i8"), ("room", "<i4"), ("count", "<i4"), ("first", "<i4"), ("_", "<i4")], align=True)
RINGS_BARS = int(ROOM.sum())  # places that all rings of one instrument and basis take

POOL_BYTES = 64 << 30  # addresses for 160,000 instruments and bases

# Why `absorb` stopped.
DONE, NEW_INSTRUMENT, NEW_RINGS, REVISE = range(4)

# Words of `clock`.
VENUE_NOW, LAST_MONOTONIC, NEWEST, TOO_OLD = range(4)

_TRADE, _QUOTE, _AGG, _CLOCK = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.AGG_TRADE), int(Kind.CLOCK)
_CORRECT, _CANCEL = int(Kind.CORRECT), int(Kind.CANCEL)
_LEFT_OUT = int(Flag.NON_POSITIVE | Flag.CROSSED | Flag.SPIKE)
_BACKFILLED = int(Flag.BACKFILLED)
_B_LATE, _B_FILLED, _B_PARTIAL = int(BarFlag.LATE), int(BarFlag.FILLED), int(BarFlag.PARTIAL)


@part
def find(ring: Any, pool: Any, start: int) -> int:
    """Return the place (0 = oldest) of the bar that starts at `start`, or where it would go, as -place - 1."""
    k = ring.count - 1
    while k >= 0:
        found = pool[ring.at + (ring.first + k) % ring.room].start
        if found == start:
            return k
        if found < start:
            break
        k -= 1
    return -(k + 1) - 1


@part
def place_for(ring: Any, pool: Any, start: int, part: Any, clock: Any) -> int:
    """Return the pool index of the bar that starts at `start`, made empty when it is new; -1 when too old to keep."""
    k = find(ring, pool, start)
    if k >= 0:
        return ring.at + (ring.first + k) % ring.room
    k = -k - 1
    partial = ring.count == 0
    if ring.count == ring.room:  # the oldest goes
        if k == 0:
            clock[TOO_OLD] += 1
            return -1
        ring.first = np.int32((ring.first + 1) % ring.room)
        ring.count -= 1
        k -= 1
    for j in range(ring.count, k, -1):
        pool[ring.at + (ring.first + j) % ring.room] = pool[ring.at + (ring.first + j - 1) % ring.room]
    ring.count += 1
    i = ring.at + (ring.first + k) % ring.room
    begin(pool[i], start, part.open_ts, part.open_id, part.open)
    if partial and not part.flags & _B_FILLED:
        pool[i].flags = np.uint32(_B_PARTIAL)
    return i


@part
def flush(part: Any, rings: Any, pool: Any, first_ring: int, watermark: int, clock: Any) -> None:
    """Merge a gathered part into its rings. Bars that end at or before `watermark` are thereby revised."""
    for t in range(FRAMES):
        start = part.start - part.start % WIDTHS[t]
        i = place_for(rings[first_ring + t], pool, start, part, clock)
        if i >= 0:
            add_bar(pool[i], part)
            if start + WIDTHS[t] <= watermark:
                pool[i].revision += 1
                pool[i].flags |= part.flags
            else:
                pool[i].flags |= part.flags & np.uint32(_B_FILLED)
    part.count = 0
    part.flags = np.uint32(0)


@part
def tell_time(r: Any, clock: Any) -> None:
    """Carry the venue's clock on by a CLOCK record."""
    passed = r.b - clock[LAST_MONOTONIC]
    clock[LAST_MONOTONIC] = r.b
    if clock[NEWEST] > clock[VENUE_NOW]:
        clock[VENUE_NOW] = clock[NEWEST]
    elif passed > 0 and clock[VENUE_NOW] > 0:
        clock[VENUE_NOW] += passed


NOT_LATE = -(2**62)


@kernel
def absorb(
    records: Any, base: int, start: int, stop: int, rings: Any, pool: Any, parts: Any, marks: Any, kinds: Any,
    clock: Any, dirty: Any,
) -> Any:  # fmt: skip
    """Build bars from the records [start, stop).

    parts, marks: one an instrument and basis (trades, quotes); kinds: which kind makes an instrument's trade bars;
    dirty: scratch, the parts that hold something.
    Returns (first position not absorbed, why, which): at a new instrument, rings to place or a correction the
    caller acts and goes on. All gathered parts are merged on return.
    """
    used = 0
    why, which = DONE, np.int64(0)
    position = start
    while position < stop:
        r = records[position - base]
        kind = r.kind
        if kind == _CLOCK:
            tell_time(r, clock)
        elif kind == _CORRECT or kind == _CANCEL:
            why, which = REVISE, position
            break
        elif kind == _TRADE or kind == _QUOTE or kind == _AGG:
            key = np.int64(r.instrument) * 2 + (1 if kind == _QUOTE else 0)
            if key >= parts.shape[0]:
                why, which = NEW_INSTRUMENT, np.int64(r.instrument)
                break
            if kind != _QUOTE and kinds[r.instrument] != kind:
                if kind == _AGG and kinds[r.instrument] != 0:
                    position += 1
                    continue
                kinds[r.instrument] = kind
            if rings[key * FRAMES].room == 0:
                why, which = NEW_RINGS, key
                break
            ts = r.ts_event
            part = parts[key]
            second = part.start
            if part.count == 0 or ts < second or ts >= second + SECOND_NS:
                if part.count > 0:
                    flush(part, rings, pool, key * FRAMES, NOT_LATE, clock)
                else:
                    if used == dirty.shape[0]:
                        flush_all(dirty, used, parts, rings, pool, clock)
                        used = 0
                    dirty[used] = key
                    used += 1
                second = ts - ts % SECOND_NS
                part.start = second
                part.flags = np.uint32(0)
            take_tick(r, part, position, key, rings, pool, marks, clock)
        position += 1
    flush_all(dirty, used, parts, rings, pool, clock)
    return position, why, which


@part
def take_tick(r: Any, part: Any, position: int, key: int, rings: Any, pool: Any, marks: Any, clock: Any) -> None:
    """Gather one tick, or merge it at once when its bars are closed."""
    quote = r.kind == _QUOTE
    price = r.a + r.b if quote else r.a
    size = np.int64(0) if quote else r.b
    number = position if quote or r.c == 0 else r.c
    ts = r.ts_event
    watermark = max(marks[key], clock[VENUE_NOW] - GRACE_NS)
    late = part.start + SECOND_NS <= watermark
    if late and part.count > 0:
        flush(part, rings, pool, key * FRAMES, NOT_LATE, clock)
    if r.flags & _LEFT_OUT:
        return
    if part.count == 0:
        begin(part, part.start, ts, number, price)
    add_tick(part, ts, number, price, size)
    if r.flags & _BACKFILLED:
        part.flags |= np.uint32(_B_FILLED)
    elif ts <= r.ts_recv + MAX_AHEAD_NS:
        marks[key] = max(marks[key], ts)
        clock[NEWEST] = max(clock[NEWEST], ts)
    if late:
        part.flags |= np.uint32(0 if r.flags & _BACKFILLED else _B_LATE)
        flush(part, rings, pool, key * FRAMES, watermark, clock)


@kernel
def flush_all(dirty: Any, used: int, parts: Any, rings: Any, pool: Any, clock: Any) -> None:
    """Merge every gathered part."""
    for k in range(used):
        if parts[dirty[k]].count > 0:
            flush(parts[dirty[k]], rings, pool, dirty[k] * FRAMES, NOT_LATE, clock)


@kernel
def copy_last(ring: Any, pool: Any, n: int, out: Any) -> int:
    """Copy the last n bars of a ring, oldest first. Returns how many."""
    r = ring[0]
    n = min(n, r.count)
    for k in range(n):
        out[k] = pool[r.at + (r.first + r.count - n + k) % r.room]
    return n


def new_bars(n: int) -> Any:
    """Return n zeroed bars."""
    return np.zeros(n, dtype=BAR)


@kernel
def find_place(ring: Any, pool: Any, start: int) -> int:
    """Return the place of the bar that starts at `start` in ring[0], or a negative number."""
    return find(ring[0], pool, start)


@kernel
def build_one(bar: Any, start: int, trades: Any) -> None:
    """Build bar[0] anew from trades, which may be none: then only its count says so."""
    if trades.shape[0] > 0:
        begin(bar[0], start, trades[0].ts_event, trades[0].c, trades[0].a)
    else:
        begin(bar[0], start, start, 0, 0)
    for k in range(trades.shape[0]):
        r = trades[k]
        add_tick(bar[0], r.ts_event, r.c, r.a, r.b)
