"""Fills gaps from the venue's history, through the tape like everything else.

The list of gaps is read from the tape itself, so a restart goes on where the last run ended. A filled gap's rows are
flagged BACKFILLED; what the venue confirms as missing, and what has no history, is declared UNFILLABLE. What nobody can
tell now waits. The gaps of one channel that are due are asked for together, and only the ids that are missing still.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import structlog

from ticktape.clock import Clock
from ticktape.errors import BadInput, DiskFull, Misconfigured, Throttled, TicktapeError, Unavailable
from ticktape.model.records import Channel, Completeness, GapState, Ints, Kind, Records, empty, unpack_gap
from ticktape.record.memory import Memory
from ticktape.record.pump import Pump
from ticktape.sources.contract import Batch, Hole
from ticktape.tape.reader import Reader

log = structlog.get_logger("record")

MOST_WAITING = 10_000
MOST_ASIDE = 100_000  # beyond that they are declared as they are, and nobody fills them
MOST_TOGETHER = 1000  # gaps asked for in one go: others get their turn between
RELEASE_S = 10.0  # a trimmed segment keeps its space for as long as somebody maps it
_SCAN = 1 << 18  # records looked through in one go

Parts = list[tuple[int, int]]  # ranges of ids, both ends included, ascending and apart


@dataclass(slots=True, eq=False)
class Waiting:
    """A closed gap that nobody has filled yet."""

    record: Records  # the CLOSED record
    due_s: float
    tries: int = 0

    @property
    def gap_id(self) -> int:
        """The position of the record that first told of the gap."""
        return int(self.record["a"])

    @property
    def hole(self) -> Hole:
        """What is missing, as the record says."""
        row = self.record
        return Hole(int(row["instrument"]), unpack_gap(int(row["d"])).channel, int(row["b"]), int(row["c"]))


class Filler:
    """One task: follows the tape for gaps, asks the sources, writes what came of it."""

    def __init__(
        self, tape_reader: Reader, pumps: dict[int, Pump], clock: Clock, settle_s: float, memory: Memory | None = None
    ) -> None:
        self._reader, self._pumps, self._clock, self._settle_s = tape_reader, pumps, clock, settle_s
        self._position = tape_reader.first
        self._waiting: dict[int, Waiting] = {}
        self._aside: dict[int, Waiting] = {}  # of sources that are not configured: they stay as they are
        self._released_s = self._now_s()
        if memory is not None:
            self._position = max(self._position, memory.followed)
            for row in memory.gaps:
                self._note(row.copy())

    @property
    def followed(self) -> int:
        """First position not looked through: the gaps before it that wait are in `unsettled`."""
        return self._position

    def unsettled(self) -> Records:
        """Return the records of the gaps that wait or were put aside."""
        held = [*self._waiting.values(), *self._aside.values()]
        records = empty(len(held))
        for k, waiting in enumerate(held):
            records[k] = waiting.record
        return records

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
            for together in self._due(now_s):
                await self._settle(together)
            await asyncio.sleep(0.25)

    def hurry(self) -> int:
        """Make every gap due now, also those that were put aside. Returns how many wait."""
        self._waiting |= self._aside
        self._aside.clear()
        for waiting in self._waiting.values():
            waiting.due_s = self._now_s()
        return len(self._waiting)

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
            self._aside.pop(gap_id, None)

    def _due(self, now_s: float) -> list[list[Waiting]]:
        """Return the gaps whose turn it is: those of one channel together, ascending."""
        channels: dict[tuple[int, int, Channel], list[Waiting]] = {}
        for waiting in self._waiting.values():
            if waiting.due_s <= now_s:
                hole = waiting.hole
                key = (int(waiting.record["source"]), hole.instrument_id, hole.channel)
                channels.setdefault(key, []).append(waiting)
        due: list[list[Waiting]] = []
        for mine in channels.values():
            mine.sort(key=lambda waiting: waiting.hole.first_id)
            due += [mine[i : i + MOST_TOGETHER] for i in range(0, len(mine), MOST_TOGETHER)]
        return due

    # -- filling -----------------------------------------------------------------------------------

    async def _settle(self, together: list[Waiting]) -> None:
        pump = self._pumps.get(int(together[0].record["source"]))
        if pump is None or together[0].hole.channel is Channel.ALL:
            self._put_aside(together)
            return
        unknown = [w for w in together if w.hole.last_id < w.hole.first_id and not _proven(pump, w.hole)]
        asked = [w for w in together if w.hole.last_id >= w.hole.first_id and _missing(pump, w.hole)]
        self._say(pump, unknown, GapState.UNFILLABLE, 0)
        self._say(pump, [w for w in together if w not in unknown and w not in asked], GapState.FILLED, 0)
        if asked and pump.connects:  # one that was never up does not know its symbols yet
            await self._fill(pump, asked)

    def _put_aside(self, together: list[Waiting]) -> None:
        for waiting in together:
            self._waiting.pop(waiting.gap_id)
            if len(self._aside) < MOST_ASIDE:
                self._aside[waiting.gap_id] = waiting

    async def _fill(self, pump: Pump, asked: list[Waiting]) -> None:
        hole, parts = _together(pump, asked)
        before = {waiting.gap_id: _missing(pump, waiting.hole) for waiting in asked}
        shed = pump.shed

        def settle(upto: list[Waiting]) -> None:
            for waiting in upto:
                asked.remove(waiting)
            left = {waiting.gap_id: _missing(pump, waiting.hole) for waiting in upto}
            for state, whole in ((GapState.FILLED, True), (GapState.UNFILLABLE, False)):
                chosen = [w for w in upto if (left[w.gap_id] == 0) is whole]
                self._say(pump, chosen, state, sum(before[w.gap_id] - left[w.gap_id] for w in chosen))

        try:
            async for batch in pump.source.fill(hole):
                wanted = _within(batch, parts)
                pump.store(wanted)
                _check_kept(pump, shed)
                if len(wanted.records):  # what lies below an answer was answered too
                    lowest = int(wanted.records["c"].min())
                    settle([w for w in asked if w.hole.last_id < lowest])
        except Misconfigured:
            settle(asked[:])
        except (Unavailable, BadInput, DiskFull) as error:
            settle([w for w in asked if not _missing(pump, w.hole)])
            self._put_off(pump, asked, error)
        else:
            settle(asked[:])

    def _put_off(self, pump: Pump, asked: list[Waiting], error: TicktapeError) -> None:
        for waiting in asked:
            waiting.tries += 1
            pause_s = error.retry_after_s if isinstance(error, Throttled) else min(2.0 ** min(waiting.tries, 9), 300.0)
            waiting.due_s = self._now_s() + pause_s
        if asked:
            pause_s = min(waiting.due_s for waiting in asked) - self._now_s()
            log.info(
                "gap.fill_delayed", source=pump.source.name, gaps=len(asked), retry_s=round(pause_s, 1),
                why=error.message,
            )  # fmt: skip

    def _say(self, pump: Pump, settled: list[Waiting], state: GapState, rows: int) -> None:
        """Write down what became of gaps; `rows` came back for them."""
        for waiting in settled:
            record = empty(1)
            record[0] = waiting.record
            record["side"], record["back"] = state, 0
            record["ts_recv"] = self._clock.now_ns()
            try:
                pump.appender.tape.append(record, system=True)
            except DiskFull:
                return  # they stay in the list and are said later
            self._waiting.pop(waiting.gap_id, None)
        if settled:
            log.info(
                "gap.settled", source=pump.source.name, state=state.name.lower(), gaps=len(settled),
                first_gap_id=settled[0].gap_id, rows=rows,
            )  # fmt: skip


def _proven(pump: Pump, hole: Hole) -> bool:
    """Say whether dense ids that go on where they ended prove that nothing was missed."""
    dense = pump.source.completeness.get(hole.channel) is Completeness.SEQUENCE
    return dense and hole.last_id == hole.first_id - 1 and hole.last_id >= 0


def _missing(pump: Pump, hole: Hole) -> int:
    return pump.appender.missing(hole.instrument_id, hole.channel, hole.first_id, hole.last_id)


def _together(pump: Pump, asked: Iterable[Waiting]) -> tuple[Hole, Parts]:
    """Return one hole around the gaps of a channel, and the ranges of ids that are missing still."""
    found: Parts = []
    hole = Hole(0, Channel.ALL, 0, -1)
    for waiting in asked:
        hole = waiting.hole
        for first, last in pump.appender.missing_parts(*hole[:4]):
            if found and first <= found[-1][1] + 1:  # gaps may overlap
                found[-1] = (found[-1][0], max(last, found[-1][1]))
            else:
                found.append((first, last))
    around = Hole(hole.instrument_id, hole.channel, found[0][0], found[-1][1], tuple(found) if len(found) > 1 else ())
    return around, found


def _within(batch: Batch, parts: Parts) -> Batch:
    """Return what was asked for, without what lies between."""
    bounds: Ints = np.array(parts, dtype=np.int64)
    ids = batch.records["c"]
    at = np.searchsorted(bounds[:, 0], ids, side="right") - 1
    inside = (at >= 0) & (ids <= bounds[at, 1])
    return batch if inside.all() else Batch(batch.records[inside], batch.bad)


def _check_kept(pump: Pump, shed: int) -> None:
    """Raise DiskFull when the tape had no room for what the venue sent: it is no reason to call a gap unfillable."""
    if pump.shed != shed:
        raise DiskFull("no room for what the venue sent")
