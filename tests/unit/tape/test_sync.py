"""Group commit, and what happens when it fails: the file is lost, nobody is told otherwise, appends go on."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from tape_support import CAPACITY, FailingDisk, all_of, ids, market, poll, trades

from ticktape.errors import DiskFull
from ticktape.model.records import Kind, Records, Status, empty
from ticktape.tape import recovery, segment
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(120)


def failures(folder: Path) -> list[tuple[int, int]]:
    """Return the ranges the tape itself calls lost."""
    stored = all_of(folder)
    said = stored[(stored["kind"] == Kind.STATUS) & (stored["a"] == Status.SYNC_FAILED)]
    return list(zip(said["b"].tolist(), said["c"].tolist(), strict=True))


@pytest.mark.parametrize("every_ms", [0, 1])
def test_r09_the_nth_failing_fsync_for_every_n_is_never_called_success(tmp_path: Path, every_ms: float) -> None:
    n, clean = 0, False
    while not clean:
        n += 1
        folder = tmp_path / f"{every_ms}-{n}"
        disk = FailingDisk(sync_at=n)
        try:
            tape = Writer(folder, capacity=CAPACITY, sync_every_ms=every_ms, disk=disk)
        except OSError:
            assert n == 1  # the first segment could not be made: nothing was accepted
            Writer(folder, capacity=CAPACITY).close()
            continue
        refused: list[tuple[int, int]] = []
        for k in range(9):
            start = tape.position
            stop = tape.append(trades(range(k * 300, (k + 1) * 300)))
            if not tape.sync.flush(stop, since=start):
                refused.append((start, stop))
        tape.append(trades(range(2700, 2710)))
        durable = tape.head.durable
        lost = [(f.start, f.stop) for f in tape.sync.failures]
        if lost:
            assert durable == lost[0][0]  # never reported durable, however much is synced behind it
            assert refused
            assert all(any(a < stop and start < b for a, b in lost) for start, stop in refused)
            retired = (lost[0][1] - 1) // CAPACITY
            assert tape.position // CAPACITY > retired  # and the file is built on no more
            assert failures(folder) == lost[: len(failures(folder))] != []
        else:
            assert refused == []
            assert durable > tape.position - 12
        tape.close()
        lost = [(f.start, f.stop) for f in tape.sync.failures]
        assert tape.head.durable == (lost[0][0] if lost else tape.position)
        assert ids(folder) == list(range(2710))  # appends went on
        again = Writer(folder, sync_every_ms=0)
        assert (again.opened.found.damaged, again.opened.found.cut_bytes) == ([], 0)
        again.close()
        clean = disk.failed == 0
        assert n < 100
    assert n > 5


def test_r09_a_lost_file_is_synced_no_more(tape_folder: Path) -> None:
    class Watching(FailingDisk):
        synced: list[int]

        def sync(self, fd: int) -> None:
            self.synced.append(os.fstat(fd).st_ino)
            super().sync(fd)

    disk = Watching()
    disk.synced = []
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    lost = segment.path_of(tape_folder, 0).stat().st_ino
    tape.append(trades(range(100)))
    poll(lambda: segment.path_of(tape_folder, 1).exists())
    disk.sync_at = disk.syncs + 1
    assert not tape.sync.flush(tape.position)
    calls = disk.synced.count(lost)
    first = tape.position
    for k in range(20):
        tape.append(trades(range(100 + k * 100, 200 + k * 100)))
        assert tape.sync.flush(tape.position, since=tape.position - 1)
    assert disk.synced.count(lost) == calls
    assert not tape.sync.flush(tape.position, since=first - 1)  # a range that reaches back into it stays lost
    tape.close()


def test_r09_after_a_failed_fsync_a_restart_writes_the_bytes_again_before_it_calls_them_durable(
    tape_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel calls a page clean after the failure: another fsync alone would say yes and do nothing."""
    disk = FailingDisk()
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    tape.append(trades(range(50)))
    assert tape.sync.flush(tape.position)
    durable = tape.position
    tape.append(trades(range(50, 120)))
    poll(lambda: segment.path_of(tape_folder, 1).exists())
    disk.sync_at = disk.syncs + 1
    assert not tape.sync.flush(tape.position)
    tape.append(trades(range(120, 130)))
    tape.close()
    assert tape.head.durable == durable

    again: list[tuple[int, int]] = []
    real = recovery.overwrite

    def seen(span: object, folder: Path, start: int, piece: Records) -> None:
        again.append((start, start + len(piece)))
        real(span, folder, start, piece)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(recovery, "overwrite", seen)
    second = Writer(tape_folder, sync_every_ms=0)
    assert again == [(durable, second.position)]
    assert second.sync.flush(second.position)
    second.close()
    assert second.head.durable == second.position
    again.clear()
    Writer(tape_folder, sync_every_ms=0).close()
    assert again == []  # once is enough
    assert ids(tape_folder) == list(range(130))


