"""The head: one small shared page that says how far the tape has come.

The writer stores each position with one aligned 8-byte store after the records are in place; every other
process reads them. Nothing here is needed for recovery: the records alone tell.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_MAGIC = int.from_bytes(b"TAPEHEAD", "little")
_BYTES = 4096
_MAGIC_AT, _PUBLISHED, _DURABLE, _PID, _EPOCH, _LOW_SPACE, _SYNC_FAILED, _NEEDED = range(8)


class Head:
    """Positions shared between the writer and its readers."""

    def __init__(self, folder: Path, *, writable: bool) -> None:
        path = folder / "head"
        if writable and (not path.exists() or path.stat().st_size != _BYTES):
            beside = path.with_suffix(".new")
            beside.write_bytes(bytes(_BYTES))
            os.rename(beside, path)
        with path.open("r+b" if writable else "rb") as file:
            access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
            self._map = mmap.mmap(file.fileno(), _BYTES, access=access)
        self._words = memoryview(self._map).cast("q")
        if writable:
            self._words[_MAGIC_AT] = _MAGIC

    @property
    def published(self) -> int:
        """First position not yet readable: everything before it survives kill -9."""
        return self._words[_PUBLISHED]

    @published.setter
    def published(self, position: int) -> None:
        self._words[_PUBLISHED] = position

    @property
    def durable(self) -> int:
        """First position that a power loss may still take."""
        return self._words[_DURABLE]

    @durable.setter
    def durable(self, position: int) -> None:
        self._words[_DURABLE] = position

    @property
    def pid(self) -> int:
        """Process id of the writer; it may be gone."""
        return self._words[_PID]

    @pid.setter
    def pid(self, pid: int) -> None:
        self._words[_PID] = pid

    @property
    def epoch(self) -> int:
        """How often the tape was opened for writing."""
        return self._words[_EPOCH]

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        self._words[_EPOCH] = epoch

    @property
    def low_space(self) -> bool:
        """Whether the next segment could not be reserved."""
        return bool(self._words[_LOW_SPACE])

    @low_space.setter
    def low_space(self, low: bool) -> None:
        self._words[_LOW_SPACE] = int(low)

    @property
    def needed(self) -> int:
        """First position that the recorder still needs for its next start: what is before it may be trimmed."""
        return self._words[_NEEDED]

    @needed.setter
    def needed(self, position: int) -> None:
        self._words[_NEEDED] = position

    @property
    def sync_failed(self) -> bool:
        """Whether an fsync failed since the tape was opened: what follows `durable` must be written again."""
        return bool(self._words[_SYNC_FAILED])

    @sync_failed.setter
    def sync_failed(self, failed: bool) -> None:
        self._words[_SYNC_FAILED] = int(failed)
