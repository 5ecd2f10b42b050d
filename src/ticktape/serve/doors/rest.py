"""REST under `/api/v1`: routes, their scopes, and nothing that is not in `queries.py`.

Hot routes answer bytes that were encoded once; no response model stands between. Symbols with a slash work in
a path as they are and as %2F.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException

from ticktape import __version__
from ticktape.errors import BadInput, Unavailable
from ticktape.model.bars import TIMEFRAMES, Basis
from ticktape.model.records import GapState
from ticktape.model.symbols import parse_symbol, parse_symbols, shown
from ticktape.serve import answers as a
from ticktape.serve import around
from ticktape.serve.alarms import answers as alarms
from ticktape.serve.audit import note
from ticktape.serve.control import Request as Call
from ticktape.serve.doors import docs, errors
from ticktape.serve.doors.alarms import AlarmsRest
from ticktape.serve.doors.around import AroundRest
from ticktape.serve.doors.desk import DeskDoor
from ticktape.serve.doors.gate import Gate
from ticktape.serve.doors.hot import Hot, HotRoute
from ticktape.serve.doors.keys import KeyHistory, KeysAnswer, KeysRest, NewKey, Revoked, Rotation
from ticktape.serve.doors.mcp import McpDoor
from ticktape.serve.doors.parts import (
    MOST_SYMBOLS,
    Admin,
    Anyone,
    History,
    Needs,
    Parts,
    Realtime,
    Symbol,
    Symbols,
    allowed,
)
from ticktape.serve.doors.past import FORMS, PastRest, Statement
from ticktape.serve.doors.pipeline import PipelineRest
from ticktape.serve.doors.sse import Sse
from ticktape.serve.keys import Created

__all__ = ["PREFIX", "Needs", "Parts", "Rest", "Route", "build", "routes"]

PREFIX = "/api/v1"
FORMER_PREFIX, FORMER = "/api", ("/ticks/", "/quotes/", "/ohlc/", "/pipeline/")  # paths that users know from before
MOST_LIMIT = 5000

Handler = Callable[..., Awaitable[Response]]
Limit = Annotated[int, Query(ge=1, le=MOST_LIMIT, description="rows, the latest ones")]
Timeframe = Annotated[str, Query(description="|".join(TIMEFRAMES), json_schema_extra={"enum": list(TIMEFRAMES)})]
BasisName = Annotated[Literal["trades", "quotes"], Query(description="what bars are built from; quotes: the mid")]
State = Annotated[
    str | None, Query(description="opened|closed|filled|unfillable", examples=[s.name.lower() for s in GapState])
]
SourceName = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,40}$", examples=["binance"])]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST sources/{name}/symbols."""

    add: list[str] = []
    remove: list[str] = []


