"""cryptofeed, the best-known recorder of crypto feeds in Python: frames to its Trade objects, handed to a callback.

It records aggregated trades of combined streams, so both sides are given those here: the same bytes. In its favour:
its handler is awaited directly, without a socket or a queue, and its callback stores nothing; ours ends on the tape.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np

from ticktape.bench.binance import READ, SYMBOLS, combined_aggregates, decoding
from ticktape.bench.peers import load, named
from ticktape.bench.place import Place
from ticktape.bench.result import Beside, Measured, Wrong
from ticktape.clock import SystemClock
from ticktape.simulate.binance.bulk_feed import names

REPEATS = 5
FRAMES = 60_000


def decode(place: Place, ours: Measured) -> Beside:
    """Frames a second; the ratio is to our own rate with the very same frames, which differ a little from `ours`."""
    count = place.size(FRAMES, 4000)
    frames = [combined_aggregates(repeat * count, count) for repeat in range(REPEATS + 1)]
    theirs = [count / asyncio.run(_seconds(_feed(), part)) for part in frames]
    with decoding(place) as opened:
        same = [count / opened.seconds(part, SystemClock().now_ns(), READ) for part in frames]
    value, own = float(np.median(theirs[1:])), float(np.median(same[1:]))
    why = f"both with combined aggTrade frames, the kind it records: ours {own:,.0f} of these"
    return Beside(peer=named("cryptofeed"), peer_value=value, ratio=own / value, why=why)


def _feed() -> Any:
    """Return its Binance feed, told the symbols so that it asks nobody."""
    symbols = load("cryptofeed.symbols")
    exchange = load("cryptofeed.exchanges.binance").Binance
    defines = load("cryptofeed.defines")
    known = {f"{symbol.removesuffix('USDT')}-USDT": symbol for symbol in names(SYMBOLS)}
    symbols.Symbols.set(exchange.id, known, {})
    seen: list[int] = [0]

    async def taken(trade: object, receipt_timestamp: float) -> None:
        seen[0] += 1

    feed = exchange(symbols=list(known), channels=[defines.TRADES], callbacks={defines.TRADES: taken})
    return feed, seen


async def _seconds(made: Any, frames: list[bytes]) -> float:
    feed, seen = made
    texts = [frame.decode() for frame in frames]  # its socket library decodes before it is asked
    began = time.perf_counter()
    for text in texts:
        await feed.message_handler(text, None, began)
    took = time.perf_counter() - began
    if seen[0] != len(frames):
        raise Wrong(f"cryptofeed made {seen[0]} trades of {len(frames)} frames")
    return took
