"""A reader of a tape: in any process, any number of them, without a lock. Each keeps its own position."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ticktape.errors import Misconfigured
from ticktape.model.records import RECORD, Ints, Kind, Records, empty
from ticktape.tape import segment
from ticktape.tape.blobs import BlobAt, read_blob
from ticktape.tape.chains import Chains
from ticktape.tape.head import Head
from ticktape.tape.kernels import CHAINS
from ticktape.tape.meta import load
from ticktape.tape.region import Region


class Found(NamedTuple):
    """Records found by walking a chain back: oldest first, and where each stands on the tape."""

    records: Records
    positions: Ints


class Reader:
    """Reads [first, end). `refresh` moves `end` to what the writer has published."""

    def __init__(self, folder: Path) -> None:
        """Map what there is. Raises Misconfigured when there is no tape."""
        self.folder = folder
        self.meta = load(folder)
        try:
            self._head = Head(folder, writable=False)
        except (FileNotFoundError, ValueError) as error:  # its first writer is just making it
            raise Misconfigured(f"the tape in {folder} was never written to", hint="ticktape up") from error
        self._chains = Chains()
        self._mapped: set[int] = set()
        numbers = segment.numbers(folder)
        self._place(numbers[0] if numbers else 0)
        self.first = self.base
        self.end = self.first
        self._followed = self.first
        self.refresh()

    def _place(self, first: int) -> None:
        self.region = Region(first, self.meta.capacity)
        self.records: Records = self.region.records
        self.base = self.region.base
        self._mapped.clear()

    # -- following the writer ----------------------------------------------------------------------

    @property
    def durable(self) -> int:
        """First position that a power loss may still take."""
        return self._head.durable

    @property
    def writer_pid(self) -> int:
        """Process id of the last writer; it may be gone."""
        return self._head.pid

    @property
    def low_space(self) -> bool:
        """Whether the disk has no room for the next segment."""
        return self._head.low_space

    def refresh(self) -> int:
        """Map what is new and return the first position not yet readable."""
        published = self._head.published
        if published > self.end:
            self._map(published)
            self.end = published
        return self.end

    def _map(self, published: int) -> None:
        capacity = self.meta.capacity
        last, new = (published - 1) // capacity, max(self.first, self.end - 1)
        if not self.region.holds(last):
            self._place(max(segment.numbers(self.folder)[0], last - self.region.segments // 2))
            self.first = new = max(self.first, self.base)  # nothing is mapped in the new span yet
        for number in range(new // capacity, last + 1):
            if number not in self._mapped:
                self._map_one(number, whole=(number + 1) * capacity <= published)

    def _map_one(self, number: int, *, whole: bool) -> None:
        try:
            fd = os.open(segment.path_of(self.folder, number), os.O_RDONLY)
        except FileNotFoundError:  # trimmed between the listing and here
            self.first = max(self.first, (number + 1) * self.meta.capacity)
            return
        try:
            # Of a segment still being written only what is there: the rest of its pages do not exist yet.
            self.region.put(number, fd, segment.HEADER_BYTES, whole=whole)
        finally:
            os.close(fd)
        self._mapped.add(number)

    def release(self) -> int:
        """Let go of segments that were trimmed, so that their space returns. Returns the new first position.

        Views into them read zeros from here on: call it only where no view is held.
        """
        numbers = segment.numbers(self.folder)
        live = set(numbers)
        for number in [n for n in self._mapped if n not in live]:
            self.region.clear(number)
            self._mapped.discard(number)
        if numbers:
            self.first = max(self.first, numbers[0] * self.meta.capacity)
        return self.first

    def follow(self) -> int:
        """Bring the chain heads up to `end`, so that `latest` sees it. Returns `end`."""
        self._chains.follow(self.records, self.base, max(self._followed, self.first), self.end)
        self._followed = self.end
        return self.end

    @property
    def heads(self) -> Ints:
        """Last position of every chain, kernels.CHAINS an instrument; -1 where there is none."""
        return self._chains.heads

    # -- reading -----------------------------------------------------------------------------------

    def view(self, start: int, stop: int) -> Records:
        """Return records [start, stop) without copying, commits and voids included."""
        start = max(start, self.first)
        return self.records[start - self.base : max(start, min(stop, self.end)) - self.base]

    def latest(self, instrument: int, chain: int, n: int) -> Found:
        """Return the last n records of a chain (kernels.CHAIN_TRADE, ...), oldest first. Copies; n x 64 bytes."""
        key, chains = instrument * CHAINS + chain, self._chains
        if key >= len(chains.heads) or n <= 0:
            return Found(empty(0), np.empty(0, dtype=np.int64))
        records: Records = np.empty(n, RECORD)
        positions: Ints = np.empty(n, np.int64)
        count = chains.walk(self.records, self.base, self.first, key, records, positions)
        return Found(records, positions) if count == n else Found(records[n - count :], positions[n - count :])

    def blob(self, position: int) -> bytes:
        """Return the blob that the record at `position` points at. Raises Damaged."""
        if not self.first <= position < self.end:
            raise ValueError(f"position {position} is not on the tape: it has {self.first}..{self.end}")
        record = self.records[position - self.base]
        if record["kind"] not in (Kind.BLOB, Kind.QUARANTINE):
            raise ValueError(f"position {position} holds no blob")
        at = BlobAt(int(record["a"]), int(record["b"]), int(record["c"]))
        return read_blob(self.folder, position // self.meta.capacity, at)


def trim(folder: Path, position: int) -> int:
    """Delete the segments that lie wholly before `position` and that the recorder needs no more. Returns how many."""
    capacity, head = load(folder).capacity, Head(folder, writable=False)
    # Not beyond what is published: the newest file is one that the writer has yet to reach.
    position = min(position, head.published, head.needed)
    gone = [n for n in segment.numbers(folder)[:-1] if (n + 1) * capacity <= position]
    for number in gone:
        segment.path_of(folder, number).unlink()
        segment.blob_path(folder, number).unlink(missing_ok=True)
    if gone:
        segment.sync_folder(folder)
    return len(gone)
