"""One instrument of the seeded market: a real book, and orders that arrive at it and chase a fair price."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, log

import numpy as np

from ticktape.simulate.book import Book
from ticktape.simulate.events import Depth, Event, Quote, Trade
from ticktape.simulate.sample import SCALE, Sample

DEPTH_LEVELS = 220


class Draws:
    """Uniform numbers drawn in blocks: one generator call per number costs more than the rest of a step."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._block: list[float] = []

    def uniform(self) -> float:
        """In [0, 1)."""
        if not self._block:
            self._block = self._rng.random(8192).tolist()
        return self._block.pop()

    def exponential(self) -> float:
        """Mean 1."""
        return -log(1.0 - self.uniform())

    def below(self, limit: int) -> int:
        """An integer in [0, limit)."""
        return int(self.uniform() * limit)


class Instrument:
    """One symbol's book, ids and order flow."""

    def __init__(self, sample: Sample, draws: Draws, first_trade_id: int, first_update_id: int) -> None:
        self.sample = sample
        self.book = Book(first_update_id)
        self.trade_id = first_trade_id
        self.diffed_id = first_update_id
        self._draws = draws
        self._order = 0
        self._fill_book(sample.ticks)

    def _fill_book(self, middle: int) -> None:
        for away in range(DEPTH_LEVELS):
            distance = 1 + away * self.sample.gap_ticks + self._draws.below(self.sample.gap_ticks)
            self.book.put(True, max(1, middle - distance), self._resting())
            self.book.put(False, middle + distance, self._resting())
        self.book.take_dirty()
        self.diffed_id = self.book.update_id

    def _lots(self, scale: float) -> int:
        """A size in steps: heavy-tailed, and often a multiple of the round lot as people type it."""
        step = self.sample.step / SCALE
        size = self.sample.lot * scale * exp(1.1 * (sum(self._draws.uniform() for _ in range(4)) - 2.0) * 1.7)
        if self._draws.uniform() < 0.55:
            size = max(1, round(size / self.sample.round_lot)) * self.sample.round_lot
        return max(1, round(size / step))

    def _resting(self) -> int:
        return self._lots(6.0)

    def act(self, fair: float, ts_ns: int) -> Iterator[Event]:
        """One participant does one thing: trades, or changes the book."""
        before = self.book.top()
        if self._draws.uniform() < 0.42:
            yield from self._market_order(fair, ts_ns)
        else:
            self._rest_order()
        self._follow(fair)
        if self.book.top() != before:
            yield self.quote(ts_ns)

    def _market_order(self, fair: float, ts_ns: int) -> Iterator[Trade]:
        bid, _, ask, _ = self.book.top()
        lean = (fair - (bid + ask) / 2) / (ask - bid + self.sample.gap_ticks)
        buy = self._draws.uniform() < 1 / (1 + exp(-max(-4.0, min(4.0, 1.5 * lean))))
        left = self._lots(1.0)
        self._order += 1
        half = self.book.asks if buy else self.book.bids
        while left and len(half) > 20:
            price, size = half.best()
            take = min(left, size)
            yield from self._fills(price, take, buy, ts_ns)
            self.book.put(not buy, price, size - take)
            left -= take

    def _fills(self, price: int, size: int, buy: bool, ts_ns: int) -> Iterator[Trade]:
        """One level may hold several resting orders: each is a trade of its own."""
        while size:
            part = size if self._draws.uniform() < 0.7 else 1 + self._draws.below(size)
            yield Trade(
                self.sample.symbol,
                self.trade_id,
                price * self.sample.tick,
                part * self.sample.step,
                ts_ns,
                not buy,
                self._order,
            )
            self.trade_id += 1
            size -= part

    def _rest_order(self) -> None:
        """Add to, cut or remove a level, mostly near the top."""
        on_bid = self._draws.uniform() < 0.5
        bid, _, ask, _ = self.book.top()
        half = self.book.bids if on_bid else self.book.asks
        away = int(self._draws.exponential() * 4 * self.sample.gap_ticks)
        price = max(1, bid - away) if on_bid else ask + away
        size = half.size(price)
        if size and self._draws.uniform() < 0.5 and len(half) > 40:
            self.book.put(on_bid, price, size * self._draws.below(3) // 3)
        else:
            self.book.put(on_bid, price, size + self._resting())

    def _follow(self, fair: float) -> None:
        """Market makers pull quotes the fair price has run through and close a spread that stays wide."""
        reach = max(1, self.sample.gap_ticks // 8)
        for _ in range(12):
            bid, _, ask, _ = self.book.top()
            if bid > fair + reach and len(self.book.bids) > 20:
                self.book.put(True, bid, 0)
            elif ask < fair - reach and len(self.book.asks) > 20:
                self.book.put(False, ask, 0)
            elif ask - bid > 1 + reach:
                self._improve(fair, bid, ask)
            else:
                return

    def _improve(self, fair: float, bid: int, ask: int) -> None:
        on_bid = (bid + ask) / 2 < fair
        target = round(fair - 0.5) if on_bid else round(fair + 0.5)
        price = min(max(target, bid + 1), ask - 1)
        self.book.put(on_bid, price, self._lots(3.0))

    def refill(self) -> None:
        """Keep the far book: a trend eats one side and leaves the other ever longer."""
        gap = self.sample.gap_ticks
        for on_bid, half in ((True, self.book.bids), (False, self.book.asks)):
            away = 1 + self._draws.below(2 * gap)
            price = half.worst() - away if on_bid else half.worst() + away
            if len(half) < DEPTH_LEVELS and price > 0:
                self.book.put(on_bid, price, self._resting())
            elif len(half) > DEPTH_LEVELS * 3 // 2:
                self.book.put(on_bid, half.worst(), 0)

    def quote(self, ts_ns: int) -> Quote:
        """The top of the book now."""
        bid, bid_size, ask, ask_size = self.book.top()
        tick, step = self.sample.tick, self.sample.step
        return Quote(
            self.sample.symbol,
            self.book.update_id,
            bid * tick,
            bid_size * step,
            ask * tick,
            ask_size * step,
            ts_ns,
        )

    def diff(self, ts_ns: int) -> Depth | None:
        """What changed since the last diff; None when nothing did."""
        if self.book.update_id == self.diffed_id:
            return None
        first = self.diffed_id + 1
        self.diffed_id = self.book.update_id
        bids, asks = (self._scaled(levels) for levels in self.book.take_dirty())
        return Depth(self.sample.symbol, first, self.diffed_id, bids, asks, ts_ns)

    def snapshot(self, limit: int) -> tuple[int, list[tuple[int, int]], list[tuple[int, int]]]:
        """Update id, bids, asks of the live book, which usually lies inside the diff to come."""
        bids, asks = self.book.bids.levels(limit), self.book.asks.levels(limit)
        return self.book.update_id, self._scaled(bids), self._scaled(asks)

    def reset_ids(self) -> None:
        """Start the venue's ids anew, as after a matching-engine restart."""
        self.trade_id = 1
        self.book.update_id = self.diffed_id = 1
        self.book.take_dirty()

    def _scaled(self, levels: list[tuple[int, int]]) -> list[tuple[int, int]]:
        tick, step = self.sample.tick, self.sample.step
        return [(price * tick, size * step) for price, size in levels]
