"""The public REST endpoints.

binance-spot-api-docs, rest-api.md, "General endpoints" and "Market Data endpoints".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ticktape.simulate.binance import bars, wire
from ticktape.simulate.binance.feed import Feed, Listing, Snapshot
from ticktape.simulate.binance.history import History, Row
from ticktape.simulate.binance.params import Params
from ticktape.simulate.binance.weights import RestError, Weights, depth_weight

SPAN_US = 10**18


class Venue(Protocol):
    """What the endpoints answer from."""

    @property
    def feed(self) -> Feed:
        """What plays."""
        ...

    history: History
    weights: Weights
    listings: dict[str, Listing]

    def now_us(self) -> int:
        """The venue's clock."""
        ...

    def refusal(self, path: str) -> RestError | None:
        """The ordered failure of a request, if any."""
        ...

    def stale_depth(self, symbol: str, limit: int) -> Snapshot | None:
        """The ordered old book, if any."""
        ...


Handler = Callable[[Venue, Params], Awaitable[object]]


class Endpoint(NamedTuple):
    """A path, what it costs, what it accepts and who answers."""

    path: str
    weight: int | Callable[[Params], int]
    allowed: tuple[str, ...]
    handler: Handler


async def ping(venue: Venue, params: Params) -> object:
    """Connectivity."""
    return {}


async def time(venue: Venue, params: Params) -> object:
    """The venue's clock, skew fault included."""
    return {"serverTime": wire.clock_unit(venue.now_us(), params.micro)}


async def exchange_info(venue: Venue, params: Params) -> object:
    """Limits, symbols and their filters."""
    wanted = params.symbols(venue.listings) or list(venue.listings)
    limits = (
        ("REQUEST_WEIGHT", "MINUTE", 1, venue.weights.limit),
        ("ORDERS", "SECOND", 10, 100),
        ("ORDERS", "DAY", 1, 200_000),
        ("RAW_REQUESTS", "MINUTE", 5, 300_000),
    )
    return {
        "timezone": "UTC",
        "serverTime": wire.clock_unit(venue.now_us(), params.micro),
        "rateLimits": [
            {"rateLimitType": kind, "interval": unit, "intervalNum": number, "limit": limit}
            for kind, unit, number, limit in limits
        ],
        "exchangeFilters": [],
        "symbols": [_symbol_info(venue.listings[symbol]) for symbol in wanted],
    }


def _symbol_info(listing: Listing) -> dict[str, object]:
    tick, step = wire.decimal(listing.tick), wire.decimal(listing.step)
    most = wire.decimal(10**6 * 10**8)
    return {
        "symbol": listing.symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "baseAssetPrecision": 8,
        "quoteAsset": listing.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": False,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": most, "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": most, "stepSize": step},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


def _depth_weight(params: Params) -> int:
    return depth_weight(params.limit(100, 5000))


async def depth(venue: Venue, params: Params) -> object:
    """The book now, or an old one when that fault is ordered."""
    symbol = params.symbol(venue.listings)
    limit = params.limit(100, 5000)
    book = venue.stale_depth(symbol, limit) or await venue.feed.snapshot(symbol, limit)
    if book is None:
        raise RestError(400, -1112, "No orders on book for symbol.")
    return msgspec.Raw(wire.partial_book(*book))


async def trades(venue: Venue, params: Params) -> object:
    """The newest trades."""
    symbol = params.symbol(venue.listings)
    return [_trade(row, params.micro) for row in venue.history.latest(symbol, params.limit(500, 1000))]


async def historical_trades(venue: Venue, params: Params) -> object:
    """Trades from an id on; what closes a gap in t."""
    symbol = params.symbol(venue.listings)
    limit, from_id = params.limit(500, 1000), params.integer("fromId")
    if from_id is None:
        return [_trade(row, params.micro) for row in venue.history.latest(symbol, limit)]
    return [_trade(row, params.micro) for row in venue.history.since(symbol, from_id, limit)]


