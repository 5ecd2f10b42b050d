"""Wires a replay without a server: tape and lake of a data folder, played to the caller."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ticktape.config import world_of
from ticktape.serve.stream import protocol
from ticktape.serve.stream.bar_feed import BarFeed
from ticktape.serve.stream.past import Past, span_of
from ticktape.serve.stream.reel import Batch, Reel
from ticktape.serve.stream.rows import Rows
from ticktape.serve.stream.wants import resolve
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

BATCH = 2_000
SOON_S = 0.001


def playing(
    data: Path, symbols: Sequence[str], channels: Sequence[str], start: str, end: str | None, speed: float
) -> Iterator[list[str]]:
    """Yield events as JSON text, those that are due together at once; `speed` is a factor, infinity flat out.

    Raises BadInput, UnknownSymbol, Misconfigured where there is no tape.
    """
    if not math.isinf(speed):
        protocol.parse_speed(speed)
    pairs = protocol.parse_pairs(list(channels), list(symbols))
    span = span_of(start, end)
    world = world_of(data)
    directory = TapeDirectory(world / "tape")
    try:
        reader = Reader(world / "tape")
        reader.follow()
        for symbol in symbols:
            if not symbol.endswith("*"):
                directory.by_symbol(symbol)
        wants = resolve(pairs, None, directory.all(), reader.heads)
        reel = Reel(Past(world, reader), span, wants, Rows(directory), BarFeed(directory))
        pace = _Pace(speed)
        for batch in reel.batches(BATCH):
            yield from [batch.texts] if math.isinf(speed) else pace.due(batch)
    finally:
        directory.close()


class _Pace:
    """Lets events go when it is their time: the first at once, each later one as long after it as it was."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._began: tuple[int, int] | None = None
        self._newest = 0

    def due(self, batch: Batch) -> Iterator[list[str]]:
        """Yield the events of a batch, those that are due together at once."""
        waiting: list[str] = []
        for text, ts in zip(batch.texts, batch.times, strict=True):
            self._newest = max(self._newest, ts)  # time does not run back for what came late
            if self._began is None:
                self._began = (time.monotonic_ns(), self._newest)
            ours, theirs = self._began
            wait_s = ((self._newest - theirs) / self._speed - (time.monotonic_ns() - ours)) / 1e9
            if wait_s > SOON_S:
                yield waiting
                waiting = []
                time.sleep(wait_s)
            waiting.append(text)
        yield waiting
