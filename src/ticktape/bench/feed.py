"""A source without a socket: hands ready batches to the pump, as a venue of 1,000 instruments would fill them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from decimal import Decimal

from ticktape.bench.ticks import BATCH, Rounds
from ticktape.errors import Misconfigured
from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import Channel, Completeness, empty
from ticktape.sources.contract import Batch, Directory, Hole, Sink, Source, Watched

VENUE = "bench"


def enrol(directory: Directory, count: int) -> list[str]:
    """Enrol instruments BENCH0001 ... and return their symbols; on a fresh tape their ids are 1, 2, 3 ..."""
    symbols = [f"BENCH{number:04d}" for number in range(1, count + 1)]
    for symbol in symbols:
        listing = Listing(
            symbol=symbol,
            venue=VENUE,
            asset_class=AssetClass.CRYPTO,
            tick_size=Decimal("0.01"),
            size_step=Decimal("0.01"),
        )
        directory.enrol(VENUE, symbol, listing)
    return symbols


class RoundsSource:
    """`Source` of `ticks` trades at `per_s` of our time and `market_per_s` of theirs; `said` hears of each portion."""

    def __init__(
        self, ticks: int, portions: int, per_s: float, market_per_s: float, said: Callable[[int], None]
    ) -> None:
        self._rounds = Rounds(per_s=market_per_s)
        self._ticks, self._portion, self._per_s, self._said = ticks, ticks // portions, per_s, said

    def made(self, directory: Directory) -> Source:
        """Be a source of a recorder with this directory."""
        enrol(directory, BATCH)
        return self

    @property
    def name(self) -> str:
        """The name on the tape."""
        return VENUE

    @property
    def completeness(self) -> Mapping[Channel, Completeness]:
        """Dense ids."""
        return {Channel.TRADE: Completeness.SEQUENCE}

    @property
    def symbols(self) -> list[str]:
        """Not asked of a bench."""
        return []

    @property
    def finished(self) -> bool:
        """The market goes on when the ticks are over."""
        return False

    async def connect(self, sink: Sink) -> None:
        """Deliver at the rate, letting others run every sixteen batches; then be quiet."""
        sink.up([Watched(instrument, Channel.TRADE) for instrument in range(1, BATCH + 1)])
        loop = asyncio.get_running_loop()
        began, done, told = loop.time(), 0, 0
        while done < self._ticks:
            for batch in self._rounds.advance():
                sink.batch(Batch(batch))
            done += 16 * BATCH
            if done // self._portion > told:
                told = done // self._portion
                self._said(done)
            await asyncio.sleep(max(0.0, began + done / self._per_s - loop.time()))
        await asyncio.Event().wait()

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        """There are no frames."""
        return Batch(empty(0))

    async def fill(self, hole: Hole) -> AsyncIterator[Batch]:
        """There is no history."""
        raise Misconfigured("a bench has no history")
        yield Batch(empty(0))

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Nothing can be changed."""
