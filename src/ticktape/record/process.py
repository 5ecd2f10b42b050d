"""The recorder: opens the tape, runs the sources, tells the time, fills gaps, takes orders; stops in that order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from ticktape.clock import STEP_NS, Clock, SystemClock
from ticktape.errors import BadInput, Damaged, DiskFull, Misconfigured, UnknownSymbol
from ticktape.model.records import GapCause, Kind, Records, Status, empty
from ticktape.model.sessions import ROUND_THE_CLOCK
from ticktape.record import memory
from ticktape.record.append import Appender, Limits
from ticktape.record.control import Call, Control
from ticktape.record.filler import Filler
from ticktape.record.memory import Memory
from ticktape.record.pump import Pump
from ticktape.record.raw import RawFrames
from ticktape.record.renumbered import Renumbered
from ticktape.record.runner import Backoff, Runner
from ticktape.record.watchdog import Patience
from ticktape.sources.contract import Directory, Source
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader
from ticktape.tape.repair import declare
from ticktape.tape.segment import Disk
from ticktape.tape.writer import Writer

log = structlog.get_logger("record")

DURABLE_LOOK_S, DURABLE_LOOKS = 0.1, 100
DURABLE_S = 2.0  # of the ten seconds that a stop may take
LAZY_SYNC_MS = 1000.0  # where power loss is not promised: so that old segments can be let go

SourceMaker = Callable[[Directory], Source]


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the recorder is told."""

    data: Path
    sample: bool = False
    durability: str = "power"  # process: survives kill -9; power: fsync every sync_every_ms
    sync_every_ms: float = 20.0
    segment_records: int = 1 << 20
    keep_raw: bool = False
    limits: Limits = Limits()
    backoff: Backoff = Backoff()
    patience: Patience = Patience()
    remember_every_s: float = 60.0  # record/memory.py
    settle_s: float = 3.0  # before a gap is filled: what comes out of order fills its own hole