def test_r09_a_disk_that_fails_every_fsync_is_refused_and_gone_on_with_when_it_works(tape_folder: Path) -> None:
    disk = FailingDisk()
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    tape.append(trades(range(10)))
    poll(lambda: segment.path_of(tape_folder, 1).exists())
    disk.sync_at, disk.ever_after = disk.syncs + 1, True
    assert not tape.sync.flush(tape.position)

    def go_on() -> None:
        for _ in range(1000):
            tape.append(trades([len(ids(tape_folder))]))
            tape.sync.flush(tape.position)

    for _ in range(3):
        with pytest.raises(DiskFull, match="Input/output"):  # one segment was ready; the one after cannot be made
            go_on()
    disk.sync_at = 0
    before = len(ids(tape_folder))

    def goes_on() -> bool:
        try:
            tape.append(trades([len(ids(tape_folder))]))
        except DiskFull:  # told once more of the last failure, while the segment is being made
            return False
        return True

    poll(goes_on)
    assert len(ids(tape_folder)) > before
    tape.close()
    stored = ids(tape_folder)
    assert stored == list(range(len(stored)))


def test_r09_a_blob_stands_beside_its_record_also_when_a_file_is_lost_between_them(tape_folder: Path) -> None:
    disk = FailingDisk()
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    tape.append(trades(range(10)))
    poll(lambda: segment.path_of(tape_folder, 1).exists())
    at = tape.blob(b"evidence")
    disk.sync_at = disk.syncs + 1
    assert not tape.sync.flush(tape.position)
    record = empty(1)
    record["kind"] = Kind.QUARANTINE
    record["a"], record["b"], record["c"] = at
    position = tape.append(record) - 2
    tape.append(trades([10]))
    assert tape.position > CAPACITY  # the file is left, one record later
    tape.close()
    assert Reader(tape_folder).blob(position) == b"evidence"


def test_r09_a_lost_file_on_a_full_disk_takes_nothing_more(tape_folder: Path) -> None:
    class Full(FailingDisk):
        full = False

        def reserve(self, fd: int, size: int) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "full")
            super().reserve(fd, size)

    disk = Full()
    disk.full = False
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    poll(lambda: segment.path_of(tape_folder, 1).exists())
    disk.full = True
    while tape.position <= CAPACITY:
        tape.append(trades([tape.position]))
    poll(lambda: tape.low_space)
    assert tape.sync.flush(tape.position)
    before = tape.append(trades([5]))
    disk.sync_at = disk.syncs + 1
    assert not tape.sync.flush(before)
    for _ in range(3):
        with pytest.raises(DiskFull):
            tape.append(trades([1]), system=True)
    assert tape.position == before
    disk.full = False
    poll(lambda: not tape.low_space)
    tape.append(trades([7]))
    assert before // CAPACITY < tape.position // CAPACITY
    assert failures(tape_folder) == [(f.start, f.stop) for f in tape.sync.failures]
    tape.close()


