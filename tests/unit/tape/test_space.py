"""A full disk is met one segment ahead: records are refused as a whole, the tape can still say so, and it resumes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tape_support import SmallDisk, all_of, ids, market, poll, trades

from ticktape.errors import DiskFull
from ticktape.model.records import Kind, empty
from ticktape.tape import segment
from ticktape.tape.reader import Reader
from ticktape.tape.writer import SYSTEM_PLACES, Writer

pytestmark = pytest.mark.timeout(60)

CAPACITY = 4 * SYSTEM_PLACES


def fill(tape: Writer, batch: int) -> int:
    """Append until the disk is full. Returns how many records were accepted as whole batches."""
    done = 0
    try:
        while True:
            tape.append(trades(range(done, done + batch)))
            done += batch
    except DiskFull:
        return done


@pytest.mark.parametrize("batch", [1, 7, 1000, 4095, 4096, 10_000])
def test_r07_a_full_disk_refuses_market_data_and_keeps_its_last_places_for_what_the_tape_must_say(
    tape_folder: Path, batch: int
) -> None:
    disk = SmallDisk(2)
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=disk)
    done = fill(tape, batch)
    with pytest.raises(DiskFull, match="no room for segment 2") as full:
        tape.append(trades(range(batch)))
    assert full.value.hint.startswith("df -h")
    assert tape.low_space
    took = ids(tape_folder)  # readers are answered all the while
    assert took[:done] == list(range(done))
    assert len(took) < done + batch  # of the batch that did not fit, at most a part
    assert 2 * CAPACITY - SYSTEM_PLACES - 2 <= tape.position <= 2 * CAPACITY - SYSTEM_PLACES
    with pytest.raises(DiskFull):
        tape.append(trades([0]))
    tape.close()


def system_records(tape: Writer) -> int:
    count = 0
    try:
        while True:
            record = empty(1)
            record["kind"] = Kind.STATUS
            tape.append(record, system=True)
            count += 1
    except DiskFull:
        return count


@pytest.mark.parametrize("batch", [1, 1000, 4095, 10_000])
def test_r07_system_records_have_the_places_that_were_kept_for_them(tape_folder: Path, batch: int) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0, disk=SmallDisk(2))
    fill(tape, batch)
    assert system_records(tape) >= SYSTEM_PLACES // 2 - 2
    tape.close()


def test_r07_when_space_returns_appends_resume_by_themselves_where_they_stopped(tape_folder: Path) -> None:
    disk = SmallDisk(2)
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=1, disk=disk)
    fill(tape, 500)
    for _ in range(3):
        with pytest.raises(DiskFull):
            tape.append(trades([5]))
    stopped = tape.position
    disk.left = 3
    poll(lambda: not tape.low_space)
    tape.append(trades([4242]))
    assert tape.position > stopped
    while tape.position < 4 * CAPACITY - 2 * SYSTEM_PLACES:
        tape.append(trades(range(100)))
    tape.close()
    assert 4242 in market(all_of(tape_folder)[stopped:])["c"]
    assert Reader(tape_folder).end == tape.position


def test_r07_a_tape_cannot_begin_on_a_full_disk_and_leaves_nothing_behind(tape_folder: Path) -> None:
    with pytest.raises(DiskFull, match="no room for the next segment"):
        Writer(tape_folder, capacity=CAPACITY, disk=SmallDisk(0))
    assert segment.numbers(tape_folder) == []
    assert list(tape_folder.glob("*.new")) == []
    tape = Writer(tape_folder, capacity=CAPACITY)
    tape.append(trades([1]))
    tape.close()


def test_r07_closing_while_the_disk_is_full_does_not_hang_and_the_next_start_goes_on(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=1024, sync_every_ms=1, disk=SmallDisk(1))
    fill(tape, 100)
    stored = len(ids(tape_folder))
    tape.close()
    again = Writer(tape_folder, sync_every_ms=0)
    again.append(trades(range(2000)))
    again.close()
    assert len(ids(tape_folder)) == stored + 2000


def test_r07_the_head_tells_other_processes(tape_folder: Path) -> None:
    """The recorder's tick copies it; here the writer's word alone."""
    disk = SmallDisk(1)
    tape = Writer(tape_folder, capacity=1024, sync_every_ms=0, disk=disk)
    poll(lambda: tape.low_space)
    tape.head.low_space = tape.low_space
    assert Reader(tape_folder).low_space
    disk.left = 1
    poll(lambda: not tape.low_space)
    tape.close()
