"""The tail loop: follows the tape and feeds the readers. One task, no threads, never more than a chunk at a time."""

from __future__ import annotations

import asyncio

import numpy as np

from ticktape.clock import Clock
from ticktape.model.bars import Basis
from ticktape.model.records import Ints, Kind
from ticktape.serve.readers import scan_kernel
from ticktape.serve.readers.bars import BarReader
from ticktape.serve.readers.board import Board
from ticktape.serve.readers.gaps import GapLedger
from ticktape.tape.kernels import CHAIN_TRADE
from ticktape.tape.reader import Reader

CHUNK = 1 << 17  # records absorbed before others get their turn: 5 ms or so
BUSY_S = 0.001
IDLE_S = 0.005
IDLE_AFTER = 20  # polls without news
SAMPLE_EVERY_NS = 1_000_000_000
RELEASE_EVERY_NS = 10_000_000_000


class Live:
    """What the tape says now.

    `position` is the first record the readers have not absorbed, `polled_ns` (monotonic) when `run` last looked.
    """

    def __init__(self, reader: Reader, clock: Clock) -> None:
        self.reader = reader
        self.clock = clock
        self.bars = BarReader()
        self.gaps = GapLedger()
        self.board = Board()
        self.position = reader.first
        self._followed = -1
        self._found: Ints = np.empty(1024, dtype=np.int64)
        self._sampled_ns = self._released_ns = self.polled_ns = clock.monotonic_ns()

    def sync(self) -> int:
        """Bring the chain heads up to what is published, so that `reader.latest` sees it. Returns the end."""
        if self.reader.refresh() != self._followed:
            self._followed = self.reader.follow()
        return self._followed

    @property
    def behind(self) -> int:
        """How many published records the readers have not absorbed."""
        return self.reader.end - self.position

    def step(self, most: int = CHUNK) -> int:
        """Absorb up to `most` records that came since. Returns how many."""
        stop = self.sync()
        start = max(self.position, self.reader.first)
        stop = min(stop, start + most)
        if stop > start:
            self._scan(start, stop)
            self.bars.absorb(self.reader, start, stop)
        self.position = stop
        return stop - start

    def _scan(self, start: int, stop: int) -> None:
        reader, board, position = self.reader, self.board, start
        while position < stop:
            position, count = scan_kernel.scan(
                reader.records, reader.base, position, stop, board.tallies, board.now, self._found
            )
            for at in self._found[:count].tolist():
                record = reader.records[at - reader.base]
                if record["kind"] == Kind.GAP:
                    self.gaps.absorb(record, at)
                else:
                    board.absorb(record)

    def warm(self) -> None:
        """Load (the first time: compile) the kernels, so that no request waits for them."""
        reader, board, at = self.reader, self.board, self.position
        scan_kernel.scan(reader.records, reader.base, at, at, board.tallies, board.now, self._found)
        reader.latest(0, CHAIN_TRADE, 1)
        self.bars.latest(0, "1s", Basis.TRADES, 1)
        self.step()

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the tape until `stop` is set."""
        quiet = 0
        # The tape is shared memory: nobody there can wake us.
        while not stop.is_set():
            absorbed = self.step()
            self._housekeep()
            quiet = 0 if absorbed else quiet + 1
            # A full chunk means more is waiting: go on at once, but let a request through.
            pause_s = 0.0 if absorbed == CHUNK else BUSY_S if quiet < IDLE_AFTER else IDLE_S
            await asyncio.sleep(pause_s)

    def _housekeep(self) -> None:
        now = self.polled_ns = self.clock.monotonic_ns()
        if now - self._sampled_ns >= SAMPLE_EVERY_NS:
            self._sampled_ns = now
            self.board.sample(now)
        if now - self._released_ns >= RELEASE_EVERY_NS:
            # Segments that keep trimmed: no view is held between two awaits, so their space may go.
            self._released_ns = now
            self.reader.release()
