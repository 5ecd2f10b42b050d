"""Keeps one source connected: connect, watch, and when it ends, say so, wait and connect again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from ticktape.clock import Clock
from ticktape.errors import BadInput, DiskFull, Misconfigured, Throttled, Unavailable
from ticktape.model.records import GapCause, Status
from ticktape.model.sessions import ROUND_THE_CLOCK, quiet_allowed
from ticktape.record.pump import Pump, Trouble
from ticktape.record.watchdog import Patience, Watchdog
from ticktape.sources.contract import Watched

log = structlog.get_logger("record")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the n-th try in a row: doubling, jittered, capped."""

    first_s: float = 0.2
    most_s: float = 30.0
    steady_s: float = 20.0  # a connection that lived this long starts the count anew

    def wait_s(self, attempt: int, chance: random.Random) -> float:
        """Return the pause before try `attempt` (1 is the first retry)."""
        return min(self.most_s, self.first_s * 2 ** min(attempt - 1, 16)) * chance.uniform(0.5, 1.0)


class Runner:
    """Owns the task of one source."""

    def __init__(
        self,
        pump: Pump,
        clock: Clock,
        backoff: Backoff | None = None,
        patience: Patience | None = None,
        seed: int | None = None,
        calendar_of: Callable[[int], str] = lambda _: ROUND_THE_CLOCK,  # of an instrument id: model/sessions.py
    ) -> None:
        self.pump = pump
        self.ordering = asyncio.Lock()  # held by who starts or stops it
        self._patience = patience or Patience()
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._chance = random.Random(seed)
        self._watchdog: Watchdog[Watched] = Watchdog(self._patience)
        self._watching: frozenset[Watched] = frozenset()
        self._calendar_of = calendar_of
        self._calendars: dict[str, list[Watched]] = {}  # what is watched, by calendar
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncio.Task[None] | None = None
        self._mute = ""
        self._up_seen = 0

    @property
    def running(self) -> bool:
        """Whether the source is being kept connected."""
        return self._task is not None and not self._task.done()

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Begin; does nothing when running."""
        if not self.running:
            self._task = tasks.create_task(self._run(), name=f"source:{self.pump.source.name}")

    async def stop(self, cause: GapCause = GapCause.STOPPED) -> None:
        """End the connection and declare from when on nothing is recorded; does nothing when stopped."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None
        if self.pump.state is Status.SOURCE_UP:
            self.pump.declare(sorted(self.pump.watched), cause)
        self.pump.status(Status.SOURCE_STOPPED)

    # -- one connection after the other ------------------------------------------------------------

    async def _run(self) -> None:
        name, attempt = self.pump.source.name, 0
        while True:
            self.pump.status(Status.SOURCE_STARTING, attempt)
            began = self._clock.monotonic_ns()
            pause_s = await self._connect()
            if pause_s is None:
                return
            if self._clock.monotonic_ns() - began > self._backoff.steady_s * 1e9:
                attempt = 0
            attempt += 1
            pause_s = max(pause_s, self._backoff.wait_s(attempt, self._chance))
            log.warning("source.disconnected", source=name, attempt=attempt, retry_s=round(pause_s, 2), why=self._why())
            await asyncio.sleep(pause_s)

    def _why(self) -> str:
        return self.pump.trouble.what if self.pump.trouble else "the venue closed"

    async def _connect(self) -> float | None:
        """Live one connection. Returns the least pause before the next, or None when there is none to come."""
        source = self.pump.source
        self._mute = ""
        connection = self._connection = asyncio.create_task(source.connect(self.pump), name=f"{source.name}:socket")
        try:
            await asyncio.wait([connection])
        finally:
            self._connection = None
            if not connection.done():
                connection.cancel()
                await asyncio.wait([connection])
        error = None if connection.cancelled() else connection.exception()
        if error is None and source.finished:
            self.pump.status(Status.SOURCE_STOPPED)
            log.info("source.finished", source=source.name)
            return None
        self._note(self._mute or (str(getattr(error, "message", error)) if error else "the venue closed"))
        self.pump.declare(sorted(self.pump.watched), GapCause.MUTE if self._mute else GapCause.DISCONNECTED)
        self.pump.status(Status.SOURCE_DOWN)
        if isinstance(error, Misconfigured | BadInput):
            log.error("source.misconfigured", source=source.name, error=str(error))
            return None
        if error is not None and not isinstance(error, Unavailable | DiskFull):
            raise error  # our bug: the process ends, and its restart recovers
        return error.retry_after_s if isinstance(error, Throttled) else 0.0

    def _note(self, what: str) -> None:
        self.pump.trouble = Trouble(self._clock.now_ns(), what)

    # -- watching ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Called every second: end a connection that has gone mute, report what never spoke."""
        if self.pump.state is not Status.SOURCE_UP or self._connection is None:
            return
        now_s = self._clock.monotonic_ns() / 1e9
        watched = frozenset(self.pump.watched)
        counts = {w: self.pump.appender.stored(w.instrument_id, w.channel) for w in watched}
        if watched != self._watching or self.pump.up_since_ns != self._up_seen:
            self._watching, self._up_seen = watched, self.pump.up_since_ns
            self._calendars = self._by_calendar(watched)
            self._watchdog.start(counts, now_s)
            return
        asleep = self._asleep()
        mute, never = self._watchdog.look(counts, now_s, asleep)
        if unseen := [w for w in never if self.pump.appender.last_recv_ns(*w) < self.pump.up_since_ns]:
            self.pump.declare(unseen, GapCause.NEVER_SEEN)
        if len(asleep) == len(watched) and not self.pump.pings:
            self.pump.alive_since_now()  # a closed market of a venue without pings has nothing to say
        silent_s = (self._clock.monotonic_ns() - self.pump.last_sign_ns) / 1e9
        if mute:
            self._cut(f"{len(mute)} of {len(watched)} channels mute, first {mute[0].channel.name.lower()}")
        elif silent_s > self._patience.dead_s:
            self._cut(f"no sign of life for {self._patience.dead_s:.0f} s")

    def _by_calendar(self, watched: Collection[Watched]) -> dict[str, list[Watched]]:
        found: dict[str, list[Watched]] = {}
        for one in watched:
            found.setdefault(self._calendar_of(one.instrument_id), []).append(one)
        return found

    def _asleep(self) -> set[Watched]:
        """Return the channels whose market is closed, or has only just opened."""
        now = self._clock.now_ns()
        return {one for name, mine in self._calendars.items() if quiet_allowed(name, now) for one in mine}

    def _cut(self, why: str) -> None:
        self._mute = why
        if self._connection is not None:
            self._connection.cancel()
