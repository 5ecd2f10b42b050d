"""Append, publish, read, follow, trim: positions are dense, nothing is altered, nobody reads what is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tape_support import CAPACITY, T0, all_of, ids, market, poll, trades, without_links

from ticktape.errors import Damaged, Misconfigured
from ticktape.model.records import Kind, Records, empty
from ticktape.tape import kernels, region, segment
from ticktape.tape.reader import Reader, trim
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(60)

sizes = st.lists(
    st.one_of(st.integers(1, 40), st.integers(1000, 1030), st.integers(2000, 5000)), min_size=1, max_size=8
)


@given(sizes, st.sets(st.integers(0, 7)))
@settings(max_examples=40, deadline=None)
def test_batches_of_any_size_come_back_as_they_went_in_across_segments_and_reopenings(
    tmp_path_factory: pytest.TempPathFactory, batches: list[int], reopen_after: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("tape")
    tape = Writer(folder, capacity=CAPACITY, sync_every_ms=0)
    given_in, position = empty(0), 0
    for at, size in enumerate(batches):
        batch = trades(range(len(given_in), len(given_in) + size), instrument=1 + at % 3)
        after = tape.append(batch)
        assert after > position + size
        assert tape.position == tape.head.published == after
        position = after
        given_in = np.concatenate([given_in, batch])
        if at in reopen_after:
            tape.close()
            tape = Writer(folder, sync_every_ms=0)
            assert tape.position == position
            assert not tape.opened.found.damaged
            assert tape.opened.found.cut_bytes == 0
    tape.close()

    stored = all_of(folder)
    assert len(stored) == position  # dense: a place for each position, none empty
    assert set(stored["kind"].tolist()) <= {Kind.TRADE, Kind.COMMIT, Kind.VOID}
    assert np.array_equal(without_links(market(stored)), given_in)


chains = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from([Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.AGG_TRADE, Kind.CANCEL])),
    min_size=1,
    max_size=3000,
)


@given(chains, st.integers(1, 400), st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_latest_is_what_a_scan_of_the_whole_tape_finds(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[int, Kind]], step: int, reopened: bool
) -> None:
    folder = tmp_path_factory.mktemp("tape")
    tape = Writer(folder, capacity=CAPACITY, sync_every_ms=0)
    records = empty(len(said))
    records["instrument"], records["kind"] = [i for i, _ in said], [k for _, k in said]
    records["c"] = np.arange(len(said))
    for start in range(0, len(said), step):
        tape.append(records[start : start + step])
        if reopened and start == 0:
            tape.close()
            tape = Writer(folder, sync_every_ms=0)
    reader = Reader(folder)
    reader.follow()
    stored = reader.view(0, reader.end)
    for instrument in range(1, 6):
        for chain in range(kernels.CHAINS):
            mine = (stored["instrument"] == instrument) & (kernels.CHAIN_OF[stored["kind"]] == chain)
            for n in (1, 7, 8, 9, 100, 255, 256, 257, 3000):  # what marks reach, and what only links do
                where = np.flatnonzero(mine)[-n:]
                found = reader.latest(instrument, chain, n)
                assert found.positions.tolist() == where.tolist()
                assert np.array_equal(found.records, stored[where])
    tape.close()


WRITE = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tape_support import CAPACITY, trades
from ticktape.tape.writer import Writer
tape = Writer(Path(sys.argv[1]), capacity=CAPACITY, sync_every_ms=5)
print("ready", flush=True)
done, sizes = 0, [1, 7, 300, 2, 1023, 50, 1500]
while done < 120_000:
    size = sizes[done % len(sizes)]
    tape.append(trades(range(done, done + size)))
    done += size
print(done, flush=True)
sys.stdin.readline()
tape.close()
"""


