"""R3: whatever a power loss leaves of unsynced writes, what was durable is there and the rest is a valid tape."""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tape_support import CAPACITY, all_of, market, poll, trades, without_links

from ticktape.model.records import RECORD_BYTES, Kind, Records, empty
from ticktape.tape import segment
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(300)

BLOCK = 4096


class Write(NamedTuple):
    """Bytes handed to the system at a moment."""

    at: int  # moment
    name: str
    offset: int
    data: bytes


@dataclass
class RecordingDisk(segment.Disk):
    """Does what it is told, and remembers every write and every sync in order."""

    now: int = 0
    writes: list[Write] = field(default_factory=list[Write])
    syncs: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def _name(self, fd: int) -> str:
        return Path(f"/proc/self/fd/{fd}").resolve().name.replace(".new", ".tape")

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self.now += 1
        self.writes.append(Write(self.now, self._name(fd), offset, bytes(data)))
        return super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.now += 1
        self.syncs.append((self.now, self._name(fd)))


def image(disk: RecordingDisk, moment: int, folder: Path, chance: random.Random) -> None:
    """Write what a disk may hold after the power went at `moment`: of each unsynced block any of its versions."""
    made = {name for at, name in disk.syncs if at <= moment}  # a segment appears after its first sync
    drop = chance.choice([0.0, 0.3, 0.7, 1.0])
    for name in sorted(made):
        size = segment.HEADER_BYTES + CAPACITY * RECORD_BYTES if name.endswith(".tape") else 0
        content = bytearray(size)
        synced = max(at for at, synced_name in disk.syncs if synced_name == name and at <= moment)
        for write in (w for w in disk.writes if w.name == name and w.at <= moment):
            end = write.offset + len(write.data)
            if end > len(content):  # a blob file grows, and its length is not the data's
                content.extend(bytes(end - len(content)))
            if write.at < synced:
                content[write.offset : end] = write.data
                continue
            for block in range(write.offset // BLOCK, (end - 1) // BLOCK + 1):
                if chance.random() < drop:
                    continue
                low, high = max(write.offset, block * BLOCK), min(end, (block + 1) * BLOCK)
                if chance.random() < 0.1:  # torn inside the block, at a sector
                    high = min(high, block * BLOCK + 512 * chance.randrange(1, 8))
                if low < high:
                    content[low:high] = write.data[low - write.offset : high - write.offset]
        (folder / name).write_bytes(content)


class Moment(NamedTuple):
    """What was promised when."""

    at: int
    durable: int


def record(folder: Path, chance: random.Random) -> tuple[RecordingDisk, list[Moment], Records]:
    """Write a tape with syncs at random moments; return its disk, the promises and all its records."""
    disk = RecordingDisk()
    tape = Writer(folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    promises = [Moment(disk.now, 0)]
    done = 0
    for _ in range(40):
        size = chance.choice([1, 3, 60, 64, 200, 900])
        tape.append(trades(range(done, done + size)))
        done += size
        if chance.random() < 0.2:
            row = empty(1)
            row["kind"] = Kind.BLOB
            row["a"], row["b"], row["c"] = tape.blob(chance.randbytes(chance.randrange(1, 9000)))
            tape.append(row)
        if chance.random() < 0.3:
            assert tape.sync.flush(tape.position)
            promises.append(Moment(disk.now, tape.head.durable))
    poll(lambda: segment.path_of(folder, tape.position // CAPACITY + 1).exists())
    stored = all_of(folder)
    tape.close()
    return disk, promises, stored


def check(image_folder: Path, durable: int, stored: Records, original: Path) -> None:
    tape = Writer(image_folder, sync_every_ms=0)
    found = tape.opened.found
    assert found.position >= durable
    tape.append(trades([10**6]))
    tape.close()

    now = all_of(image_folder)
    assert np.array_equal(now[:durable], stored[:durable])
    kept = now[: found.position]
    same = (kept.view(np.uint64).reshape(-1, 8) == stored[: len(kept)].view(np.uint64).reshape(-1, 8)).all(axis=1)
    assert set(kept[~same]["kind"].tolist()) <= {Kind.VOID, Kind.COMMIT}  # as it was, or said to be void
    assert not any(d.start < durable for d in found.damaged)
    assert now["kind"].all()
    mine, theirs = Reader(image_folder), Reader(original)
    for position in np.flatnonzero(now[:durable]["kind"] == Kind.BLOB).tolist():
        assert mine.blob(position) == theirs.blob(position)
    again = Writer(image_folder, sync_every_ms=0)
    assert (again.opened.found.damaged, again.opened.found.cut_bytes) == ([], 0)
    again.close()
    assert np.array_equal(without_links(market(now))[-1:], trades([10**6]))


def campaign(folder: Path, seed: int, images: int) -> None:
    chance = random.Random(seed)
    original = folder / "original"
    disk, promises, stored = record(original, chance)
    for k in range(images):
        moment = chance.randint(promises[0].at, disk.now)
        durable = max(p.durable for p in promises if p.at <= moment)
        crashed = folder / f"image-{k}"
        crashed.mkdir()
        shutil.copy(original / "tape.json", crashed)
        if chance.random() < 0.5:  # the head is no file that recovery needs
            shutil.copy(original / "head", crashed)
        image(disk, moment, crashed, chance)
        check(crashed, durable, stored, original)
        shutil.rmtree(crashed)


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_r03_after_a_power_loss_all_that_was_durable_is_there_and_the_rest_is_a_valid_tape(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    campaign(tmp_path_factory.mktemp("power"), seed, images=12)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_r03_after_2000_power_losses(tmp_path: Path) -> None:
    for seed in range(100):
        campaign(tmp_path / str(seed), seed, images=20)
        shutil.rmtree(tmp_path / str(seed))