class Rest:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.past = PastRest(parts)
        self.keys = KeysRest(parts)
        self.sse = Sse(parts)
        self.pipeline = PipelineRest(parts)
        self.alarms = AlarmsRest(parts)
        self.around = AroundRest(parts)

    async def ticks(self, key: Realtime, symbols: Symbols, limit: Limit = 100) -> Response:
        """Return the latest trades of some symbols, oldest first, in tape order."""
        wanted = parse_symbols(symbols, MOST_SYMBOLS)
        key.require_symbols(wanted)
        return _json(self._parts.ask().ticks(wanted, limit))

    async def latest_quote(self, key: Realtime, symbol: Symbol) -> Response:
        """Return the newest quote and trade of a symbol."""
        return _json(self._parts.ask().latest_quote(allowed(key, symbol)))

    async def quote_history(self, key: History, symbol: Symbol, limit: Limit = 100) -> Response:
        """Return the latest quotes of a symbol, oldest first, in tape order."""
        return _json(self._parts.ask().quote_history(allowed(key, symbol), limit))

    async def ohlc(
        self, key: History, symbol: Symbol, timeframe: Timeframe = "1m", limit: Limit = 100, basis: BasisName = "trades"
    ) -> Response:
        """Return the latest bars of a symbol, oldest first; the forming one last, with closed=false."""
        return _json(self._parts.ask().ohlc(allowed(key, symbol), timeframe, limit, Basis[basis.upper()]))

    async def ohlc_latest(self, key: Realtime, symbol: Symbol, basis: BasisName = "trades") -> Response:
        """Return the newest bar of each timeframe of a symbol."""
        return _json(self._parts.ask().ohlc_latest(allowed(key, symbol), Basis[basis.upper()]))

    async def gaps(
        self, key: Anyone, symbol: Annotated[str | None, Query()] = None, state: State = None, limit: Limit = 100
    ) -> Response:
        """Return what is missing on the tape: since when, why, and whether it came back."""
        wanted = None if symbol is None else allowed(key, symbol)
        return _json(self._parts.ask().gaps(wanted, state, limit, key.symbols))

    async def instruments(self, key: Anyone) -> Response:
        """Return every instrument with its scales and freshness."""
        return _json(self._parts.ask().instruments(key.symbols))

    async def status(self, key: Anyone) -> Response:
        """Return how the system is doing, with what is wrong in words."""
        return _json(await self.pipeline.status())

    async def sources(self, key: Anyone) -> Response:
        """Return the sources as the tape tells, and as the recorder says of itself."""
        queries, missing, record = self._parts.ask(), list[str](), msgspec.Raw(b"null")
        try:
            record = await self._parts.control.ask(Call("sources"))
        except Unavailable as error:
            missing.append(f"{error.message}: only what the tape tells")
        position, sample = queries.common()
        return _json(
            a.SourcesAnswer(
                as_of_position=position, sample=sample, sources=queries.sources(), record=record, missing=missing
            )
        )

    async def start(self, key: Admin, name: SourceName) -> Response:
        """Start a source."""
        return await self._control(Call("start", name))

    async def stop(self, key: Admin, name: SourceName) -> Response:
        """Stop a source; the time until it starts again is a gap."""
        return await self._control(Call("stop", name))

    async def restart(self, key: Admin, name: SourceName) -> Response:
        """Stop a source and start it again."""
        return await self._control(Call("restart", name))

    async def change_symbols(self, key: Admin, name: SourceName, request: Request) -> Response:
        """Add symbols to a running source and remove others: {"add": [...], "remove": [...]}."""
        try:
            change = msgspec.json.decode(await request.body(), type=Change)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"body: {shown(str(error), 200)}", hint='{"add": ["BTCUSDT"], "remove": []}') from None
        for symbol in (*change.add, *change.remove):
            parse_symbol(symbol)
        return await self._control(Call("symbols", name, change.add, change.remove))

    async def fill_gaps(self, key: Admin) -> Response:
        """Have every gap that waits tried again now; returns how many wait."""
        return await self._control(Call("fill"))

    async def _control(self, call: Call) -> Response:
        answer = await self._parts.control.ask(call)
        return Response(b'{"ok":' + (bytes(answer) or b"null") + b"}", media_type="application/json")

    async def healthz(self) -> Response:
        """Say yes or no: this process follows the tape, or waits for one."""
        alive = self._parts.alive()
        return Response(
            b'{"ok":true}' if alive else b'{"ok":false}', 200 if alive else 503, media_type="application/json"
        )


class Route(NamedTuple):
    """One route and what its answer is, for the schema."""

    method: str
    path: str
    handler: Handler
    answer: type[msgspec.Struct] | None  # None: a stream of events
    body: type[msgspec.Struct] | None = None
    forms: tuple[str, ...] = ()  # media types besides JSON