def test_a_reader_in_another_process_sees_each_record_once_whole_and_in_order(tape_folder: Path) -> None:
    command = [sys.executable, "-c", WRITE, str(tape_folder), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        reader, position, seen = Reader(tape_folder), 0, 0
        looks = 0

        def follow() -> bool:
            nonlocal position, seen, looks
            end = reader.refresh()
            view = reader.view(position, end)
            assert len(view) == end - position
            assert view["kind"].all()  # nothing published is empty
            came = market(view)
            assert np.array_equal(without_links(came), trades(range(seen, seen + len(came))))
            looks += len(came) > 0
            seen, position = seen + len(came), end
            if len(came):
                assert reader.follow() == end
                assert reader.latest(1, kernels.CHAIN_TRADE, 1).records["c"][0] == seen - 1
            return seen >= 120_000

        poll(follow, 40)
        assert seen == int(writer.stdout.readline())
        assert looks > 3  # it was followed, not read afterwards
        writer.stdin.write("\n")
        writer.stdin.close()
        assert writer.wait(20) == 0


def test_a_reader_that_was_there_first_waits_for_the_first_record(tape_folder: Path) -> None:
    with pytest.raises(Misconfigured, match="no tape in"):
        Reader(tape_folder)
    tape = Writer(tape_folder, capacity=CAPACITY)
    reader = Reader(tape_folder)
    assert (reader.first, reader.refresh()) == (0, 0)
    assert len(reader.view(0, 100)) == 0
    assert len(reader.latest(1, kernels.CHAIN_TRADE, 5).records) == 0
    tape.append(trades([1]))
    assert reader.refresh() == 2
    tape.close()


def test_a_tape_whose_head_is_not_there_yet_is_no_crash(tape_folder: Path) -> None:
    Writer(tape_folder, capacity=CAPACITY).close()
    (tape_folder / "head").unlink()
    with pytest.raises(Misconfigured, match="never written"):
        Reader(tape_folder)


# -- trimming and the span of addresses ------------------------------------------------------------------


def filled(folder: Path, segments: int, **more: Any) -> Writer:
    tape = Writer(folder, capacity=CAPACITY, sync_every_ms=0, **more)
    tape.head.needed = 1 << 60
    while tape.position < segments * CAPACITY - 100:
        tape.append(trades(range(tape.position, tape.position + 90)))
    return tape


def test_trimming_behind_readers_takes_the_past_and_leaves_them_standing(tape_folder: Path) -> None:
    tape = filled(tape_folder, 6)
    reader = Reader(tape_folder)
    reader.follow()
    held = reader.view(100, 200)
    kept = held.copy()

    assert trim(tape_folder, 3 * CAPACITY + 5) == 3

    assert np.array_equal(held, kept)  # a view that is held keeps its bytes
    assert reader.release() == 3 * CAPACITY
    assert len(reader.view(0, 2 * CAPACITY)) == 0
    assert len(reader.view(100, 3 * CAPACITY + 10)) == 10
    assert reader.latest(1, kernels.CHAIN_TRADE, 10_000).positions[0] >= 3 * CAPACITY
    with pytest.raises(ValueError, match="is not on the tape"):
        reader.blob(100)
    fresh = Reader(tape_folder)
    assert fresh.first == 3 * CAPACITY
    fresh.follow()
    assert fresh.latest(1, kernels.CHAIN_TRADE, 10_000).positions[0] >= 3 * CAPACITY
    tape.close()
    again = Writer(tape_folder, sync_every_ms=0)  # and the writer begins where the tape begins
    assert (again.first, again.position) == (3 * CAPACITY, tape.position)
    again.append(trades([10**6]))
    again.close()


def test_trimming_never_takes_the_newest_segment(tape_folder: Path) -> None:
    tape = filled(tape_folder, 3)
    trim(tape_folder, 10**9)
    assert len(segment.numbers(tape_folder)) >= 1
    tape.append(trades([10**6]))
    tape.close()
    assert ids(tape_folder)[-1] == 10**6


@pytest.mark.parametrize("behind", [1, 3, 7, 9, 20])
def test_a_reader_outlives_its_span_of_addresses_however_far_it_fell_behind(
    tape_folder: Path, monkeypatch: pytest.MonkeyPatch, behind: int
) -> None:
    monkeypatch.setattr(region, "SPAN_RECORDS", 8 * CAPACITY)
    tape = filled(tape_folder, 1)
    reader = Reader(tape_folder)
    for upto in range(2, 45, behind):
        while tape.position < upto * CAPACITY:
            tape.append(trades(range(tape.position, tape.position + 90)))
        end = reader.refresh()
        reader.follow()
        assert end == tape.position
        assert end - reader.first >= 3 * CAPACITY or reader.first == 0  # what fits is still there
        view = reader.view(0, end)
        assert len(view) == end - reader.first
        assert view["kind"].all()  # every place of it is mapped
        found = reader.latest(1, kernels.CHAIN_TRADE, 10**5)
        assert np.array_equal(found.records, market(view))
        assert len(reader.view(0, 10)) in (0, 10)
    tape.close()


def test_a_tape_longer_than_a_span_can_still_be_opened_for_writing(
    tape_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tape_folder, 20).close()
    monkeypatch.setattr(region, "SPAN_RECORDS", 8 * CAPACITY)
    tape = Writer(tape_folder, sync_every_ms=0)
    before = tape.position
    assert tape.first >= 11 * CAPACITY
    assert tape.append(trades([10**6])) > before
    tape.close()
    assert segment.numbers(tape_folder)[0] == 0  # nothing was deleted


# -- blobs -----------------------------------------------------------------------------------------------


def quarantine(at: tuple[int, int, int]) -> Records:
    record = empty(1)
    record["kind"], record["source"], record["ts_recv"] = Kind.QUARANTINE, 1, T0
    record["a"], record["b"], record["c"] = at
    return record


def test_each_record_finds_its_blob_also_at_the_end_of_a_segment(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0)
    wanted: dict[int, bytes] = {}
    for k in range(900):  # two places each, and the fillers between move them over every place near a boundary
        data = bytes([k % 256]) * (k % 50)
        at = tape.blob(data)
        wanted[tape.append(quarantine(at)) - 2] = data
        if k % 5 == 0:
            tape.append(trades([k]))
    tape.close()
    reader = Reader(tape_folder)
    assert {position: reader.blob(position) for position in wanted} == wanted
    path = segment.blob_path(tape_folder, 0)
    path.write_bytes(path.read_bytes().replace(b"\x07" * 7, b"\x08" * 7))
    with pytest.raises(Damaged, match="differs from its checksum"):
        reader.blob(next(p for p, data in wanted.items() if data == b"\x07" * 7))


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, -1024, 1000, 1025, 1 << 9])
def test_a_capacity_that_cannot_be_mapped_is_refused_before_anything_is_written(
    tape_folder: Path, capacity: int
) -> None:
    with pytest.raises(Misconfigured, match="multiple of 1024"):
        Writer(tape_folder, capacity=capacity)
    assert not (tape_folder / "tape.json").exists()


