"""The seeded market on the wire: events become streams (web-socket-streams.md) and rows of the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec

from ticktape.simulate.binance import bars, wire
from ticktape.simulate.binance.feed import Listing, Snapshot, listed
from ticktape.simulate.binance.history import History
from ticktape.simulate.binance.hub import Hub
from ticktape.simulate.binance.settings import VenueSettings
from ticktape.simulate.binance.wire import Message
from ticktape.simulate.events import Depth, Quote, Trade
from ticktape.simulate.market import Market

SECOND_NS = 1_000_000_000
PACE_S = 0.005
CATCH_UP_NS = SECOND_NS // 2  # played between two turns of the loop after a pause or a clock that jumped
PREROLL_ACTIONS = 50_000  # about half a second of work
PARTIAL = (5, 10, 20)
KLINE_US = 2 * SECOND_NS // 1000  # how often every interval but 1s is sent


class Second:
    """A symbol's diffs of the running second, merged: the last size of a level is the one that stands."""

    def __init__(self, first: Depth) -> None:
        self.first_id = first.first_id
        self.last_id = first.last_id
        self.bids = dict(first.bids)
        self.asks = dict(first.asks)

    def merge(self, diff: Depth) -> None:
        """Append the next diff."""
        self.last_id = diff.last_id
        self.bids.update(diff.bids)
        self.asks.update(diff.asks)