def routes(rest: Rest) -> list[Route]:
    """Return every route under /api/v1, the particular before the general."""
    return [
        Route("GET", "/ticks/realtime", rest.ticks, a.Ticks),
        Route("GET", "/ticks/historical", rest.past.historical, a.Historical, forms=FORMS),
        Route("GET", "/ticks/asof", rest.past.asof, a.AsofAnswer, forms=FORMS),
        Route("GET", "/quotes/latest/{symbol:path}", rest.latest_quote, a.LatestQuote),
        Route("GET", "/quotes/history/{symbol:path}", rest.quote_history, a.Quotes),
        Route("GET", "/quotes/stream", rest.sse.quotes, None),
        Route("GET", "/sse", rest.sse.events, None),
        Route("GET", "/ohlc/latest/{symbol:path}", rest.ohlc_latest, a.OhlcLatest),
        Route("GET", "/ohlc/{symbol:path}", rest.ohlc, a.Ohlc),
        Route("GET", "/bars/{symbol:path}", rest.past.bars, a.BarsAnswer, forms=FORMS),
        Route("GET", "/estimate", rest.past.estimate, a.EstimateAnswer),
        Route("GET", "/completeness/{symbol:path}/{date}", rest.past.completeness, a.CompletenessAnswer),
        Route("POST", "/sql", rest.past.sql, a.SqlAnswer, Statement, FORMS),
        Route("GET", "/gaps", rest.gaps, a.GapsAnswer),
        Route("POST", "/gaps/fill", rest.fill_gaps, a.Done),
        Route("GET", "/status", rest.status, a.StatusAnswer),
        Route("GET", "/pipeline/stats", rest.pipeline.stats, a.PipelineStats),
        Route("GET", "/pipeline/health", rest.alarms.health, alarms.HealthAnswer),
        Route("GET", "/pipeline/feed-health", rest.alarms.feeds, alarms.FeedHealthAnswer),
        Route("GET", "/pipeline/alerts", rest.alarms.alerts, alarms.AlertsAnswer),
        Route("POST", "/admin/pipeline/cleanup", rest.pipeline.cleanup, a.Done),
        Route("GET", "/instruments", rest.instruments, a.Instruments),
        Route("GET", "/sources", rest.sources, a.SourcesAnswer),
        Route("POST", "/sources/{name}/start", rest.start, a.Done),
        Route("POST", "/sources/{name}/stop", rest.stop, a.Done),
        Route("POST", "/sources/{name}/restart", rest.restart, a.Done),
        Route("POST", "/sources/{name}/symbols", rest.change_symbols, a.Done, Change),
        Route("GET", "/sessions/{symbol:path}", rest.around.sessions, around.SessionsAnswer),
        Route("GET", "/pipeline/host", rest.around.host, around.HostAnswer),
        Route("GET", "/keys", rest.keys.list, KeysAnswer),
        Route("GET", "/keys/self", rest.around.who, around.SelfAnswer),
        Route("POST", "/keys", rest.keys.create, Created, NewKey),
        Route("GET", "/keys/{prefix}/history", rest.keys.history, KeyHistory),
        Route("POST", "/keys/{prefix}/rotate", rest.keys.rotate, Created, Rotation),
        Route("DELETE", "/keys/{prefix}", rest.keys.revoke, Revoked),
    ]


def hot_routes(rest: Rest) -> list[HotRoute]:
    """Return what programs ask all the time, under both prefixes."""
    needed, limit, basis = frozenset({"symbols"}), frozenset({"limit"}), frozenset({"basis"})
    found = [
        HotRoute("/ticks/realtime", rest.ticks, needed, limit),
        HotRoute("/quotes/latest/{symbol:path}", rest.latest_quote),
        HotRoute("/quotes/history/{symbol:path}", rest.quote_history, optional=limit),
        HotRoute("/ohlc/latest/{symbol:path}", rest.ohlc_latest, optional=basis),
        HotRoute("/ohlc/{symbol:path}", rest.ohlc, optional=limit | basis | {"timeframe"}),
    ]
    return [route._replace(path=prefix + route.path) for route in found for prefix in (PREFIX, FORMER_PREFIX)]


