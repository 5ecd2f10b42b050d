"""The instruments the seeded market plays: SAMPLE data, believable but never real.

Prices and sizes are integers at 1e-8, the eight decimals Binance prints. Tick and step sizes are those of the
real contracts (Binance exchangeInfo; CME: NQ, MNQ, ES, MES tick 0.25; US shares 0.01; Cboe: VIX 0.01).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

SCALE = 100_000_000  # both prices and sizes

Shape = Literal["crypto", "index"]


class Sample(Struct, frozen=True):
    """One instrument of the model: what it costs, how it moves and how it trades."""

    symbol: str
    base: str
    quote: str
    price: float  # level at the start
    tick: int  # price step, 1e-8
    step: int  # size step, 1e-8
    weight: float  # share of all events
    factor: str  # the common path it follows, see paths.py
    beta: float  # change per unit of the factor's change
    noise_ticks: float  # how far its own noise takes it from that path
    gap_ticks: int  # usual distance between book levels
    lot: float  # typical trade size
    round_lot: float  # size that many orders are a multiple of
    shape: Shape  # daily rhythm

    @property
    def ticks(self) -> int:
        """The starting price in ticks."""
        return round(self.price * SCALE / self.tick)


SAMPLES = (
    Sample("BTCUSDT", "BTC", "USDT", 61840.0, 1_000_000, 1_000, 30, "coin", 1.0, 40, 60, 0.02, 0.01, "crypto"),
    Sample("ETHUSDT", "ETH", "USDT", 3310.0, 1_000_000, 10_000, 20, "coin", 1.25, 8, 6, 0.35, 0.1, "crypto"),
    Sample("MNQ", "MNQ", "USD", 21050.0, 25_000_000, SCALE, 14, "tech", 1.0, 0.6, 1, 2, 1, "index"),
    Sample("MES", "MES", "USD", 5920.0, 25_000_000, SCALE, 12, "broad", 1.0, 0.4, 1, 3, 1, "index"),
    Sample("NQ", "NQ", "USD", 21050.0, 25_000_000, SCALE, 9, "tech", 1.0, 0.5, 1, 1.5, 1, "index"),
    Sample("SPY", "SPY", "USD", 590.4, 1_000_000, SCALE, 7, "broad", 1.0, 0.6, 1, 120, 100, "index"),
    Sample("QQQ", "QQQ", "USD", 512.2, 1_000_000, SCALE, 6, "tech", 1.0, 0.7, 1, 90, 100, "index"),
    Sample("VIX", "VIX", "USD", 16.4, 1_000_000, SCALE, 2, "fear", 1.0, 0.8, 1, 4, 1, "index"),
)
