"""Tools about the past: rows and bars of a range, a moment, a day's certificate, SQL."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec

from ticktape.errors import TooCostly
from ticktape.serve import answers as a
from ticktape.serve.mcp import plain
from ticktape.serve.mcp import shapes as s
from ticktape.serve.mcp.asked import Asked, Range, range_of, whole
from ticktape.serve.mcp.present import QUOTE, TRADE
from ticktape.serve.past import when

BOOK = ("symbol", "ts_event", "side", "price", "size", "update_id", "position", "flags")
BAR = ("start", "open", "high", "low", "close", "volume", "vwap", "count", "closed", "flags")
COLUMNS = {"trades": TRADE, "quotes": QUOTE, "book": BOOK}
# What a down-sampled answer may be made of: people's widths, so that two answers compare.
WIDTHS = ("1s", "5s", "15s", "30s", "1m", "2m", "5m", "10m", "15m", "30m", "1h", "2h", "4h", "8h", "1d", "7d", "30d")
_Row = dict[str, Any]
_REACH_NS = tuple(10**9 * seconds for seconds in (1, 60, 3600, 86_400, 7 * 86_400))


async def ticks(asked: Asked, args: s.AskTicks) -> s.TicksAnswer:
    """Return rows of a range, a page at a time."""
    symbols, desk, queries = asked.symbols(args.symbols), asked.desk, asked.queries
    within = range_of(args, queries.now_ns(), args.cursor)

    async def page(n: int) -> s.TicksAnswer:
        body = await desk.ticks(asked.key, queries, within.said(symbols, n, args.as_known_at), args.kind)
        found = msgspec.json.decode(whole(body), type=a.Historical)
        return s.TicksAnswer(
            provenance=plain.came(found),
            cut=found.next_cursor is not None,
            next_cursor=within.cursor(found.next_cursor),
            start=plain.time_text(found.start) or "",
            end=plain.time_text(found.end) or "",
            kind=args.kind,
            ticks=plain.table(plain.decoded(bytes(found.ticks)), COLUMNS[args.kind], args.columns),
        )

    return await plain.fitted(args.max_tokens, args.limit, page)


# -- bars ----------------------------------------------------------------------------------------------


async def bars(asked: Asked, args: s.AskBars) -> s.BarsAnswer:
    """Return bars of a range: all of it in wider ones where those asked for do not fit, or page by page."""
    (symbol,) = asked.symbols([args.symbol])
    within = range_of(args, asked.queries.now_ns(), args.cursor)
    if not args.downsample or args.cursor is not None:
        return await plain.fitted(
            args.max_tokens, args.limit, lambda n: _bars(asked, args, symbol, within, args.interval, n)
        )
    for width in wider(args.interval):
        answer = await _bars(asked, args, symbol, within, width, args.limit)
        if not answer.cut and plain.tokens_of(answer) <= args.max_tokens:
            return answer
    raise TooCostly("the range does not fit, even in the widest bars", hint="a shorter range, or downsample=false")


def wider(interval: str) -> list[str]:
    """Return an interval and all that may stand in for it, narrowest first. Raises BadInput."""
    width = when.parse_width(interval)
    return [interval, *(name for name in WIDTHS if when.parse_width(name) > width)]


async def _bars(asked: Asked, args: s.AskBars, symbol: str, within: Range, interval: str, limit: int) -> s.BarsAnswer:
    found = await bars_of(asked, symbol, within, interval, limit, basis=args.basis, known=args.as_known_at)
    why = f"bars of {args.interval} take more than {args.max_tokens} tokens or {args.limit} rows"
    return s.BarsAnswer(
        provenance=plain.came(found),
        cut=found.next_cursor is not None,
        next_cursor=within.cursor(found.next_cursor),
        symbol=symbol,
        start=plain.time_text(found.start) or "",
        end=plain.time_text(found.end) or "",
        interval=interval,
        basis=args.basis,
        downsampled=None if interval == args.interval else s.Downsampled(asked=args.interval, given=interval, why=why),
        bars=plain.table(plain.decoded(bytes(found.bars)), BAR, args.columns),
    )


async def bars_of(
    asked: Asked, symbol: str, within: Range, interval: str, limit: int, *, basis: s.Basis, known: str | None = None
) -> a.BarsAnswer:
    """Return bars of one symbol as REST answers them."""
    said = within.said([symbol], limit, known)
    body = await asked.desk.bars(asked.key, asked.queries, said, interval, quotes=basis == "quotes", one=True)
    return msgspec.json.decode(whole(body), type=a.BarsAnswer)


# -- a moment ------------------------------------------------------------------------------------------


async def snapshot_at(asked: Asked, args: s.AskSnapshot) -> s.SnapshotAnswer:
    """Return the newest trade and quote at or before a moment of some symbols."""
    symbols = asked.symbols(args.symbols)
    at_ns = when.parse_time(args.time, "time")
    parts, trades, quotes = list[s.Came](), list[_Row](), list[_Row]()
    for symbol in symbols:
        traded, where = await _newest(asked, symbol, "trades", at_ns, args.as_known_at)
        quoted, when_quoted = await _newest(asked, symbol, "quotes", at_ns, args.as_known_at)
        trades += traded
        quotes += quoted
        parts += [where, when_quoted]
    answer = s.SnapshotAnswer(
        provenance=plain.joined(parts),
        time=plain.time_text(at_ns) or "",
        trades=plain.table(trades, TRADE),
        quotes=plain.table(quotes, QUOTE),
    )
    if (size := plain.tokens_of(answer)) > args.max_tokens:
        raise TooCostly(f"{len(symbols)} symbols take {size} tokens", hint="fewer symbols, or a larger max_tokens")
    return answer


async def _newest(
    asked: Asked, symbol: str, kind: Literal["trades", "quotes"], at_ns: int, known: str | None
) -> tuple[list[_Row], s.Came]:
    """Return the newest row at or before a time, or none, and where that was looked for.

    Looks back further step by step: bars of the step before say where in the window the newest row is.
    """
    about: s.Came | None = None
    before = at_ns + 1  # nothing was found from here to the moment
    for k, reach in enumerate(_REACH_NS):
        within = Range(max(0, at_ns + 1 - reach), before)
        width = f"{_REACH_NS[k - 1] // 10**9}s" if k else "1ms"
        found = await bars_of(asked, symbol, within, width, s.MOST_ROWS, basis=kind, known=known)
        about = plain.came(found)
        rows = msgspec.json.decode(bytes(found.bars), type=list[_When])
        upto = [row.close_ts for row in rows if row.close_ts <= at_ns]
        if upto or not k:
            last = max(upto, default=max(0, at_ns - 10**6))
            exact = await _row(asked, symbol, kind, Range(last, at_ns + 1), known)
            if exact[0]:
                return exact
        before = within.start_ns
        if not before:
            break
    assert about is not None
    lacking = f"no {kind[:-1]} of {symbol} in the seven days before"
    return [], msgspec.structs.replace(about, missing=[*about.missing, lacking])


class _When(msgspec.Struct, frozen=True):
    close_ts: int


async def _row(
    asked: Asked, symbol: str, kind: Literal["trades", "quotes"], within: Range, known: str | None
) -> tuple[list[_Row], s.Came]:
    body = await asked.desk.ticks(asked.key, asked.queries, within.said([symbol], s.MOST_ROWS, known), kind)
    found = msgspec.json.decode(whole(body), type=a.Historical)
    rows: list[_Row] = plain.decoded(bytes(found.ticks))
    return rows[-1:], plain.came(found)


# -- days and statements -------------------------------------------------------------------------------


async def certificate(asked: Asked, args: s.AskCertificate) -> s.CertificateAnswer:
    """Return the certificate of an instrument's day."""
    (symbol,) = asked.symbols([args.symbol])
    body = await asked.desk.day(asked.key, asked.queries, symbol, args.date, args.basis)
    found = msgspec.json.decode(whole(body), type=a.CompletenessAnswer)
    full: dict[str, Any] = plain.decoded(bytes(found.certificate))

    async def kept(n: int) -> s.CertificateAnswer:
        short, dropped = _shortened(full, n)
        return s.CertificateAnswer(
            provenance=s.Came(
                as_of_position=found.as_of_position, sample=found.sample, lake=found.lake,
                missing=[f"{dropped} list entries left out: GET /api/v1/completeness has all"] if dropped else [],
            ),
            cut=dropped > 0,
            symbol=found.symbol, date=found.date, running=found.running, verdict=found.verdict,
            notes=found.notes[: plain.MOST_NOTES], certificate=short,
        )  # fmt: skip

    return await plain.fitted(args.max_tokens, s.MOST_ROWS, kept)


