"""The keeper: flushes the tape into the lake, compacts, expires, and trims the tape behind what the lake has.

One keeper a world, by lock. A failing flush keeps the tape, is tried again with growing pauses and says so each time;
the first one that succeeds makes up for all. What is deleted is always behind a commit, and age is read from the
tape, so a wrong clock deletes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Misconfigured, TicktapeError
from ticktape.keep import compact as compaction
from ticktape.keep.expire import expire, retention, vacuum
from ticktape.keep.flush import Flushed, Flusher
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker
from ticktape.tape.lock import Lock
from ticktape.tape.reader import Reader, trim

log = structlog.get_logger("keep")

FIRST_RETRY_S, MOST_RETRY_S = 1.0, 300.0
SETTLE_NS = 3600 * 10**9  # how long after midnight a day is left alone: late rows still come
TIDY_EVERY_NS = 3600 * 10**9


class KeepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What keep is told."""

    data: Path
    hot_hours: float = 1.0  # of tape kept although the lake has it; 0 keeps everything
    flush_every_s: float = 600.0
    retain_days: dict[str, int] = {}  # by table, where it is not the default; 0 keeps everything


class Counters(msgspec.Struct):
    """What a keeper did so far."""

    flushes: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    rows: int = 0
    bytes: int = 0
    lag_records: int = 0
    last_error: str = ""


def behind(reader: Reader, hot_ns: int) -> int:
    """Return the position behind which every record is older than the hot window."""
    end = reader.refresh()
    if end <= reader.first:
        return reader.first
    capacity = reader.meta.capacity
    newest = int(reader.records[end - 1 - reader.base]["ts_recv"])
    position = reader.first
    while position + capacity <= end:
        last = position + capacity - 1 - reader.base
        if int(reader.records[last]["ts_recv"]) > newest - hot_ns:
            break
        position += capacity
    return position


