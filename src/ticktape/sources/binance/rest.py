"""Binance's REST market data: typed answers, counted weight, obeyed refusals. rest-api.md, errors.md.

The venue says the weight it counted in X-MBX-USED-WEIGHT-1M, and how long to pause in Retry-After.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self, TypeVar

import httpx2
import msgspec
from msgspec import Struct, field

from ticktape.errors import BadInput, Misconfigured, Unavailable, UnknownSymbol
from ticktape.model.symbols import shown
from ticktape.sources.binance.messages import Id, Time
from ticktape.sources.binance.weights import Weights

PAGE = 1000
T = TypeVar("T")

_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
_INVALID_SYMBOL = -1121


class Filter(Struct, rename="camel"):
    """One trading rule; of those only PRICE_FILTER and LOT_SIZE matter here."""

    filter_type: str
    tick_size: str = ""
    step_size: str = ""


class SymbolInfo(Struct, rename="camel"):
    """A symbol in exchangeInfo."""

    symbol: str
    status: str = ""
    base_asset: str = ""
    quote_asset: str = ""
    filters: list[Filter] = []


class RateLimit(Struct, rename="camel"):
    """A limit in exchangeInfo."""

    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class ExchangeInfo(Struct, rename="camel"):
    """GET /api/v3/exchangeInfo."""

    symbols: list[SymbolInfo]
    rate_limits: list[RateLimit] = []


class HistoricalTrade(Struct, rename="camel"):
    """A row of GET /api/v3/historicalTrades."""

    id: Id
    price: str
    qty: str
    time: Time
    is_buyer_maker: bool


class HistoricalAggTrade(Struct):
    """A row of GET /api/v3/aggTrades."""

    a: Id
    p: str
    q: str
    T: Time
    m: bool
    first: Id = field(name="f")
    last: Id = field(name="l")


class ServerTime(Struct, rename="camel"):
    """GET /api/v3/time."""

    server_time: Time


class _Error(Struct):
    code: int = 0
    msg: str = ""


# open time, open, high, low, close, volume, close time, quote volume, trades, taker base, taker quote, unused
Kline = tuple[int, str, str, str, str, str, int, str, int, str, str, str]


class BinanceRest:
    """An async context manager around one HTTP client; `weights` is shared by all of one address."""

    def __init__(
        self, url: str, weights: Weights, *, time_unit: str = "us", timeout_s: float = 10.0, proxy: str = ""
    ) -> None:
        headers = {"X-MBX-TIME-UNIT": "MICROSECOND"} if time_unit == "us" else {}
        try:
            self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=timeout_s, proxy=proxy or None)
        except (httpx2.InvalidURL, ValueError) as fault:
            raise Misconfigured(f"binance: not a REST address: '{shown(url)}': {fault}") from fault
        self._url = url
        self._weights = weights

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def exchange_info(self, symbols: list[str] | None = None) -> ExchangeInfo:
        """Return the trading rules, of all symbols or of some. Raises UnknownSymbol if any is unknown."""
        params = {} if symbols is None else {"symbols": msgspec.json.encode(symbols).decode()}
        info = await self._get("/api/v3/exchangeInfo", params, 20, ExchangeInfo)
        for limit in info.rate_limits:
            if limit.rate_limit_type == "REQUEST_WEIGHT" and limit.interval == "MINUTE" and limit.interval_num == 1:
                self._weights.limit = limit.limit
        return info

    async def depth(self, symbol: str, limit: int) -> bytes:
        """Return the order book as the venue spells it: it is recorded like a frame."""
        weight = next((weight for most, weight in _DEPTH_WEIGHTS if limit <= most), 250)
        return await self._fetch("/api/v3/depth", {"symbol": symbol, "limit": str(limit)}, weight)

    async def historical_trades(self, symbol: str, from_id: int) -> list[HistoricalTrade]:
        """Return up to 1000 trades from an id on, ascending."""
        params = {"symbol": symbol, "fromId": str(from_id), "limit": str(PAGE)}
        return await self._get("/api/v3/historicalTrades", params, 25, list[HistoricalTrade])

    async def agg_trades(self, symbol: str, from_id: int) -> list[HistoricalAggTrade]:
        """Return up to 1000 aggregate trades from an id on, ascending."""
        params = {"symbol": symbol, "fromId": str(from_id), "limit": str(PAGE)}
        return await self._get("/api/v3/aggTrades", params, 4, list[HistoricalAggTrade])

    async def klines(self, symbol: str, interval: str, start: int, end: int) -> list[Kline]:
        """Return up to 1000 bars that open in [start, end], times in the client's unit."""
        params = {"symbol": symbol, "interval": interval, "startTime": str(start), "endTime": str(end)}
        return await self._get("/api/v3/klines", params | {"limit": str(PAGE)}, 2, list[Kline])

    async def time(self) -> int:
        """Return the venue's time in the client's unit."""
        return (await self._get("/api/v3/time", {}, 1, ServerTime)).server_time

    async def _get(self, path: str, params: dict[str, str], weight: int, kind: type[T]) -> T:
        body = await self._fetch(path, params, weight)
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeError) as fault:
            raise Unavailable(f"{self._url}{path}: not the answer that was specified: {fault}") from fault

    async def _fetch(self, path: str, params: dict[str, str], weight: int) -> bytes:
        await self._weights.reserve(weight)
        try:
            answer = await self._http.get(path, params=params)
        except httpx2.RequestError as fault:
            raise Unavailable(f"{self._url}{path}: {fault or type(fault).__name__}") from fault
        said = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
        if said.isascii() and said.isdigit() and len(said) < 10:
            self._weights.note(int(said))
        if answer.status_code != 200:
            self._refuse(path, params, answer)
        return answer.content

    def _refuse(self, path: str, params: dict[str, str], answer: httpx2.Response) -> None:
        """Raise what an answer other than 200 means."""
        status, said = answer.status_code, _error(answer.content)
        where = f"{self._url}{path}: {status} {shown(said.msg, 200)} ({said.code})"
        if status in (418, 429):
            self._weights.hold(_retry_after_s(answer, status))
            self._weights.raise_if_held()
        if said.code == _INVALID_SYMBOL:
            raise UnknownSymbol(f"binance: unknown symbol '{shown(params.get('symbol') or params.get('symbols', ''))}'")
        if status == 404:
            raise Misconfigured(f"{where}: this host does not serve it", hint='rest_url = "https://api.binance.com"')
        if status in (400, 414):
            raise BadInput(where)
        raise Unavailable(where)


def _error(body: bytes) -> _Error:
    try:
        return msgspec.json.decode(body, type=_Error)
    except (msgspec.MsgspecError, UnicodeError):
        return _Error()


def _retry_after_s(answer: httpx2.Response, status: int) -> float:
    """Return the pause asked for; without one, a minute for 429 and the shortest ban, 2 min, for 418."""
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < 8 else (60.0 if status == 429 else 120.0)