class MarketFeed:
    """Plays a Market against a clock."""

    def __init__(self, settings: VenueSettings, hub: Hub, history: History, clock: Callable[[], int]) -> None:
        now = clock()
        preroll_s = min(settings.preroll_s, PREROLL_ACTIONS / settings.rate)
        start = now - int(preroll_s * SECOND_NS)
        self.market = Market(settings.seed, start, settings.rate)
        self.skew_ns = 0
        self._hub = hub
        self._history = history
        self._clock = clock
        self._autorun = settings.autorun
        self._open_aggregate: dict[str, int] = {}
        self._seconds: dict[str, Second] = {}
        self._next_second_ns = start - start % SECOND_NS + SECOND_NS
        self.advance(now)

    def listings(self) -> list[Listing]:
        """All instruments of the model."""
        return [listed(instrument.sample) for instrument in self.market.instruments.values()]

    def start(self) -> None:
        """The market never stands still."""

    async def run(self) -> None:
        """Keep up with the clock; without autorun only `advance` moves the market."""
        while self._autorun:
            now = self._clock()
            while now - self.market.now_ns > CATCH_UP_NS:
                self.advance(self.market.now_ns + CATCH_UP_NS)
                await asyncio.sleep(0)
            self.advance(now)
            await asyncio.sleep(PACE_S)

    def advance(self, now_ns: int) -> None:
        """Play and send everything up to a moment."""
        for event in self.market.advance(now_ns):
            while event.ts_ns > self._next_second_ns:  # the diff of the last grid point still belongs to it
                self._on_second()
            if isinstance(event, Trade):
                self._on_trade(event)
                continue
            self._end_aggregate(event.symbol)
            if isinstance(event, Quote):
                self._send(event.symbol, "bookTicker", "bookTicker", lambda _, e=event: wire.book_ticker(e))
            else:
                self._on_diff(event)
        for symbol in list(self._open_aggregate):
            self._end_aggregate(symbol)
        while now_ns >= self._next_second_ns:
            self._on_second()
        self._history.flush()

    async def snapshot(self, symbol: str, limit: int) -> Snapshot | None:
        """The live book."""
        return self.book(symbol, limit)

    def book(self, symbol: str, limit: int) -> Snapshot:
        """The live book, which usually stands inside the diff to come."""
        return Snapshot(*self.market.instruments[symbol].snapshot(limit))

    def burst(self, factor: float) -> bool:
        """Arrivals times factor."""
        self.market.boost = factor
        return True

    def skip(self, symbol: str, count: int) -> bool:
        """Cancelled trades: their ids exist nowhere."""
        self.market.instruments[symbol].trade_id += count
        return True

    def reset(self, symbol: str) -> bool:
        """As after a restart of the matching engine."""
        self._end_aggregate(symbol)
        self._seconds.pop(symbol, None)
        self.market.instruments[symbol].reset_ids()
        self._history.new_era(symbol, 1)
        return True

    def _us(self, ts_ns: int) -> int:
        return (ts_ns + self.skew_ns) // 1000

    def _send(self, symbol: str, name: str, channel: str, encode: Callable[[bool], bytes]) -> None:
        """Encode for those who listen: milliseconds always, microseconds when somebody asked."""
        stream = f"{symbol.lower()}@{name}"
        if self._hub.wants(stream):
            micro = encode(True) if self._hub.micro else None
            self._hub.publish(Message(stream, symbol, channel, encode(False), micro))

    def _on_trade(self, t: Trade) -> None:
        us = self._us(t.ts_ns)
        key = (t.order, t.price)
        aggregate_id = self._history.add(t.symbol, t.trade_id, t.price, t.size, us, t.buyer_is_maker, key)
        if self._open_aggregate.get(t.symbol) != aggregate_id:
            self._end_aggregate(t.symbol)
            self._open_aggregate[t.symbol] = aggregate_id
        encode = partial(wire.trade, t.symbol, t.trade_id, t.price, t.size, us, t.buyer_is_maker)
        self._send(t.symbol, "trade", "trade", encode)

    def _end_aggregate(self, symbol: str) -> None:
        aggregate_id = self._open_aggregate.pop(symbol, None)
        if aggregate_id is None or not self._hub.wants(f"{symbol.lower()}@aggTrade"):
            return
        (found,) = self._history.aggregates(symbol, aggregate_id, 1)
        self._send(symbol, "aggTrade", "aggTrade", partial(wire.aggregate, symbol, found))

    def _on_diff(self, d: Depth) -> None:
        encode = partial(wire.depth_update, d.symbol, d.first_id, d.last_id, d.bids, d.asks, self._us(d.ts_ns))
        self._send(d.symbol, "depth@100ms", "depth", encode)
        self._send_partial(d.symbol, "@100ms")
        if d.symbol in self._seconds:
            self._seconds[d.symbol].merge(d)
        else:
            self._seconds[d.symbol] = Second(d)

    def _send_partial(self, symbol: str, speed: str) -> None:
        for limit in PARTIAL:
            if self._hub.wants(f"{symbol.lower()}@depth{limit}{speed}"):
                data = wire.partial_book(*self.market.instruments[symbol].snapshot(limit))
                self._send(symbol, f"depth{limit}{speed}", "partial", lambda _, d=data: d)

    def _on_second(self) -> None:
        """What the venue sends once a second: merged diffs, klines and tickers."""
        us = self._us(self._next_second_ns)
        self._next_second_ns += SECOND_NS
        for symbol, second in self._seconds.items():
            bids = sorted(second.bids.items(), reverse=True)
            asks = sorted(second.asks.items())
            encode = partial(wire.depth_update, symbol, second.first_id, second.last_id, bids, asks, us)
            self._send(symbol, "depth", "depth", encode)
            self._send_partial(symbol, "")
        self._seconds.clear()
        for stream in self._hub.streams():
            lower, _, name = stream.partition("@")
            if name.startswith("kline_"):
                self._send_kline(lower.upper(), name, us)
            elif name == "miniTicker":
                self._send_ticker(lower.upper(), us)

    def _send_kline(self, symbol: str, name: str, us: int) -> None:
        interval, _, zone = name.removeprefix("kline_").partition("@")
        era = self._history.era(symbol)
        if era is None or interval not in bars.INTERVALS or zone not in ("", "+08:00"):
            return
        offset = 8 * bars.HOUR_US if zone else 0
        running = bars.open_of(us, interval, offset)
        ended = us - running < 1_000_000  # the interval before this second is complete
        opens = [bars.open_of(running - 1, interval, offset)] if ended else []
        if interval == "1s":
            opens = [bars.open_of(us - 1, interval, offset)]
        elif us % KLINE_US < 1_000_000:
            opens.append(running)
        for at in opens:
            for bar in bars.bars(era, interval, at, at, 1, offset):
                self._send(symbol, name, "kline", self._kline(symbol, interval, bar, us, at != running))

    @staticmethod
    def _kline(symbol: str, interval: str, bar: bars.Bar, us: int, closed: bool) -> Callable[[bool], bytes]:
        return lambda micro: msgspec.json.encode(bars.event(symbol, interval, bar, us, closed, micro))

    def _send_ticker(self, symbol: str, us: int) -> None:
        era = self._history.era(symbol)
        if era is not None and len(era):
            self._send(
                symbol,
                "miniTicker",
                "miniTicker",
                lambda micro: msgspec.json.encode(bars.mini_ticker(symbol, era, us, micro)),
            )