def _trade(row: Row, micro: bool) -> dict[str, object]:
    return {
        "id": row.trade_id,
        "price": wire.decimal(row.price),
        "qty": wire.decimal(row.size),
        "quoteQty": wire.decimal(row.price * row.size // 10**8),
        "time": wire.clock_unit(row.time_us, micro),
        "isBuyerMaker": row.buyer_is_maker,
        "isBestMatch": True,
    }


async def agg_trades(venue: Venue, params: Params) -> object:
    """Aggregates from an id on, between two times, or the newest."""
    symbol = params.symbol(venue.listings)
    limit, from_id = params.limit(500, 1000), params.integer("fromId")
    start, end = params.time_us("startTime"), params.time_us("endTime")
    if from_id is not None:
        if start is not None or end is not None:
            raise RestError(400, -1128, "Combination of optional parameters invalid.")
        found = venue.history.aggregates(symbol, from_id, limit)
    elif start is not None or end is not None:
        last = (end if end is not None else SPAN_US) + (0 if params.micro else 999)
        found = venue.history.aggregates_between(symbol, start or 0, last, limit)
    else:
        found = venue.history.aggregates(symbol, None, limit, newest=True)
    return [_aggregate(aggregate, params.micro) for aggregate in found]


def _aggregate(agg: wire.Aggregate, micro: bool) -> dict[str, object]:
    return {
        "a": agg.aggregate_id,
        "p": wire.decimal(agg.price),
        "q": wire.decimal(agg.size),
        "f": agg.first_id,
        "l": agg.last_id,
        "T": wire.clock_unit(agg.time_us, micro),
        "m": agg.buyer_is_maker,
        "M": True,
    }


async def klines(venue: Venue, params: Params) -> object:
    """Bars from a start on, else the newest."""
    symbol = params.symbol(venue.listings)
    interval = params.text("interval")
    if interval not in bars.INTERVALS:
        raise RestError(400, -1120, "Invalid interval.")
    limit = params.limit(500, 1000)
    era = venue.history.era(symbol)
    if era is None:
        return []
    start, end = params.time_us("startTime"), params.time_us("endTime")
    last = min(venue.now_us(), SPAN_US if end is None else end)
    if start is None:
        width = 31 * bars.DAY_US if interval == "1M" else bars.WIDTH_US[interval]
        start = bars.open_of(last, interval) - (limit - 1) * width
    return [bars.row(bar, params.micro) for bar in bars.bars(era, interval, start, last, limit)]


async def book_ticker(venue: Venue, params: Params) -> object:
    """The best bid and ask."""
    wanted = params.symbols(venue.listings)
    found = [await _book_ticker(venue, symbol) for symbol in wanted or list(venue.listings)]
    return found[0] if params.given("symbol") else found


async def _book_ticker(venue: Venue, symbol: str) -> dict[str, str]:
    book = await venue.feed.snapshot(symbol, 1)
    best = (*book.bids[:1], *book.asks[:1]) if book is not None else ()
    if len(best) < 2:
        raise RestError(400, -1112, "No orders on book for symbol.")
    (bid, bid_size), (ask, ask_size) = best
    return {
        "symbol": symbol,
        "bidPrice": wire.decimal(bid),
        "bidQty": wire.decimal(bid_size),
        "askPrice": wire.decimal(ask),
        "askQty": wire.decimal(ask_size),
    }


ENDPOINTS = (
    Endpoint("ping", 1, (), ping),
    Endpoint("time", 1, (), time),
    Endpoint("exchangeInfo", 20, ("symbol", "symbols", "permissions", "showPermissionSets"), exchange_info),
    Endpoint("depth", _depth_weight, ("symbol", "limit", "symbolStatus"), depth),
    Endpoint("trades", 25, ("symbol", "limit"), trades),
    Endpoint("historicalTrades", 25, ("symbol", "limit", "fromId"), historical_trades),
    Endpoint("aggTrades", 4, ("symbol", "fromId", "startTime", "endTime", "limit"), agg_trades),
    Endpoint("klines", 2, ("symbol", "interval", "startTime", "endTime", "timeZone", "limit"), klines),
    Endpoint("ticker/bookTicker", 2, ("symbol", "symbols", "symbolStatus"), book_ticker),
)


def routes(venue: Venue) -> list[Route]:
    """All endpoints as routes."""
    return [Route(f"/api/v3/{e.path}", _answering(venue, e), methods=["GET"]) for e in ENDPOINTS]


def _answering(venue: Venue, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        micro = request.headers.get("x-mbx-time-unit", "").upper() == "MICROSECOND"
        headers: dict[str, str] = {}
        try:
            refusal = venue.refusal(request.url.path)
            if refusal is not None:
                raise refusal
            params = Params(request.query_params, endpoint.allowed, micro)
            weight = endpoint.weight
            venue.weights.charge(weight if isinstance(weight, int) else weight(params))
            status, body = 200, await endpoint.handler(venue, params)
        except RestError as error:
            status, body = error.status, {"code": error.code, "msg": error.message}
            if error.retry_after_s is not None:
                headers["Retry-After"] = str(error.retry_after_s)
        headers["X-MBX-USED-WEIGHT"] = headers["X-MBX-USED-WEIGHT-1M"] = str(venue.weights.used)
        media = "application/json;charset=UTF-8"
        return Response(msgspec.json.encode(body), status, headers, media)

    return answer
