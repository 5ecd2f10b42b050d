"""The arithmetic of bars, compiled into every kernel that builds them: exact sums, open and close by venue time and id.

One home, so that a live bar, a stored one and one built anew from ticks are the same to the last bit. Sums are
128-bit integers in two words (high int64, low uint64).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import part

_LOW32 = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


@part
def multiply(a: int, b: int) -> Any:
    """Return the 128-bit product of two int64 as (high int64, low uint64)."""
    x, y = np.uint64(a), np.uint64(b)
    x0, x1, y0, y1 = x & _LOW32, x >> _32, y & _LOW32, y >> _32
    p0 = x0 * y0
    p1 = x1 * y0 + (p0 >> _32)
    p2 = x0 * y1 + (p1 & _LOW32)
    high = np.int64(x1 * y1 + (p1 >> _32) + (p2 >> _32))
    if a < 0:
        high -= b
    if b < 0:
        high -= a
    return high, x * y


@part
def add_volume(bar: Any, high: int, low: int) -> None:
    """Add a 128-bit volume."""
    total = bar.volume_low + np.uint64(low)
    bar.volume_high += high + (1 if total < np.uint64(low) else 0)
    bar.volume_low = total


@part
def add_notional(bar: Any, high: int, low: int) -> None:
    """Add a 128-bit price times size."""
    total = bar.notional_low + np.uint64(low)
    bar.notional_high += high + (1 if total < np.uint64(low) else 0)
    bar.notional_low = total


@part
def begin(bar: Any, start: int, ts: int, number: int, price: int) -> None:
    """Make an empty bar that begins with one price, nothing counted yet."""
    bar.start = start
    bar.open_ts = bar.close_ts = ts
    bar.open_id = bar.close_id = number
    bar.open = bar.high = bar.low = bar.close = price
    bar.volume_high = bar.notional_high = 0
    bar.volume_low = bar.notional_low = np.uint64(0)
    bar.count = 0
    bar.revision = np.uint32(0)
    bar.flags = np.uint32(0)


@part
def add_tick(bar: Any, ts: int, number: int, price: int, size: int) -> None:
    """Add one tick to a bar."""
    if ts < bar.open_ts or (ts == bar.open_ts and number < bar.open_id):
        bar.open_ts, bar.open_id, bar.open = ts, number, price
    if ts > bar.close_ts or (ts == bar.close_ts and number >= bar.close_id):
        bar.close_ts, bar.close_id, bar.close = ts, number, price
    bar.high = max(bar.high, price)
    bar.low = min(bar.low, price)
    bar.count += 1
    if size > 0:
        add_volume(bar, 0, size)
        high, low = multiply(price, size)
        add_notional(bar, high, low)


@part
def add_bar(bar: Any, other: Any) -> None:
    """Add a bar to one of the same instrument; start, revision and flags stay."""
    if other.open_ts < bar.open_ts or (other.open_ts == bar.open_ts and other.open_id < bar.open_id):
        bar.open_ts, bar.open_id, bar.open = other.open_ts, other.open_id, other.open
    if other.close_ts > bar.close_ts or (other.close_ts == bar.close_ts and other.close_id >= bar.close_id):
        bar.close_ts, bar.close_id, bar.close = other.close_ts, other.close_id, other.close
    bar.high = max(bar.high, other.high)
    bar.low = min(bar.low, other.low)
    bar.count += other.count
    add_volume(bar, other.volume_high, other.volume_low)
    add_notional(bar, other.notional_high, other.notional_low)


@part
def copy_bar(into: Any, bar: Any) -> None:
    """Make a bar the same as another."""
    into.start = bar.start
    into.open_ts, into.open_id, into.open = bar.open_ts, bar.open_id, bar.open
    into.close_ts, into.close_id, into.close = bar.close_ts, bar.close_id, bar.close
    into.high, into.low, into.count = bar.high, bar.low, bar.count
    into.volume_high, into.volume_low = bar.volume_high, bar.volume_low
    into.notional_high, into.notional_low = bar.notional_high, bar.notional_low
    into.revision, into.flags = bar.revision, bar.flags
