"""Rows as JSON text, written straight from the tape's integers: exact, and without an object a row.

A price is a JSON number with every digit the tape has and no more: 6543210000000 at scale 8 is 65432.1. At a
scale above 0 there is always a decimal point (65000.0), so a column has one type in every client. A client that
needs more than the 15 digits of a double reads numbers as decimals (Python: `json.loads(..., parse_float=Decimal)`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from ticktape.model.bars import BarFlag, Bars, Basis, wide
from ticktape.model.instruments import Instrument
from ticktape.model.records import Flag, Ints, Kind, Records, Side

_SIDES = {Side.NONE: "null", Side.BUY: '"buy"', Side.SELL: '"sell"'}
_KINDS = {int(kind): kind.name.lower() for kind in Kind}
_CANCEL = int(Kind.CANCEL)
VWAP_DIGITS = 4  # beyond the price scale; the only rounded number here, because a quotient has no last digit


def decimal_text(value: int, scale: int) -> str:
    """Return an integer at a scale as an exact JSON number."""
    if scale <= 0:
        return str(value * 10**-scale)
    if value < 0:
        return "-" + decimal_text(-value, scale)
    digits = str(value).zfill(scale + 1)
    return f"{digits[:-scale]}.{digits[-scale:].rstrip('0') or '0'}"


def raw_decimal(value: int, scale: int) -> msgspec.Raw:
    """Return `decimal_text` for a field of an answer."""
    return msgspec.Raw(decimal_text(value, scale).encode())


@lru_cache(4096)
def flag_names(flags: int) -> tuple[str, ...]:
    """Return the names of a record's flags, bit by bit."""
    return tuple(str(flag.name).lower() for flag in Flag if flags & flag)


@lru_cache(4096)
def _flags_text(flags: int) -> str:
    return msgspec.json.encode(flag_names(flags)).decode()


@lru_cache(1024)
def bar_flag_names(flags: int) -> tuple[str, ...]:
    """Return the names of a bar's flags."""
    return tuple(str(flag.name).lower() for flag in BarFlag if flags & flag)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def tick_rows(records: Records, positions: Ints, instrument: Instrument, sources: dict[int, str]) -> Iterator[str]:
    """Yield each trade as the JSON text of an `answers.Tick`, in the order given."""
    named = f'"instrument_id":{instrument.id},"symbol":{_quoted(instrument.symbol)}'
    price_scale, size_scale = instrument.price_scale, instrument.size_scale
    columns = (
        records[name].tolist() for name in ("ts_event", "ts_recv", "a", "b", "c", "flags", "source", "kind", "side")
    )
    for position, ts_event, ts_recv, a, b, c, flags, source, kind, side in zip(
        positions.tolist(), *columns, strict=True
    ):
        price, size = (
            ("null", "null") if kind == _CANCEL else (decimal_text(a, price_scale), decimal_text(b, size_scale))
        )
        yield (
            f'{{"position":{position},"kind":"{_KINDS[kind]}",{named},"ts_event":{ts_event},"ts_recv":{ts_recv},'
            f'"price":{price},"size":{size},"venue_id":{c},"side":{_SIDES[side]},'
            f'"source":{_quoted(sources[source])},"flags":{_flags_text(flags)}}}'
        )


def quote_rows(records: Records, positions: Ints, instrument: Instrument, sources: dict[int, str]) -> Iterator[str]:
    """Yield each quote as the JSON text of an `answers.Quote`, in the order given."""
    named = f'"instrument_id":{instrument.id},"symbol":{_quoted(instrument.symbol)}'
    price, size = instrument.price_scale, instrument.size_scale
    columns = (records[name].tolist() for name in ("ts_event", "ts_recv", "a", "b", "c", "d", "flags", "source"))
    for position, ts_event, ts_recv, a, b, c, d, flags, source in zip(positions.tolist(), *columns, strict=True):
        yield (
            f'{{"position":{position},"kind":"quote",{named},"ts_event":{ts_event},"ts_recv":{ts_recv},'
            f'"bid_price":{decimal_text(a, price)},"ask_price":{decimal_text(b, price)},'
            f'"bid_size":{decimal_text(c, size)},"ask_size":{decimal_text(d, size)},'
            f'"source":{_quoted(sources[source])},"flags":{_flags_text(flags)}}}'
        )


_BOOK_SIDES = {Side.NONE: "null", Side.BUY: '"bid"', Side.SELL: '"ask"'}


