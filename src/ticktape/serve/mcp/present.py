"""Tools about now: instruments, the latest, gaps, how the system is doing."""

from __future__ import annotations

from typing import Any

import msgspec

from ticktape.errors import BadInput
from ticktape.serve import answers as a
from ticktape.serve.mcp import plain
from ticktape.serve.mcp import shapes as s
from ticktape.serve.mcp.asked import Asked

INSTRUMENT = (
    "instrument_id", "symbol", "venue", "asset_class", "tick_size", "size_step", "multiplier", "currency", "calendar",
    "expiry", "last_ts_event", "age_s",
)  # fmt: skip
TRADE = ("symbol", "ts_event", "price", "size", "side", "venue_id", "position", "flags")
QUOTE = ("symbol", "ts_event", "bid_price", "bid_size", "ask_price", "ask_size", "position", "flags")


async def instruments(asked: Asked, args: s.ListInstruments) -> s.InstrumentsAnswer:
    """Return what is recorded, a page at a time; the cursor is the id of the last one."""
    found = asked.queries.instruments(asked.key.symbols)
    after = _id(args.cursor)
    rows = [
        _instrument(row)
        for row in found.instruments
        if row.instrument_id > after and args.contains.upper() in row.symbol.upper()
    ]

    async def page(n: int) -> s.InstrumentsAnswer:
        more = len(rows) > n
        return s.InstrumentsAnswer(
            provenance=s.Came(as_of_position=found.as_of_position, sample=found.sample),
            cut=more,
            next_cursor=str(rows[n - 1]["instrument_id"]) if more else None,
            instruments=plain.table(rows[:n], INSTRUMENT),
        )

    return await plain.fitted(args.max_tokens, max(1, len(rows)), page)


def _id(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 11):
        raise BadInput("this is no cursor of ours", hint="cursor: next_cursor of the answer before, unchanged")
    return int(cursor)


def _instrument(row: a.InstrumentRow) -> dict[str, Any]:
    found: dict[str, Any] = plain.decoded(msgspec.json.encode(row))
    fresh = row.freshness
    exact = {name: str(found[name]) for name in ("tick_size", "size_step", "multiplier")}
    return {**found, **exact, "last_ts_event": plain.time_text(fresh.last_ts_event), "age_s": fresh.age_s}


async def latest(asked: Asked, args: s.AskLatest) -> s.LatestAnswer:
    """Return the newest trades and the newest quote of some symbols."""
    symbols = asked.symbols(args.symbols)
    quoted = [asked.queries.latest_quote(symbol) for symbol in symbols]
    quotes = [quote for answer in quoted if (quote := plain.decoded(bytes(answer.quote)))]

    async def newest(n: int) -> s.LatestAnswer:
        each = max(1, n // len(symbols))
        traded = asked.queries.ticks(symbols, each)
        rows = plain.decoded(bytes(traded.ticks))
        return s.LatestAnswer(
            provenance=plain.joined([*(plain.came(answer) for answer in quoted), plain.came(traded)]),
            cut=each < args.trades and any(part.count == each for part in traded.symbols),
            trades=plain.table(rows, TRADE),
            quotes=plain.table(quotes, QUOTE),
        )

    return await plain.fitted(args.max_tokens, args.trades * len(symbols), newest)


async def gaps(asked: Asked, args: s.AskGaps) -> s.GapsAnswer:
    """Return what is missing on the tape."""
    symbol = None if args.symbol is None else asked.symbols([args.symbol])[0]
    found = asked.queries.gaps(symbol, args.state, args.limit, asked.key.symbols)

    async def newest(n: int) -> s.GapsAnswer:
        about = msgspec.structs.replace(plain.came(found), gaps=[], more_gaps=0)
        kept = [plain.gap(row) for row in found.gaps[-n:]]
        hidden = found.forgotten + len(found.gaps) - len(kept)
        return s.GapsAnswer(
            provenance=msgspec.structs.replace(about, gaps=kept, more_gaps=hidden),
            cut=len(kept) < len(found.gaps),
            open=found.open,
        )

    return await plain.fitted(args.max_tokens, max(1, len(found.gaps)), newest)


async def status(asked: Asked, args: s.AskStatus) -> s.StatusAnswer:
    """Return how the system is doing."""
    found = asked.queries.status()
    sources = [
        s.Source(**{name: getattr(source, name) for name in s.Source.__struct_fields__}) for source in found.sources
    ]

    async def told(n: int) -> s.StatusAnswer:
        return s.StatusAnswer(
            provenance=s.Came(
                as_of_position=found.as_of_position, sample=found.sample, sources=[one.name for one in sources[:n]]
            ),
            cut=len(sources) > n,
            ok=found.ok, problems=found.problems[: plain.MOST_NOTES], now=found.now, version=found.version,
            recorder=found.recorder, tape=found.tape, sources=sources[:n], instruments=found.instruments,
            open_gaps=found.open_gaps,
        )  # fmt: skip

    return await plain.fitted(args.max_tokens, max(1, len(sources)), told)
