"""The keeper: flushes the tape into the lake, compacts, expires, and trims the tape behind what the lake has.

One keeper a world, by lock. A failing flush keeps the tape, is tried again with growing pauses and says so each time;
the first one that succeeds makes up for all. What is deleted is always behind a commit, and age is read from the
tape, so a wrong clock deletes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from ticktape.clock import Clock, SystemClock
from ticktape.errors import TicktapeError
from ticktape.keep import compact as compaction
from ticktape.keep.alerts import Alerts
from ticktape.keep.expire import expire, retention, vacuum
from ticktape.keep.flush import Flushed, Flusher
from ticktape.keep.notes import write
from ticktape.lake.disk import Disk
from ticktape.lake.figures import KeepFigures
from ticktape.lake.files import Maker
from ticktape.lake.notes import Note
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
    spot_every_s: float = 60.0  # a spot check of a random minute; 0: none
    quality_every_s: float = 60.0  # how often it is looked whether a day has settled; 0: never
    backup_to: str = ""  # a folder or s3://bucket/prefix; empty: no schedule
    backup_every_h: float = 24.0
    backup_keep: int = 7  # backups kept there; 0 keeps all
    drill_every_days: float = 7.0  # a backup restored elsewhere and compared; 0: never


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


class Tidied(msgspec.Struct):
    """What tidying up one table did. Partitions, but for the files that were deleted."""

    table: str
    compacted: int = 0
    expired: int = 0
    deleted_files: int = 0
    error: str = ""


class Keeper:
    """One keeper on one world. Its steps are plain calls, so that tests and commands take them one by one."""

    def __init__(
        self, settings: KeepSettings, reader: Reader, *, disk: Disk | None = None, clock: Clock | None = None
    ) -> None:
        """Take the lake's lock. Raises Busy, Misconfigured."""
        self.settings = settings
        self.reader = reader
        self.figures = KeepFigures()
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
        self._one = threading.Lock()  # one commit at a time, whichever thread it comes from
        self.alerts = Alerts(settings.data, self._clock)

    def close(self) -> None:
        """Give the lock back."""
        self.alerts.close()
        self._lock.release()

    # -- steps -------------------------------------------------------------------------------------

    def flush(self) -> list[Flushed]:
        """Move what is new into the lake, then trim. One log line. Raises what went wrong; the tape is kept."""
        with self._one:
            return self._flush()

    def _flush(self) -> list[Flushed]:
        began = self._clock.monotonic_ns()
        figures, done, error = self.figures, list[Flushed](), ""
        try:
            done = self.flusher.flush()
            self.trim()
            figures.position = self.flusher.position()
            figures.failures_in_a_row, figures.last_flush_ns = 0, self._clock.wall_ns()
        except Exception as failure:
            figures.failures += 1
            figures.failures_in_a_row += 1
            error = figures.last_error = str(failure).partition("\n")[0]
            raise
        finally:
            rows, size = sum(each.rows for each in done), sum(each.size for each in done)
            seconds = (self._clock.monotonic_ns() - began) / 1e9
            figures.flushes += 1
            figures.rows += rows
            figures.bytes += size
            figures.seconds += seconds
            figures.lag_records = self._lag()
            self._say(rows, size, seconds, error)
        return done

    def _lag(self) -> int:
        try:
            return self.reader.end - max(self.flusher.position(), self.reader.first)
        except TicktapeError:
            return -1

    def _say(self, rows: int, size: int, seconds: float, error: str) -> None:
        figures = {"rows": rows, "bytes": size, "seconds": round(seconds, 3), "lag": self.figures.lag_records}
        figures["failures"] = self.figures.failures
        if error:
            log.error("lake.flush_failed", error=error, in_a_row=self.figures.failures_in_a_row, **figures)
        elif rows or self.figures.failures_in_a_row:
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

    def tidy(self, tell: Callable[[str, str], None] | None = None) -> list[Tidied]:
        """Compact what closed, let go of what is too old, delete what nobody needs. Each table by itself."""
        days = retention(self.flusher.tables, self.settings.retain_days)
        return [self._tidied(name, days[name], tell) for name in self.flusher.tables]

    def _tidied(self, name: str, days: int, tell: Callable[[str, str], None] | None) -> Tidied:
        done = Tidied(name)
        try:
            with self._one:
                self._tidy(name, days, tell, done)
        except (TicktapeError, OSError) as error:
            self.figures.tidy_failures += 1
            done.error = str(error).partition("\n")[0]
            log.error("lake.tidy_failed", table=name, error=done.error)
            self.alerts.start("tidy_failure", name, done.error)
        else:
            self.alerts.clear("tidy_failure", name)
        self.figures.compactions += done.compacted
        self.figures.expiries += done.expired
        self.figures.deleted_files += done.deleted_files
        return done

    def _tidy(self, name: str, days: int, tell: Callable[[str, str], None] | None, done: Tidied) -> None:
        catalogue = self.flusher.tables[name]
        if (gone := expire(catalogue, days, self.now_ns(), self._disk)) is not None:
            done.expired += len(gone.partitions)
            log.info("lake.expired", table=name, partitions=len(gone.partitions), rows=gone.rows, bytes=gone.size)
        for partition in compaction.due(catalogue, self.now_ns(), SETTLE_NS):
            if tell is not None:
                tell(name, partition)
            made = compaction.compact(catalogue, partition, self._disk, self._maker)
            if made is not None:
                done.compacted += 1
                log.info("lake.compacted", **made._asdict())
        done.deleted_files = vacuum(catalogue, self._disk)
        catalogue.forget()

    def turn(self, *, last: bool = False) -> float:
        """Flush and tidy. Returns how long to wait, in seconds: after a failure longer each time."""
        try:
            self.flush()
        except Exception as error:  # whatever it was: the tape has the rows, and we try again
            if not isinstance(error, TicktapeError | OSError):
                log.exception("lake.flush_broke")
            return min(FIRST_RETRY_S * 2 ** min(self.figures.failures_in_a_row - 1, 16), MOST_RETRY_S)
        now = self._clock.monotonic_ns()
        if not last and (self._tidied_ns is None or now - self._tidied_ns >= TIDY_EVERY_NS):
            self._tidied_ns = now
            self.tidy()
        return self.settings.flush_every_s

    # -- what keep notes ---------------------------------------------------------------------------

    def note(self, notes: Sequence[Note], what: str) -> None:
        """Write rows of our own into the `quality` table, between two flushes: all of them or none."""
        with self._one:
            write(self.flusher.tables["quality"], notes, what, self._disk, self._maker)
