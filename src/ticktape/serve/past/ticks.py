"""Raw rows of a range, page by page, and trades joined to the quote in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from ticktape.errors import BadInput
from ticktape.lake.asof import asof
from ticktape.lake.history import Cursor, Page
from ticktape.lake.rows import records_of
from ticktape.lake.scan import columns_of
from ticktape.lake.schema import TABLES
from ticktape.model.records import Ints, Kind, Records, Side, empty
from ticktape.serve import answers as a
from ticktape.serve import encode
from ticktape.serve.past import cursors, formats
from ticktape.serve.past.about import PLAIN, About
from ticktape.serve.past.asks import AskAsof, AskTicks, Fact, Ranged, Reply
from ticktape.serve.past.cursors import Mark
from ticktape.serve.past.view import BEGIN_NS, View

_ENCODERS = {"trades": encode.tick_rows, "quotes": encode.quote_rows, "book": encode.book_rows}
_LOOK_BACK_NS = tuple(10**9 * seconds for seconds in (60, 3600, 86_400, 7 * 86_400))
MINUTE_NS = 60 * 10**9
NOTHING = msgspec.Raw(b"null")


class Rows(NamedTuple):
    """Rows in the order of the answer."""

    positions: Ints
    records: Records

    def runs(self) -> Iterator[tuple[int, slice]]:
        """Yield (instrument, rows) of each stretch of one instrument."""
        who = self.records["instrument"]
        edges = np.flatnonzero(np.diff(who)) + 1
        bounds = [0, *edges.tolist(), len(who)]
        for start, stop in pairwise(bounds):
            if start < stop:
                yield int(who[start]), slice(start, stop)


class Read(NamedTuple):
    """A page of rows and where it ended."""

    rows: Rows
    mark: Mark | None
    missing: list[Any]


def answer_ticks(ask: AskTicks, view: View) -> tuple[Reply, bytes]:
    """Return a page of raw rows."""
    read = _page(ask, view, ask.kind)
    about = About(ask, view, ask.kind)
    rows, parts = read.rows, _parts(ask, read.rows)
    start, end = _window(ask, rows, read.mark)
    facts = about.facts(start, end, _without(ask, parts, read), read.missing, last=read.mark is None)
    answer = a.Historical(
        **facts, **_of_rows(about, rows), symbols=parts, next_cursor=_next(ask, read), kind=ask.kind, interval=None,
        ticks=NOTHING, bars=NOTHING,
    )  # fmt: skip
    table: Callable[[], pa.Table] = lambda: _table(ask, rows, ask.kind, about)  # noqa: E731
    return formats.reply_of(
        answer, "ticks", lambda: list(_texts(ask, rows, ask.kind, about)), table, ask.format, _most(ask)
    )


def _most(ask: Ranged) -> int:
    return ask.allowance.answer_mb << 20


# -- reading -----------------------------------------------------------------------------------------


def _page(ask: Ranged, view: View, table: str) -> Read:
    """Return at most `limit` rows from where the last page ended."""
    mark, ids = ask.after, [fact.instrument.id for fact in ask.facts]
    aggregated = mark.aggregated if mark else _aggregated(ask, view) if table == "trades" else []
    after = Cursor(mark.partition, mark.instrument_id, mark.ts_event, mark.position, mark.before) if mark else None
    pieces, missing, room = list[Rows](), list[Any](), ask.limit
    while room > 0:
        page = view.read(table, ids, ask.start_ns, ask.end_ns, limit=room, after=after)
        piece = _of_kinds(_rows(table, page), aggregated, table)
        pieces.append(piece)
        missing += page.missing
        room -= len(piece.positions)
        after = page.next
        if after is None:
            break
    rows = Rows(
        np.concatenate([np.zeros(0, np.int64), *(piece.positions for piece in pieces)]),
        np.concatenate([empty(0), *(piece.records for piece in pieces)]),
    )
    if after is None:
        return Read(rows, None, missing)
    ended = Mark(
        start_ns=ask.start_ns, end_ns=ask.end_ns, before=after.before, instrument_id=after.instrument_id,
        ts_event=after.ts_event, position=after.position, partition=after.partition, aggregated=list(aggregated),
    )  # fmt: skip
    return Read(rows, ended, missing)


def _rows(table: str, page: Page) -> Rows:
    columns = columns_of(page.rows)
    return Rows(columns["position"].astype(np.int64), records_of(TABLES[table], columns))


def _aggregated(ask: Ranged, view: View) -> list[int]:
    """Return the instruments of which only aggregated trades are recorded in the range: they answer with those."""
    ids = [fact.instrument.id for fact in ask.facts]
    # Stored minutes tell; a minute's part is as new as its flush, so what was known when does not cut it.
    stored = view.snapshot.read("bars", ids, ask.start_ns - MINUTE_NS, ask.end_ns, columns=["instrument_id", "basis"])
    columns = columns_of(stored.rows)
    plain = set(columns["instrument_id"][columns["basis"] == 0].tolist())
    tape = view.reader.view(max(view.snapshot.position("bars"), view.reader.first), view.reader.end)
    plain |= set(np.unique(tape["instrument"][tape["kind"] == Kind.TRADE]).tolist())
    return [fact.instrument.id for fact in ask.facts if fact.instrument.id not in plain]


def _of_kinds(rows: Rows, aggregated: list[int], table: str) -> Rows:
    if table != "trades":
        return rows
    whole = np.isin(rows.records["instrument"], aggregated)
    mine = np.where(whole, rows.records["kind"] == Kind.AGG_TRADE, np.isin(rows.records["kind"], PLAIN))
    return rows if mine.all() else Rows(rows.positions[mine], rows.records[mine])


def _next(ask: Ranged, read: Read) -> str | None:
    return cursors.encode(read.mark, ask.binding) if read.mark else None


# -- saying ------------------------------------------------------------------------------------------


def _window(ask: Ranged, rows: Rows, mark: Mark | None) -> tuple[int, int]:
    """Return the range that a page covers; over several instruments it is all of it."""
    if len(ask.facts) > 1:
        return ask.start_ns, ask.end_ns
    start = ask.after.ts_event if ask.after and ask.after.position >= 0 else ask.start_ns
    end = int(rows.records["ts_event"][-1]) + 1 if mark and len(rows.positions) else ask.end_ns
    return start, max(end, start + 1)


def _parts(ask: Ranged, rows: Rows) -> list[a.SymbolPart]:
    found: list[a.SymbolPart] = []
    for fact in ask.facts:
        mine = rows.positions[rows.records["instrument"] == fact.instrument.id]
        ends = a.Positions(int(mine.min()), int(mine.max())) if len(mine) else a.Positions(None, None)
        found.append(
            a.SymbolPart(
                symbol=fact.instrument.symbol, instrument_id=fact.instrument.id, count=len(mine), positions=ends,
                freshness=fact.freshness,
            )
        )  # fmt: skip
    return found


def _without(ask: Ranged, parts: list[a.SymbolPart], read: Read) -> list[Fact]:
    # After the first page nobody knows here whether an earlier one had rows of it.
    if ask.after is not None or read.mark is not None:
        return []
    return [fact for fact, part in zip(ask.facts, parts, strict=True) if part.count == 0]


def _of_rows(about: About, rows: Rows) -> dict[str, Any]:
    flags = int(np.bitwise_or.reduce(rows.records["flags"])) if len(rows.positions) else 0
    some = len(rows.positions) > 0
    return {
        "positions": a.Positions(int(rows.positions.min()), int(rows.positions.max())) if some else _no_positions(),
        "source": sorted(about.source(number) for number in formats.distinct(rows.records["source"])[0].tolist()),
        "flags": list(encode.flag_names(flags)),
    }


def _no_positions() -> a.Positions:
    return a.Positions(None, None)


def _texts(ask: Ranged, rows: Rows, kind: str, about: About) -> Iterator[str]:
    by_id = {fact.instrument.id: fact.instrument for fact in ask.facts}
    names = {number: about.source(number) for number in formats.distinct(rows.records["source"])[0].tolist()}
    for who, run in rows.runs():
        yield from _ENCODERS[kind](rows.records[run], rows.positions[run], by_id[who], names)


class _Scales:
    # Of each row, and the one that a column gets: that of the question, so that all pages have the same types.
    def __init__(self, facts: Sequence[Fact], records: Records) -> None:
        ids = np.array([fact.instrument.id for fact in facts])
        order = np.argsort(ids)
        self._places = order[np.searchsorted(ids[order], records["instrument"])]
        self._price = np.array([fact.instrument.price_scale for fact in facts])
        self._size = np.array([fact.instrument.size_scale for fact in facts])

    def price(self, values: Any, nulls: Any = None) -> pa.Array:
        return formats.decimals(values, self._price[self._places], max(0, int(self._price.max())), nulls)

    def size(self, values: Any, nulls: Any = None) -> pa.Array:
        return formats.decimals(values, self._size[self._places], max(0, int(self._size.max())), nulls)


_SIDES = {Side.NONE: None, Side.BUY: "buy", Side.SELL: "sell"}
_BOOK_SIDES = {Side.NONE: None, Side.BUY: "bid", Side.SELL: "ask"}


def _table(ask: Ranged, rows: Rows, kind: str, about: About) -> pa.Table:
    records, symbols = rows.records, {fact.instrument.id: fact.instrument.symbol for fact in ask.facts}
    scales = _Scales(ask.facts, records)
    head = {
        "position": formats.integers(rows.positions),
        "kind": formats.named(records["kind"], lambda code: Kind(code).name.lower()),
        "instrument_id": formats.integers(records["instrument"]),
        "symbol": formats.named(records["instrument"], lambda code: symbols[code]),
        "ts_event": formats.integers(records["ts_event"]),
        "ts_recv": formats.integers(records["ts_recv"]),
    }

    if kind == "quotes":
        body = {
            "bid_price": scales.price(records["a"]),
            "ask_price": scales.price(records["b"]),
            "bid_size": scales.size(records["c"]),
            "ask_size": scales.size(records["d"]),
        }
    elif kind == "book":
        body = {
            "side": formats.named(records["side"], lambda code: _BOOK_SIDES[Side(code)]),
            "price": scales.price(records["a"]),
            "size": scales.size(records["b"]),
            "update_id": formats.integers(records["c"]),
            "order_count": formats.integers(records["d"]),
        }
    else:
        gone = records["kind"] == Kind.CANCEL
        body = {
            "price": scales.price(records["a"], gone),
            "size": scales.size(records["b"], gone),
            "venue_id": formats.integers(records["c"]),
            "side": formats.named(records["side"], lambda code: _SIDES[Side(code)]),
        }
    tail = {
        "source": formats.named(records["source"], about.source),
        "flags": formats.listed(records["flags"], encode.flag_names),
    }
    return pa.table(head | body | tail)


# -- as of -------------------------------------------------------------------------------------------


def answer_asof(ask: AskAsof, view: View) -> tuple[Reply, bytes]:
    """Return a page of trades, each with the quote in force: the newest not after it by the venue's clock."""
    if len(ask.facts) != 1:
        raise BadInput("one symbol at a time", hint="symbol=BTCUSDT")
    read = _page(ask, view, "trades")
    about = About(ask, view, "trades")
    traded = np.isin(read.rows.records["kind"], (Kind.TRADE, Kind.AGG_TRADE))
    rows = Rows(read.rows.positions[traded], read.rows.records[traded])
    quotes, missing = _quotes(ask, view, rows)
    who = np.zeros(len(rows.positions), dtype=np.int32)
    places = asof(
        who, np.ascontiguousarray(rows.records["ts_event"]), np.zeros(len(quotes.positions), dtype=np.int32),
        np.ascontiguousarray(quotes.records["ts_event"]),
    )  # fmt: skip
    parts = _parts(ask, rows)
    start, end = _window(ask, rows, read.mark)
    facts = about.facts(
        start, end, _without(ask, parts, read), [*read.missing, *missing], last=read.mark is None
    )  # fmt: skip
    instrument = ask.facts[0].instrument
    answer = a.AsofAnswer(
        **facts, **_of_rows(about, rows), symbols=parts, next_cursor=_next(ask, read), symbol=instrument.symbol,
        instrument_id=instrument.id, ticks=NOTHING,
    )  # fmt: skip

    def texts() -> list[str]:
        ticks = _texts(ask, rows, "trades", about)
        return list(encode.asof_rows(ticks, quotes.records, quotes.positions, places, instrument))

    def table() -> pa.Table:
        return _asof_table(ask, rows, quotes, places, about)

    return formats.reply_of(answer, "ticks", texts, table, ask.format, _most(ask))