def build(parts: Parts) -> FastAPI:
    """Return the app: gate, routes, documents."""
    app = FastAPI(
        title="ticktape", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False
    )
    rest = Rest(parts)
    for route in routes(rest):
        app.add_api_route(
            PREFIX + route.path, route.handler, methods=[route.method], response_class=Response,
            summary=docs.summary(route.handler), **docs.described(route),
        )  # fmt: skip
        if route.path.startswith(FORMER):
            app.add_api_route(
                FORMER_PREFIX + route.path, route.handler, methods=[route.method], response_class=Response,
                include_in_schema=False,
            )  # fmt: skip
    cleanup = rest.pipeline.cleanup  # under the path that users know from before, too
    app.add_api_route(
        "/admin/pipeline/cleanup", cleanup, methods=["POST"], response_class=Response, include_in_schema=False
    )
    app.add_api_route("/metrics", rest.pipeline.metrics, response_class=Response, include_in_schema=False)
    app.add_api_route("/healthz", rest.healthz, response_class=Response, include_in_schema=False)
    app.add_api_route(
        "/desk/session", rest.around.exchange, methods=["POST"], response_class=Response, include_in_schema=False
    )
    document = docs.openapi(app, routes(rest))
    app.add_api_route("/openapi.json", _constant(document, "application/json"), include_in_schema=False)
    app.add_api_route("/docs", _constant(docs.page(document), "text/html", docs.PAGE_CSP), include_in_schema=False)
    app.add_exception_handler(StarletteHTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_bad_request)
    app.add_middleware(McpDoor, parts=parts)
    app.add_middleware(Hot, routes=hot_routes(rest), most_limit=MOST_LIMIT)
    app.add_middleware(
        Gate, keys=parts.keys, limits=parts.limits, hosts=parts.hosts, audit=parts.audit, origins=parts.origins
    )
    if parts.around is not None:
        app.add_middleware(DeskDoor, hosts=parts.hosts)
    return app


def _constant(body: bytes, media_type: str, csp: str = "") -> Handler:
    headers = {"Content-Security-Policy": csp} if csp else {}

    async def answer() -> Response:
        return Response(body, headers=headers, media_type=media_type)

    return answer


# What every row of an answer has once, and nothing else in it.
_ROW_MARKS = {"ticks": b'"venue_id":', "quotes": b'"bid_size":', "bars": b'"open_ts":', "timeframes": b'"open_ts":'}
_ROW_LISTS = ("instruments", "sources", "gaps")


def _rows_in(answer: msgspec.Struct) -> int | None:
    for field in answer.__struct_fields__:
        if field in _ROW_MARKS:
            return bytes(getattr(answer, field)).count(_ROW_MARKS[field])
    lists = [getattr(answer, name, None) for name in _ROW_LISTS]
    return next((len(rows) for rows in lists if isinstance(rows, list)), None)  # pyright: ignore[reportUnknownArgumentType]


def _json(answer: msgspec.Struct) -> Response:
    note(rows=_rows_in(answer))
    return _Json(answer)


class _Json(Response):
    # Without what the general one looks at to find out its two headers.
    def __init__(self, answer: msgspec.Struct) -> None:
        self.status_code, self.background = 200, None
        self.body = msgspec.json.encode(answer)
        self.raw_headers = [
            (b"content-length", str(len(self.body)).encode()),
            (b"content-type", b"application/json"),
        ]


def _request_id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])


async def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, StarletteHTTPException):
        raise error
    answer = errors.of_status(error.status_code, _request_id(request))
    answer.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(_methods(request))
    return answer


def _methods(request: Request) -> list[str]:
    # The framework names those of one route; a path may have several, one a method. A path of its own, as
    # /keys/self, is not what stands in another's braces.
    path = request.scope["path"]
    routes = [route for route in request.app.routes if isinstance(route, APIRoute) and route.path_regex.match(path)]
    own = [route for route in routes if route.path == path]
    return sorted({method for route in own or routes for method in route.methods or ()})


async def _on_bad_request(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    if request.method not in _methods(request):
        return await _on_http_error(request, StarletteHTTPException(HTTPStatus.METHOD_NOT_ALLOWED))
    problems: Sequence[Any] = error.errors()
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "request"
    return errors.response(422, "bad_input", f"{shown(where)}: {first['msg']}", "/docs", _request_id(request))
