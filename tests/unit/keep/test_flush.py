"""Exactly once: whatever fails and wherever, each row of the tape ends in the lake once."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lake_support import DAY, EVER, NOON, World, market, same_rows, trades

from ticktape.errors import Busy, Damaged, Misconfigured
from ticktape.keep.flush import ORDER
from ticktape.lake.catalogue import Catalogue
from ticktape.lake.disk import Disk
from ticktape.lake.schema import TABLES
from ticktape.model.records import Kind, empty
from ticktape.tape import segment
from ticktape.tape.writer import Writer


class BreakingDisk(Disk):
    """Fails at the n-th call, once."""

    def __init__(self, at: int, code: int) -> None:
        super().__init__("")
        self.calls, self._at, self._code = 0, at, code

    def step(self, name: str) -> None:
        self._count()

    def write(self, path: Path, pieces: Sequence[memoryview]) -> None:
        self._count()
        super().write(path, pieces)

    def rename(self, path: Path, name: Path) -> None:
        self._count()
        super().rename(path, name)

    def sync_folder(self, folder: Path) -> None:
        self._count()
        super().sync_folder(folder)

    def sync_file(self, path: Path) -> None:
        self._count()
        super().sync_file(path)

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self._at:
            raise OSError(self._code, os.strerror(self._code))


def whole(world: World) -> bool:
    """Say whether each table has its rows of the tape, once each."""
    snapshot = world.snapshot()
    wanted = {name: world.on_tape(*TABLES[name].kinds) for name in ORDER if TABLES[name].kinds}
    return all(same_rows(snapshot.records(name, None, *EVER), rows) for name, rows in wanted.items())


def test_a_flush_says_what_it_did_and_a_second_one_has_nothing_to_do(world: World) -> None:
    world.append(market(3000))
    done = world.flush()
    assert {each.table for each in done} == set(ORDER)
    assert sum(each.rows for each in done if each.table != "bars") == 3000
    assert world.flush() == []
    assert whole(world)


def test_tables_may_be_at_different_positions_and_each_goes_on_from_its_own(world: World) -> None:
    world.append(market(2000))
    world.flusher().flush_table("trades", 1500)
    world.flusher().flush_table("quotes", 300)
    assert [world.snapshot().position(name) for name in ("trades", "quotes", "book")] == [1500, 300, -1]
    assert world.flusher().position() == -1
    world.flush()
    assert whole(world)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_r08_r09_a_disk_that_fails_at_any_call_costs_no_row(world: World, code: int) -> None:
    world.append(market(400))
    world.flusher()  # the tables are there
    for at in range(1, 10_000):
        world.append(market(60, seed=at))
        disk = BreakingDisk(at, code)
        with suppress(OSError):
            world.flusher(disk).flush()
        if disk.calls < at:  # nothing was left to fail
            break
        assert not list(world.lake.glob("*/*/*.new"))
    world.flush()
    assert whole(world)


def test_a_failing_table_holds_back_only_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.append(market(500))
    commit = Catalogue.commit

    def fails_for_quotes(self: Catalogue, *given: Any, **named: Any) -> None:
        if self.table.name == "quotes":
            raise OSError(errno.EIO, "broken")
        commit(self, *given, **named)

    monkeypatch.setattr(Catalogue, "commit", fails_for_quotes)
    with pytest.raises(OSError, match="broken"):
        world.flush()
    assert world.snapshot().position("quotes") == -1
    assert world.snapshot().position("bars") == world.tape.position
    monkeypatch.undo()
    world.flush()
    assert whole(world)


def test_a_second_flusher_on_a_stale_version_is_refused_not_doubled(world: World) -> None:
    world.append(trades(100))
    flusher = world.flusher()
    catalogue = flusher.tables["trades"]
    before = catalogue.version()
    flusher.flush()
    with pytest.raises(Busy):
        catalogue.commit(before.number, [], position=50)
    assert whole(world)


def test_rows_go_in_only_when_the_tape_has_them_on_disk(world: World) -> None:
    world.append(trades(100))

    class Counting(Disk):
        synced: list[Path] = []  # noqa: RUF012

        def sync_file(self, path: Path) -> None:
            self.synced.append(path)

    assert world.tape.head.durable == 0  # its writer never syncs
    world.flusher(Counting("")).flush()
    assert Counting.synced == [segment.path_of(world.folder / "tape", 0)]


def test_a_tape_that_was_cut_and_written_on_is_refused(world: World) -> None:
    world.append(trades(1000))
    world.flush()
    world.tape.close()
    number, place = divmod(900, world.tape.meta.capacity)
    with segment.path_of(world.folder / "tape", number).open("r+b") as file:
        file.seek(segment.HEADER_BYTES + place * 64)
        file.write(bytes(64 * 200))
    world.tape = Writer(world.folder / "tape", capacity=world.tape.meta.capacity, sync_every_ms=0)
    with pytest.raises(Damaged, match="lost records"):
        world.flusher().flush()
    world.append(trades(500, start_ns=NOON + DAY, seed=5))
    with pytest.raises(Damaged, match="written anew"):
        world.flusher().flush()


def test_a_lake_of_another_tape_is_refused(world: World, tmp_path: Path) -> None:
    world.append(trades(10))
    world.flush()
    other = World(tmp_path / "other")
    other.append(trades(10))
    other.lake = world.lake
    with pytest.raises(Misconfigured, match="recorded"):
        other.flusher()
    other.close()


def test_quarantined_bytes_come_along(world: World) -> None:
    record = empty(1)
    record["kind"], record["ts_event"] = Kind.QUARANTINE, NOON
    record["a"], record["b"], record["c"] = world.tape.blob(b"garbage as it came")
    world.tape.append(record)
    world.append(market(50))
    world.flush()
    rows = world.snapshot().read("quality", None, *EVER).rows
    body = dict(zip(rows.column("kind").to_pylist(), rows.column("body").to_pylist(), strict=True))
    assert body[Kind.QUARANTINE] == b"garbage as it came"
    assert body[Kind.STATUS] is None


def test_times_out_of_this_world_are_stored_where_they_belong(world: World) -> None:
    records = trades(4)
    records["ts_event"] = [0, -1, 2**62, 253_402_300_800 * 10**9 % 2**62]
    world.append(records)
    world.flush()
    found = world.snapshot().records("trades", None, -(2**63), 2**63 - 1)
    assert same_rows(found, world.on_tape(Kind.TRADE))
    assert len({e.partition for e in world.snapshot().versions["trades"].files}) == 4


def test_many_instruments_share_row_groups_and_a_large_one_is_cut(world: World) -> None:
    from ticktape.lake.rows import MOST_GROUP_ROWS, group_bounds

    ends = np.cumsum([5, 0, 10, 3 * MOST_GROUP_ROWS, 7, 100_000, 100_000])
    bounds = group_bounds(ends.astype(np.int64), 100_000)
    assert bounds[-1] == ends[-1]
    assert max(np.diff([0, *bounds])) <= MOST_GROUP_ROWS
    assert int(ends[5]) in bounds
    world.append(trades(3000, instruments=1000))
    world.flush()
    assert whole(world)
