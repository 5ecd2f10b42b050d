"""Is every byte of a tape what was written? Read without the writer's lock, also while it records.

What the writer has published is judged strictly. What lies behind that is a batch on its way, unless nobody writes:
then it is a torn tail. A reader cannot ask the lock (asking takes it), so it watches whether the tape moves on.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from ticktape.errors import Damaged
from ticktape.model.records import RECORD_BYTES, Kind, Records
from ticktape.tape import recovery, segment
from ticktape.tape.blobs import BlobAt, read_blob
from ticktape.tape.head import Head
from ticktape.tape.lock import Owner
from ticktape.tape.meta import Meta, load
from ticktape.tape.region import Region

CHUNK = 8  # segments mapped at a time: 512 MiB of addresses, of which the kernel keeps what it likes
PATIENCE_S = 1.0  # a writer that has bytes behind its published position publishes them well within this

Advance = Callable[[int, int], None]


class Range(msgspec.Struct, frozen=True):
    """Positions [start, stop) that do not hold what was written, in the segments named."""

    start: int
    stop: int
    segments: str  # "000017" or "000017-000020"


class Report(msgspec.Struct, kw_only=True):
    """What `verify` found. `ok` is the verdict."""

    tape_id: str
    sample: bool
    segments: int = 0
    first: int = 0
    position: int = 0  # first free position
    records: int = 0
    batches: int = 0
    damaged: list[Range] = []
    torn_bytes: int = 0
    headers_bad: list[str] = []
    blobs: int = 0
    blobs_bad: int = 0
    bad_blobs_at: list[int] = []  # positions of the first of them
    writing: bool = False  # somebody appended meanwhile, and was left alone

    @property
    def ok(self) -> bool:
        """Say whether nothing was found."""
        return not (self.damaged or self.torn_bytes or self.headers_bad or self.blobs_bad)


def verify(folder: Path, advance: Advance = lambda done, total: None, *, patience_s: float = PATIENCE_S) -> Report:
    """Check each batch's CRC32C, each segment's header and each blob. Raises Misconfigured when there is no tape."""
    meta = load(folder)
    report = Report(tape_id=meta.tape_id, sample=meta.sample)
    numbers = segment.numbers(folder)
    if not numbers:
        return report
    report.segments = len(numbers)
    report.headers_bad = [bad for number in numbers if (bad := _bad_header(folder, number, meta))]
    first, end = numbers[0] * meta.capacity, (numbers[-1] + 1) * meta.capacity
    said = _published(folder)
    published = min(max(said, first), end)
    report.first = report.position = first
    for done in _walk(folder, meta, first, published, report):
        advance(done - first, published - first)
    if report.position < published:
        _add_damage(report, meta, report.position, published)
        report.position = published
    if said > end:  # its last segments are gone
        _add_damage(report, meta, end, said)
    _tail(folder, meta, published, end, report, patience_s)
    return report


def _walk(folder: Path, meta: Meta, start: int, stop: int, report: Report) -> Iterator[int]:
    """Check [start, stop) a chunk of segments at a time, yielding how far it has come."""
    position = boundary = start
    while boundary < stop:
        boundary = min(stop, (boundary // meta.capacity + CHUNK) * meta.capacity)
        region = _mapped(folder, meta, position, boundary)
        found = recovery.examine(region, position, boundary)
        for damage in found.damaged:
            _add_damage(report, meta, damage.start, damage.stop)
        _check_blobs(folder, region, meta, position, found, report)
        report.records += found.records
        report.batches += found.batches
        # A batch may end in the next chunk where damage was mended across segments: go on after the last good one.
        position = report.position = found.position
        yield boundary


def _tail(folder: Path, meta: Meta, start: int, stop: int, report: Report, patience_s: float) -> None:
    """Judge what lies behind the published position, unless somebody is writing there."""
    if owner_alive(folder):
        report.writing = True
        return
    behind = Report(tape_id=meta.tape_id, sample=meta.sample, position=start)
    for _ in _walk(folder, meta, start, stop, behind):
        pass
    written = _written_after(folder, meta, behind.position, stop)
    if (written or behind.batches) and _moves(folder, start, patience_s):
        report.writing = True
        return
    report.torn_bytes = written
    report.damaged += behind.damaged
    for name in ("records", "batches", "blobs", "blobs_bad", "bad_blobs_at"):
        setattr(report, name, getattr(report, name) + getattr(behind, name))
    report.position = behind.position


def _written_after(folder: Path, meta: Meta, position: int, stop: int) -> int:
    """Return how many bytes from `position` on were written after the last good batch."""
    if position >= stop:
        return 0
    return recovery.examine(_mapped(folder, meta, position, stop), position, stop).cut_bytes


def _moves(folder: Path, position: int, patience_s: float) -> bool:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if _published(folder) > position:
            return True
        time.sleep(0.01)
    return False


def owner_alive(folder: Path) -> bool:
    """Say whether the process that the lock names runs on this machine. A released lock names nobody."""
    try:
        owner = msgspec.json.decode((folder / "writer.lock").read_bytes(), type=Owner)
    except (OSError, msgspec.DecodeError):
        return False
    if owner.host != socket.gethostname():
        return False
    try:
        os.kill(owner.pid, 0)
    except PermissionError:  # it runs, as another user
        return True
    except OSError:
        return False
    return True


def _published(folder: Path) -> int:
    try:
        return Head(folder, writable=False).published
    except (OSError, ValueError):  # lost with a power cut: then everything is tail
        return 0


# -- segments ------------------------------------------------------------------------------------------


def _bad_header(folder: Path, number: int, meta: Meta) -> str:
    path = segment.path_of(folder, number)
    try:
        header = segment.read_header(path)
    except Damaged as error:
        return error.message
    except FileNotFoundError:  # trimmed meanwhile
        return ""
    mine = segment.Header(number, meta.capacity, meta.id_bytes)
    return "" if header == mine else f"{path.name}: belongs to another tape or place"


def _mapped(folder: Path, meta: Meta, start: int, stop: int) -> Region:
    """Map the segments of [start, stop). A missing one reads as zeros, a short one as zeros behind its end."""
    first, last = start // meta.capacity, (stop - 1) // meta.capacity
    region = Region(first, meta.capacity)
    for number in range(first, last + 1):
        try:
            with segment.path_of(folder, number).open("rb") as file:
                _put(region, number, file, meta)
        except FileNotFoundError:
            region.clear(number)
    return region


def _put(region: Region, number: int, file: IO[bytes], meta: Meta) -> None:
    full = segment.HEADER_BYTES + meta.capacity * RECORD_BYTES
    if os.fstat(file.fileno()).st_size >= full:
        region.put(number, file.fileno(), segment.HEADER_BYTES, whole=False)
        return
    with tempfile.TemporaryFile() as copy:  # mapping beyond a file's end would kill the process
        copy.write(file.read())
        copy.truncate(full)
        copy.flush()
        region.put(number, copy.fileno(), segment.HEADER_BYTES, whole=False)


def _add_damage(report: Report, meta: Meta, start: int, stop: int) -> None:
    first, last = start // meta.capacity, (stop - 1) // meta.capacity
    names = f"{first:08d}" if first == last else f"{first:08d}-{last:08d}"
    report.damaged.append(Range(start, stop, names))


# -- blobs ---------------------------------------------------------------------------------------------


def _check_blobs(folder: Path, region: Region, meta: Meta, start: int, found: recovery.Found, report: Report) -> None:
    records = region.records[start - region.base : found.position - region.base]
    kinds = records["kind"]
    places = np.flatnonzero((kinds == Kind.BLOB) | (kinds == Kind.QUARANTINE))
    for position in (start + int(place) for place in places):
        if any(bad.start <= position < bad.stop for bad in found.damaged):
            continue
        report.blobs += 1
        if not _blob_good(folder, position // meta.capacity, records[position - start]):
            report.blobs_bad += 1
            report.bad_blobs_at = [*report.bad_blobs_at, position][:100]


def _blob_good(folder: Path, number: int, record: Records) -> bool:
    try:
        read_blob(folder, number, BlobAt(int(record["a"]), int(record["b"]), int(record["c"])))
    except FileNotFoundError:
        return not segment.path_of(folder, number).exists()  # trimmed together with its segment
    except (Damaged, ValueError):
        return False
    return True
