"""Asking the lake: a year from raw trades and from stored minutes, a day, an as-of join, a year of certificates."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ticktape.bench.lakes import DAY_NS, FIRST_DAY_NS, MINUTES, many_year, shape, symbol_year
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_latencies, of_runs
from ticktape.lake.asof import asof as join
from ticktape.lake.certificate import Series, Subject, certify_days
from ticktape.lake.certificate_day import DaySummary, summary_of
from ticktape.lake.history import BarsAnswer, Lake, Limits, Snapshot
from ticktape.model.bars import TIMEFRAMES
from ticktape.model.records import Channel, Completeness, Ints, Kind, empty
from ticktape.model.sessions import calendar

EVER = (0, 2**62)
NO_LIMITS = Limits(rows=2**62, memory_bytes=2**62, seconds=600.0)
HOUR_NS = TIMEFRAMES["1h"]
REPEATS, ASKED = 3, 200
TRADES, QUOTES, JOINED = 500_000, 5_000_000, 50  # of so many instruments
CERTIFIED_DAYS = 365


def year_raw(place: Place) -> Measured:
    """Seconds from asking a fresh `Lake` for hourly bars of a symbol's year, built anew from its 125 M trades.

    250 days of a made-up MNQ, a compacted file a day, in the page cache: reading, checksums, decoding on two threads,
    exact bars. Left out: a cold disk, and starting Python. One warm-up, median of three.
    """
    place.say("writing a symbol's year")
    folder = symbol_year(place)

    def ask() -> BarsAnswer:
        return Lake(folder).snapshot().bars([1], *EVER, HOUR_NS, raw=True, limits=NO_LIMITS)

    seconds, found = _timed(ask, REPEATS)
    if int(found.bars["count"].sum()) != shape(place).trades or found.missing:
        raise Wrong("the bars do not hold every trade")
    return of_runs(seconds)


def year_bars(place: Place) -> Measured:
    """Milliseconds for hourly bars of a symbol's year from its stored minutes; `many` is seconds of many symbols.

    The year is that of `lake.year_raw`, round the clock. `many` is 200 symbols of 390 minutes a day on 250 days, 19.5 M
    bars, merged to daily ones. Files in the page cache, footers known. One warm-up.
    """
    place.say("writing a year of minutes")
    one, many = Lake(symbol_year(place)).snapshot(), Lake(many_year(place)).snapshot()
    seconds, found = _timed(lambda: one.bars([1], *EVER, HOUR_NS, limits=NO_LIMITS), place.size(20, 3))
    if int(found.bars["count"].sum()) != shape(place).trades:
        raise Wrong("the stored bars do not hold every trade")
    ask = lambda: many.bars(None, *EVER, TIMEFRAMES["1d"], limits=NO_LIMITS)  # noqa: E731
    slow, days = _timed(ask, REPEATS)
    if len(days.bars) != shape(place).symbols * shape(place).days:
        raise Wrong(f"{len(days.bars)} daily bars")
    return of_latencies(np.array(seconds) * 1e3, many=float(np.median(slow)))


def day(place: Place) -> Measured:
    """Milliseconds for the one-minute bars of one symbol's day out of a year of 200 symbols, each time another.

    The version of the table is at hand, as in a server; footers of the files are known after a first round.
    """
    place.say("writing a year of minutes of many symbols")
    snapshot, chance = Lake(many_year(place)).snapshot(), np.random.default_rng(1)
    for k in range(0, shape(place).days, 20):
        _one_day(snapshot, 1, k)
    sizes = shape(place)
    asked = [(int(chance.integers(1, sizes.symbols + 1)), int(chance.integers(sizes.days))) for _ in range(ASKED)]
    return of_latencies(np.array([_one_day(snapshot, *which) for which in asked]) * 1e3)


def _one_day(snapshot: Snapshot, who: int, which: int) -> float:
    start = FIRST_DAY_NS + which * DAY_NS
    began = time.perf_counter()
    found = snapshot.bars([who], start, start + DAY_NS, TIMEFRAMES["1m"])
    took = time.perf_counter() - began
    if len(found.bars) != MINUTES:
        raise Wrong(f"{len(found.bars)} minutes in a day")
    return took


def _timed(ask: Callable[[], BarsAnswer], repeats: int) -> tuple[list[float], BarsAnswer]:
    found, seconds = ask(), list[float]()
    for _ in range(repeats):
        began = time.perf_counter()
        found = ask()
        seconds.append(time.perf_counter() - began)
    return seconds, found


# -- as-of -------------------------------------------------------------------------------------------


class Sides(NamedTuple):
    """Trades and quotes in columns, sorted by instrument and time."""

    trade_id: Any
    trade_ts: Ints
    quote_id: Any
    quote_ts: Ints
    bid: Ints
    ask: Ints


def sides(place: Place) -> Sides:
    """Return what is joined, for a peer to be fed the same."""
    chance = np.random.default_rng(1)
    trade_id, trade_ts = _market(place.size(TRADES, 5000), chance)
    quote_id, quote_ts = _market(place.size(QUOTES, 50_000), chance)
    bid = chance.integers(10**10, 10**10 + 10**6, len(quote_ts))
    return Sides(trade_id, trade_ts, quote_id, quote_ts, bid, bid + 100)


def _market(count: int, chance: np.random.Generator) -> tuple[Any, Ints]:
    who = np.sort(chance.integers(1, JOINED + 1, count)).astype(np.int32)
    ts = chance.integers(0, DAY_NS, count)
    return who, ts[np.lexsort((ts, who))]


def asof(place: Place) -> Measured:
    """Milliseconds to find for each of 500 k trades the quote that stood, among 5 M of 50 instruments, and take it.

    In memory, both sides sorted by instrument and time, as the lake gives them. One warm-up, median of seven.
    """
    given = sides(place)
    runs: list[float] = []
    for _ in range(8):
        began = time.perf_counter()
        at = join(given.trade_id, given.trade_ts, given.quote_id, given.quote_ts)
        bid, ask = given.bid[at], given.ask[at]
        runs.append((time.perf_counter() - began) * 1e3)
        if (ask - bid != 100).any() or (given.quote_ts[at] > given.trade_ts)[at >= 0].any():
            raise Wrong("not the quote that stood")
    return of_runs(runs[1:])


# -- certificates ------------------------------------------------------------------------------------


def gaps(place: Place) -> Measured:
    """Seconds to certify every day of a year of 200 symbols from the summaries that keep stores of closed days.

    73,000 summaries decoded from their JSON and judged: ids from day to day, sessions, verdict, hashes, the
    certificate's own JSON. Left out: fetching the summaries from the lake, and making them when a day closes.
    """
    symbols, days = place.size(SYMBOLS_CERTIFIED, 3), place.size(CERTIFIED_DAYS, 5)
    stored = [[_summary(who, k) for k in range(days)] for who in range(1, symbols + 1)]
    decoder = msgspec.json.Decoder(DaySummary)
    began = time.perf_counter()
    for who, rows in enumerate(stored, 1):
        summaries = [decoder.decode(row) for row in rows]
        one = Series(channel=Channel.TRADE, completeness=Completeness.SEQUENCE, summaries=summaries, has_history=True)
        subject = Subject(instrument_id=who, symbol=f"S{who}", venue="bench", calendar="24/7", sources={1: "bench"})
        verdicts = [made.json() for made in certify_days(subject, [made.date for made in summaries], [one])]
        if any(b'"verdict":"complete"' not in text for text in verdicts[1:-1]):
            raise Wrong("a whole day that is not complete")
    took = time.perf_counter() - began
    return Measured(value=took, more={"certificates": float(symbols * days)})


SYMBOLS_CERTIFIED = 200
_ROWS = 200  # of a day that a summary is made of here; it is as long as one of a million


def _summary(who: int, which: int) -> bytes:
    records = empty(_ROWS)
    start = FIRST_DAY_NS + which * DAY_NS
    records["ts_event"] = records["ts_recv"] = start + np.arange(_ROWS) * (DAY_NS // _ROWS)
    records["a"], records["b"], records["c"] = 10**10, 10**8, which * _ROWS + np.arange(_ROWS) + 1
    records["instrument"], records["source"], records["kind"] = who, 1, Kind.TRADE
    when = date(2025, 1, 1) + timedelta(days=which)
    return msgspec.json.encode(summary_of(records, who, Channel.TRADE, calendar("24/7"), when))
