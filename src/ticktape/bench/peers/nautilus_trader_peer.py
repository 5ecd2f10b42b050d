"""NautilusTrader's TimeBarAggregator, the strongest bar builder in Python: the same ticks, one of our seven timeframes.

In its favour: TradeTick objects exist before the clock starts, each instrument's ticks come in one run to its own
aggregator with no look-up, and its clock is moved only where a bar closes.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np

from ticktape.bench.bars import FEW, market
from ticktape.bench.peers import load, named
from ticktape.bench.place import Place
from ticktape.bench.result import Beside, Measured, Wrong
from ticktape.model.bars import TIMEFRAMES
from ticktape.model.records import Records, Side

TICKS = 400_000
REPEATS = 3
PRICE_SCALE = SIZE_SCALE = 1e8
WIDTH_NS = TIMEFRAMES["1m"]


def build(place: Place, ours: Measured) -> Beside:
    """Ticks a second into 1-minute bars. The ratio is per timeframe: our rate times seven over theirs."""
    ticks = market(place)[: place.size(TICKS, 20_000)]
    made = _Made()
    runs = [made.rate(ticks) for _ in range(REPEATS + 1)][1:]
    value = float(np.median(runs))
    why = f"one timeframe (1m) of the first {len(ticks):,} ticks; the ratio is per timeframe"
    return Beside(peer=named("nautilus_trader"), peer_value=value, ratio=ours.value * len(TIMEFRAMES) / value, why=why)


class _Made:
    """Nautilus' types, and ticks as it wants them."""

    def __init__(self) -> None:
        self._data = load("nautilus_trader.model.data")
        self._objects = load("nautilus_trader.model.objects")
        self._enums = load("nautilus_trader.model.enums")
        self._ids = load("nautilus_trader.model.identifiers")
        self._aggregation = load("nautilus_trader.data.aggregation")
        self._clock = load("nautilus_trader.common.component").TestClock
        provider = load("nautilus_trader.test_kit.providers").TestInstrumentProvider
        self._instrument = provider.btcusdt_binance()

    def rate(self, ticks: Records) -> float:
        """Return ticks a second, each instrument by itself."""
        seconds, counted = 0.0, 0
        for instrument in range(1, FEW + 1):
            mine = ticks[ticks["instrument"] == instrument]
            took, volume = self._one(mine)
            seconds, counted = seconds + took, counted + len(mine)
            if abs(volume - float(mine["b"].sum()) / SIZE_SCALE) > 1e-4 * volume:
                raise Wrong(f"nautilus' bars hold a volume of {volume} of instrument {instrument}, not its ticks'")
        return counted / seconds

    def _one(self, ticks: Records) -> tuple[float, float]:
        """Return the seconds it took and the volume of all bars."""
        bars: list[Any] = []
        clock = self._clock()
        first = int(ticks["ts_event"][0])
        clock.set_time(first - first % WIDTH_NS)
        spec = self._data.BarType.from_str(f"{self._instrument.id}-1-MINUTE-LAST-INTERNAL")
        aggregator = self._aggregation.TimeBarAggregator(self._instrument, spec, bars.append, clock)
        minutes = self._minutes(ticks)
        began = time.perf_counter()
        for close, part in minutes:
            for tick in part:
                aggregator.handle_trade_tick(tick)
            for event in clock.advance_time(close):
                event.handle()
        return time.perf_counter() - began, sum(float(bar.volume) for bar in bars)

    def _minutes(self, ticks: Records) -> list[tuple[int, list[Any]]]:
        starts = ticks["ts_event"] // WIDTH_NS
        edges = [0, *(np.flatnonzero(np.diff(starts)) + 1).tolist(), len(ticks)]
        return [
            ((int(starts[a]) + 1) * WIDTH_NS, [self._tick(*row) for row in _columns(ticks[a:b])])
            for a, b in pairwise(edges)
        ]

    def _tick(self, price: int, size: int, side: int, number: int, ts: int) -> Any:
        aggressor = self._enums.AggressorSide.BUYER if side == Side.BUY else self._enums.AggressorSide.SELLER
        return self._data.TradeTick(
            self._instrument.id,
            self._objects.Price(price / PRICE_SCALE, 2),
            self._objects.Quantity(size / SIZE_SCALE, 6),
            aggressor,
            self._ids.TradeId(str(number)),
            ts,
            ts,
        )


def _columns(ticks: Records) -> list[tuple[int, int, int, int, int]]:
    return list(zip(*(ticks[name].tolist() for name in ("a", "b", "side", "c", "ts_event")), strict=True))
