"""Group commit: every `every_ms`, what was appended becomes durable with one fdatasync a file.

A failing fsync is never tried again: the pages may be gone though a second call says success. The file counts as
lost, the writer is told to go on in a new one, and whoever waited for those positions is told that they failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from ticktape.tape.head import Head
from ticktape.tape.segment import Disk


class Piece(NamedTuple):
    """Positions that lie in one segment, and the descriptors of its files."""

    number: int
    start: int
    stop: int
    files: list[int]


class SyncFailed(NamedTuple):
    """Positions that could not be made durable, and why."""

    start: int
    stop: int
    error: OSError


class Syncer:
    """Moves `head.durable` up to `head.published`; not beyond the first failure, for as long as the writer lives."""

    def __init__(self, head: Head, disk: Disk, every_ms: float, pieces: Callable[[int, int], Iterable[Piece]]) -> None:
        """`pieces(start, stop)` returns those positions segment by segment."""
        self._head, self._disk, self._pieces = head, disk, pieces
        self.synced = head.durable  # everything before was synced, or stands in `failures`
        self._lost: dict[int, OSError] = {}  # segments of which an fsync failed
        self._every_s = every_ms / 1000
        self._changed = threading.Condition()
        self._stopping = False
        self._asked = 0
        self.failures: list[SyncFailed] = []
        self._thread = threading.Thread(target=self._run, name="tape:sync", daemon=True)
        if every_ms > 0:
            self._thread.start()

    def flush(self, position: int, timeout_s: float = 10.0, *, since: int | None = None) -> bool:
        """Wait until [since, position), or the record before `position`, is durable.

        Returns False when it failed or took longer.
        """
        if not self._thread.is_alive():
            self._sync()
        else:
            with self._changed:
                self._asked = max(self._asked, position)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self.synced >= position, timeout_s)
        first = position - 1 if since is None else since
        return self.synced >= position and not any(f.start < position and first < f.stop for f in self.failures)

    def close(self) -> None:
        """Sync once more and stop."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self._sync()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._asked > self.synced, self._every_s)
                if self._stopping:
                    return
            self._sync()
            with self._changed:
                self._changed.notify_all()

    def _sync(self) -> None:
        start, stop = self.synced, self._head.published
        if start >= stop:
            return
        for piece in self._pieces(start, stop):
            error = self._lost.get(piece.number) or self._sync_files(piece.files)
            if error is not None:
                self._lost[piece.number] = error
                self._head.sync_failed = True
                self.failures.append(SyncFailed(piece.start, piece.stop, error))
        self.synced = stop
        self._head.durable = self.failures[0].start if self.failures else stop

    def _sync_files(self, files: list[int]) -> OSError | None:
        try:
            for fd in files:
                self._disk.sync(fd)
        except OSError as error:
            return error
        return None
