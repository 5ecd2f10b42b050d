"""Fetches a venue's own bars of the last days into the lake of a world at rest: an empty store begins with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec
import numpy as np

from ticktape.clock import Clock
from ticktape.errors import Busy, Throttled, Unavailable, UnknownSymbol
from ticktape.keep.klines import KlineStore
from ticktape.model.bars import BAR, Bars
from ticktape.model.instruments import Instrument
from ticktape.sources.binance import klines
from ticktape.sources.binance.rest import BinanceRest
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

COMMIT_ROWS = 30_000  # minutes of one commit: three weeks, 30 pages
Tell = Callable[[int, int], None]  # minutes done, minutes in all


class Fetched(msgspec.Struct, kw_only=True):
    """What became of the bars."""

    asked: int = 0  # minutes that were not stored
    stored: int = 0
    trouble: str = ""  # why it ended early

    @property
    def ok(self) -> bool:
        """Say whether all was fetched that the venue has."""
        return not self.trouble


class _Hole(msgspec.Struct, frozen=True):
    instrument: Instrument
    name: str
    start_ns: int
    end_ns: int

    @property
    def minutes(self) -> int:
        return (self.end_ns - self.start_ns) // klines.MINUTE_NS

    def done(self, page: Bars) -> int:
        """Return how many minutes of it lie behind with a page, those included that the venue has not."""
        return (int(page["start"][-1]) - self.start_ns) // klines.MINUTE_NS + 1


async def fetch_bars(
    world: Path, symbols: Sequence[str], span_ns: int, rest: BinanceRest, *, vendor: str, tell: Tell | None = None,
    tries: int = 1, pause_s: float = 1.0, clock: Clock | None = None,
) -> Fetched:  # fmt: skip
    """Store the venue's bars of the last `span_ns` that are not stored. Symbols are enrolled, as the vendor names them.

    A venue that is away is asked again `tries` times, after `pause_s`, twice that and so on, or as long as it says.
    Raises Busy while `keep` runs, UnknownSymbol, Misconfigured without a tape.
    """
    try:
        store = KlineStore(Reader(world / "tape"), clock=clock)
    except Busy as error:
        raise Busy(error.message, hint="stop `ticktape up` or `ticktape keep`, fetch, start it again") from None
    done = Fetched()
    try:
        for left in reversed(range(tries)):
            try:
                await _fetch(world, store, symbols, span_ns, rest, vendor, done, tell)
            except Unavailable as error:
                done.trouble = error.message
                if left:
                    wait_s = pause_s * 2 ** (tries - 1 - left)
                    await asyncio.sleep(error.retry_after_s if isinstance(error, Throttled) else wait_s)
            else:
                done.trouble = ""
                break
    finally:
        store.close()
    return done


async def _fetch(
    world: Path, store: KlineStore, symbols: Sequence[str], span_ns: int, rest: BinanceRest, vendor: str,
    done: Fetched, tell: Tell | None,
) -> None:  # fmt: skip
    end = await klines.closed_until(rest)
    start = (end - span_ns) // klines.MINUTE_NS * klines.MINUTE_NS
    holes: list[_Hole] = []
    for symbol, instrument in _enrolled(world, symbols, vendor):
        holes += [_Hole(instrument, symbol, a, b) for a, b in store.missing(instrument.id, start, end)]
    total = sum(hole.minutes for hole in holes)
    done.asked = max(done.asked, total)
    behind = 0
    for hole in holes:
        async with aclosing(klines.minutes(rest, hole.instrument, hole.name, hole.start_ns, hole.end_ns)) as pages:
            waiting = list[Bars]()
            try:
                async for page in pages:
                    waiting.append(page)
                    if sum(map(len, waiting)) >= COMMIT_ROWS:
                        done.stored += _store(store, hole, waiting)
                    if tell is not None:
                        tell(behind + hole.done(page), total)
            finally:  # what came before it broke off is stored
                done.stored += _store(store, hole, waiting)
        behind += hole.minutes


def _store(store: KlineStore, hole: _Hole, waiting: list[Bars]) -> int:
    minutes = np.concatenate([np.zeros(0, dtype=BAR), *waiting])
    waiting.clear()
    return store.add(hole.instrument.id, minutes)


def _enrolled(world: Path, symbols: Sequence[str], vendor: str) -> list[tuple[str, Instrument]]:
    directory, found = TapeDirectory(world / "tape"), list[tuple[str, Instrument]]()
    try:
        for symbol in symbols:
            instrument = directory.find(vendor, symbol)
            if instrument is None:
                raise UnknownSymbol(f"{symbol} was not enrolled", hint=f"ticktape bootstrap {symbol}")
            found.append((symbol, instrument))
    finally:
        directory.close()
    return found