def test_a_sample_never_meets_real_data(tmp_path: Path) -> None:
    for first in (True, False):
        folder = tmp_path / str(first)
        Writer(folder, capacity=CAPACITY, sample=first).close()
        with pytest.raises(Misconfigured, match=r"never takes (SAMPLE|real) data"):
            Writer(folder, sample=not first)
        Writer(folder, sample=first).close()  # and the refusal left no lock behind


def test_a_hole_between_segments_is_named_and_not_a_crash(tape_folder: Path) -> None:
    filled(tape_folder, 4).close()
    segment.path_of(tape_folder, 1).unlink()
    with pytest.raises(Damaged, match="segment 00000001 is missing"):
        Writer(tape_folder)


def test_a_segment_of_another_tape_is_refused_and_left_alone(tmp_path: Path) -> None:
    filled(tmp_path / "mine", 2).close()
    filled(tmp_path / "other", 4).close()
    foreign = segment.path_of(tmp_path / "other", 2).read_bytes()
    segment.path_of(tmp_path / "mine", 2).write_bytes(foreign)
    with pytest.raises(Damaged, match="another tape"):
        Writer(tmp_path / "mine")
    assert segment.path_of(tmp_path / "mine", 2).read_bytes() == foreign


def test_a_changed_capacity_in_the_meta_file_ruins_nothing(tape_folder: Path) -> None:
    tape = filled(tape_folder, 3)
    tape.close()
    meta = tape_folder / "tape.json"
    text = meta.read_text()
    meta.write_text(text.replace("1024", "5120"))
    with pytest.raises(Damaged, match=r"tape\.json"):
        Writer(tape_folder)
    meta.write_text(text)
    again = Writer(tape_folder)
    assert (again.position, again.opened.found.damaged) == (tape.position, [])
    again.close()


def test_a_newer_format_is_refused_and_a_flipped_version_is_not_one(tape_folder: Path) -> None:
    filled(tape_folder, 2).close()
    path = segment.path_of(tape_folder, 0)
    good = path.read_bytes()
    path.write_bytes(good[:8] + b"\x02" + good[9:])
    with pytest.raises(Damaged):
        segment.read_header(path)
    tape = Writer(tape_folder)  # mended
    tape.close()
    assert path.read_bytes()[:64] == good[:64]
    meta = tape_folder / "tape.json"
    meta.write_text(meta.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(Misconfigured, match="tape format 2"):
        Reader(tape_folder)


def test_latest_is_right_while_the_tape_grows_by_any_steps(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0)
    reader = Reader(tape_folder)
    chance = np.random.default_rng(7)
    for turn in range(60):
        batch = trades(range(turn * 100, turn * 100 + int(chance.integers(1, 90))))
        batch["instrument"] = chance.integers(1, 4 + 10 * turn, len(batch))  # `heads` has to grow on the way
        batch["instrument"][::3] = 1
        tape.append(batch)
        reader.refresh()
        reader.follow()
        stored = reader.view(0, reader.end)
        for instrument in (1, 2):
            where = np.flatnonzero((stored["instrument"] == instrument) & (stored["kind"] == Kind.TRADE))[-100:]
            assert reader.latest(instrument, kernels.CHAIN_TRADE, 100).positions.tolist() == where.tolist()
    tape.close()


def test_latest_steps_over_a_place_that_was_voided_beside_a_mark(tape_folder: Path) -> None:
    tape = Writer(tape_folder, capacity=CAPACITY, sync_every_ms=0)
    tape.append(trades(range(400)))
    reader = Reader(tape_folder)
    reader.follow()
    before = reader.latest(1, kernels.CHAIN_TRADE, 100)
    lost = int(before.positions[40])
    with segment.path_of(tape_folder, 0).open("r+b") as file:  # as recovery leaves damage
        file.seek(segment.HEADER_BYTES + lost * 64)
        void = empty(1)
        void["kind"] = Kind.VOID
        file.write(void.tobytes())
    fresh = Reader(tape_folder)
    fresh.follow()
    left = [p for p in before.positions.tolist() if p != lost]
    for n in range(1, 100):
        assert fresh.latest(1, kernels.CHAIN_TRADE, n).positions.tolist() == left[-n:]
    tape.close()
