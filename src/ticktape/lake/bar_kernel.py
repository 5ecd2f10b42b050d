"""Kernels for bars of any width: from ticks in columns, and from stored parts.

The sums and the rules for open and close are those of the live bars (`model/bar_math.py`), so that a bar does not
depend on where it was built; a test compares them. Ticks come sorted by instrument and time, as the lake has
them, and a bar is kept in registers until the next begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel, part
from ticktape.model.bar_math import add_bar, add_notional, add_volume, begin, copy_bar, multiply
from ticktape.model.bars import BarFlag
from ticktape.model.records import Flag

LEFT_OUT = int(Flag.NON_POSITIVE | Flag.CROSSED | Flag.SPIKE)
RESTATED, CLOSED = 1 << 16, 1 << 17  # flags of a stored part: replaces those before it; its minute was over
_BACKFILLED = int(Flag.BACKFILLED)
_B_FILLED, _B_LATE = int(BarFlag.FILLED), int(BarFlag.LATE)
_KEPT = int(BarFlag.GAP | BarFlag.FILLED | BarFlag.LATE | BarFlag.CORRECTED | BarFlag.PARTIAL | BarFlag.KLINES)


@kernel
def from_ticks(  # noqa: C901, PLR0915  # one loop, kept in registers
    instrument: Any, ts: Any, price: Any, size: Any, number: Any, position: Any, flags: Any, width: int, out: Any,
    out_instrument: Any, count: int,
) -> int:  # fmt: skip
    """Build bars of `width` from ticks. Returns how many there are in `out` now, or -1 when it has no more room.

    out[:count] were built before; ticks that belong to the last of them go on with it. A tick without a number of
    its own goes by its position, which is then asked for.
    """
    n = ts.shape[0]
    k = 0
    while k < n:
        if flags[k] & LEFT_OUT:
            k += 1
            continue
        who, at = instrument[k], ts[k]
        start = at - at % width
        end = start + width
        if count == 0 or out_instrument[count - 1] != who or out[count - 1].start != start:
            if count == out.shape[0]:
                return -1
            begin(out[count], start, at, number[k] if number[k] != 0 else position[k], price[k])
            out_instrument[count] = who
            count += 1
        bar = out[count - 1]
        open_ts, open_id, first = bar.open_ts, bar.open_id, bar.open
        close_ts, close_id, last = bar.close_ts, bar.close_id, bar.close
        high, low, ticks = bar.high, bar.low, bar.count
        volume, volume_up = bar.volume_low, bar.volume_high
        notional, notional_up = bar.notional_low, bar.notional_high
        seen = np.int64(0)
        while k < n and instrument[k] == who and start <= ts[k] < end:
            f = flags[k]
            if f & LEFT_OUT:
                k += 1
                continue
            at, p, s = ts[k], price[k], size[k]
            mine = number[k] if number[k] != 0 else position[k]
            if at < open_ts or (at == open_ts and mine < open_id):
                open_ts, open_id, first = at, mine, p
            if at > close_ts or (at == close_ts and mine >= close_id):
                close_ts, close_id, last = at, mine, p
            high, low = max(high, p), min(low, p)
            ticks += 1
            seen |= f
            if s > 0:
                total = volume + np.uint64(s)
                volume_up += 1 if total < volume else 0
                volume = total
                up, down = multiply(p, s)
                total = notional + down
                notional_up += up + (1 if total < down else 0)
                notional = total
            k += 1
        bar.open_ts, bar.open_id, bar.open = open_ts, open_id, first
        bar.close_ts, bar.close_id, bar.close = close_ts, close_id, last
        bar.high, bar.low, bar.count = high, low, ticks
        bar.volume_low, bar.volume_high = volume, volume_up
        bar.notional_low, bar.notional_high = notional, notional_up
        if seen & _BACKFILLED:
            bar.flags |= np.uint32(_B_FILLED)
    return count


@part
def merge_into(bar: Any, p: Any) -> None:
    """Merge the next part of a minute into what its parts before it made.

    A RESTATED part replaces what came before it. A part that comes after one whose minute was CLOSED revises it.
    """
    before = bar.flags
    revised = before & np.uint32(CLOSED)
    revision = bar.revision + p.revision + (1 if revised else 0)
    empty = bar.count == 0  # all that was there is cancelled
    if p.flags & np.uint32(RESTATED) or (empty and p.count > 0):
        copy_bar(bar, p)
    elif p.count > 0:
        add_bar(bar, p)
    bar.revision = revision
    bar.flags = before | p.flags
    if revised and not p.flags & np.uint32(RESTATED | _B_FILLED):
        bar.flags |= np.uint32(_B_LATE)


@part
def push(key: int, minute: Any, width: int, out: Any, out_keys: Any, count: int) -> int:
    """Add a whole minute to the last bar of `width`, or begin the next with it. Returns how many there are."""
    if minute.count == 0:
        return count
    start = minute.start - minute.start % width
    if count > 0 and out_keys[count - 1] == key and out[count - 1].start == start:
        bar = out[count - 1]
        add_bar(bar, minute)
        bar.revision += minute.revision
        bar.flags |= minute.flags & np.uint32(_KEPT)
        return count
    copy_bar(out[count], minute)
    out[count].start = start
    out[count].flags = minute.flags & np.uint32(_KEPT)
    out_keys[count] = key
    return count + 1


@kernel
def merge_parts(keys: Any, parts: Any, bars: Any, bar_keys: Any) -> int:
    """Merge parts, sorted by key, start and position, into one bar a key and start. Returns how many."""
    count = 0
    for k in range(parts.shape[0]):
        if count == 0 or bar_keys[count - 1] != keys[k] or bars[count - 1].start != parts[k].start:
            copy_bar(bars[count], parts[k])
            bar_keys[count] = keys[k]
            count += 1
        else:
            merge_into(bars[count - 1], parts[k])
    return count


@kernel
def merge_columns(  # noqa: PLR0915  # one loop
    keys: Any, start: Any, open_ts: Any, open_id: Any, close_ts: Any, close_id: Any, first: Any, high: Any, low: Any,
    last: Any, volume_high: Any, volume_low: Any, notional_high: Any, notional_low: Any, ticks: Any, revision: Any,
    flags: Any, two: Any, width: int, out: Any, out_keys: Any,
) -> int:  # fmt: skip
    """Merge parts in columns, sorted by key, start and position, into bars of `width`. Returns how many.

    two: scratch, two bars.
    """
    p, minute = two[0], two[1]
    count, end = 0, 0  # of bars; where the last of them ends
    n = keys.shape[0]
    k = 0
    while k < n:
        who, at = keys[k], start[k]
        if k + 1 == n or keys[k + 1] != who or start[k + 1] != at:  # a minute of one part: by far the most are
            if ticks[k] == 0:
                k += 1
                continue
            if count > 0 and out_keys[count - 1] == who and out[count - 1].start <= at < end:
                bar = out[count - 1]
                if open_ts[k] < bar.open_ts or (open_ts[k] == bar.open_ts and open_id[k] < bar.open_id):
                    bar.open_ts, bar.open_id, bar.open = open_ts[k], open_id[k], first[k]
                if close_ts[k] > bar.close_ts or (close_ts[k] == bar.close_ts and close_id[k] >= bar.close_id):
                    bar.close_ts, bar.close_id, bar.close = close_ts[k], close_id[k], last[k]
                bar.high, bar.low = max(bar.high, high[k]), min(bar.low, low[k])
                bar.count += ticks[k]
                add_volume(bar, volume_high[k], volume_low[k])
                add_notional(bar, notional_high[k], notional_low[k])
                bar.revision += np.uint32(revision[k])
                bar.flags |= np.uint32(flags[k]) & np.uint32(_KEPT)
            else:
                bar = out[count]
                bar.start = at - at % width
                bar.open_ts, bar.open_id, bar.open = open_ts[k], open_id[k], first[k]
                bar.close_ts, bar.close_id, bar.close = close_ts[k], close_id[k], last[k]
                bar.high, bar.low, bar.count = high[k], low[k], ticks[k]
                bar.volume_high, bar.volume_low = volume_high[k], np.uint64(volume_low[k])
                bar.notional_high, bar.notional_low = notional_high[k], np.uint64(notional_low[k])
                bar.revision, bar.flags = np.uint32(revision[k]), np.uint32(flags[k]) & np.uint32(_KEPT)
                out_keys[count] = who
                count += 1
                end = bar.start + width
            k += 1
            continue
        first_part = k
        while k < n and keys[k] == who and start[k] == at:
            p.start = at
            p.open_ts, p.open_id, p.open = open_ts[k], open_id[k], first[k]
            p.close_ts, p.close_id, p.close = close_ts[k], close_id[k], last[k]
            p.high, p.low, p.count = high[k], low[k], ticks[k]
            p.volume_high, p.volume_low = volume_high[k], np.uint64(volume_low[k])
            p.notional_high, p.notional_low = notional_high[k], np.uint64(notional_low[k])
            p.revision, p.flags = np.uint32(revision[k]), np.uint32(flags[k])
            if k == first_part:
                copy_bar(minute, p)
            else:
                merge_into(minute, p)
            k += 1
        count = push(who, minute, width, out, out_keys, count)
        if count > 0:
            end = out[count - 1].start + width
    return count


@kernel
def sorted_rows(key: Any, start: Any, position: Any) -> bool:
    """Say whether rows are sorted by key, start and position."""
    for k in range(1, key.shape[0]):
        if key[k] == key[k - 1]:
            if start[k] < start[k - 1] or (start[k] == start[k - 1] and position[k] < position[k - 1]):
                return False
        elif key[k] < key[k - 1]:
            return False
    return True


@kernel
def widen(keys: Any, minutes: Any, width: int, out: Any, out_keys: Any) -> int:
    """Merge whole bars, sorted by key and start, into bars of a multiple of their width. Returns how many."""
    count = 0
    for k in range(minutes.shape[0]):
        count = push(keys[k], minutes[k], width, out, out_keys, count)
    return count