class Keeper:
    """One keeper on one world. Its steps are plain calls, so that tests and commands take them one by one."""

    def __init__(
        self, settings: KeepSettings, reader: Reader, *, disk: Disk | None = None, clock: Clock | None = None
    ) -> None:
        """Take the lake's lock. Raises Busy, Misconfigured."""
        self.settings = settings
        self.reader = reader
        self.counters = Counters()
        self._clock = clock or SystemClock()
        self._disk = disk or Disk()
        lake = settings.data / "lake"
        lake.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(lake / "keep.lock", "keep")
        try:
            self.flusher = Flusher(lake, reader, self._disk, clock=self._clock)
        except BaseException:
            self._lock.release()
            raise
        self._maker = Maker()
        self._tidied_ns: int | None = None

    def close(self) -> None:
        """Give the lock back."""
        self._lock.release()

    # -- steps -------------------------------------------------------------------------------------

    def flush(self) -> list[Flushed]:
        """Move what is new into the lake, then trim. One log line. Raises what went wrong; the tape is kept."""
        began = self._clock.monotonic_ns()
        counters, done, error = self.counters, list[Flushed](), ""
        try:
            done = self.flusher.flush()
            self.trim()
            counters.failures_in_a_row = 0
        except Exception as failure:
            counters.failures += 1
            counters.failures_in_a_row += 1
            error = counters.last_error = str(failure).partition("\n")[0]
            raise
        finally:
            rows, size = sum(each.rows for each in done), sum(each.size for each in done)
            counters.flushes += 1
            counters.rows += rows
            counters.bytes += size
            counters.lag_records = self._lag()
            self._say(rows, size, (self._clock.monotonic_ns() - began) / 1e9, error)
        return done

    def _lag(self) -> int:
        try:
            return self.reader.end - max(self.flusher.position(), self.reader.first)
        except TicktapeError:
            return -1

    def _say(self, rows: int, size: int, seconds: float, error: str) -> None:
        figures = {"rows": rows, "bytes": size, "seconds": round(seconds, 3), "lag": self.counters.lag_records}
        figures["failures"] = self.counters.failures
        if error:
            log.error("lake.flush_failed", error=error, in_a_row=self.counters.failures_in_a_row, **figures)
        elif rows or self.counters.failures_in_a_row:
            log.info("lake.flushed", **figures)

    def trim(self) -> int:
        """Delete the segments that the lake has whole and that are older than the hot window. Returns how many."""
        if self.settings.hot_hours <= 0:
            return 0
        position = min(self.flusher.position(), behind(self.reader, int(self.settings.hot_hours * 3600e9)))
        self._disk.step("trim.begun")
        gone = trim(self.reader.folder, position)
        self._disk.step("trim.done")
        if gone:
            log.info("tape.trimmed", segments=gone, first=self.reader.release())
        return gone

    def now_ns(self) -> int:
        """Return the newest time on the tape: what decides about age."""
        end = self.reader.end
        return int(self.reader.records[end - 1 - self.reader.base]["ts_recv"]) if end > self.reader.first else 0

    def tidy(self, tell: Callable[[str, str], None] | None = None) -> None:
        """Compact what closed, let go of what is too old, delete what nobody needs. Each table by itself."""
        days = retention(self.flusher.tables, self.settings.retain_days)
        for name, catalogue in self.flusher.tables.items():
            try:
                self._tidy(name, days[name], tell)
                vacuum(catalogue, self._disk)
                catalogue.forget()
            except (TicktapeError, OSError) as error:
                self.counters.failures += 1
                log.error("lake.tidy_failed", table=name, error=str(error).partition("\n")[0])

    def _tidy(self, name: str, days: int, tell: Callable[[str, str], None] | None) -> None:
        catalogue = self.flusher.tables[name]
        if (gone := expire(catalogue, days, self.now_ns(), self._disk)) is not None:
            log.info("lake.expired", table=name, partitions=len(gone.partitions), rows=gone.rows, bytes=gone.size)
        for partition in compaction.due(catalogue, self.now_ns(), SETTLE_NS):
            if tell is not None:
                tell(name, partition)
            done = compaction.compact(catalogue, partition, self._disk, self._maker)
            if done is not None:
                log.info("lake.compacted", **done._asdict())

    # -- running -----------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Flush at intervals until `stop` is set, and once more at the end."""
        while not stop.is_set():
            await _pause(stop, await asyncio.to_thread(self.turn))
        await asyncio.to_thread(self.turn, last=True)

    def turn(self, *, last: bool = False) -> float:
        """Flush and tidy. Returns how long to wait, in seconds: after a failure longer each time."""
        try:
            self.flush()
        except Exception as error:  # whatever it was: the tape has the rows, and we try again
            if not isinstance(error, TicktapeError | OSError):
                log.exception("lake.flush_broke")
            return min(FIRST_RETRY_S * 2 ** min(self.counters.failures_in_a_row - 1, 16), MOST_RETRY_S)
        now = self._clock.monotonic_ns()
        if not last and (self._tidied_ns is None or now - self._tidied_ns >= TIDY_EVERY_NS):
            self._tidied_ns = now
            self.tidy()
        return self.settings.flush_every_s


async def keep(settings: KeepSettings, stop: asyncio.Event) -> None:
    """Keep until `stop` is set. Raises Busy when another keeper owns the lake."""
    reader = await _reader(settings.data / "tape", stop)
    if reader is None:
        return
    keeper = Keeper(settings, reader)
    log.info("keep.started", hot_hours=settings.hot_hours or "everything", flush_every_s=settings.flush_every_s)
    try:
        await keeper.run(stop)
    finally:
        keeper.close()
    log.info("keep.stopped", position=keeper.reader.end)


async def _reader(folder: Path, stop: asyncio.Event) -> Reader | None:
    while not stop.is_set():
        try:
            return Reader(folder)
        except (Misconfigured, FileNotFoundError):  # the recorder has not made it yet
            await _pause(stop, 0.5)
    return None


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
