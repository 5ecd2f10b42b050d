"""From whatever a crash left to a tape that holds only whole batches.

One pass checks every batch's CRC. What follows the last good batch is cut (zeroed, its bytes counted). A bad range
between good batches is copied to `damage-<position>.bin`, then replaced by VOID records under a valid commit, so
that readers never meet a bad byte and the good suffix stays. Both are reported; the recorder declares them as gaps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ticktape.errors import Damaged
from ticktape.model.records import RECORD, RECORD_BYTES, Ints, Kind, Records
from ticktape.tape import kernels, segment
from ticktape.tape.meta import Meta
from ticktape.tape.region import Region

MAX_RANGES = 100_000


class Damage(NamedTuple):
    """A range of positions whose bytes are not what was written."""

    start: int
    stop: int


class Found(NamedTuple):
    """What is on a tape."""

    position: int  # first free position
    batches: int
    records: int
    damaged: list[Damage]
    cut_bytes: int  # written after the last good batch


def mend_file(folder: Path, number: int, meta: Meta) -> bool:
    """Bring a segment file back to its size and header, records untouched. Returns whether it had to."""
    path = segment.path_of(folder, number)
    _refuse_stranger(path, number, meta)
    full = segment.HEADER_BYTES + meta.capacity * RECORD_BYTES
    wanted = segment.pack(segment.Header(number, meta.capacity, meta.id_bytes))
    with path.open("r+b") as file:
        short = path.stat().st_size < full
        if short:
            os.posix_fallocate(file.fileno(), 0, full)
        if file.read(len(wanted)) == wanted:
            return short
        file.seek(0)
        file.write(wanted)
        file.flush()
        os.fsync(file.fileno())
        return True


def _refuse_stranger(path: Path, number: int, meta: Meta) -> None:
    # A header that is whole but says something else is no damage of the file: tape.json is wrong, or the file is.
    try:
        found = segment.read_header(path)
    except Damaged:
        return
    if found != segment.Header(number, meta.capacity, meta.id_bytes):
        raise Damaged(f"{path.name}: belongs to another tape or place than tape.json says", hint="ticktape tape verify")


def whole_places(folder: Path, number: int, meta: Meta) -> int:
    """Return how many record places of a segment lie inside its file."""
    size = segment.path_of(folder, number).stat().st_size
    return min(meta.capacity, max(0, size - segment.HEADER_BYTES) // RECORD_BYTES)


def examine(region: Region, start: int, stop: int) -> Found:
    """Check every batch in [start, stop), changing nothing."""
    ranges: Ints = np.zeros((MAX_RANGES, 2), dtype=np.int64)
    words = region.records.view(np.uint64)
    end, batches, records, count = kernels.walk_commits(region.records, words, region.base, start, stop, ranges)
    if count > MAX_RANGES:
        raise Damaged(f"{count} damaged ranges: this is not a tape with faults, it is not a tape")
    damaged = [Damage(int(a), int(b)) for a, b in ranges[:count]]
    written = int(kernels.last_written(words, region.base, end, stop))
    return Found(int(end), int(batches), int(records), damaged, (written - int(end)) * RECORD_BYTES)


def mend(region: Region, folder: Path, found: Found, epoch: int) -> None:
    """Make the tape hold what `found` says and nothing else."""
    records, base = region.records, region.base
    for damage in found.damaged:
        _keep(folder, damage.start, records[damage.start - base : damage.stop - base])
        ts = int(records[damage.stop - base]["ts_recv"])
        for start, stop in _by_segment(damage, region.capacity):
            voids = np.zeros(stop - start, dtype=RECORD)
            voids["kind"] = Kind.VOID
            kernels.commit_batch(voids, voids.view(np.uint64), start, start, stop - 1, epoch, ts)
            overwrite(region, folder, start, voids)
    if found.cut_bytes:
        stop = found.position + found.cut_bytes // RECORD_BYTES
        _keep(folder, found.position, records[found.position - base : stop - base])
        overwrite(region, folder, found.position, np.zeros(stop - found.position, dtype=RECORD))


def _by_segment(damage: Damage, capacity: int) -> Iterator[Damage]:
    # A commit a segment: the first of them may be trimmed long before the last.
    start = damage.start
    while start < damage.stop:
        stop = min(damage.stop, (start // capacity + 1) * capacity)
        yield Damage(start, stop)
        start = stop


def _keep(folder: Path, position: int, piece: Records) -> None:
    (folder / f"damage-{position}.bin").write_bytes(piece.tobytes())


def overwrite(region: Region, folder: Path, start: int, piece: Records) -> None:
    """Write records at a position, and make them durable."""
    done = 0
    while done < len(piece):  # segment by segment
        number, place = divmod(start + done, region.capacity)
        part = piece[done : done + region.capacity - place]
        fd = os.open(segment.path_of(folder, number), os.O_RDWR)
        try:
            os.pwrite(fd, part.tobytes(), segment.HEADER_BYTES + place * RECORD_BYTES)
            os.fsync(fd)
        finally:
            os.close(fd)
        done += len(part)
