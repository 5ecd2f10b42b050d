"""What plays in a venue: the seeded market, a capture, or bulk trades. The venue knows only this."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from ticktape.simulate.sample import SAMPLES, SCALE, Sample


class Listing(NamedTuple):
    """What exchangeInfo says of a symbol; tick and step at 1e-8."""

    symbol: str
    base: str
    quote: str
    tick: int
    step: int


class Snapshot(NamedTuple):
    """A book at an update id."""

    last_id: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Feed(Protocol):
    """A source of trades and books."""

    skew_ns: int

    def listings(self) -> list[Listing]:
        """The symbols of the venue."""
        ...

    async def run(self) -> None:
        """Play until cancelled or over."""
        ...

    def start(self) -> None:
        """Begin now, whoever listens."""
        ...

    async def snapshot(self, symbol: str, limit: int) -> Snapshot | None:
        """The book for GET /depth; None when the venue has none for the symbol."""
        ...

    def burst(self, factor: float) -> bool:
        """Multiply the rate; False when this feed has no rate to multiply."""
        ...

    def skip(self, symbol: str, count: int) -> bool:
        """Leave a hole in the trade ids; False when ids cannot be changed."""
        ...

    def reset(self, symbol: str) -> bool:
        """Start the ids again from 1; False when ids cannot be changed."""
        ...


def listed(sample: Sample) -> Listing:
    """A model instrument as a listing."""
    return Listing(sample.symbol, sample.base, sample.quote, sample.tick, sample.step)


def guessed(symbol: str) -> Listing:
    """A symbol known only by its name, as in a capture: the sample's rules, else a hundredth and 1e-8."""
    for sample in SAMPLES:
        if sample.symbol == symbol:
            return listed(sample)
    for quote in ("USDT", "USDC", "USD", "BTC"):
        if symbol.endswith(quote) and symbol != quote:
            return Listing(symbol, symbol[: -len(quote)], quote, SCALE // 100, 1)
    return Listing(symbol, symbol, "USD", SCALE // 100, 1)