def _quotes(ask: Ranged, view: View, rows: Rows) -> tuple[Rows, list[Any]]:
    """Return the quotes from the one in force at the first trade to the last trade."""
    if not len(rows.positions):
        return Rows(np.zeros(0, np.int64), empty(0)), []
    first, last = int(rows.records["ts_event"].min()), int(rows.records["ts_event"].max())
    ids = [ask.facts[0].instrument.id]
    page = view.read("quotes", ids, first, last + 1)
    found = _rows("quotes", page)
    if len(found.positions) and int(found.records["ts_event"][0]) <= first:
        return found, page.missing
    for reach in _LOOK_BACK_NS:
        earlier = view.read("quotes", ids, max(first - reach, BEGIN_NS), first)
        before = _rows("quotes", earlier)
        if len(before.positions):
            both = Rows(
                np.concatenate([before.positions[-1:], found.positions]),
                np.concatenate([before.records[-1:], found.records]),
            )
            return both, page.missing + earlier.missing
    return found, page.missing


def _asof_table(ask: Ranged, rows: Rows, quotes: Rows, places: Ints, about: About) -> pa.Table:
    table, scales = _table(ask, rows, "trades", about), _Scales(ask.facts, rows.records)
    none = places < 0
    chosen = quotes.records[np.maximum(places, 0)] if len(quotes.positions) else empty(len(places))
    columns = {
        "bid_price": scales.price(chosen["a"], none),
        "ask_price": scales.price(chosen["b"], none),
        "bid_size": scales.size(chosen["c"], none),
        "ask_size": scales.size(chosen["d"], none),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    table = table.append_column("quote_ts_event", formats.integers(chosen["ts_event"], none))
    where = quotes.positions[np.maximum(places, 0)] if len(quotes.positions) else np.zeros(len(places), np.int64)
    return table.append_column("quote_position", formats.integers(where, none))
