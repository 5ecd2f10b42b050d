"""Backups by the clock, and now and then the proof that one comes back: in a thread of its own, beside the flushes.

A backup that fails raises an alert and is tried again with growing pauses; nothing else waits for it. Which backups
there are, and so when the next is due, is read from the place itself. A drill restores the newest one into the data
folder's disk, compares it with what is there now, and deletes it again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from ticktape.alerts import Severity
from ticktape.clock import Clock, SystemClock
from ticktape.errors import TicktapeError, Unavailable
from ticktape.keep.alerts import Alerts
from ticktape.keep.backup import Made, backup, due
from ticktape.keep.backup_manifest import time_of
from ticktape.keep.backup_pin import World
from ticktape.keep.backup_store import Store, store_of
from ticktape.keep.process import KeepSettings
from ticktape.keep.restore import Drill, drill, source_of
from ticktape.lake.disk import Disk
from ticktape.lake.figures import BackupFigures

log = structlog.get_logger("keep")

HOUR_NS = 3600 * 10**9
LOOK_S = 60.0  # how often it is looked whether something is due
FIRST_RETRY_S, MOST_RETRY_S = 60.0, 3600.0
FILE = "drill.json"  # when the last drill was, and how it went


class Drilled(msgspec.Struct, frozen=True):
    """The last drill."""

    at_ns: int
    name: str
    ok: bool
    differs: list[str] = []


class Schedule:
    """The schedule of one world. `turn` is called from one thread at a time."""

    def __init__(
        self, settings: KeepSettings, world: World, alerts: Alerts, figures: BackupFigures, *,
        clock: Clock | None = None, disk: Disk | None = None, stopped: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._settings, self._world, self._alerts, self._figures = settings, world, alerts, figures
        self._clock, self._disk, self._stopped = clock or SystemClock(), disk or Disk(), stopped
        self._path = world.folder / FILE
        drilled = self._drilled()
        if drilled is not None:
            figures.last_drill_ns, figures.last_drill_ok = drilled.at_ns, drilled.ok

    def turn(self, *, now: bool = False) -> float:
        """Back up and drill where that is due, or a backup `now`. Returns how long to wait, in seconds."""
        figures = self._figures
        figures.running = True
        try:
            store = store_of(self._settings.backup_to)
            names = store.names()
            figures.last_name = max(names, default="")
            figures.last_ns = time_of(figures.last_name) if names else None
            if now or due(names, self._clock.wall_ns(), int(self._settings.backup_every_h * HOUR_NS)):
                self._back_up(store)
            if self._drill_due():
                self.drill()
        except (TicktapeError, OSError) as error:
            return self._failed(error)
        finally:
            figures.running = False
        figures.failures_in_a_row, figures.last_error = 0, ""
        self._alerts.clear("backup_failure", self._settings.backup_to)
        return LOOK_S

    def _failed(self, error: Exception) -> float:
        figures, why = self._figures, str(error).partition("\n")[0]
        if self._stopped():
            log.info("backup.stopped", to=self._settings.backup_to)
            return LOOK_S
        figures.failures += 1
        figures.failures_in_a_row += 1
        figures.last_error = why
        wait = min(FIRST_RETRY_S * 2 ** min(figures.failures_in_a_row - 1, 16), MOST_RETRY_S)
        log.error("backup.failed", to=self._settings.backup_to, error=why, retry_s=wait)
        self._alerts.start("backup_failure", self._settings.backup_to, why, Severity.CRITICAL)
        return wait

    def _tell(self, done: int, total: int) -> None:
        del done, total
        if self._stopped():
            raise Unavailable("keep was told to stop", hint="ticktape backup")

    # -- backups -----------------------------------------------------------------------------------

    def _back_up(self, store: Store) -> Made:
        settings, figures = self._settings, self._figures
        made = backup(
            self._world, store, keep=settings.backup_keep, clock=self._clock, disk=self._disk, tell=self._tell
        )
        figures.made += 1
        figures.last_name, figures.last_ns = made.name, time_of(made.name)
        log.info(
            "backup.made", name=made.name, to=made.where, files=made.files, copied=made.copied,
            copied_bytes=made.copied_bytes, forgotten=len(made.forgotten),
        )  # fmt: skip
        if made.damaged:
            self._alerts.start("backup_failure", f"{made.where} damaged", f"damaged before: {made.damaged[0]}")
        else:
            self._alerts.clear("backup_failure", f"{made.where} damaged")
        return made

    # -- drills ------------------------------------------------------------------------------------

    def _drill_due(self) -> bool:
        every_ns = int(self._settings.drill_every_days * 24 * HOUR_NS)
        if every_ns <= 0 or not self._figures.last_name:
            return False
        last = self._figures.last_drill_ns
        return last is None or self._clock.wall_ns() - last >= every_ns

    def drill(self) -> Drill:
        """Restore the newest backup, compare it and say how that went. Raises Damaged, Misconfigured, DiskFull."""
        for left in self._world.folder.glob("ticktape-drill-*"):  # of one that was killed
            shutil.rmtree(left)
        name = self._figures.last_name
        with source_of(self._settings.backup_to, name) as source:
            found = drill(source, self._world.folder, place=self._world.folder, tell=self._tell)
        differs = [*found.restored.wrong, *found.differs]
        self._say(Drilled(self._clock.wall_ns(), name, found.ok, differs[:20]))
        log.info(
            "backup.drilled", name=name, ok=found.ok, files=found.restored.files,
            compared_records=found.compared_records, compared_files=found.compared_files,
        )  # fmt: skip
        return found

    def _say(self, drilled: Drilled) -> None:
        figures, where = self._figures, self._settings.backup_to
        figures.drills += 1
        figures.last_drill_ns, figures.last_drill_ok = drilled.at_ns, drilled.ok
        self._disk.place(self._path, [memoryview(msgspec.json.encode(drilled))])
        if drilled.ok:
            self._alerts.clear("drill_failure", where)
            return
        figures.drill_failures += 1
        message = f"{drilled.name} does not come back as it was: {drilled.differs[0] if drilled.differs else 'see log'}"
        self._alerts.start("drill_failure", where, message, Severity.CRITICAL, {"differs": drilled.differs})

    def _drilled(self) -> Drilled | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Drilled)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            log.warning("backup.drill_unreadable", path=str(self._path), error=str(error))
            return None


def world_of(folder: Path, keys: Path) -> World:
    """Return what is backed up of a world: its name is empty where it is the data folder itself."""
    return World(folder, folder.name if keys != folder else "", keys)