def _shortened(value: Any, most: int) -> tuple[Any, int]:
    """Return plain data with no list longer than `most`, and how many entries that left out."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        parts = {name: _shortened(field, most) for name, field in fields.items()}
        return {name: kept for name, (kept, _) in parts.items()}, sum(dropped for _, dropped in parts.values())
    if isinstance(value, list):
        entries = cast("list[Any]", value)
        pairs = [_shortened(entry, most) for entry in entries[:most]]
        return [kept for kept, _ in pairs], len(entries) - len(pairs) + sum(dropped for _, dropped in pairs)
    return value, 0


async def sql(asked: Asked, args: s.AskSql) -> s.SqlAnswer:
    """Return the rows of a statement, as many as fit."""
    body = await asked.desk.sql(asked.key, asked.queries, args.query, args.limit, "json")
    found = msgspec.json.decode(whole(body), type=a.SqlAnswer)
    rows: list[list[Any]] = plain.decoded(bytes(found.rows))

    async def kept(n: int) -> s.SqlAnswer:
        return s.SqlAnswer(
            provenance=s.Came(
                as_of_position=found.as_of_position, sample=found.sample, missing=found.missing[: plain.MOST_NOTES],
                lake=found.lake,
            ),
            cut=found.cut or n < len(rows),
            types=found.types,
            result=s.Table(columns=found.columns, rows=rows[:n]),
        )  # fmt: skip

    return await plain.fitted(args.max_tokens, max(1, len(rows)), kept)
