"""The venue's own bars of minutes, exact. rest-api.md, "Kline/Candlestick data".

The venue has a minute for all time that a symbol trades, also for one without a trade; during a halt it has none. It
gives the quote volume with 8 decimals: the sum of price times size is rounded to that by the venue.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from ticktape.errors import Unavailable
from ticktape.model.bars import BAR, BarFlag, Bars
from ticktape.model.instruments import Instrument
from ticktape.model.records import Ints
from ticktape.model.symbols import shown
from ticktape.sources import decimals
from ticktape.sources.binance.rest import PAGE, BinanceRest, Kline

MINUTE_US = 60 * 10**6
MINUTE_NS = 60 * 10**9
_US = 1000
_AMOUNT = re.compile(r"([0-9]{1,24})(?:\.([0-9]{1,16}))?", re.ASCII)
_LOW64 = (1 << 64) - 1
_MOST_TRADES = 1 << 40  # of a minute: more is no count


async def closed_until(rest: BinanceRest) -> int:
    """Return the start of the minute that is running, ns UTC by the venue's clock: earlier ones are final."""
    return await rest.time() // MINUTE_US * MINUTE_NS


async def minutes(rest: BinanceRest, instrument: Instrument, symbol: str, start_ns: int, end_ns: int) -> (
    AsyncGenerator[Bars]
):  # fmt: skip
    """Yield the venue's bars of the minutes in [start, end), both whole minutes, page by page, ascending.

    `rest` speaks microseconds. What the venue has no bar of is left out. Raises Unavailable.
    """
    at = start_ns
    while at < end_ns:
        page = await rest.klines(symbol, "1m", at // _US, end_ns // _US - 1)
        if not page:
            return
        found = bars_of(page, instrument, at, end_ns)
        yield found
        if len(page) < PAGE:
            return
        at = int(found["start"][-1]) + MINUTE_NS


def bars_of(page: Sequence[Kline], instrument: Instrument, start_ns: int, end_ns: int) -> Bars:
    """Return a page as bars. Raises Unavailable for what is no bar of a minute in [start, end), or not ascending."""
    bars: Bars = np.zeros(len(page), dtype=BAR)
    before = start_ns - MINUTE_NS
    for bar, row in zip(bars, page, strict=True):
        opens, closes, count = row[0] * _US, row[6] * _US, row[8]
        last = opens + MINUTE_NS - _US
        if not before < opens < end_ns or opens % MINUTE_NS or closes != last or not 0 <= count < _MOST_TRADES:
            raise _wrong(row, instrument)
        before = opens
        bar["start"] = bar["open_ts"] = opens
        bar["close_ts"], bar["count"] = closes, count
        bar["notional_high"], bar["notional_low"] = _words(_amount(row, instrument))
    for name, values in zip(("open", "high", "low", "close", "volume_low"), _numbers(page, instrument), strict=True):
        bars[name] = values.view(bars[name].dtype)
    bars["flags"] = int(BarFlag.KLINES)
    return bars


def _numbers(page: Sequence[Kline], instrument: Instrument) -> Sequence[Ints]:
    """Return (open, high, low, close, volume) of a page at the instrument's scales."""
    scales = np.array([instrument.price_scale] * 4 + [instrument.size_scale], dtype=np.int64)
    texts = [text for row in page for text in row[1:6]]
    values, verdicts = decimals.parse_many(texts, np.tile(scales, len(page)))
    opened, high, low, close, volume = values.reshape(-1, 5).T
    traded = np.array([row[8] > 0 for row in page])
    wrong = (verdicts.reshape(-1, 5) != decimals.Verdict.OK).any(axis=1) | (volume < 0)
    wrong |= traded & ((low <= 0) | (low > np.minimum(opened, close)) | (high < np.maximum(opened, close)))
    if wrong.any():
        raise _wrong(page[int(np.argmax(wrong))], instrument)
    return [np.ascontiguousarray(column) for column in (opened, high, low, close, volume)]


def _amount(row: Kline, instrument: Instrument) -> int:
    """Return the quote volume as a sum of price x size in their integers."""
    match = _AMOUNT.fullmatch(row[7])
    if match is None:
        raise _wrong(row, instrument)
    scale, fraction = instrument.price_scale + instrument.size_scale, match[2] or ""
    return int(match[1] + fraction) * 10**scale // 10 ** len(fraction)


def _words(value: int) -> tuple[int, int]:
    return value >> 64, value & _LOW64


def _wrong(row: Kline, instrument: Instrument) -> Unavailable:
    return Unavailable(f"binance: {instrument.symbol}: no bar of a minute that was asked for: {shown(str(row), 200)}")
