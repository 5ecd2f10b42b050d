"""REST over the past: ranges, bars of any width, joins, estimates, certificates, statements.

The form of an answer is chosen by `format` or by the Accept header. Bodies go out piece by piece, so that a slow
client holds no more than its own answer, and that not for ever.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path as InPath
from fastapi import Query, Request
from fastapi.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from ticktape.errors import BadInput
from ticktape.model.symbols import parse_symbols, shown
from ticktape.serve.audit import note
from ticktape.serve.doors import errors
from ticktape.serve.doors.parts import MOST_SYMBOLS, History, Parts, Sql, Symbol, Symbols, allowed
from ticktape.serve.keys import Key
from ticktape.serve.past import when
from ticktape.serve.past.asks import Format
from ticktape.serve.past.desk import MOST_ROWS, Said
from ticktape.serve.past.pool import Body, Pool

SEND_S = 120.0  # how long one answer may take on its way out

_BY_MEDIA: dict[str, Format] = {
    "*/*": "json",
    "application/*": "json",
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/*": "csv",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.msgpack": "msgpack",
    "application/msgpack": "msgpack",
    "application/x-msgpack": "msgpack",
}

# What an answer comes as besides JSON: `formats.MEDIA`, which loads Arrow and is for workers only.
FORMS = (
    "application/x-ndjson",
    "text/csv",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.parquet",
    "application/vnd.msgpack",
)
_TIMES: dict[str, Any] = {"pattern": when.TIME_PATTERN}
_WIDTHS: dict[str, Any] = {"pattern": when.WIDTH_PATTERN}
_TIME = "nanoseconds since 1970, RFC 3339, or a date (its midnight UTC)"
Start = Annotated[
    str,
    Query(description=f"first moment: {_TIME}", examples=["2025-11-20T14:30:00Z"], json_schema_extra=_TIMES),
]
End = Annotated[
    str | None,
    Query(description="first moment after the range; default now", examples=["2025-11-21"], json_schema_extra=_TIMES),
]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="rows in a page")]
Cursor = Annotated[str | None, Query(max_length=1000, description="next_cursor of the page before")]
Known = Annotated[
    str | None, Query(description="as it was known then: a time, or position:123", examples=["2025-11-20T15:00:00Z"])
]
Form = Annotated[
    Format | None, Query(description="json, ndjson, csv, arrow, parquet or msgpack; else by the Accept header")
]
KindName = Annotated[Literal["trades", "quotes", "book"], Query(description="which rows")]
Interval = Annotated[
    str | None, Query(description="bars of this width instead: 100ms, 37s, 5m, 1h, 1d", json_schema_extra=_WIDTHS)
]
Width = Annotated[str, Query(description="width of a bar: 100ms, 37s, 5m, 1h, 1d", json_schema_extra=_WIDTHS)]
BasisName = Annotated[Literal["trades", "quotes"], Query(description="what bars are built from; quotes: the mid")]
OneSymbol = Annotated[str, Query(description="a canonical symbol", examples=["BTCUSDT"])]
Day = Annotated[str, InPath(description="a date, UTC or the venue's", examples=["2025-11-20"],
                                json_schema_extra={"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"})]  # fmt: skip
DayBasis = Annotated[
    Literal["utc", "trade_date"], Query(description="the day in UTC, or the venue's business date with its sessions")
]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST sql."""

    query: str
    limit: int = 1000