def test_r09_an_io_error_while_writing_loses_nothing_that_was_published(tmp_path: Path) -> None:
    for n in range(1, 40):
        folder = tmp_path / str(n)
        disk = FailingDisk()
        tape = Writer(folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
        poll(lambda folder=folder: segment.path_of(folder, 1).exists())
        disk.write_at = disk.writes + n
        for k in range(60):
            tape.append(trades(range(k * 50, k * 50 + 50)))  # the next batch writes the refused one first
        assert disk.failed
        if tape.refusing:
            tape.append(trades([3000]))
        assert tape.head.published == tape.position
        tape.close()
        again = Writer(folder, sync_every_ms=0)
        again.append(trades([10**6]))
        again.close()
        stored = ids(folder)
        assert stored[:3000] == list(range(3000))
        assert stored[-1] == 10**6


def test_r09_while_the_disk_refuses_nothing_is_accepted_or_shown_and_then_it_goes_on(tape_folder: Path) -> None:
    disk = FailingDisk(ever_after=True)
    tape = Writer(tape_folder, capacity=16 * CAPACITY, sync_every_ms=0, disk=disk)
    tape.append(trades(range(10)))
    poll(lambda: segment.path_of(tape_folder, 1).exists())
    shown = tape.head.published
    disk.write_at = disk.writes + 1
    tape.append(trades(range(10, 20)))  # judged and placed: it keeps its place
    assert tape.refusing
    for system in (False, True):
        with pytest.raises(DiskFull, match="Input/output error"):
            tape.append(trades([99]), system=system)
    with pytest.raises(DiskFull):
        tape.blob(b"x")
    assert tape.head.published == shown
    assert ids(tape_folder) == list(range(10))
    disk.write_at = 0
    tape.append(trades(range(20, 30)))
    assert not tape.refusing
    assert ids(tape_folder) == list(range(30))
    tape.close()
    assert ids(tape_folder) == list(range(30))


@pytest.mark.parametrize("healed", [True, False])
def test_r09_a_batch_that_was_refused_is_written_at_the_end_or_was_never_there(tape_folder: Path, healed: bool) -> None:
    disk = FailingDisk(ever_after=True)
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    tape.append(trades(range(10)))
    poll(lambda: segment.path_of(tape_folder, 1).exists())
    disk.write_at = disk.writes + 1
    tape.append(trades(range(10, 20)))
    if healed:
        disk.write_at = 0
    tape.close()
    again = Writer(tape_folder, sync_every_ms=0)
    again.append(trades([20]))
    again.close()
    assert ids(tape_folder) == [*range(20 if healed else 10), 20]


def test_r10_a_next_segment_that_cannot_be_made_is_like_a_full_disk(tape_folder: Path) -> None:
    disk = FailingDisk(ever_after=True, sync_at=1)
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0)
    tape.close()
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    segment.path_of(tape_folder, 1).unlink(missing_ok=True)
    done = 0

    def appended() -> bool:
        nonlocal done
        try:
            tape.append(trades([done]))
        except DiskFull:
            return False
        done += 1
        return True

    while appended():
        pass
    assert done > CAPACITY // 3
    assert ids(tape_folder) == list(range(done))
    disk.sync_at = 0
    poll(appended)
    assert ids(tape_folder) == list(range(done))
    tape.close()


def test_a_disk_that_writes_a_little_at_a_time_is_written_to_the_end(tape_folder: Path) -> None:
    class Slow(segment.Disk):
        def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
            return super().write(fd, data[:100], offset)

    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=Slow())
    tape.append(trades(range(1500)))
    at = tape.blob(b"x" * 1000)
    record = empty(1)
    record["kind"] = Kind.BLOB
    record["a"], record["b"], record["c"] = at
    position = tape.append(record) - 2
    tape.close()
    assert ids(tape_folder) == list(range(1500))
    assert Reader(tape_folder).blob(position) == b"x" * 1000


def test_group_commit_makes_durable_by_itself_and_tells_other_processes(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=2)
    reader = Reader(tape_folder)
    tape.append(trades(range(10)))
    poll(lambda: reader.durable == tape.position)
    tape.close()


def test_what_waits_for_durability_is_woken_by_one_fsync_for_all(tape_folder: Path) -> None:
    disk = FailingDisk()
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=10_000, disk=disk)
    poll(lambda: segment.path_of(tape_folder, 1).exists())
    before = disk.syncs
    stop = tape.append(trades(range(100)))
    answers: list[bool] = []
    waiting = [threading.Thread(target=lambda: answers.append(tape.sync.flush(stop))) for _ in range(8)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(20)
    assert answers == [True] * 8
    assert disk.syncs - before <= 2
    tape.close()


def test_files_that_are_durable_are_let_go(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0)
    for k in range(30):
        tape.append(trades(range(k * 1000, k * 1000 + 1000)))
        assert tape.sync.flush(tape.position)
    held = {p.resolve() for p in Path("/proc/self/fd").iterdir()}
    assert sum(path.parent == tape_folder and path.suffix == ".tape" for path in held) <= 4
    tape.close()
    assert np.array_equal(market(all_of(tape_folder))["c"], np.arange(30_000))
