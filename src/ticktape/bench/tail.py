"""Tailing: how long after it was appended in one process a tick is known in another."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import uvloop

from ticktape.bench.child import Child, role
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_latencies
from ticktape.bench.roles import Pace
from ticktape.bench.ticks import BATCH
from ticktape.clock import SystemClock
from ticktape.model.records import RECORD_BYTES, Ints, Kind
from ticktape.serve.live import CHUNK, Live
from ticktape.tape.reader import Reader

PER_S = 100_000
WARM_S = 1.0


class NotingLive(Live):
    """`serve`'s own tail loop that also notes when it had absorbed up to where."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader, SystemClock())
        self.noted: list[tuple[int, int]] = []

    def step(self, most: int = CHUNK) -> int:
        """Absorb, and note it when there was news."""
        absorbed = super().step(most)
        if absorbed:
            self.noted.append((self.position, time.time_ns()))
        return absorbed


def tail(place: Place) -> Measured:
    """Milliseconds from before the append call in the writer's process to after `serve`'s loop here absorbed the tick.

    100,000 ticks/s of 1,000 instruments, a batch each millisecond at level `power`, ten seconds; the loop, its pauses
    and all that it feeds (chain heads, bars, gaps, board) are `serve`'s own, on uvloop as there. Both processes read
    the machine's clock. Left out: doors. The first second is warm-up.
    """
    seconds = place.seconds(10 + WARM_S, 1.0)
    with place.scratch("tail", int(2 * seconds * PER_S) * RECORD_BYTES) as folder:
        told = Pace(folder / "tape", PER_S, BATCH, place.quick)
        with Child(role("pace", told), folder / "pace.log") as child:
            child.said()
            reader = Reader(folder / "tape")
            live = NotingLive(reader)
            uvloop.run(_follow(live, seconds))
            child.alive()
        waited = until_noted(reader, np.array(live.noted, dtype=np.int64), 0 if place.quick else int(WARM_S * 1e9))
    if len(waited) < 0.8 * PER_S * place.seconds(10, 0.5):
        raise Wrong(f"only {len(waited)} ticks came in {seconds:.0f} s: this machine cannot make {PER_S} a second")
    return of_latencies(waited / 1e6)


async def _follow(live: Live, seconds: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, stop.set)
    await live.run(stop)


def until_noted(reader: Reader, noted: Ints, warm_ns: int) -> Ints:
    """Return how long each trade waited that was noted after the first note and its warm-up."""
    first = int(noted[np.searchsorted(noted[:, 1], noted[0, 1] + warm_ns), 0])
    seen = reader.view(first, int(noted[-1, 0]))
    places = np.flatnonzero(seen["kind"] == Kind.TRADE) + first
    return (
        noted[np.searchsorted(noted[:, 0], places, side="right"), 1] - reader.records["ts_recv"][places - reader.base]
    )
