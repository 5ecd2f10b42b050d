"""The tail loop: follows the tape and feeds the readers. One task, no threads, never more than a chunk at a time.

Of a tape whose beginning was trimmed, the lake has the rest (past/older.py). A second state begins with that and
follows the same tape; when it has caught up it takes the place of the first. So nothing waits for the lake, and
nothing is counted twice or left out.
"""

from __future__ import annotations

import asyncio

import numpy as np

from ticktape.clock import Clock
from ticktape.errors import Unavailable
from ticktape.model.bars import BAR, Basis
from ticktape.model.records import Ints, Kind
from ticktape.serve import row_texts
from ticktape.serve.past.older import Older
from ticktape.serve.readers import scan_kernel
from ticktape.serve.readers.bar_kernel import MAX_AHEAD_NS
from ticktape.serve.readers.bars import BarReader, Key
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

    `position` is the first record the readers have not absorbed, `polled_ns` (monotonic) when `run` last looked,
    `lacking` what answers lack, in words.
    """

    def __init__(self, reader: Reader, clock: Clock, older: Older | None = None) -> None:
        self.reader = reader
        self.clock = clock
        self.bars = BarReader()
        self.gaps = GapLedger()
        self.board = Board()
        self.position = reader.first
        self.lacking: list[str] = []
        self._bars_from = reader.first  # bars of what is before are in memory already
        self._followed = -1
        self._found: Ints = np.empty(1024, dtype=np.int64)
        self._sampled_ns = self._released_ns = self.polled_ns = clock.monotonic_ns()
        if older is not None and older.position >= 0:
            self._begin_with(older)

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
            self.bars.trimmed = self.reader.first > 0
            known = max(start, min(stop, self._bars_from))
            if known > start:
                self.bars.pass_over(self.reader, start, known)
            self.bars.absorb(self.reader, known, stop)
        self.position = stop
        return stop - start

    # -- older than the tape -----------------------------------------------------------------------

    def _begin_with(self, older: Older) -> None:
        if not self.reader.first <= older.position <= self.reader.refresh() or older.gaps_before != self.reader.first:
            raise Unavailable("the tape was trimmed past what the lake told", hint="ask again")
        self._bars_from, self.lacking = older.position, list(older.missing)
        if older.newest is not None and older.position > self.reader.first:
            # The venue's clock where the tape begins: ours then, and how far apart both were before.
            ts_event, ts_recv = older.newest
            first = self.reader.records[self.reader.first - self.reader.base]
            self.bars.set_clock(ts_event + max(0, int(first["ts_recv"]) - ts_recv))
        for ring in older.rings:
            key = Key(ring.instrument_id, Basis(ring.basis), ring.aggregated)
            frames = [np.frombuffer(frame, dtype=BAR) for frame in ring.frames]
            self.bars.install(key, frames, ring.whole)
            closes = frames[1]["close_ts"]
            self.bars.tell_time(key, int(closes[closes <= self._latest(older)].max(initial=0)))
        for position, record in zip(*older.gaps.read(), strict=True):
            self.gaps.absorb(record, int(position))
        for record in older.statuses.read()[1]:
            self.board.absorb(record)

    def _latest(self, older: Older) -> int:
        # No tick from further ahead tells the time; see the bars' kernel.
        last = self.reader.records[max(older.position - 1, self.reader.first) - self.reader.base]
        return max(int(last["ts_recv"]), older.newest[1] if older.newest else 0) + MAX_AHEAD_NS

    async def catch_up(self, older: Older) -> None:
        """Take in what only the lake has. Raises Unavailable when the tape was trimmed meanwhile: get it anew."""
        if older.position < 0:
            self.lacking = []
            return
        with_it = Live(self.reader, self.clock, older)
        first = self.reader.first
        while with_it.position < self.position:
            with_it.step()
            await asyncio.sleep(0)
            if self.reader.first != first and with_it.position < self.reader.first:
                raise Unavailable("the tape was trimmed while it was read", hint="ask again")
        self.bars, self.gaps, self.board = with_it.bars, with_it.gaps, with_it.board
        self.position, self.lacking = with_it.position, with_it.lacking

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
        row_texts.warm()
        self.bars.latest(0, "1s", Basis.TRADES, 1)
        self.bars.pass_over(reader, at, at)
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
