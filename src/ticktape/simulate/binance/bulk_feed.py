"""Trades in bulk: flat out (as fast as sockets take them) or exactly so many a second.

A frame costs a digit update in one prepared buffer, not an encode: trade ids and times have a fixed width, so
numpy writes them in place and one transport write carries thousands of frames. Per-frame picows sends reach a
tenth of this. Left out on purpose: quotes, books, aggregates; each trade is its own aggregate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ticktape.simulate.binance import wire
from ticktape.simulate.binance.connection import Connection
from ticktape.simulate.binance.feed import Listing, Snapshot, guessed
from ticktape.simulate.binance.history import History, Ints
from ticktape.simulate.binance.hub import Hub
from ticktape.simulate.binance.settings import VenueSettings
from ticktape.simulate.binance.wire import Message
from ticktape.simulate.sample import SAMPLES, SCALE

ROWS = 4096  # frames until prices repeat; about 0.75 MB of frames
FLAT_SLICE = 2048  # frames per write when flat out
FIRST_ID = 1_000_000_001  # ten digits, and room for eight billion before an eleventh
ID_DIGITS = 10
PACE_S = 0.004

Bytes = npt.NDArray[np.uint8]


def names(count: int) -> list[str]:
    """Symbols of a bulk venue: the model's first, then numbered ones."""
    known = [sample.symbol for sample in SAMPLES if sample.quote == "USDT"]
    return (known + [f"SIM{index:03d}USDT" for index in range(count)])[:count]


