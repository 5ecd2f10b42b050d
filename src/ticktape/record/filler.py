"""Fills gaps from the venue's history, through the tape like everything else.

The list of gaps is read from the tape itself, so a restart goes on where the last run ended. A filled gap's rows are
flagged BACKFILLED; what the venue confirms as missing, and what has no history, is declared UNFILLABLE.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from ticktape.clock import Clock
from ticktape.errors import DiskFull, Misconfigured, Throttled, Unavailable
from ticktape.model.records import Channel, GapState, Kind, Records, empty, unpack_gap
from ticktape.record.pump import Pump
from ticktape.sources.contract import Completeness, Hole
from ticktape.tape.reader import Reader

log = structlog.get_logger("record")

MOST_WAITING = 10_000
RELEASE_S = 10.0  # a trimmed segment keeps its space for as long as somebody maps it
_SCAN = 1 << 18  # records looked through in one go


@dataclass(slots=True)
class Waiting:
    """A closed gap that nobody has filled yet."""

    record: Records  # the CLOSED record
    due_s: float
    tries: int = 0


class Filler:
    """One task: follows the tape for gaps, asks the sources, writes what came of it."""

    def __init__(self, tape_reader: Reader, pumps: dict[int, Pump], clock: Clock, settle_s: float) -> None:
        self._reader, self._pumps, self._clock, self._settle_s = tape_reader, pumps, clock, settle_s
        self._position = tape_reader.first
        self._waiting: dict[int, Waiting] = {}
        self._released_s = self._now_s()

    @property
    def waiting(self) -> int:
        """How many gaps wait to be filled."""
        return len(self._waiting)

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._follow()
            now_s = self._now_s()
            if now_s - self._released_s > RELEASE_S:
                self._released_s = now_s
                self._reader.release()
            for gap_id in [g for g, w in self._waiting.items() if w.due_s <= now_s]:
                await self._settle(gap_id, self._waiting[gap_id])
            await asyncio.sleep(0.25)

    def _now_s(self) -> float:
        return self._clock.monotonic_ns() / 1e9

    # -- what the tape says ------------------------------------------------------------------------

    async def _follow(self) -> None:
        end = self._reader.refresh()
        while self._position < end and len(self._waiting) < MOST_WAITING:  # the rest waits on the tape
            stop = min(self._position + _SCAN, end)
            view = self._reader.view(self._position, stop)
            for row in view[view["kind"] == Kind.GAP]:
                self._note(row.copy())
            self._position = stop
            await asyncio.sleep(0)

    def _note(self, row: Records) -> None:
        gap_id, state = int(row["a"]), GapState(int(row["side"]))
        if state is GapState.CLOSED:
            self._waiting[gap_id] = Waiting(row, self._now_s() + self._settle_s)
        elif state in (GapState.FILLED, GapState.UNFILLABLE):
            self._waiting.pop(gap_id, None)

    # -- filling -----------------------------------------------------------------------------------

    async def _settle(self, gap_id: int, waiting: Waiting) -> None:
        row = waiting.record
        pump = self._pumps.get(int(row["source"]))
        channel = unpack_gap(int(row["d"])).channel
        if pump is None or channel is Channel.ALL:
            self._waiting.pop(gap_id)  # its source is not configured any more: the gap stays as it is
            return
        hole = Hole(int(row["instrument"]), channel, int(row["b"]), int(row["c"]))
        dense = pump.source.completeness.get(channel) is Completeness.SEQUENCE
        if hole.last_id < hole.first_id:
            # Dense ids that go on where they ended prove that nothing was missed; without them nothing is known.
            proven = dense and hole.last_id == hole.first_id - 1 and hole.last_id >= 0
            self._say(pump, row, GapState.FILLED if proven else GapState.UNFILLABLE, 0)
        elif self._missing(pump, hole) == 0:
            self._say(pump, row, GapState.FILLED, 0)
        elif pump.connects:  # one that was never up does not know its symbols yet, and would say there is no history
            await self._fill(pump, waiting, hole)

    async def _fill(self, pump: Pump, waiting: Waiting, hole: Hole) -> None:
        waiting.tries += 1
        before, shed = self._missing(pump, hole), pump.shed
        try:
            async for batch in pump.source.fill(hole):
                pump.store(batch)
                _check_kept(pump, shed)
        except Misconfigured:
            self._say(pump, waiting.record, GapState.UNFILLABLE, 0)
            return
        except (Unavailable, DiskFull) as error:
            pause_s = error.retry_after_s if isinstance(error, Throttled) else min(2.0 ** min(waiting.tries, 9), 300.0)
            waiting.due_s = self._now_s() + pause_s
            log.info("gap.fill_delayed", source=pump.source.name, retry_s=pause_s, why=error.message)
            return
        left = self._missing(pump, hole)
        self._say(pump, waiting.record, GapState.UNFILLABLE if left else GapState.FILLED, before - left)

    def _missing(self, pump: Pump, hole: Hole) -> int:
        return pump.appender.missing(hole.instrument_id, hole.channel, hole.first_id, hole.last_id)

    def _say(self, pump: Pump, row: Records, state: GapState, rows: int) -> None:
        record = empty(1)
        record[0] = row
        record["side"], record["back"] = state, 0
        record["ts_recv"] = self._clock.now_ns()
        try:
            pump.appender.tape.append(record, system=True)
        except DiskFull:
            return  # it stays in the list and is said later
        self._waiting.pop(int(row["a"]), None)
        log.info("gap.settled", source=pump.source.name, state=state.name.lower(), gap_id=int(row["a"]), rows=rows)


def _check_kept(pump: Pump, shed: int) -> None:
    """Raise DiskFull when the tape had no room for what the venue sent: it is no reason to call a gap unfillable."""
    if pump.shed != shed:
        raise DiskFull("no room for what the venue sent")
