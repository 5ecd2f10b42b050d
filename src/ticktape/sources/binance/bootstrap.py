"""A span of past trades as a source: what an empty store starts with. rest-api.md, aggTrades and historicalTrades.

The venue finds trades by id only. Aggregated trades say both their time and the ids of their trades and weigh 4 a
page where trades weigh 25, so the span's first trade is searched among them. What is stored already is not asked
for again, so a run that was broken off goes on where it ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Misconfigured, Unavailable, UnknownSymbol
from ticktape.model.records import BadReason, Channel, Completeness, empty
from ticktape.sources import decimals
from ticktape.sources.binance.rest import PAGE, BinanceRest, HistoricalAggTrade
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.sources.binance.source import BinanceSource, binance_symbol
from ticktape.sources.binance.weights import Weights
from ticktape.sources.contract import Bad, Batch, Directory, Hole, Sink

MICROSECOND_NS = 1000

Missing = Callable[[int, int, int], Sequence[tuple[int, int]]]  # instrument, first and last id -> what is not stored


class BootstrapSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to fetch."""

    symbols: tuple[str, ...]
    span_s: float
    rest_url: str = "https://api.binance.com"
    venue: str = "binance"
    proxy: str = ""
    weight_share: float = 0.5
    synthetic: bool = False
    answer_timeout_s: float = 10.0


class Span(NamedTuple):
    """Trades of a symbol by their ids, both ends included."""

    first_id: int
    last_id: int


class BootstrapSource:
    """`Source` that ends when the span of every symbol is stored."""

    def __init__(
        self, settings: BootstrapSettings, directory: Directory, missing: Missing, *,
        name: str = "binance", clock: Clock | None = None, found: Callable[[int], None] | None = None,
    ) -> None:  # fmt: skip
        """`missing` says what is not stored yet; `found` is told of how many trades will be asked."""
        self.settings, self._name, self._missing = settings, name, missing
        self._clock = clock or SystemClock()
        self._directory, self._found = directory, found
        self._symbols = [binance_symbol(symbol) for symbol in settings.symbols]
        self._venue = BinanceSource(
            BinanceSettings(
                symbols=(), channels=("trade",), rest_url=settings.rest_url, venue=settings.venue,
                proxy=settings.proxy, weight_share=settings.weight_share, synthetic=settings.synthetic,
                answer_timeout_s=settings.answer_timeout_s,
            ),
            directory, name, self._clock,
        )  # fmt: skip
        self.finished = False

    @property
    def name(self) -> str:
        """The source's name: that of the venue's own."""
        return self._name

    @property
    def completeness(self) -> Mapping[Channel, Completeness]:
        """Trade ids are dense."""
        return {Channel.TRADE: Completeness.SEQUENCE}

    @property
    def symbols(self) -> list[str]:
        """What is fetched."""
        return self._symbols

    async def connect(self, sink: Sink) -> None:
        """Fetch each symbol's span, oldest first. Raises Unavailable, Misconfigured for an unknown symbol."""
        await asyncio.to_thread(decimals.warm)
        try:
            await self._venue.change(self._symbols, [])
        except UnknownSymbol as error:
            raise Misconfigured(error.message) from None
        holes: list[Hole] = []
        async with self._rest() as rest:
            for symbol in self._symbols if self.settings.span_s > 0 else ():  # a span of 0 only enrols
                holes += await self._holes(rest, symbol)
        if self._found is not None:
            self._found(sum(hole.last_id - hole.first_id + 1 for hole in holes))
        sink.up([])  # history: nothing is watched, and that nobody watched before is no gap
        for hole in holes:
            async for batch in self._venue.fill(hole):
                sink.batch(batch)
        self.finished = True

    def _rest(self) -> BinanceRest:
        settings = self.settings
        weights = Weights(settings.weight_share)
        return BinanceRest(settings.rest_url, weights, timeout_s=settings.answer_timeout_s, proxy=settings.proxy)

    async def _holes(self, rest: BinanceRest, symbol: str) -> list[Hole]:
        instrument = self._directory.find(self.settings.venue, symbol)
        if instrument is None:
            raise Misconfigured(f"{self._name}: {symbol} was not enrolled")
        since_us = (self._clock.now_ns() - int(self.settings.span_s * 1e9)) // MICROSECOND_NS
        span = await span_of(rest, symbol, since_us)
        if span is None:
            return []
        return [Hole(instrument.id, Channel.TRADE, a, b) for a, b in self._missing(instrument.id, *span)]

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        """Refuse every frame: history has none."""
        return Batch(empty(0), [Bad(BadReason.UNKNOWN_MESSAGE, "history has no frames", f) for f in frames])

    def fill(self, hole: Hole) -> AsyncIterator[Batch]:
        """Yield what the venue has of a hole, as its live source does."""
        return self._venue.fill(hole)

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Raise Misconfigured: what is fetched was said at the start."""
        raise Misconfigured(f"{self._name}: symbols were said at the start")


async def span_of(rest: BinanceRest, symbol: str, since_us: int) -> Span | None:
    """Return the ids of the trades from a time on, up to now; None when there are none."""
    last = await _newest(rest, symbol)
    if last is None or since_us > last.T:
        return None
    first = await _first_at(rest, symbol, since_us, last)
    return Span(first.first, last.last)


async def _newest(rest: BinanceRest, symbol: str) -> HistoricalAggTrade | None:
    """Return the newest aggregated trade: ids are doubled until there is none, then halved in between."""
    page = await rest.agg_trades(symbol, 0)
    if not page:
        return None
    newest, beyond = page[-1], 0  # the newest met so far; an id known to lie beyond the newest there is, or 0
    while len(page) == PAGE or (not page and newest.a + 1 < beyond):
        at = (newest.a + 1 + beyond) // 2 if beyond else 2 * newest.a
        page = await rest.agg_trades(symbol, at)
        newest, beyond = (page[-1], beyond) if page else (newest, at)
    return newest


async def _first_at(rest: BinanceRest, symbol: str, since_us: int, last: HistoricalAggTrade) -> HistoricalAggTrade:
    """Return the first aggregated trade at or after a time, of which `last` is one."""
    low, high, best = 0, last.a, last  # what is below `low` is too old; from `high` on `best` is the first
    while low < high:
        middle = (low + high) // 2
        page = await rest.agg_trades(symbol, middle)
        if not page:
            raise Unavailable(f"binance: {symbol}: no trades from {middle} on, though {last.a} was there")
        if since_us <= page[0].T:
            best, high = page[0], middle
            continue
        young = next((row for row in page if since_us <= row.T), None)
        if young is not None:
            return young
        low = page[-1].a + 1
    return best