class Frames:
    """The rows as ready WebSocket frames in one flavour (wrapped or bare, milli- or microseconds)."""

    def __init__(self, rows: list[tuple[str, int, int, bool]], wrapped: bool, micro: bool) -> None:
        self._time_digits = 16 if micro else 13
        self._unit = 1 if micro else 1000
        time_us = 10**15
        frames: list[bytes] = []
        for symbol, price, size, maker in rows:
            data = wire.trade(symbol, FIRST_ID, price, size, time_us, maker, micro)
            stream = f"{symbol.lower()}@trade"
            frames.append(wire.framed(wire.combined(stream, data) if wrapped else data))
        self.ends = np.cumsum([len(frame) for frame in frames])
        self.starts = np.concatenate(([0], self.ends[:-1]))
        self.buffer: Bytes = np.frombuffer(b"".join(frames), dtype=np.uint8).copy()
        self._ids = self._places(frames, b',"t":', ID_DIGITS)
        self._events = self._places(frames, b'"E":', self._time_digits)
        self._times = self._places(frames, b',"T":', self._time_digits)

    def _places(self, frames: list[bytes], key: bytes, digits: int) -> Ints:
        first = [int(start) + frame.index(key) + len(key) for start, frame in zip(self.starts, frames, strict=True)]
        return np.array(first, dtype=np.int64)[:, None] + np.arange(digits)

    def write(self, low: int, high: int, ids: Ints, time_us: int) -> Bytes:
        """Rows [low, high) with these ids and this time; a view that the next call overwrites."""
        powers = 10 ** np.arange(ID_DIGITS - 1, -1, -1, dtype=np.int64)
        self.buffer[self._ids[low:high]] = (ids[:, None] // powers % 10 + 48).astype(np.uint8)
        digits = np.frombuffer(str(time_us // self._unit).encode(), dtype=np.uint8)
        self.buffer[self._events[low:high]] = digits
        self.buffer[self._times[low:high]] = digits
        return self.buffer[self.starts[low] : self.ends[high - 1]]


class BulkFeed:
    """Rows of trades round-robin over symbols, again and again with rising ids."""

    def __init__(self, settings: VenueSettings, hub: Hub, history: History, clock: Callable[[], int]) -> None:
        self._per_s = 0 if settings.flat_out else settings.paced_per_s
        self._symbols = names(settings.flat_out or settings.paced_symbols)
        self._total = settings.bulk_frames
        self._hub = hub
        self._history = history
        self._clock = clock
        self._factor = 1.0
        self._started = asyncio.Event()
        self.skew_ns = 0
        self.sent = 0  # trades made since the start
        self.finished = asyncio.Event()
        self._make_rows(np.random.default_rng(settings.seed))
        self._flavours: dict[tuple[bool, bool], Frames] = {}
        self._base = dict.fromkeys(self._symbols, FIRST_ID)

    def _make_rows(self, rng: np.random.Generator) -> None:
        count = len(self._symbols)
        each = max(1, ROWS // count)
        shape = (each, count)
        levels = np.array([guess * SCALE for guess in rng.uniform(10, 60_000, count)]).astype(np.int64)
        # A path that ends where it began, so that the seam between two rounds is no jump.
        steps = np.cumsum(rng.standard_normal(shape), axis=0)
        steps -= np.linspace(0, 1, each)[:, None] * steps[-1]
        moved = levels * (1 + 1e-5 * steps)
        self._price: Ints = (moved / 1e6).astype(np.int64).ravel() * 1_000_000
        self._size: Ints = rng.integers(1, 500_000, each * count) * 1000
        self._maker: Ints = rng.integers(0, 2, each * count)
        self._rows = [
            (self._symbols[i % count], int(p), int(s), bool(m))
            for i, (p, s, m) in enumerate(zip(self._price, self._size, self._maker, strict=True))
        ]
        self._each = each

    def listings(self) -> list[Listing]:
        """The bulk symbols."""
        return [guessed(symbol) for symbol in self._symbols]

    def start(self) -> None:
        """Begin, whoever listens."""
        self._started.set()

    async def run(self) -> None:
        """From the first subscription on. Paced, it then goes on without clients; flat out it waits."""
        if not self._started.is_set():
            await self._hub.until(self._listened)
        loop = asyncio.get_running_loop()
        began, paced = loop.time(), 0
        while not self._total or self.sent < self._total:
            if self._per_s:
                await asyncio.sleep(PACE_S)
                due = int((loop.time() - began) * self._per_s) - paced
                paced += due
                due = int(due * self._factor)
            else:
                await self._hub.until(self._listened)
                due = FLAT_SLICE
            self._send(min(due, self._total - self.sent) if self._total else due)
            await asyncio.sleep(0)
            if not self._per_s:
                await self._hub.drained()
        self.finished.set()

    def _listened(self) -> bool:
        return any(self._hub.wants(f"{symbol.lower()}@trade") for symbol in self._symbols)

    def _send(self, due: int) -> None:
        while due > 0:
            low = self.sent % len(self._rows)
            high = min(low + due, len(self._rows))
            self._send_rows(low, high)
            self.sent += high - low
            due -= high - low

    def _send_rows(self, low: int, high: int) -> None:
        count = len(self._symbols)
        rounds = self.sent // len(self._rows)
        rows = np.arange(low, high, dtype=np.int64)
        bases = np.array([self._base[symbol] for symbol in self._symbols], dtype=np.int64)
        ids = bases[rows % count] + rounds * self._each + rows // count
        time_us = (self._clock() + self.skew_ns) // 1000
        for index, symbol in enumerate(self._symbols):
            mine = slice(low + (index - low) % count, high, count)
            if mine.start < high:
                columns = self._price[mine], self._size[mine], self._maker[mine]
                self._history.extend(symbol, int(ids[mine.start - low]), columns[0], columns[1], time_us, columns[2])
        self._history.flush()
        if self._hub.simple:
            for connection in list(self._hub.connections):
                self._write(connection, low, high, ids, time_us)
        else:
            self._publish(low, high, ids, time_us)

    def _write(self, connection: Connection, low: int, high: int, ids: Ints, time_us: int) -> None:
        """All of the rows in one write, without those the connection did not subscribe."""
        flavour = (connection.subscriptions.combined, connection.micro)
        frames = self._flavours.get(flavour)
        if frames is None:
            frames = self._flavours[flavour] = Frames(self._rows, *flavour)
        block = frames.write(low, high, ids, time_us)
        names_wanted = connection.subscriptions.names
        wanted = np.array([f"{symbol.lower()}@trade" in names_wanted for symbol in self._symbols])
        chosen = wanted[np.arange(low, high) % len(self._symbols)]
        if not wanted.all():
            block = block[np.repeat(chosen, frames.ends[low:high] - frames.starts[low:high])]
        if len(block):
            connection.write(block.tobytes())
            self._hub.sent += int(chosen.sum())

    def _publish(self, low: int, high: int, ids: Ints, time_us: int) -> None:
        """Frame by frame, because a fault wants to see each one."""
        for (symbol, price, size, maker), trade_id in zip(self._rows[low:high], ids.tolist(), strict=True):
            data, micro = (wire.trade(symbol, trade_id, price, size, time_us, maker, unit) for unit in (False, True))
            self._hub.publish(Message(f"{symbol.lower()}@trade", symbol, "trade", data, micro))

    async def snapshot(self, symbol: str, limit: int) -> Snapshot | None:
        """There is no book."""
        return None

    def burst(self, factor: float) -> bool:
        """Paced: times factor."""
        self._factor = factor
        return bool(self._per_s)

    def skip(self, symbol: str, count: int) -> bool:
        """Ids jump from the next trade on."""
        self._base[symbol] += count
        return True

    def reset(self, symbol: str) -> bool:
        """Ten-digit ids are what makes bulk fast."""
        return False