def book_rows(records: Records, positions: Ints, instrument: Instrument, sources: dict[int, str]) -> Iterator[str]:
    """Yield each level as the JSON text of an `answers.BookLevel`, in the order given."""
    named = f'"instrument_id":{instrument.id},"symbol":{_quoted(instrument.symbol)}'
    price, size = instrument.price_scale, instrument.size_scale
    names = ("ts_event", "ts_recv", "a", "b", "c", "d", "side", "flags", "source")
    columns = (records[name].tolist() for name in names)
    for position, ts_event, ts_recv, a, b, c, d, side, flags, source in zip(positions.tolist(), *columns, strict=True):
        yield (
            f'{{"position":{position},"kind":"book",{named},"ts_event":{ts_event},"ts_recv":{ts_recv},'
            f'"side":{_BOOK_SIDES[side]},"price":{decimal_text(a, price)},"size":{decimal_text(b, size)},'
            f'"update_id":{c},"order_count":{d},"source":{_quoted(sources[source])},"flags":{_flags_text(flags)}}}'
        )


def asof_rows(
    ticks: Iterator[str], quotes: Records, positions: Ints, places: Ints, instrument: Instrument
) -> Iterator[str]:
    """Yield each tick as the JSON text of an `answers.AsofTick`; `places` (n,) say which quote, -1 none."""
    price, size = instrument.price_scale, instrument.size_scale
    fields = (quotes[name].tolist() for name in ("a", "b", "c", "d", "ts_event"))
    columns = zip(*fields, positions.tolist(), strict=True)
    known = [
        f'"bid_price":{decimal_text(a, price)},"ask_price":{decimal_text(b, price)},"bid_size":{decimal_text(c, size)},'
        f'"ask_size":{decimal_text(d, size)},"quote_ts_event":{ts},"quote_position":{position}}}'
        for a, b, c, d, ts, position in columns
    ]
    names = ("bid_price", "ask_price", "bid_size", "ask_size", "quote_ts_event", "quote_position")
    nothing = ",".join(f'"{name}":null' for name in names) + "}"
    for tick, place in zip(ticks, places.tolist(), strict=True):
        yield f"{tick[:-1]},{known[place] if place >= 0 else nothing}"


def bar_rows(
    bars: Bars, width_ns: int, basis: Basis, instrument: Instrument, watermark_ns: int, gap_flags: Sequence[int]
) -> Iterator[str]:
    """Yield each bar as the JSON text of an `answers.Bar`. `gap_flags` (n,) are or-ed to the bars' own."""
    for row, gap in zip(bars.tolist(), gap_flags, strict=True):
        start, open_ts, _, close_ts, _, opened, high, low, close, *sums = row
        *_, count, revision, flags = sums
        prices = [_bar_price(value, basis, instrument.price_scale) for value in (opened, high, low, close)]
        volume, vwap = _volume(sums, basis, instrument)
        closed = "true" if start + width_ns <= watermark_ns else "false"
        names = msgspec.json.encode(bar_flag_names(flags | gap)).decode()
        yield (
            f'{{"start":{start},"open":{prices[0]},"high":{prices[1]},"low":{prices[2]},"close":{prices[3]},'
            f'"volume":{volume},"vwap":{vwap},"count":{count},"open_ts":{open_ts},"close_ts":{close_ts},'
            f'"closed":{closed},"revision":{revision},"flags":{names}}}'
        )


def _bar_price(value: int, basis: Basis, scale: int) -> str:
    # A bar of quotes holds bid + ask: half of it is exact with one more digit.
    return decimal_text(value * 5, scale + 1) if basis == Basis.QUOTES else decimal_text(value, scale)


def _volume(sums: list[int], basis: Basis, instrument: Instrument) -> tuple[str, str]:
    volume, notional = wide(sums[0], sums[1]), wide(sums[2], sums[3])
    if basis == Basis.QUOTES:
        return "null", "null"
    if volume <= 0:
        return decimal_text(volume, instrument.size_scale), "null"
    # notional is price x size in their integers, so over volume it is a price in price integers.
    vwap = (2 * notional * 10**VWAP_DIGITS + volume) // (2 * volume)
    return decimal_text(volume, instrument.size_scale), decimal_text(vwap, instrument.price_scale + VWAP_DIGITS)


def json_array(rows: Iterator[str] | list[str]) -> msgspec.Raw:
    """Return rows as one JSON array."""
    return msgspec.Raw(f"[{','.join(rows)}]".encode())
