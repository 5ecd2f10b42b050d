"""Binance spot as a source: the parts of this folder behind the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from functools import partial

import numpy as np

from ticktape.clock import Clock, SystemClock
from ticktape.errors import BadSymbol, Misconfigured, Unavailable, UnknownSymbol
from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import BadReason, Channel, Completeness, Flag, empty
from ticktape.model.symbols import parse_symbol
from ticktape.sources import decimals
from ticktape.sources.binance import backfill
from ticktape.sources.binance.book import BookSync
from ticktape.sources.binance.connect import Connection, check_room
from ticktape.sources.binance.names import Names, unknown
from ticktape.sources.binance.normalise import MICROSECOND_NS, MILLISECOND_NS, normalise
from ticktape.sources.binance.rest import BinanceRest, SymbolInfo
from ticktape.sources.binance.settings import CHANNEL, BinanceSettings
from ticktape.sources.binance.weights import Weights
from ticktape.sources.contract import Bad, Batch, Directory, Hole, Sink

_UNIT_NS = {"ms": MILLISECOND_NS, "us": MICROSECOND_NS}
COMPLETENESS = {
    Channel.TRADE: Completeness.SEQUENCE,
    Channel.AGG_TRADE: Completeness.SEQUENCE,
    Channel.QUOTE: Completeness.RISING,
    Channel.BOOK: Completeness.RISING,
}
RETRY_OVERLAP_S = 60.0
_ASKED_ONE_BY_ONE = 10  # symbols; beyond that the rules of all are one cheaper call


class BinanceSource:
    """`Source` for Binance spot, or for whoever speaks its protocol."""

    def __init__(
        self,
        settings: BinanceSettings,
        directory: Directory,
        name: str = "binance",
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self._name = name
        self._directory = directory
        self._clock = clock or SystemClock()
        self._symbols = list(dict.fromkeys(binance_symbol(symbol) for symbol in settings.symbols))
        self._names = Names(directory, settings.venue)
        self._weights = Weights(settings.weight_share)
        self._books = BookSync()
        self._connection: Connection | None = None
        self._newest_quotes: dict[int, int] | None = None  # while two sockets overlap
        self._changing = asyncio.Lock()  # the symbols, or the connection

    @property
    def name(self) -> str:
        """The key in the configuration."""
        return self._name

    @property
    def completeness(self) -> Mapping[Channel, Completeness]:
        """Trade ids are dense; update ids of quotes and books only rise."""
        return {CHANNEL[stream]: COMPLETENESS[CHANNEL[stream]] for stream in self.settings.channels}

    @property
    def symbols(self) -> list[str]:
        """Symbols configured now, in capital letters as REST spells them."""
        return list(self._symbols)

    @property
    def finished(self) -> bool:
        """A venue is never at its end."""
        return False

    async def connect(self, sink: Sink) -> None:
        """Live one connection; see the contract. Symbols the venue does not know go to quarantine."""
        await asyncio.to_thread(decimals.warm)
        async with self._rest() as rest:
            known, missing = await self._enrol(rest, self._symbols)
            if missing:
                sink.batch(Batch(empty(0), [Bad(BadReason.UNKNOWN_SYMBOL, unknown(s), s.encode()) for s in missing]))
            if missing and not known:
                raise Misconfigured(f"binance: unknown symbols: {', '.join(missing)}")
            make = partial(Connection, self.settings, self._names, rest, sink)
            try:
                await self._live(make, known)
            finally:
                self._connection, self._books, self._newest_quotes = None, BookSync(), None

    async def _live(self, make: Callable[..., Connection], symbols: Sequence[str]) -> None:
        """Run one connection after the other, each begun beside the one before it, until one ends by itself."""
        current = self._connection = make()
        self._books = current.books
        running = asyncio.create_task(current.run(symbols), name=f"{self._name}:connection")
        try:
            pause_s = self.settings.reconnect_after_s
            while not (await asyncio.wait([running], timeout=pause_s))[0]:
                async with self._changing:
                    later = make(current.books)
                    after = await self._begun_beside(running, later)
                    if after is None:
                        pause_s = min(RETRY_OVERLAP_S, self.settings.reconnect_after_s)
                        continue
                    current.mute()
                    self._connection = later
                    later.take_over()
                before, current, running, pause_s = running, later, after, self.settings.reconnect_after_s
                asyncio.get_running_loop().call_later(self.settings.overlap_s, self._one_socket)
                await _cancelled(before)
            running.result()
        finally:
            await _cancelled(running)

    async def _begun_beside(self, running: asyncio.Task[None], later: Connection) -> asyncio.Task[None] | None:
        """Begin a connection and let it live beside the other for a while. Returns None when it did not come about."""
        self._books.doubled, self._newest_quotes = True, {}
        after = asyncio.create_task(later.run(self._symbols), name=f"{self._name}:next")
        subscribed, ready = asyncio.create_task(later.subscribed.wait()), False
        try:
            patience_s = 3 * self.settings.answer_timeout_s
            await asyncio.wait([running, after, subscribed], timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            if later.subscribed.is_set():
                both = [running, after]
                await asyncio.wait(both, timeout=self.settings.overlap_s, return_when=asyncio.FIRST_COMPLETED)
            ready = later.subscribed.is_set() and not after.done()
        finally:
            subscribed.cancel()
            if not ready:
                self._one_socket()
                await _cancelled(after)
        return after if ready else None

    def _one_socket(self) -> None:
        self._books.doubled, self._newest_quotes = False, None

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        """Frames to records; the books follow along."""
        unit_ns = _UNIT_NS[self.settings.time_unit]
        parsed = normalise(frames, ts_recv, self._names, unit_ns, self._newest_quotes)
        records = self._books.follow(parsed)
        if self.settings.synthetic:
            records["flags"] |= np.uint32(Flag.SYNTHETIC)
        if parsed.control and self._connection is not None:
            self._connection.heard += parsed.control
        return Batch(records, parsed.bad)

    async def fill(self, hole: Hole) -> AsyncIterator[Batch]:
        """Yield what the venue's history has of a hole; see the contract."""
        async with self._rest() as rest:
            pages = backfill.fill(rest, self._names, hole, self._clock, _UNIT_NS[self.settings.time_unit])
            async with aclosing(pages):
                async for batch in pages:
                    if self.settings.synthetic:
                        batch.records["flags"] |= np.uint32(Flag.SYNTHETIC)
                    yield batch

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Change the symbols. Raises UnknownSymbol or BadSymbol (then nothing changed), or Unavailable."""
        async with self._changing:
            await self._change(add, remove)

    async def _change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        new = [s for s in dict.fromkeys(map(binance_symbol, add)) if s not in self._symbols]
        if strangers := [s for s in map(binance_symbol, remove) if s not in self._symbols]:
            raise UnknownSymbol(f"binance: not recorded: {', '.join(strangers)}")
        async with self._rest() as rest:
            _, missing = await self._enrol(rest, new) if new else ([], [])
        if missing:
            raise UnknownSymbol(f"binance: unknown symbols: {', '.join(missing)}")
        after = [s for s in self._symbols if s not in remove] + new
        check_room(len(after) * len(self.settings.channels))
        self._symbols = after
        if self._connection is not None:
            await self._connection.change(new, remove)

    def _rest(self) -> BinanceRest:
        settings = self.settings
        return BinanceRest(
            settings.rest_url,
            self._weights,
            time_unit=settings.time_unit,
            timeout_s=settings.answer_timeout_s,
            proxy=settings.proxy,
        )

    async def _enrol(self, rest: BinanceRest, symbols: Sequence[str]) -> tuple[list[str], list[str]]:
        """Enrol the symbols the venue knows; return these and the others."""
        try:
            listed = await _listed(rest, list(symbols))
        except Unavailable:
            # The stream may be up while REST is not: with every name known there is no reason to wait.
            if any(self._names.find(symbol) is None for symbol in symbols):
                raise
            return list(symbols), []
        for symbol in symbols:
            if symbol in listed and self._names.find(symbol) is None:
                listing = _listing(listed[symbol], self.settings.venue)
                self._names.learn(symbol, self._directory.enrol(self.settings.venue, symbol, listing))
        return [s for s in symbols if s in listed], [s for s in symbols if s not in listed]


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End a task, whatever comes of it."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def binance_symbol(text: str) -> str:
    """Return a symbol as Binance spells it. Raises BadSymbol: it becomes part of a stream name."""
    symbol = parse_symbol(text)
    if not (symbol.isalnum() and symbol.upper() == symbol):
        raise BadSymbol(f"not a symbol of Binance: '{symbol}' (capital letters and digits)", hint="BTCUSDT")
    return symbol


async def _listed(rest: BinanceRest, symbols: list[str]) -> dict[str, SymbolInfo]:
    """Return the rules of those symbols the venue knows."""
    try:
        found = (await rest.exchange_info(symbols)).symbols
    except UnknownSymbol:
        # The venue refuses the list as a whole and does not say which one.
        found = list[SymbolInfo]()
        if len(symbols) > _ASKED_ONE_BY_ONE:
            found = (await rest.exchange_info()).symbols
        elif len(symbols) > 1:
            for symbol in symbols:
                found += (await _listed(rest, [symbol])).values()
    return {info.symbol: info for info in found if info.symbol in symbols}


def _listing(info: SymbolInfo, venue: str) -> Listing:
    rules = {rule.filter_type: rule for rule in info.filters}
    price, lot = rules.get("PRICE_FILTER"), rules.get("LOT_SIZE")
    return Listing(
        symbol=info.symbol,
        venue=venue,
        asset_class=AssetClass.CRYPTO,
        tick_size=_step(price.tick_size if price else ""),
        size_step=_step(lot.step_size if lot else ""),
        currency=info.quote_asset or "USD",
    )


def _step(text: str) -> Decimal:
    """Return a step; without a rule the smallest the venue can say."""
    units = decimals.parse(text, 8) if text else 1
    return Decimal(units).scaleb(-8).normalize()
