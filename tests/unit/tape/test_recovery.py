"""Whatever is left of a tape, opening it keeps all good batches, cuts or voids the rest, and says how much."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tape_support import CAPACITY, T0, all_of, market, trades, without_links

from ticktape.clock import ManualClock
from ticktape.errors import Damaged
from ticktape.model.records import RECORD_BYTES, Kind, Records
from ticktape.tape import kernels, recovery, segment
from ticktape.tape.meta import load
from ticktape.tape.reader import Reader
from ticktape.tape.region import Region
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(120)

HEADER = segment.HEADER_BYTES


def write(folder: Path, sizes: list[int]) -> list[int]:
    """Write batches; return the position after each."""
    tape = Writer(folder, capacity=CAPACITY, sync_every_ms=0)
    done, ends = 0, list[int]()
    for size in sizes:
        ends.append(tape.append(trades(range(done, done + size))))
        done += size
        if size == 900:
            tape.rotate()  # the rest of the segment becomes VOID
    tape.close()
    return ends


def last_segment_bytes(ends: list[int]) -> int:
    return HEADER + ends[-1] * RECORD_BYTES


# -- R4 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["truncated", "zeroed", "garbage", "old bytes"])
def test_r04_a_tail_cut_at_every_byte_of_the_last_three_records_loses_only_what_is_cut(
    tape_folder: Path, tmp_path: Path, how: str
) -> None:
    """Three batches of one: their last three records are a commit, a trade, a commit."""
    ends = write(tape_folder, [10, 1, 1, 1])
    path = segment.path_of(tape_folder, 0)
    good, whole = path.read_bytes(), all_of(tape_folder)
    chance = random.Random(4)
    stop = last_segment_bytes(ends)
    for cut in range(stop - 3 * RECORD_BYTES, stop):
        if how == "truncated":
            path.write_bytes(good[:cut])
        else:
            tail = stop - cut + (500 if how == "garbage" else 0)
            filler = bytes(tail) if how == "zeroed" else chance.randbytes(tail)
            if how == "old bytes":
                filler = good[HEADER : HEADER + tail]
            path.write_bytes((good[:cut] + filler + good[cut + tail :])[: len(good)])
        torn = path.read_bytes().ljust(len(good), b"\0")

        tape = Writer(tape_folder, sync_every_ms=0)

        spans = [(end, HEADER + end * RECORD_BYTES) for end in ends]
        survive = max(end for end, byte in spans if torn[:byte] == good[:byte])
        found = tape.opened.found
        assert tape.position == survive
        assert not found.damaged
        after = torn[HEADER + survive * RECORD_BYTES :].rstrip(b"\0")
        assert found.cut_bytes == -(-len(after) // RECORD_BYTES) * RECORD_BYTES
        tape.append(trades([77]))
        tape.close()
        stored = all_of(tape_folder)
        assert np.array_equal(stored[:survive], whole[:survive])
        assert market(stored)["c"][-1] == 77
        assert len(stored) == survive + 2
        reopened = Writer(tape_folder, sync_every_ms=0)  # what was cut is gone for good
        assert (reopened.opened.found.cut_bytes, reopened.opened.found.damaged) == (0, [])
        reopened.close()
        path.write_bytes(good)


def test_r04_an_old_batch_found_at_the_end_is_not_taken_for_a_new_one(tape_folder: Path) -> None:
    """What a file system may hand out as fresh: whole and with a good checksum, but of another place."""
    ends = write(tape_folder, [5, 5, 5])
    path = segment.path_of(tape_folder, 0)
    data = bytearray(path.read_bytes())
    start, stop = HEADER + ends[0] * RECORD_BYTES, HEADER + ends[1] * RECORD_BYTES
    tail = HEADER + ends[2] * RECORD_BYTES
    data[tail : tail + stop - start] = data[start:stop]
    path.write_bytes(data)
    tape = Writer(tape_folder)
    assert (tape.position, tape.opened.found.cut_bytes) == (ends[2], stop - start)
    tape.close()


def test_r04_what_is_cut_is_kept_beside_the_tape(tape_folder: Path) -> None:
    ends = write(tape_folder, [5, 5])
    path = segment.path_of(tape_folder, 0)
    data = bytearray(path.read_bytes())
    at = HEADER + (ends[0] + 2) * RECORD_BYTES
    data[at] ^= 1
    path.write_bytes(data)
    Writer(tape_folder).close()
    kept = (tape_folder / f"damage-{ends[0]}.bin").read_bytes()
    assert kept == bytes(data[HEADER + ends[0] * RECORD_BYTES : HEADER + ends[1] * RECORD_BYTES])


def test_r04_a_segment_that_lost_its_end_gets_its_size_back(tape_folder: Path) -> None:
    position = write(tape_folder, [2000, 500])[-1]
    for size in (HEADER + 700 * RECORD_BYTES, HEADER, 64, 10, 0):
        os.truncate(segment.path_of(tape_folder, 1), size)
        tape = Writer(tape_folder, sync_every_ms=0)
        assert tape.position <= position
        for number in segment.numbers(tape_folder):
            assert segment.path_of(tape_folder, number).stat().st_size == HEADER + CAPACITY * RECORD_BYTES
            segment.read_header(segment.path_of(tape_folder, number))
        position = tape.append(trades([9]))
        tape.close()


def test_an_all_zero_tape_is_empty_and_not_valid(tape_folder: Path) -> None:
    write(tape_folder, [10])
    path = segment.path_of(tape_folder, 0)
    path.write_bytes(path.read_bytes()[:HEADER].ljust(HEADER + CAPACITY * RECORD_BYTES, b"\0"))
    tape = Writer(tape_folder)
    assert (tape.position, tape.opened.found.batches) == (0, 0)
    tape.close()


# -- R5 --------------------------------------------------------------------------------------------------

FLIPS = 2000


class Batches(NamedTuple):
    """Where each batch of a tape begins and ends."""

    spans: list[tuple[int, int]]
    ends: list[int]


def batches_of(stored: Records) -> Batches:
    ends = [int(p) + 1 for p in np.flatnonzero(stored["kind"] == Kind.COMMIT)]
    return Batches(list(zip([0, *ends[:-1]], ends, strict=True)), ends)


def test_r05_each_of_2000_flipped_bits_is_found_and_both_sides_are_kept(tape_folder: Path) -> None:
    """In memory, where examining is quick: the flip lands in records and commits alike."""
    sizes = [1, 3, 40, 7, 100, 2, 1, 900, 250, 11, 30, 1, 5, 64]
    write(tape_folder, sizes)
    meta, numbers = load(tape_folder), segment.numbers(tape_folder)
    stored = all_of(tape_folder)
    batches = batches_of(stored)
    room = np.zeros((len(numbers) * CAPACITY, RECORD_BYTES), dtype=np.uint8)
    room[: len(stored)] = stored.view(np.uint8).reshape(-1, RECORD_BYTES)
    region = Region(0, meta.capacity)
    chance, seen_kinds = random.Random(5), set[int]()
    for _ in range(FLIPS):
        byte, bit = chance.randrange(len(stored) * RECORD_BYTES), chance.randrange(8)
        place = byte // RECORD_BYTES
        seen_kinds.add(int(stored[place]["kind"]))
        room.reshape(-1)[byte] ^= 1 << bit
        region.records = room.reshape(-1).view(stored.dtype)
        found = recovery.examine(region, 0, len(room))
        start, stop = next(span for span in batches.spans if span[0] <= place < span[1])
        if stop == len(stored):  # nothing good follows: cut
            assert (found.damaged, found.position) == ([], start)
            assert found.cut_bytes >= (stop - start - 1) * RECORD_BYTES
        else:
            assert found.damaged == [recovery.Damage(start, stop)]
            assert (found.position, found.cut_bytes) == (len(stored), 0)
            assert found.batches == len(batches.spans) - 1
        room.reshape(-1)[byte] ^= 1 << bit
    assert {Kind.TRADE, Kind.COMMIT, Kind.VOID} <= seen_kinds


def test_r05_a_damaged_record_is_never_read_and_all_others_are(tape_folder: Path, tmp_path: Path) -> None:
    write(tape_folder, [1, 3, 40, 7, 100, 2, 900, 250, 11, 30, 1, 64])
    stored = all_of(tape_folder)
    batches = batches_of(stored)
    chance = random.Random(55)
    for _ in range(60):
        folder = tmp_path / "copy"
        shutil.copytree(tape_folder, folder)
        harmed = sorted({chance.randrange(len(stored) - 70) for _ in range(3)})
        for place in harmed:
            number, at = divmod(place, CAPACITY)
            with segment.path_of(folder, number).open("r+b") as file:
                byte = HEADER + at * RECORD_BYTES + chance.randrange(RECORD_BYTES)
                file.seek(byte)
                old = file.read(1)[0]
                file.seek(byte)
                file.write(bytes([old ^ 1 << chance.randrange(8)]))
        tape = Writer(folder, sync_every_ms=0)
        after = tape.append(trades([10**6]))
        tape.close()

        lost = {
            p for start, stop in batches.spans for p in range(start, stop) if any(start <= h < stop for h in harmed)
        }
        now = all_of(folder)
        assert len(now) == after == len(stored) + 2
        keep = [p for p in range(len(stored)) if p not in lost]
        assert np.array_equal(without_links(now[keep]), without_links(stored[keep]))
        assert set(now[sorted(lost)]["kind"].tolist()) <= {Kind.VOID, Kind.COMMIT}
        assert sum(d.stop - d.start for d in tape.opened.found.damaged) == len(lost)
        reader = Reader(folder)
        reader.follow()
        every = reader.latest(1, kernels.CHAIN_TRADE, 10**4)  # the chain steps over what was voided
        assert every.records["c"].tolist() == market(now)["c"].tolist()
        again = Writer(folder, sync_every_ms=0)  # mended once
        assert (again.opened.found.damaged, again.opened.found.cut_bytes) == ([], 0)
        again.close()
        shutil.rmtree(folder)


def test_r05_a_voided_range_across_segments_stays_good_when_its_first_segment_is_trimmed(tape_folder: Path) -> None:
    write(tape_folder, [800] * 4)
    for number, places in ((0, range(700, CAPACITY)), (1, range(900))):
        with segment.path_of(tape_folder, number).open("r+b") as file:
            for place in places:
                file.seek(HEADER + place * RECORD_BYTES)
                file.write(b"\xa5" * RECORD_BYTES)
    tape = Writer(tape_folder, sync_every_ms=0)
    assert tape.opened.found.damaged
    tape.close()
    segment.path_of(tape_folder, 0).unlink()
    again = Writer(tape_folder, sync_every_ms=0)
    assert again.opened.found.damaged == []
    again.close()


@pytest.mark.parametrize("bit", range(0, 64 * 8, 3))
def test_r05_a_flipped_bit_in_a_header_is_found_and_mended(tape_folder: Path, bit: int) -> None:
    write(tape_folder, [10])
    path = segment.path_of(tape_folder, 0)
    good = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(bit // 8)
        file.write(bytes([good[bit // 8] ^ 1 << bit % 8]))
    with pytest.raises(Damaged):
        segment.read_header(path)
    tape = Writer(tape_folder, sync_every_ms=0)
    assert (tape.position, tape.opened.found.damaged, tape.opened.found.cut_bytes) == (11, [], 0)
    tape.close()
    assert path.read_bytes()[:64] == good[:64]


def test_a_writer_that_dies_while_mending_can_be_followed_by_one_that_mends(
    tape_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tape_folder, [300] * 12)
    for number in (0, 1, 2):
        with segment.path_of(tape_folder, number).open("r+b") as file:
            file.seek(HEADER + 500 * RECORD_BYTES)
            file.write(b"\xff" * 64)
    before, real = all_of(tape_folder), recovery.overwrite
    calls = 0

    def dies(region: Region, folder: Path, start: int, piece: Records) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            real(region, folder, start, piece[: len(piece) // 2])
            raise OSError(5, "killed here")
        real(region, folder, start, piece)

    monkeypatch.setattr(recovery, "overwrite", dies)
    with pytest.raises(OSError, match="killed here"):
        Writer(tape_folder)
    monkeypatch.undo()
    tape = Writer(tape_folder, sync_every_ms=0, clock=ManualClock(T0))
    tape.close()
    now = all_of(tape_folder)
    same = now["kind"] == Kind.TRADE
    assert np.array_equal(now[same], before[same])
    assert same.sum() == 12 * 300 - 3 * 300


def test_what_is_no_tape_at_all_is_refused_and_not_filled_with_voids(tape_folder: Path) -> None:
    write(tape_folder, [1] * 400)
    region = Region(0, CAPACITY)
    stored = np.zeros(2 * CAPACITY, dtype=all_of(tape_folder).dtype)
    stored[:800] = all_of(tape_folder)[:800]
    stored["a"][0:800:4] ^= 1
    region.records = stored
    most, recovery.MAX_RANGES = recovery.MAX_RANGES, 100
    try:
        with pytest.raises(Damaged, match="not a tape"):
            recovery.examine(region, 0, len(stored))
    finally:
        recovery.MAX_RANGES = most