class PastRest:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def historical(
        self, key: History, request: Request, symbols: Symbols, start_time: Start, end_time: End = None,
        interval: Interval = None, kind: KindName = "trades", limit: Limit = 1000, cursor: Cursor = None,
        as_known_at: Known = None, format: Form = None,  # noqa: A002 - the name in the query
    ) -> Response:  # fmt: skip
        """Return the raw rows of a range, or bars of any width: lake and tape as one, in pages."""
        wanted = _symbols(key, symbols)
        said = Said(wanted, start_time, end_time, limit, cursor, as_known_at, _format(request, format))
        desk, queries = self._parts.past(), self._parts.ask()
        if interval is None:
            return _sent(await desk.ticks(key, queries, said, kind), desk.pool)
        if kind == "book":
            raise BadInput("bars are built from trades or quotes", hint="kind=trades")
        return _sent(await desk.bars(key, queries, said, interval, quotes=kind == "quotes"), desk.pool)

    async def bars(
        self, key: History, request: Request, symbol: Symbol, start_time: Start, end_time: End = None,
        interval: Width = "1m", basis: BasisName = "trades", limit: Limit = 1000, cursor: Cursor = None,
        as_known_at: Known = None, format: Form = None,  # noqa: A002
    ) -> Response:  # fmt: skip
        """Return the bars of a symbol that start in a range, of any width, oldest first, in pages."""
        wanted = [allowed(key, symbol)]
        said = Said(wanted, start_time, end_time, limit, cursor, as_known_at, _format(request, format))
        desk, queries = self._parts.past(), self._parts.ask()
        return _sent(await desk.bars(key, queries, said, interval, quotes=basis == "quotes", one=True), desk.pool)

    async def asof(
        self, key: History, request: Request, symbol: OneSymbol, start_time: Start, end_time: End = None,
        limit: Limit = 1000, cursor: Cursor = None, as_known_at: Known = None,
        format: Form = None,  # noqa: A002
    ) -> Response:  # fmt: skip
        """Return the trades of a range, each with the quote that was in force."""
        wanted = [allowed(key, symbol)]
        said = Said(wanted, start_time, end_time, limit, cursor, as_known_at, _format(request, format))
        desk = self._parts.past()
        return _sent(await desk.asof(key, self._parts.ask(), said), desk.pool)

    async def estimate(
        self, key: History, symbols: Symbols, start_time: Start, end_time: End = None, interval: Interval = None,
        kind: KindName = "trades",
    ) -> Response:  # fmt: skip
        """Return what a question would read, before it is asked: rows, bytes, files, and whether it may."""
        said = Said(_symbols(key, symbols), start_time, end_time)
        desk = self._parts.past()
        return _sent(await desk.estimate(key, self._parts.ask(), said, kind, interval), desk.pool)

    async def completeness(
        self, key: History, symbol: Symbol, date: Day, basis: DayBasis = "utc"
    ) -> Response:  # fmt: skip
        """Return the certificate of an instrument's day: expected against stored, a verdict, and why."""
        desk = self._parts.past()
        return _sent(await desk.day(key, self._parts.ask(), allowed(key, symbol), date, basis), desk.pool)

    async def sql(self, key: Sql, request: Request, format: Form = None) -> Response:  # noqa: A002
        """Return the rows of one SELECT over the lake's tables: {"query": "...", "limit": 1000}."""
        try:
            asked = msgspec.json.decode(await request.body(), type=Statement)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"body: {shown(str(error), 200)}", hint='{"query": "SELECT count(*) FROM trades"}') from None
        note(said=asked.query)
        desk, form = self._parts.past(), _format(request, format)
        return _sent(await desk.sql(key, self._parts.ask(), asked.query, asked.limit, form), desk.pool)


def _symbols(key: Key, symbols: str) -> list[str]:
    wanted = parse_symbols(symbols, MOST_SYMBOLS)
    key.require_symbols(wanted)
    return wanted


def _format(request: Request, given: Format | None) -> Format:
    """Return the form that was asked for. Raises Refused (406) when there is none that would do."""
    if given is not None:
        return given
    best: tuple[float, Format] | None = None
    for part in request.headers.get("accept", "*/*").split(","):
        name, _, rest = part.strip().partition(";")
        form = _BY_MEDIA.get(name.strip().lower())
        quality = _quality(rest)
        if form is not None and quality > (best[0] if best else 0.0):
            best = (quality, form)
    if best is None:
        raise errors.Refused(406, "not_acceptable", "none of the forms that Accept names", hint="Accept: text/csv")
    return best[1]


def _quality(text: str) -> float:
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _sent(body: Body, pool: Pool) -> Response:
    note(rows=body.reply.rows)
    return _Pieces(body, pool)


class _Pieces(Response):
    # A body in pieces, each waiting until the client took those before it.
    def __init__(self, body: Body, pool: Pool) -> None:
        super().__init__(None, media_type=body.reply.media_type, headers=dict(body.reply.headers))
        self._pieces, self._size, self._pool = body.pieces, body.reply.size, pool
        self.headers["content-length"] = str(self._size)
        self.headers["vary"] = "Accept"

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        self._pool.sending += self._size
        try:
            async with asyncio.timeout(SEND_S):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                while self._pieces:
                    more = len(self._pieces) > 1
                    await send({"type": "http.response.body", "body": self._pieces.pop(0), "more_body": more})
                if not self._size:
                    await send({"type": "http.response.body", "body": b""})
        finally:
            self._pool.sending -= self._size
