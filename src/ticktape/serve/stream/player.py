"""Plays a reel to one client: at a pace, or as fast as it reads; held, stepped and moved at its word."""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from ticktape.clock import Clock
from ticktape.serve.stream import protocol
from ticktape.serve.stream.protocol import Encoding
from ticktape.serve.stream.reel import Batch

MOST_EVENTS = 500  # in one message: others get their turn after it


class Readiness(Protocol):
    """What can be waited for."""

    async def wait(self) -> Any:
        """Wait until the client can take more."""
        ...


class Listener(Protocol):
    """Who is played to."""

    @property
    def writable(self) -> Readiness:
        """Whether it can take more."""
        ...

    def send(self, data: bytes) -> None:
        """Send a message."""
        ...


class Player:
    """One client's own place on the tape. `speed` is a factor; infinity is flat out."""

    def __init__(self, listener: Listener, encoding: Encoding, clock: Clock, *, speed: float, replay: bool) -> None:
        self._listener, self._encoding, self._clock = listener, encoding, clock
        self.speed, self._replay = speed, replay
        self.covered = -1
        self.steps = 0
        self._going = asyncio.Event()
        self._going.set()
        self._moved = asyncio.Event()  # something about the pace changed
        self._began: tuple[int, int] | None = None  # our ns and the market's ns at the start of this pace
        self._newest = 0

    # -- at a word ---------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether it is held."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Hold."""
        self._going.clear()
        self._repace()

    def resume(self) -> None:
        """Go on."""
        self.steps = 0
        self._going.set()
        self._repace()

    def step(self, events: int) -> None:
        """Play so many events, held or not, and hold."""
        self.pause()
        self.steps += events

    def hurry(self, speed: float) -> None:
        """Go on at another speed."""
        self.speed = speed
        self._repace()

    def restart(self) -> None:
        """Go on from elsewhere, at the same pace."""
        self._newest, self.covered = 0, -1
        self._repace()

    def _repace(self) -> None:
        self._began = None
        self._moved.set()

    # -- playing -----------------------------------------------------------------------------------

    async def play(self, batches: Iterator[Batch], *, blocking: bool, until: Callable[[], bool] | None = None) -> None:
        """Play to the end of the batches, or until `until` says so between two of them.

        `blocking`: taking the next batch may take long, so a thread does it.
        """
        while True:
            await self._listener.writable.wait()
            batch = await asyncio.to_thread(next, batches, None) if blocking else next(batches, None)
            if batch is None:
                return
            await self._play(batch)
            self.covered = max(self.covered, batch.covered)
            if until is not None and until():
                return
            await asyncio.sleep(0)

    async def _play(self, batch: Batch) -> None:
        done = 0
        while done < len(batch.texts):
            stop = await self._due(batch, done)
            if stop > done:
                await self._listener.writable.wait()
                # Of a position that is not all said yet the client must be able to ask again.
                whole = stop == len(batch.texts)
                self.covered = batch.covered if whole else batch.positions[stop - 1]
                texts = batch.texts[done:stop]
                self._listener.send(
                    protocol.events(self._encoding, "update", texts, self.covered, 0, replay=self._replay)
                )
                done = stop

    async def _due(self, batch: Batch, done: int) -> int:
        """Return up to where the batch is due, after waiting for it; `done` again when something changed meanwhile."""
        if self.paused:
            if self.steps:
                stop = _whole(batch, min(done + self.steps, len(batch.texts)))
                self.steps = max(0, self.steps - (stop - done))
                return stop
            await self._wait(None)
            return done
        if math.isinf(self.speed):
            return len(batch.texts)
        now = self._clock.monotonic_ns()
        if self._began is None:
            self._began, self._newest = (now, batch.times[done]), batch.times[done]
        ours, theirs = self._began
        reached = theirs + int((now - ours) * self.speed)
        stop = done
        while stop < len(batch.texts) and self._at(batch.times[stop]) <= reached:
            stop += 1
        if stop > done:
            return _whole(batch, stop)
        await self._wait((self._at(batch.times[done]) - reached) / self.speed / 1e9)
        return done

    def _at(self, ts: int) -> int:
        # Time does not run back for what came late.
        self._newest = max(self._newest, ts)
        return self._newest

    async def _wait(self, seconds: float | None) -> None:
        self._moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._moved.wait()


def _whole(batch: Batch, stop: int) -> int:
    # Events of one position go together: a bar with the record that closed it.
    return bisect_right(batch.positions, batch.positions[stop - 1]) if stop else 0
