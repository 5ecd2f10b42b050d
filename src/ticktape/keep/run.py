"""The process: flushes, spot checks, settled days and backups side by side, and orders on `keep.sock`.

Each has a task of its own. What commits to the lake takes its turn in the keeper; what only reads, and backups, go
on meanwhile. A part that fails says so and is tried again: none of them ends the process or holds up a flush.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from ticktape.clock import Clock, SystemClock
from ticktape.control import Server
from ticktape.errors import Damaged, Misconfigured, TicktapeError, Unavailable
from ticktape.keep.backup_pin import World
from ticktape.keep.daily import Daily, Stopped
from ticktape.keep.orders import Call, Orders
from ticktape.keep.process import Keeper, KeepSettings
from ticktape.keep.schedule import Schedule
from ticktape.keep.spot import Spotter, Venue, pass_rate
from ticktape.lake.figures import KeepAlert, KeepStat
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

log = structlog.get_logger("keep")

SOCKET = "keep.sock"
VenuesOf = Callable[[TapeDirectory], Mapping[str, Venue]]
RETRY_S = 60.0  # after a spot check or a day that failed


class Keep:
    """One keeper and what runs beside it."""

    def __init__(
        self, settings: KeepSettings, stop: asyncio.Event, *, world: World | None = None,
        venues: Mapping[str, Venue] | None = None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        """Take the lake's lock. Raises Busy, Misconfigured. `venues` are asked for records of the source they name."""
        tape = settings.data / "tape"
        self._stop, self._settings, self._clock = stop, settings, clock or SystemClock()
        self.keeper = Keeper(settings, Reader(tape), clock=clock)
        self._directory = TapeDirectory(tape)
        self._venues = venues or {}
        self._source_names: dict[int, str] = {}
        self._daily = Daily(self.keeper, Reader(tape), self._directory)
        self._spotter: Spotter | None = None
        self._schedule = Schedule(
            settings, world or World(settings.data, "", settings.data), self.keeper.alerts,
            self.keeper.figures.backup, clock=self._clock, stopped=stop.is_set,
        )  # fmt: skip
        self._backing_up, self._spotting, self._settling = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self._started_ns = self._clock.wall_ns()

    def close(self) -> None:
        """Give the lock back."""
        self._directory.close()
        self.keeper.close()

    async def run(self) -> None:
        """Go on until told to stop; flush once more at the end."""
        works = {
            "flush": self._flush_now,
            "cleanup": self._clean_up_now,
            "spot": self.spot,
            "quality": self.settle_due,
            "backup": self._back_up_now,
        }
        orders = Orders(self.stat, works)
        server = Server(self._settings.data / SOCKET, Call, orders)
        await server.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._flushes(), name="keep:flush")
                tasks.create_task(self._spots(), name="keep:spot")
                tasks.create_task(self._days(), name="keep:quality")
                tasks.create_task(self._backups(), name="keep:backup")
        finally:
            await server.close()
            await orders.close()
        if self._spotter is not None:
            await self._tried("spot", lambda: asyncio.to_thread(self._write_spots))

    # -- what goes on ------------------------------------------------------------------------------

    async def _flushes(self) -> None:
        while not self._stop.is_set():
            await pause(self._stop, await asyncio.to_thread(self.keeper.turn))
        await asyncio.to_thread(self.keeper.turn, last=True)

    async def _spots(self) -> None:
        every_s = self._settings.spot_every_s
        while every_s > 0 and not self._stop.is_set():
            await pause(self._stop, every_s)
            if not self._stop.is_set():
                await self._tried("spot", self.spot)

    async def _days(self) -> None:
        every_s = self._settings.quality_every_s
        while every_s > 0 and not self._stop.is_set():
            await self._tried("quality", self.settle_due)
            await pause(self._stop, every_s)

    async def _backups(self) -> None:
        while self._settings.backup_to and not self._stop.is_set():
            async with self._backing_up:
                wait_s = await asyncio.to_thread(self._schedule.turn)
            await pause(self._stop, wait_s)

    async def _tried(self, part: str, work: Callable[[], Awaitable[Any]]) -> None:
        figures, alerts = self.keeper.figures, self.keeper.alerts
        try:
            await work()
        except (TicktapeError, OSError) as error:
            why = str(error).partition("\n")[0]
            log.error("spot.failed" if part == "spot" else "quality.failed", error=why)
            if part == "spot":
                figures.spot_failures += 1
            else:
                figures.quality_failures += 1
            if part == "quality" or isinstance(error, Damaged):
                alerts.start("quality_failure", part, why)
            await pause(self._stop, RETRY_S)
        else:
            alerts.clear("quality_failure", part)

    # -- steps -------------------------------------------------------------------------------------

    async def spot(self) -> dict[str, Any]:
        """Take one spot check. Returns the pass rate."""
        async with self._spotting:
            if self._spotter is None:
                self._spotter = await asyncio.to_thread(self._made_spotter)
            looked = await self._spotter.run_one(asyncio.to_thread)
        return {"looked": looked, "pass_rate": pass_rate(self.keeper.figures.spots)}

    def _made_spotter(self) -> Spotter:
        self._directory.refresh()
        instruments = [instrument.id for instrument in self._directory.all()]
        return Spotter(self.keeper, Reader(self._settings.data / "tape"), instruments, self._venue_of)

    def _venue_of(self, source_id: int) -> Venue | None:
        if source_id not in self._source_names:  # one that began to write since we looked
            self._source_names = {source.id: source.name for source in self._directory.sources()}
        return self._venues.get(self._source_names.get(source_id, ""))

    def _write_spots(self) -> None:
        assert self._spotter is not None
        self._spotter.write()

    async def settle_due(self) -> dict[str, Any]:
        """Settle every day that is due, oldest first. Returns which."""
        settled: list[str] = []
        async with self._settling:
            for day in await asyncio.to_thread(self._daily.due):
                if self._stop.is_set():
                    break
                try:
                    await asyncio.to_thread(self._daily.settle, day, self._stop.is_set)
                except Stopped:
                    break
                settled.append(day.isoformat())
        return {"settled": settled}

    async def _flush_now(self) -> list[dict[str, Any]]:
        return [each._asdict() for each in await asyncio.to_thread(self.keeper.flush)]

    async def _clean_up_now(self) -> Any:
        return await asyncio.to_thread(self.keeper.tidy)

    async def _back_up_now(self) -> dict[str, Any]:
        if not self._settings.backup_to:
            raise Misconfigured("keep.backup_to says no place", hint="ticktape backup --to DIR")
        async with self._backing_up:
            await asyncio.to_thread(self._schedule.turn, now=True)
        backup = self.keeper.figures.backup
        if backup.last_error:
            where = self._settings.backup_to
            raise Unavailable(f"the backup failed: {backup.last_error}", hint=f"ticktape restore --list {where}")
        return {"name": backup.last_name}

    # -- what is told ------------------------------------------------------------------------------

    def stat(self) -> KeepStat:
        """Return how it goes."""
        figures = self.keeper.figures
        since = figures.last_flush_ns or self._started_ns
        return KeepStat(
            started_ns=self._started_ns,
            flush_every_s=self._settings.flush_every_s,
            seconds_since_flush=max(0, self._clock.wall_ns() - since) / 1e9,
            figures=figures,
            spot_pass_rate=pass_rate(figures.spots),
            alerts=[
                KeepAlert(kind=a.kind, subject=a.subject, message=a.message, raised=a.raised)
                for a in self.keeper.alerts.standing()
            ],
        )


async def keep(
    settings: KeepSettings, stop: asyncio.Event, *, world: World | None = None,
    venues: VenuesOf | None = None,
) -> None:  # fmt: skip
    """Keep until `stop` is set. Raises Busy when another keeper owns the lake."""
    if not await _tape_there(settings.data / "tape", stop):
        return
    directory = TapeDirectory(settings.data / "tape")
    try:
        made = Keep(settings, stop, world=world, venues=venues(directory) if venues else None)
        log.info("keep.started", hot_hours=settings.hot_hours or "everything", flush_every_s=settings.flush_every_s)
        try:
            await made.run()
        finally:
            made.close()
    finally:
        directory.close()
    log.info("keep.stopped", position=made.keeper.reader.end)


async def _tape_there(folder: Path, stop: asyncio.Event) -> bool:
    while not stop.is_set():
        try:
            Reader(folder)
        except (Misconfigured, FileNotFoundError):  # the recorder has not made it yet
            await pause(stop, 0.5)
        else:
            return True
    return False


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, or until `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
