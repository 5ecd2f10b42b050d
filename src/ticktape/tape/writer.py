"""The one writer of a tape. Append, then publish: nobody sees a record that is not whole and committed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import structlog

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Damaged, DiskFull
from ticktape.model.records import RECORD_BYTES, Ints, Kind, Records, Status, empty
from ticktape.tape import kernels, recovery, region, segment
from ticktape.tape.blobs import BlobAt, BlobWriter
from ticktape.tape.head import Head
from ticktape.tape.lock import Lock, Owner
from ticktape.tape.meta import Meta, load_or_create
from ticktape.tape.region import Region
from ticktape.tape.reserve import Reserve
from ticktape.tape.sync import Piece, Syncer

log = structlog.get_logger("tape")

STAGE_PLACES = 4096  # 256 KiB: what is judged and written in one go, and stays in the second-level cache
SYSTEM_PLACES = 4096  # of a last segment, kept for gaps and status when the disk is full


class Opened(NamedTuple):
    """What opening a tape found and did."""

    found: recovery.Found
    taken_over: Owner | None


class Writer:
    """Appends batches. Not for several threads: one loop owns it.

    `stage`, `stage_words`, `heads`, `position` and `limit` are open to kernels that judge and append in one call
    (record/judge.py): they fill the stage, whose first place is `position`, end it with a commit, and the caller
    then calls `publish`, which writes it to the file and shows it to readers. `past` is what the tape held when
    it was opened; drop it when it has been read.

    A write that fails is like a full disk: the batch stays in the stage, in its place but not published, and nothing
    more is accepted until writing it again succeeds. So whoever judged it has nothing to take back.
    """

    def __init__(
        self,
        folder: Path,
        *,
        sample: bool = False,
        capacity: int = segment.DEFAULT_CAPACITY,
        sync_every_ms: float = 20.0,
        disk: segment.Disk | None = None,
        clock: Clock | None = None,
        role: str = "record",
    ) -> None:
        """Open or create the tape in `folder`. Raises Busy, Misconfigured, Damaged, DiskFull."""
        self.folder = folder
        self._disk = disk or segment.Disk()
        self._clock = clock or SystemClock()
        self._retired = 0
        self._blob_waits = False  # a blob was written whose record comes next
        self._unwritten: memoryview | None = None  # the batch before `position`, when the disk refused it
        self._fds: dict[int, int] = {}
        self._taken: dict[int, int] = {}  # taken for a rotation that is not through
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(folder / "writer.lock", role)
        try:
            self.meta: Meta = load_or_create(folder, capacity=capacity, sample=sample)
            self._kept = min(SYSTEM_PLACES, self.meta.capacity // 4)
            self.head = Head(folder, writable=True)
            self.stage: Records = empty(STAGE_PLACES)
            self.stage_words = self.stage.view(np.uint64)
            self._stage_bytes = self.stage.view(np.uint8).data
            self.heads: Ints = np.full(64 * kernels.CHAINS, -1, dtype=np.int64)
            self.opened = Opened(self._recover(), self._lock.taken_over)
            self._start()
        except BaseException:
            for fd in self._fds.values():
                os.close(fd)
            self._lock.release()
            raise
        self.sync = Syncer(self.head, self._disk, sync_every_ms, self._pieces)

    # -- opening -----------------------------------------------------------------------------------

    def _recover(self) -> recovery.Found:
        for beside in self.folder.glob("*.new"):
            beside.unlink()
        numbers = segment.numbers(self.folder)
        if not numbers:
            header = segment.Header(0, self.meta.capacity, self.meta.id_bytes)
            os.close(segment.create(self.folder, header, self._disk))
            numbers = [0]
        # What lies further back than one span of addresses stays on disk for readers.
        numbers = [n for n in numbers if n > numbers[-1] - max(2, region.SPAN_RECORDS // self.meta.capacity)]
        if len(numbers) <= numbers[-1] - numbers[0]:
            missing = min(set(range(numbers[0], numbers[-1])) - set(numbers))
            raise Damaged(f"{self.folder}: segment {missing:08d} is missing", hint="ticktape tape repair")
        span = self.past = self._open_files(numbers)
        start, stop = numbers[0] * self.meta.capacity, (numbers[-1] + 1) * self.meta.capacity
        found = recovery.examine(span, start, stop)
        self.head.epoch += 1
        self.epoch = self.head.epoch  # how often the tape was opened for writing, this time included
        self.head.pid = os.getpid()
        recovery.mend(span, self.folder, found, self.head.epoch)
        self._write_again(span, start, found.position)
        self.first = start
        self.position = found.position
        self.head.published = found.position
        self.head.durable = min(self.head.durable, found.position)
        self._follow(span, start, found.position)
        return found

    def _write_again(self, span: Region, start: int, stop: int) -> None:
        # After a failed fsync the kernel calls pages clean that are not on the disk: only new writes make them dirty.
        start = max(start, self.head.durable)
        if self.head.sync_failed and start < stop:
            recovery.overwrite(span, self.folder, start, span.records[start - span.base : stop - span.base])
        self.head.sync_failed = False

    def _open_files(self, numbers: list[int]) -> Region:
        span = Region(numbers[0], self.meta.capacity)
        for number in numbers:
            if recovery.mend_file(self.folder, number, self.meta):
                log.warning("tape.segment_mended", segment=number)
            fd = os.open(segment.path_of(self.folder, number), os.O_RDWR)
            self._fds[number] = fd
            span.put(number, fd, segment.HEADER_BYTES)
        return span

    def _follow(self, span: Region, start: int, stop: int) -> None:
        while (unknown := kernels.follow(span.records, span.base, start, stop, self.heads)) >= 0:
            self.ensure(unknown)

    def _start(self) -> None:
        self._segment = min(self.position // self.meta.capacity, max(self._fds))
        self._end = (self._segment + 1) * self.meta.capacity
        self._offset = segment.HEADER_BYTES - self._segment * self.meta.capacity * RECORD_BYTES
        self._fd = self._fds[self._segment]
        self._blobs = {self._segment: BlobWriter(self.folder, self._segment, self._disk)}
        self._reserve = Reserve(self.folder, self.meta, self._disk)
        self._reserve.want(self._segment + 1)

    # -- appending ---------------------------------------------------------------------------------

    @property
    def low_space(self) -> bool:
        """Whether the disk has no room for the next segment: only what matters most should come now."""
        return self._reserve.low_space

    @property
    def refusing(self) -> bool:
        """Whether the disk did not take the last batch: nothing is accepted until it does."""
        return self._unwritten is not None

    def ensure(self, instrument: int) -> None:
        """Make room in `heads` for an instrument id."""
        need = (instrument + 1) * kernels.CHAINS
        if need > len(self.heads):
            grown = np.full(max(need, 2 * len(self.heads)), -1, dtype=np.int64)
            grown[: len(self.heads)] = self.heads
            self.heads = grown

    def room(self, places: int, *, system: bool = False) -> None:
        """Make sure that `places` records and a commit fit before `limit`, in a new segment if need be.

        When the disk is full, the last places of the last segment go only to `system` records: the tape must
        be able to say that it is full. Raises DiskFull.
        """
        free = self._end - self.position
        if free <= places + STAGE_PLACES + self._kept or self.sync.failures or self._unwritten is not None:
            free = self._make_room(places, system=system)
        self.limit = self.position + (free if free < STAGE_PLACES else STAGE_PLACES)  # noqa: FURB136  # min() is a call

    def _make_room(self, places: int, *, system: bool) -> int:
        if self._unwritten is not None:
            self._write_held()
        if self._blob_waits:  # its record must stand beside it
            self._blob_waits = False
            return self._end - self.position
        if self._retired < len(self.sync.failures):
            self._retire()
        keep = 0 if system or self._reserve.ready(self._segment + 1) else self._kept
        if self._end - self.position < places + 1 + keep:
            self.rotate()
        return self._end - self.position - keep

    def rotate(self) -> None:
        """Go on in the next segment. Raises DiskFull, changing nothing."""
        number = self._segment + 1
        try:
            if number not in self._taken:
                self._taken[number] = self._reserve.take(number)
            if self.position < self._end:
                self._fill()
        except OSError as error:
            raise self._refused(error) from error
        self._segment, self._fd = number, self._taken.pop(number)
        self._fds[number] = self._fd
        self.position = number * self.meta.capacity
        self._end = self.position + self.meta.capacity
        self._offset = segment.HEADER_BYTES - self.position * RECORD_BYTES
        self._blobs[number] = BlobWriter(self.folder, number, self._disk)
        self._forget()
        self._reserve.want(number + 1)

    def _fill(self) -> None:
        # The unused places become VOID under a commit: zeros inside a tape would be torn, not unused.
        voids = empty(self._end - self.position)
        voids["kind"] = Kind.VOID
        kernels.commit_batch(voids, voids.view(np.uint64), self.position, self.position, self._end - 1, self.epoch, 0)
        self._write(voids.view(np.uint8).data, self.position)

    def _forget(self) -> None:
        synced = self.sync.synced // self.meta.capacity
        for number in [n for n in self._fds if n < min(synced, self._segment)]:
            os.close(self._fds.pop(number))
            if number in self._blobs:
                self._blobs.pop(number).close()

    def append(self, batch: Records, *, system: bool = False) -> int:
        """Append records in order, `back` filled in, and publish. Returns the position after them.

        Raises DiskFull; the records before the one that did not fit are in and published.
        """
        done = 0
        while done < len(batch):
            self.room(1, system=system)
            count = kernels.append(
                self.stage, self.stage_words, self.position, self.limit, self.heads, batch, done, self.epoch
            )
            if count == 0:
                self.ensure(int(batch[done]["instrument"]))
                continue
            self.publish(self.position + count + 1)
            done += count
        return self.position

    def publish(self, position: int) -> None:
        """Write the staged records up to `position`, which end with a commit, and show them to readers."""
        size, offset = (position - self.position) * RECORD_BYTES, self._offset + self.position * RECORD_BYTES
        try:
            if self._disk.write(self._fd, self._stage_bytes[:size], offset) != size:
                self._write(self._stage_bytes[:size], self.position)
        except OSError as error:
            self._hold(position, size, error)
            return
        self.position = position
        self.head.published = position

    def _hold(self, position: int, size: int, error: OSError) -> None:
        log.error("tape.write_failed", position=self.position, error=str(error))
        self._unwritten = self._stage_bytes[:size]
        self.position = position

    def _write_held(self) -> None:
        assert self._unwritten is not None
        try:
            self._write(self._unwritten, self.position - len(self._unwritten) // RECORD_BYTES)
        except OSError as error:
            raise self._refused(error) from error
        self._unwritten = None
        self.head.published = self.position
        log.warning("tape.write_healed", position=self.position)

    def _refused(self, error: OSError) -> DiskFull:
        return DiskFull(f"{self.folder}: the disk takes nothing: {error}", hint=f"df -h {self.folder}; dmesg | tail")

    def _write(self, data: memoryview, position: int) -> None:
        offset, written = self._offset + position * RECORD_BYTES, 0
        while written < len(data):  # a signal, or a disk at its end, cuts a write short
            written += self._disk.write(self._fd, data[written:], offset + written)

    def blob(self, data: bytes) -> BlobAt:
        """Write a blob beside the segment in which the next record will stand. Raises DiskFull."""
        self.room(2)
        at = self._blobs[self._segment].append(data)
        self._blob_waits = True
        return at

    def _retire(self) -> None:
        # After a failed fsync nothing may be built on this file: go on in the next, and say so there first.
        failure = self.sync.failures[self._retired]
        if failure.stop > self._end - self.meta.capacity:
            self.rotate()
        self._retired += 1
        log.error("tape.sync_failed", start=failure.start, stop=failure.stop, error=str(failure.error))
        status = empty(1)
        status["kind"], status["a"] = Kind.STATUS, Status.SYNC_FAILED
        status["b"], status["c"] = failure.start, failure.stop
        status["ts_event"] = status["ts_recv"] = self._clock.now_ns()
        self.append(status, system=True)

    def _pieces(self, start: int, stop: int) -> Iterator[Piece]:
        capacity = self.meta.capacity
        for number in range(start // capacity, (stop - 1) // capacity + 1):
            if number in self._fds:
                files, blobs = [self._fds[number]], self._blobs.get(number)
                if blobs is not None and blobs.dirty:
                    blobs.dirty = False
                    files.append(blobs.fd)
                yield Piece(number, max(start, number * capacity), min(stop, (number + 1) * capacity), files)

    # -- closing -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Make everything durable and give the lock back."""
        if self._unwritten is not None:
            try:
                self._write_held()
            except DiskFull as error:  # nobody was told that it was stored: the next run declares it
                log.error("tape.not_written", records=len(self._unwritten) // RECORD_BYTES, error=error.message)
        self.sync.close()
        self._reserve.close()
        for blobs in self._blobs.values():
            blobs.close()
        for fd in [*self._fds.values(), *self._taken.values()]:
            os.close(fd)
        self._lock.release()
