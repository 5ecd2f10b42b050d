"""Klines and 24 h tickers from the ledger. rest-api.md "Kline/Candlestick data"; weeks start on Monday.

Binance keeps a row for an interval without trades (flat at the last close, volume 0); so do we.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import NamedTuple

import numpy as np

from ticktape.simulate.binance.history import Era, Ints
from ticktape.simulate.binance.wire import clock_unit, decimal
from ticktape.simulate.sample import SCALE

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
WIDTH_US = {
    "1s": 1_000_000,
    "1m": MINUTE_US,
    "3m": 3 * MINUTE_US,
    "5m": 5 * MINUTE_US,
    "15m": 15 * MINUTE_US,
    "30m": 30 * MINUTE_US,
    "1h": HOUR_US,
    "2h": 2 * HOUR_US,
    "4h": 4 * HOUR_US,
    "6h": 6 * HOUR_US,
    "8h": 8 * HOUR_US,
    "12h": 12 * HOUR_US,
    "1d": DAY_US,
    "3d": 3 * DAY_US,
    "1w": 7 * DAY_US,
}
INTERVALS = (*WIDTH_US, "1M")
MONDAY_US = 4 * DAY_US  # 1970-01-01 was a Thursday; 1970-01-05 a Monday


class Bar(NamedTuple):
    """One kline; prices and sizes at 1e-8, times in microseconds, close inclusive."""

    open_us: int
    close_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote: float
    trades: int
    taker_volume: int
    taker_quote: float
    first_id: int
    last_id: int


def opens(times_us: Ints, interval: str, offset_us: int = 0) -> Ints:
    """The start of the interval each time lies in; offset shifts the grid east of UTC."""
    local = times_us + offset_us
    if interval == "1M":
        months = local.astype("datetime64[us]").astype("datetime64[M]")
        return months.astype("datetime64[us]").astype(np.int64) - offset_us
    width = WIDTH_US[interval]
    shift = MONDAY_US if interval == "1w" else 0
    return (local - shift) // width * width + shift - offset_us


def open_of(time_us: int, interval: str, offset_us: int = 0) -> int:
    """The start of the interval a time lies in."""
    return int(opens(np.array([time_us], dtype=np.int64), interval, offset_us)[0])


def next_open(open_us: int, interval: str, offset_us: int = 0) -> int:
    """The start of the interval after."""
    width = 32 * DAY_US if interval == "1M" else WIDTH_US[interval]
    return open_of(open_us + width, interval, offset_us)


def bars(era: Era, interval: str, start_us: int, end_us: int, limit: int, offset_us: int = 0) -> list[Bar]:
    """Klines whose open lies in [start, end], oldest first, at most `limit`."""
    if not len(era):
        return []
    first_open = open_of(era.time_us[0], interval, offset_us)
    at = max(first_open, open_of(start_us, interval, offset_us))
    if at < start_us:
        at = next_open(at, interval, offset_us)
    known = {bar.open_us: bar for bar in _traded(era, interval, at, end_us, limit, offset_us)}
    before = bisect_left(era.time_us, at) - 1
    close = next((era.price[i] for i in range(before, -1, -1) if era.price[i]), 0)
    found: list[Bar] = []
    while at <= end_us and len(found) < limit:
        after = next_open(at, interval, offset_us)
        bar = known.get(at) or Bar(at, after - 1, close, close, close, close, 0, 0.0, 0, 0, 0.0, -1, -1)
        found.append(bar)
        close, at = bar.close, after
    return found


def _traded(era: Era, interval: str, at: int, end_us: int, limit: int, offset_us: int) -> list[Bar]:
    stop_us = min(end_us, at + limit * 32 * DAY_US)
    if interval != "1M":
        stop_us = min(end_us, at + limit * WIDTH_US[interval])
    stop_us = next_open(open_of(stop_us, interval, offset_us), interval, offset_us) - 1
    low, high = bisect_left(era.time_us, at), bisect_right(era.time_us, stop_us)
    price, size, times, maker = (
        np.array(column[low:high], dtype=np.int64) for column in (era.price, era.size, era.time_us, era.maker)
    )
    real = np.flatnonzero(price > 0)
    if not len(real):
        return []
    price, size, maker, ids = price[real], size[real], maker[real], real + low + era.first_id
    starts = opens(times[real], interval, offset_us)
    cuts = np.concatenate(([0], np.flatnonzero(np.diff(starts)) + 1))
    taken = np.where(maker == 0, size, 0)
    value = price / SCALE * (size / SCALE)
    sums = [np.add.reduceat(column, cuts) for column in (size, taken)]
    values = [np.add.reduceat(column, cuts) for column in (value, np.where(maker == 0, value, 0.0))]
    ends = np.append(cuts[1:], len(price)) - 1
    highs, lows = np.maximum.reduceat(price, cuts), np.minimum.reduceat(price, cuts)
    return [
        Bar(
            int(starts[a]),
            next_open(int(starts[a]), interval, offset_us) - 1,
            int(price[a]),
            int(highs[i]),
            int(lows[i]),
            int(price[b]),
            int(sums[0][i]),
            float(values[0][i]),
            int(b - a + 1),
            int(sums[1][i]),
            float(values[1][i]),
            int(ids[a]),
            int(ids[b]),
        )
        for i, (a, b) in enumerate(zip(cuts.tolist(), ends.tolist(), strict=True))
    ]


def row(bar: Bar, micro: bool) -> list[object]:
    """The 12 columns of GET /klines."""
    return [
        clock_unit(bar.open_us, micro),
        *(decimal(value) for value in (bar.open, bar.high, bar.low, bar.close, bar.volume)),
        clock_unit(bar.close_us, micro),
        f"{bar.quote:.8f}",
        bar.trades,
        decimal(bar.taker_volume),
        f"{bar.taker_quote:.8f}",
        "0",
    ]


def event(symbol: str, interval: str, bar: Bar, now_us: int, closed: bool, micro: bool) -> dict[str, object]:
    """`<symbol>@kline_<interval>`."""
    return {
        "e": "kline",
        "E": clock_unit(now_us, micro),
        "s": symbol,
        "k": {
            "t": clock_unit(bar.open_us, micro),
            "T": clock_unit(bar.close_us, micro),
            "s": symbol,
            "i": interval,
            "f": bar.first_id,
            "L": bar.last_id,
            "o": decimal(bar.open),
            "c": decimal(bar.close),
            "h": decimal(bar.high),
            "l": decimal(bar.low),
            "v": decimal(bar.volume),
            "n": bar.trades,
            "x": closed,
            "q": f"{bar.quote:.8f}",
            "V": decimal(bar.taker_volume),
            "Q": f"{bar.taker_quote:.8f}",
            "B": "0",
        },
    }


def mini_ticker(symbol: str, era: Era, now_us: int, micro: bool) -> dict[str, object]:
    """`<symbol>@miniTicker`: the last 24 hours, not the UTC day."""
    low = bisect_left(era.time_us, now_us - DAY_US)
    price = np.array(era.price[low:], dtype=np.int64)
    size = np.array(era.size[low:], dtype=np.int64)
    price, size = price[price > 0], size[price > 0]
    if not len(price):
        price, size = np.array([era.price[-1]]), np.array([0])
    return {
        "e": "24hrMiniTicker",
        "E": clock_unit(now_us, micro),
        "s": symbol,
        "c": decimal(int(price[-1])),
        "o": decimal(int(price[0])),
        "h": decimal(int(price.max())),
        "l": decimal(int(price.min())),
        "v": decimal(int(size.sum())),
        "q": f"{float((price / SCALE * (size / SCALE)).sum()):.8f}",
    }
