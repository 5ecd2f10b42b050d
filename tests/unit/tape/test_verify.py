"""Verifying finds every kind of harm, reads without the lock, and repairing leaves a tape that verifies."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticktape.clock import ManualClock
from ticktape.errors import Busy, Misconfigured
from ticktape.model.records import RECORD_BYTES, GapCause, Kind, Records, empty, unpack_gap
from ticktape.tape import segment
from ticktape.tape.reader import Reader
from ticktape.tape.repair import repair
from ticktape.tape.verify import Report, owner_alive, verify
from ticktape.tape.writer import Writer

CAPACITY = 8192
START = 1_763_640_000_000_000_000
CLOCK = ManualClock(START + 10**12)


def batch(n: int, start: int) -> Records:
    records = empty(n)
    records["kind"], records["instrument"] = Kind.TRADE, 1
    records["ts_event"] = records["ts_recv"] = START + start + np.arange(n)
    return records


def written(folder: Path, batches: int = 40, n: int = 500) -> Path:
    tape = Writer(folder, capacity=CAPACITY, sync_every_ms=0)
    for k in range(batches):
        tape.append(batch(n, k * n))
    tape.close()
    return folder


def look(folder: Path) -> Report:
    return verify(folder, patience_s=0.05)


def spoil(folder: Path, position: int, byte: int = 0) -> None:
    number, place = divmod(position, CAPACITY)
    with segment.path_of(folder, number).open("r+b") as file:
        file.seek(segment.HEADER_BYTES + place * RECORD_BYTES + byte)
        old = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([old[0] ^ 0x10]))


def test_a_good_tape_is_ok_and_counted(tape_folder: Path) -> None:
    report = look(written(tape_folder))
    assert report.ok
    assert (report.segments, report.damaged, report.torn_bytes, report.writing) == (4, [], 0, False)
    assert report.records >= 20_000  # and what fills the ends of segments
    assert report.position == report.records + report.batches


def test_no_tape_is_said(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no tape"):
        verify(tmp_path)


@given(place=st.integers(0, 20_000), byte=st.integers(0, 63))
@settings(max_examples=40, deadline=None)
def test_any_flipped_bit_is_found_and_its_place_named(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    folder = written(tmp_path_factory.mktemp("tape") / "tape")
    spoil(folder, place, byte)
    report = look(folder)
    assert not report.ok
    assert any(bad.start <= place < bad.stop for bad in report.damaged)
    repair(folder, CLOCK)
    assert look(folder).ok


def test_a_missing_segment_is_damage_and_repair_voids_it(tape_folder: Path) -> None:
    written(tape_folder)
    segment.path_of(tape_folder, 1).unlink()
    report = look(tape_folder)
    assert any(bad.start <= CAPACITY and bad.stop >= 2 * CAPACITY for bad in report.damaged)
    assert repair(tape_folder, CLOCK).made_anew == ["00000001.tape"]
    assert look(tape_folder).ok


def test_a_short_segment_is_damage_and_not_a_crash(tape_folder: Path) -> None:
    written(tape_folder)
    os.truncate(segment.path_of(tape_folder, 0), segment.HEADER_BYTES + 100 * RECORD_BYTES)
    report = look(tape_folder)
    assert report.headers_bad == ["00000000.tape: shorter than its header says"]
    assert report.damaged[0].start == 0
    repair(tape_folder, CLOCK)
    assert look(tape_folder).ok


def test_segments_lost_from_the_end_are_damage(tape_folder: Path) -> None:
    written(tape_folder)
    for number in segment.numbers(tape_folder)[1:]:
        segment.path_of(tape_folder, number).unlink()
    report = look(tape_folder)
    assert (report.damaged[-1].start, report.ok) == (CAPACITY, False)


def test_a_torn_tail_is_counted_when_nobody_writes(tape_folder: Path) -> None:
    position = look(written(tape_folder)).position
    number, place = divmod(position, CAPACITY)
    with segment.path_of(tape_folder, number).open("r+b") as file:
        file.seek(segment.HEADER_BYTES + place * RECORD_BYTES)
        file.write(batch(3, 0).tobytes())
    report = look(tape_folder)
    assert (report.ok, report.torn_bytes, report.position) == (False, 3 * RECORD_BYTES, position)


def test_a_lost_head_hides_nothing(tape_folder: Path) -> None:
    before = look(written(tape_folder))
    (tape_folder / "head").unlink()
    after = look(tape_folder)
    assert (after.ok, after.records, after.position) == (True, before.records, before.position)


def test_a_blob_that_changed_is_found(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0)
    record = empty(1)
    record["kind"] = Kind.QUARANTINE
    record["a"], record["b"], record["c"] = tape.blob(b"garbage as it came")
    tape.append(record)
    tape.close()
    assert look(tape_folder).blobs == 1
    segment.blob_path(tape_folder, 0).write_bytes(b"garbage as it cane")
    report = look(tape_folder)
    assert (report.blobs_bad, report.bad_blobs_at, report.ok) == (1, [0], False)


def test_a_tape_being_written_verifies_without_the_lock(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0)
    stop = threading.Event()

    def write() -> None:
        k = 0
        while not stop.is_set():
            tape.append(batch(100, k))
            k += 100

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            report = verify(tape_folder)
            assert report.ok, report
            assert report.writing
    finally:
        stop.set()
        writer.join()
        tape.close()
    assert not owner_alive(tape_folder)


def test_repair_says_on_the_tape_what_was_lost(tape_folder: Path) -> None:
    written(tape_folder)
    spoil(tape_folder, 700)
    done = repair(tape_folder, CLOCK)
    reader = Reader(tape_folder)
    tail = reader.view(done.found.position, reader.end)
    gaps = tail[tail["kind"] == Kind.GAP]
    assert (done.gaps, len(gaps)) == (1, 1)
    shape = unpack_gap(int(gaps[0]["d"]))
    assert shape.cause is GapCause.DAMAGED
    assert START <= gaps[0]["ts_event"] <= START + 1000
    assert reader.records[int(gaps[0]["a"]) - reader.base]["kind"] == Kind.GAP  # its id is its position


def test_repair_leaves_a_tape_alone_that_somebody_writes(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0)
    with pytest.raises(Busy):
        repair(tape_folder, CLOCK)
    tape.close()


def test_repair_writes_a_lost_description_again(tape_folder: Path) -> None:
    before = (written(tape_folder) / "tape.json").read_bytes()
    (tape_folder / "tape.json").write_text("{")
    assert repair(tape_folder, CLOCK).made_anew == ["tape.json"]
    assert (tape_folder / "tape.json").read_bytes() == before
