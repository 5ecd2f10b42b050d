"""What the tape's tests share: records to write, disks that fail, and a look at everything a tape holds."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ticktape.model.records import Kind, Records, empty
from ticktape.tape import segment
from ticktape.tape.reader import Reader

T0 = 1_763_640_000_000_000_000
CAPACITY = 1024  # the least there is: one page of 64 KiB


def trades(ids: Sequence[int] | range | Any, *, instrument: int = 1, source: int = 1) -> Records:
    """Return one trade an id; every field follows from the id."""
    number = np.asarray(ids, dtype=np.int64)
    records = empty(len(number))
    records["kind"], records["instrument"], records["source"] = Kind.TRADE, instrument, source
    records["c"], records["a"], records["b"] = number, 100_000 + number % 50, 1 + number % 7
    records["ts_event"] = T0 + number * 1_000_000
    records["ts_recv"] = records["ts_event"] + 5_000_000
    records["side"] = 1 + number % 2
    return records


def market(records: Records) -> Records:
    """Return what the market said, without what the tape added."""
    return records[(records["kind"] > Kind.EMPTY) & (records["kind"] <= Kind.CANCEL)]


def all_of(folder: Path) -> Records:
    """Return a copy of every record of a tape, commits and voids included."""
    reader = Reader(folder)
    return reader.view(reader.first, reader.end).copy()


def ids(folder: Path) -> list[int]:
    """Return the ids of every trade on a tape, in order."""
    return market(all_of(folder))["c"].tolist()


def without_links(records: Records) -> Records:
    """Return records as they were handed in: `back` is the tape's business."""
    plain = records.copy()
    plain["back"] = 0
    return plain


def poll(what: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait until something is so; fail when it does not come about."""
    until = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.005)


class FailingDisk(segment.Disk):
    """Fails the n-th call of a kind (1 is the first), or all from the n-th on."""

    def __init__(self, *, sync_at: int = 0, write_at: int = 0, code: int = errno.EIO, ever_after: bool = False) -> None:
        self.sync_at, self.write_at, self.code, self.ever_after = sync_at, write_at, code, ever_after
        self.syncs = self.writes = 0
        self.failed = 0

    def _fail(self, at: int, call: int) -> bool:
        hit = bool(at) and (call == at or (self.ever_after and call > at))
        self.failed += hit
        return hit

    def sync(self, fd: int) -> None:
        self.syncs += 1
        if self._fail(self.sync_at, self.syncs):
            raise OSError(self.code, os.strerror(self.code))
        super().sync(fd)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self.writes += 1
        if self._fail(self.write_at, self.writes):
            super().write(fd, data[: len(data) // 2], offset)  # as a disk does: half of it is there
            raise OSError(self.code, os.strerror(self.code))
        return super().write(fd, data, offset)


class SmallDisk(segment.Disk):
    """Has room for so many more segments, until told otherwise."""

    def __init__(self, segments: int) -> None:
        self.left = segments

    def reserve(self, fd: int, size: int) -> None:
        if self.left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().reserve(fd, size)
        self.left -= 1