class Recorder:
    """One recorder on one data folder."""

    def __init__(
        self,
        settings: RecordSettings,
        makers: Sequence[SourceMaker],
        clock: Clock | None = None,
        disk: Disk | None = None,
    ) -> None:
        """Open the tape and judge what it holds. Raises Busy, Misconfigured, Damaged, DiskFull."""
        self.settings = settings
        folder = settings.data / "tape"
        self._control = Control(settings.data / "record.sock", self._call)
        self.tape = Writer(
            folder,
            sample=settings.sample,
            capacity=settings.segment_records,
            sync_every_ms=settings.sync_every_ms if settings.durability == "power" else LAZY_SYNC_MS,
            disk=disk,
            clock=clock,
        )
        try:
            self._prepare(folder, makers, clock)
        except BaseException:
            self.tape.close()
            raise

    def _prepare(self, folder: Path, makers: Sequence[SourceMaker], clock: Clock | None) -> None:
        self.clock: Clock = clock or SystemClock(self._last_ns())
        self.directory = TapeDirectory(folder)
        self.appender = Appender(self.tape, self.settings.limits)
        self.runners = self._make_runners(makers)
        remembered = self._recall(folder)
        self._lost = self.appender.rebuild(remembered)
        self._pumps = {r.pump.source_id: r.pump for r in self.runners}
        reader = Reader(folder)
        self._filler = Filler(reader, self._pumps, self.clock, self.settings.settle_s, remembered)
        self._renumbered = Renumbered(self.appender, reader)
        self._low_space = self._said_full = False
        self._wall_ns, self._monotonic_ns = self.clock.wall_ns(), self.clock.monotonic_ns()
        self._tasks: asyncio.TaskGroup | None = None

    def _recall(self, folder: Path) -> Memory | None:
        try:
            found = memory.load(folder)
        except Damaged as error:
            log.error("record.memory_lost", error=error.message)
            return None
        end = self.tape.opened.found.position
        if (
            found is not None
            and found.tape_id == self.tape.meta.tape_id
            and self.tape.first <= found.needed
            and found.position <= end
        ):
            return found
        if self.tape.first > 0:  # what came before is in the lake only, and nobody told us of it
            log.warning("record.memory_missing", first=self.tape.first)
        return None

    def _last_ns(self) -> int:
        past, position = self.tape.past, self.tape.position
        return int(past.records[position - 1 - past.base]["ts_recv"]) if position > self.tape.first else 0

    def _make_runners(self, makers: Sequence[SourceMaker]) -> list[Runner]:
        """Return the healthy sources; name the others. Raises what is wrong when none is healthy."""
        runners: list[Runner] = []
        for at, make in enumerate(makers, 1):
            try:
                runners.append(self._runner(make(self.directory)))
            except (Misconfigured, BadInput) as error:
                log.error("source.misconfigured", source=f"number {at}", error=str(error))
                if at == len(makers) and not runners:
                    raise
        return runners

    def _runner(self, source: Source) -> Runner:
        raw = RawFrames(self.settings.data / "raw", source.name) if self.settings.keep_raw else None
        number = self.directory.source_id(source.name)
        pump = Pump(source, number, self.appender, self.clock, sample=self.settings.sample, raw=raw)
        return Runner(pump, self.clock, self.settings.backoff, self.settings.patience, calendar_of=self._calendar_of)

    def _calendar_of(self, instrument_id: int) -> str:
        try:
            return self.directory.by_id(instrument_id).calendar
        except UnknownSymbol:  # nobody enrolled it: then nobody knows when it is quiet
            return ROUND_THE_CLOCK

    # -- running -----------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set; whatever was accepted is on disk afterwards."""
        try:
            self._say_recovered()
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                own = [
                    tasks.create_task(self._tick(), name="record:clock"),
                    tasks.create_task(self._filler.run(), name="record:filler"),
                    tasks.create_task(self._remember_often(), name="record:memory"),
                ]
                await self._control.start()
                for runner in self.runners:
                    runner.start(tasks)
                await stop.wait()
                await self._stop(own)
        finally:
            await self._control.close()
            self._close()

    async def _stop(self, own: list[asyncio.Task[None]]) -> None:
        await self._control.close()
        await asyncio.gather(*[runner.stop(GapCause.RESTART) for runner in self.runners])
        for task in own:
            task.cancel()
        self._status(Status.RECORDER_STOPPED)

    def _close(self) -> None:
        for runner in self.runners:
            runner.pump.close()
        known = self.appender.remember(self._filler.followed, self._filler.unsettled())
        if self.tape.sync.flush(known.position, DURABLE_S) and self.tape.head.durable >= known.position:
            self._save(known)
        self.tape.close()
        self.directory.close()
        if self.tape.head.durable < self.tape.position:
            log.error("record.not_durable", durable=self.tape.head.durable, position=self.tape.position)
        log.info("record.stopped", position=self.tape.position)

    # -- remembering -------------------------------------------------------------------------------

    async def _remember_often(self) -> None:
        while True:
            known = self.appender.remember(self._filler.followed, self._filler.unsettled())
            # Only what a power loss cannot take: what is remembered has to be on the tape.
            for _ in range(DURABLE_LOOKS):
                if self.tape.head.durable >= known.position:
                    await asyncio.to_thread(self._save, known)
                    break
                await asyncio.sleep(DURABLE_LOOK_S)
            await asyncio.sleep(self.settings.remember_every_s)

    def _save(self, known: Memory) -> None:
        try:
            memory.save(self.tape.folder, known)
        except OSError as error:  # the one before stays, and the tape is kept for it
            log.error("record.memory_not_written", error=str(error))
            return
        self.tape.head.needed = known.needed

    def _say_recovered(self) -> None:
        found, owner = self.tape.opened
        if owner is not None:
            log.warning("tape.taken_over", from_pid=owner.pid, role=owner.role)
        if found.cut_bytes or found.damaged:
            voided = sum(d.stop - d.start for d in found.damaged) * 64
            log.warning("tape.recovered", cut_bytes=found.cut_bytes, damaged_bytes=voided, ranges=len(found.damaged))
            try:
                declare(self.tape, self.clock.now_ns())
                self.appender.declare_lost(self._lost, GapCause.DAMAGED, self.clock.now_ns())
            except DiskFull as error:
                log.error("record.disk_full", error=error.message)
        del self.tape.past, self._lost
        self._status(Status.RECORDER_UP, self.tape.epoch)
        log.info("record.started", position=self.tape.position, batches=found.batches, records=found.records)

    def _status(self, status: Status, b: int = 0, c: int = 0) -> None:
        record = self._own(Kind.STATUS)
        record["a"], record["b"], record["c"] = status, b, c
        self._append(record)

    def _own(self, kind: Kind) -> Records:
        record = empty(1)
        record["kind"] = kind
        record["ts_event"] = record["ts_recv"] = self.clock.now_ns()
        return record

    def _append(self, record: Records) -> None:
        try:
            self.tape.append(record, system=True)
        except DiskFull as error:
            if not self._said_full:  # once, not with every second of it
                log.error("record.disk_full", error=error.message)
            self._said_full = True
        else:
            self._said_full = False

    # -- time --------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            self.tick()
            await asyncio.sleep(1.0)

    def tick(self) -> None:
        """Put the time on the tape, notice a set clock, let the watchdogs look. Once a second."""
        wall, monotonic = self.clock.wall_ns(), self.clock.monotonic_ns()
        step = (wall - self._wall_ns) - (monotonic - self._monotonic_ns)
        self._wall_ns, self._monotonic_ns = wall, monotonic
        if abs(step) > STEP_NS:
            log.warning("clock.stepped", step_ms=step // 1_000_000)
            self._status(Status.CLOCK_STEPPED, step)
        record = self._own(Kind.CLOCK)
        record["a"], record["b"], record["c"] = wall, monotonic, step if abs(step) > STEP_NS else 0
        self._append(record)
        self._say_space()
        for runner in self.runners:
            runner.pump.say_again()
            runner.pump.say_skew()
            for watched in self._renumbered.look(runner.pump.numbered):
                runner.pump.renumber(watched)
            runner.look()

    def _say_space(self) -> None:
        low = self.tape.head.low_space = self.tape.low_space or self.tape.refusing
        if low != self._low_space:
            self._low_space = low
            log.warning("record.low_space" if low else "record.space_returned")
            self._status(Status.DISK_FULL if low else Status.DISK_OK)

    # -- orders ------------------------------------------------------------------------------------

    async def _call(self, call: Call) -> Any:
        if call.call == "sources":
            return [self._about(r) for r in self.runners]
        if call.call == "fill":
            return {"waiting": self._filler.hurry()}
        runner = next((r for r in self.runners if r.pump.source.name == call.name), None)
        if runner is None:
            names = ", ".join(r.pump.source.name for r in self.runners) or "none"
            raise BadInput(f"no source '{call.name[:40]!a}'; there are: {names}", hint="GET /api/v1/sources")
        async with runner.ordering:
            if call.call == "symbols":
                await runner.pump.source.change(call.add, call.remove)
            elif call.call in ("stop", "restart"):
                await runner.stop()
            elif call.call != "start":
                raise BadInput(f"no call '{call.call[:40]!a}'", hint="sources, fill, start, stop, restart, symbols")
            if call.call in ("start", "restart") and self._tasks is not None:
                runner.start(self._tasks)
        return self._about(runner)

    def _about(self, runner: Runner) -> dict[str, Any]:
        pump = runner.pump
        return {
            "name": pump.source.name,
            "source_id": pump.source_id,
            "status": pump.state.name.removeprefix("SOURCE_").lower(),
            "running": runner.running,
            "symbols": pump.source.symbols,
            "channels": sorted({w.channel.name.lower() for w in pump.watched}),
            "completeness": {ch.name.lower(): c.value for ch, c in pump.source.completeness.items()},
            "up_since_ns": pump.up_since_ns,
            "last_frame_ns": pump.last_frame_ns,
            "skew_ns": pump.skew_ns,
            "trouble": {"at_ns": pump.trouble.at_ns, "what": pump.trouble.what} if pump.trouble else None,
            "gaps_waiting": self._filler.waiting,
            "counts": pump.counts(),
        }
