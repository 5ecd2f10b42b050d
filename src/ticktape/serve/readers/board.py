"""The board: how each source and the recorder are doing, from STATUS and CLOCK records and the tape's head."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ticktape.model.records import Status
from ticktape.serve.readers import scan_kernel as kernel

_SOURCE_STATES = {
    Status.SOURCE_STARTING: "starting",
    Status.SOURCE_UP: "up",
    Status.SOURCE_DOWN: "down",
    Status.SOURCE_STOPPED: "stopped",
}
SILENT_AFTER_NS = 10_000_000_000  # the recorder writes CLOCK records more often than this


@dataclass(slots=True)
class SourceState:
    """One source, as the tape tells."""

    source_id: int
    status: str = "unknown"  # starting, up, down, stopped
    since: int = 0  # ts_recv of that status, ns UTC
    skew_ns: int | None = None  # venue clock minus ours, median
    per_s: float = 0.0  # records per second over the last second or so


@dataclass(slots=True)
class RecorderState:
    """The recorder, as the tape tells."""

    stopped: bool = False
    since: int = 0  # ts_recv of the last start or stop, ns UTC
    disk_full: bool = False
    sync_failures: int = 0
    clock_steps: int = 0


class Board:
    """Keeps the state of sources and recorder; fed record by record for STATUS, in bulk for tallies."""

    def __init__(self) -> None:
        self.tallies: Any = np.zeros(kernel.MAX_SOURCES, dtype=kernel.TALLY)
        self.now: Any = np.zeros(2, dtype=np.int64)
        self.sources: dict[int, SourceState] = {}
        self.recorder = RecorderState()
        self._sampled_ns = 0
        self._counts: dict[int, int] = {}

    def absorb(self, record: Any) -> None:
        """Take in one STATUS record of the tape."""
        source_id, ts_recv = int(record["source"]), int(record["ts_recv"])
        try:
            status = Status(int(record["a"]))
        except ValueError:  # a newer recorder says something we do not know: not our business
            return
        if status in _SOURCE_STATES:
            state = self._state(source_id)
            state.status, state.since = _SOURCE_STATES[status], ts_recv
        elif status == Status.SKEW:
            self._state(source_id).skew_ns = int(record["b"])
        else:
            self._recorder(status, ts_recv)

    def _state(self, source_id: int) -> SourceState:
        return self.sources.setdefault(source_id, SourceState(source_id))

    def _recorder(self, status: Status, ts_recv: int) -> None:
        recorder = self.recorder
        if status in (Status.RECORDER_UP, Status.RECORDER_STOPPED):
            recorder.stopped, recorder.since = status == Status.RECORDER_STOPPED, ts_recv
        elif status in (Status.DISK_FULL, Status.DISK_OK):
            recorder.disk_full = status == Status.DISK_FULL
        recorder.sync_failures += status == Status.SYNC_FAILED
        recorder.clock_steps += status == Status.CLOCK_STEPPED

    def sample(self, monotonic_ns: int) -> None:
        """Work out records per second since the last sample; call it about once a second."""
        passed_s = (monotonic_ns - self._sampled_ns) / 1e9
        for source_id in np.flatnonzero(self.tallies["records"]).tolist():
            count = int(self.tallies[source_id]["records"])
            before = self._counts.get(source_id)
            self._counts[source_id] = count
            if before is not None and passed_s > 0:
                self._state(source_id).per_s = round((count - before) / passed_s, 1)
            else:
                self._state(source_id)
        self._sampled_ns = monotonic_ns

    def recorder_status(self, writer_pid: int, now_ns: int) -> str:
        """Return `up`, `stopped` (it said so), `silent` (alive, but writes not even time) or `down`."""
        if not _alive(writer_pid):
            return "stopped" if self.recorder.stopped else "down"
        if self.recorder.stopped:
            return "stopped"
        newest = int(self.now.max())
        return "up" if now_ns - newest < SILENT_AFTER_NS else "silent"


def _alive(pid: int) -> bool:
    if pid <= 0:  # 0 would ask about our own process group
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
