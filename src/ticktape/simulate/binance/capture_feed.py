"""Plays a capture: its frames as they are, byte for byte, at their original spacing or faster.

A recorded REST snapshot is served by /depth when playback gets there, and playback waits a moment for
somebody to fetch it, so that at any speed a client meets snapshot and diffs as interleaved as they were
recorded. After that, /depth answers with the book the capture has led to so far.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from ticktape.simulate.binance.capture import (
    BOOK,
    DIFF,
    FRAME,
    TRADE,
    CapturedBook,
    CapturedDiff,
    CapturedState,
    Frame,
    lines,
    scaled,
    stream_of,
)
from ticktape.simulate.binance.feed import Listing, Snapshot, guessed
from ticktape.simulate.binance.history import History
from ticktape.simulate.binance.hub import Hub
from ticktape.simulate.binance.settings import VenueSettings
from ticktape.simulate.binance.wire import Message

YIELD_EVERY = 100  # frames between turns of the loop when flat out
HOLD_S = 60.0  # a /depth request ahead of the recorded snapshot is held this long
MICROSECONDS_FROM = 10**14  # as milliseconds this would be the year 5138


class CaptureFeed:
    """Plays one capture once."""

    def __init__(self, path: Path, settings: VenueSettings, hub: Hub, history: History) -> None:
        self._path = path
        self._speed = settings.speed or 0.0
        self._when = settings.capture_start
        self._depth_wait_s = settings.depth_wait_s
        self._hub = hub
        self._history = history
        self._ordered = asyncio.Event()
        self._early: dict[str, list[CapturedDiff]] = {}
        self._books: dict[str, CapturedState] = {}
        self._reached: dict[str, asyncio.Event] = {}
        self._offered: dict[str, tuple[Snapshot, asyncio.Event]] = {}
        self._factor = 1.0
        self.skew_ns = 0
        self.finished = asyncio.Event()
        self.streams = self._survey()

    def _survey(self) -> list[str]:
        """Read the file once: which streams it holds, and whether its books ever get a snapshot."""
        names = {stream_of(body): None for _, body in lines(self._path)}
        streams = [name for name in names if name is not None]
        if None in names:
            for symbol in {name.partition("@")[0].upper() for name in streams if "@depth" in name}:
                self._books[symbol] = CapturedState()
                self._reached[symbol] = asyncio.Event()
        return streams

    def listings(self) -> list[Listing]:
        """The symbols of the capture."""
        return [guessed(symbol) for symbol in sorted({s.partition("@")[0].upper() for s in self.streams})]

    def start(self) -> None:
        """Begin, whoever listens."""
        self._ordered.set()

    async def run(self) -> None:
        """Wait for the start, then play to the end."""
        await self._begun()
        loop = asyncio.get_running_loop()
        due, before_ns = loop.time(), 0
        for number, (stamp, body) in enumerate(lines(self._path)):
            if self._speed:
                due += (stamp - (before_ns or stamp)) / 1e9 / (self._speed * self._factor)
                before_ns = stamp
                if due - loop.time() > 0.001:
                    await asyncio.sleep(due - loop.time())
            if number % YIELD_EVERY == 0:
                await self._breathe()
            if stream_of(body) is None:
                due += await self._offer(BOOK.decode(body))
            else:
                self._play(FRAME.decode(body))
        self._history.flush()
        self.finished.set()

    async def _begun(self) -> None:
        """Wait for the subscription or the command that starts playback, whichever comes first."""
        waits: list[asyncio.Task[Any]] = [asyncio.create_task(self._ordered.wait(), name="capture:ordered")]
        if self._when != "command":
            waits.append(asyncio.create_task(self._hub.until(self._listened), name="capture:listened"))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _listened(self) -> bool:
        wanted = [self._hub.wants(stream) for stream in self.streams]
        return all(wanted) if self._when == "all" else any(wanted)

    async def _breathe(self) -> None:
        self._history.flush()
        await asyncio.sleep(0)
        if not self._speed:
            await self._hub.drained()

    async def snapshot(self, symbol: str, limit: int) -> Snapshot | None:
        """The recorded snapshot to the first who asks, then the book it has become."""
        state = self._books.get(symbol)
        if state is None:
            return None
        with suppress(TimeoutError):
            await asyncio.wait_for(self._reached[symbol].wait(), HOLD_S)
        if not state.known:
            return None
        offered = self._offered.pop(symbol, None)
        if offered is None:
            return state.snapshot(limit)
        exact, fetched = offered
        fetched.set()
        return Snapshot(exact.last_id, exact.bids[:limit], exact.asks[:limit])

    def burst(self, factor: float) -> bool:
        """Play faster; flat out already is as fast as it gets."""
        self._factor = factor
        return bool(self._speed)

    def skip(self, symbol: str, count: int) -> bool:
        """A recording's ids are what they are."""
        return False

    def reset(self, symbol: str) -> bool:
        """A recording's ids are what they are."""
        return False

    def _play(self, frame: Frame) -> None:
        lower, _, name = frame.stream.partition("@")
        symbol = lower.upper()
        channel = name.partition("@")[0]
        data = bytes(frame.data)
        if channel == "trade":
            trade = TRADE.decode(data)
            us = trade.T if trade.T >= MICROSECONDS_FROM else trade.T * 1000
            price, size = scaled(trade.p), scaled(trade.q)
            self._history.add(trade.s, trade.t, price, size, us, trade.m, (price, us, trade.m))
        elif channel == "depth" and symbol in self._books:
            self._follow(symbol, DIFF.decode(data))
        self._hub.publish(Message(frame.stream, symbol, channel, data))

    def _follow(self, symbol: str, diff: CapturedDiff) -> None:
        if self._books[symbol].known:
            self._books[symbol].apply(diff)
        else:
            self._early.setdefault(symbol, []).append(diff)

    async def _offer(self, book: CapturedBook) -> float:
        """The snapshot's moment: hold playback until it was fetched. Returns the seconds held."""
        symbol = next((s for s, state in self._books.items() if not state.known), None)
        if symbol is None:
            return 0.0
        state = self._books[symbol]
        state.load(book, [])
        fetched = asyncio.Event()
        self._offered[symbol] = (state.snapshot(len(book.bids) + len(book.asks)), fetched)
        for diff in self._early.pop(symbol, []):
            state.apply(diff)
        self._reached[symbol].set()
        loop = asyncio.get_running_loop()
        began = loop.time()
        if any(stream.startswith(f"{symbol.lower()}@depth") for stream in self._hub.streams()):
            with suppress(TimeoutError):
                await asyncio.wait_for(fetched.wait(), self._depth_wait_s)
        return loop.time() - began
