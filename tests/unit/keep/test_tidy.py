"""Compaction, expiry and vacuum: not a row more or less, and nothing that a reader still holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from lake_support import DAY, EVER, NOON, SECOND, World, market, same_rows, trades

from ticktape.errors import Busy, Damaged
from ticktape.keep import compact as compaction
from ticktape.keep.compact import compact, due, end_of
from ticktape.keep.expire import expire, vacuum
from ticktape.lake.catalogue import Catalogue
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker
from ticktape.lake.schema import TABLES
from ticktape.model.records import Kind

TODAY = "2025-11-20"


def filled(world: World, flushes: int = 6, n: int = 500) -> World:
    for k in range(flushes):
        world.append(market(n, start_ns=NOON + k * 100 * SECOND, seed=k))
        world.flush()
    return world


@pytest.mark.parametrize("table", [name for name in TABLES if TABLES[name].kinds])
def test_compaction_keeps_every_row_and_leaves_one_sorted_file(world: World, table: str) -> None:
    filled(world)
    wanted = world.on_tape(*TABLES[table].kinds)
    done = world.compact(table, TODAY if TABLES[table].partition == "date" else "2025-11")
    assert (done.files_before, done.files_after, done.rows) == (6, 1, len(wanted[0]))
    assert len(world.snapshot().versions[table].files) == 1
    assert same_rows(world.snapshot().records(table, None, *EVER), wanted)
    world.append(market(100))
    world.flush()
    assert same_rows(world.snapshot().records(table, None, *EVER), world.on_tape(*TABLES[table].kinds))


def test_a_partition_larger_than_a_batch_becomes_several_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(world)
    monkeypatch.setattr(compaction, "BATCH_ROWS", 200)
    wanted = world.on_tape(*TABLES["trades"].kinds)
    done = world.compact("trades", TODAY)
    assert done.files_after > 5
    assert same_rows(world.snapshot().records("trades", None, *EVER), wanted)


def test_compacting_bars_merges_their_parts_and_changes_no_bar(world: World) -> None:
    filled(world)
    ask: Any = (None, *EVER, 60 * SECOND)
    before = world.snapshot().bars(*ask).bars
    world.compact("bars", "2025-11")
    assert world.snapshot().bars(*ask).bars.tolist() == before.tolist()
    rows = world.snapshot().read("bars", None, *EVER).rows
    keys = list(zip(*(rows.column(n).to_pylist() for n in ("instrument_id", "basis", "ts_event")), strict=True))
    assert len(keys) == len(set(keys))


def test_only_closed_days_are_due(world: World) -> None:
    filled(world)
    catalogue = world.flusher().tables["trades"]
    midnight = end_of(TODAY)
    assert due(catalogue, midnight, settle_ns=SECOND) == []
    assert due(catalogue, midnight + SECOND, settle_ns=SECOND) == [TODAY]
    world.compact("trades", TODAY)
    assert due(catalogue, midnight + DAY, settle_ns=0) == []


def test_two_compactions_at_once_are_one(world: World) -> None:
    filled(world)
    first, second = world.flusher().tables["trades"], world.flusher().tables["trades"]

    class Overtaking(Disk):
        def step(self, name: str) -> None:
            if name == "compact.trades.written":
                compact(second, TODAY, Disk(""), Maker())

    with pytest.raises(Busy):
        compact(first, TODAY, Overtaking(""), Maker())
    assert same_rows(world.snapshot().records("trades", None, *EVER), world.on_tape(*TABLES["trades"].kinds))


def test_two_compactions_of_delta_rs_double_the_rows(tmp_path: Path) -> None:
    """Why we do it ourselves (DEPENDENCIES.md section 5). When this fails, delta-rs has mended it: look again."""
    where = str(tmp_path / "table")
    for k in range(30):
        write_deltalake(where, pa.table({"x": pa.array(range(10 * k, 10 * k + 10), pa.int64())}), mode="append")
    one, other = DeltaTable(where), DeltaTable(where)
    one.optimize.compact()
    other.optimize.compact()
    assert DeltaTable(where).count() == 600


def test_a_compaction_whose_rows_the_log_contradicts_is_restored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(world)
    commit = Catalogue.commit

    def loses_one(self: Catalogue, expected: int, added: Any, removed: Any = (), **named: Any) -> None:
        commit(self, expected, [file._replace(rows=file.rows - 1) for file in added], removed, **named)

    monkeypatch.setattr(Catalogue, "commit", loses_one)
    with pytest.raises(Damaged, match="restored"):
        world.compact("trades", TODAY)
    monkeypatch.undo()
    assert len(world.snapshot().versions["trades"].files) == 6
    assert same_rows(world.snapshot().records("trades", None, *EVER), world.on_tape(*TABLES["trades"].kinds))
    world.append(trades(100))
    world.flush()
    assert same_rows(world.snapshot().records("trades", None, *EVER), world.on_tape(*TABLES["trades"].kinds))


def test_a_damaged_file_is_not_compacted_away(world: World) -> None:
    filled(world)
    entry = world.snapshot().versions["trades"].files[2]
    path = world.lake / "trades" / entry.path
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(Damaged):
        world.compact("trades", TODAY)
    assert len(world.snapshot().versions["trades"].files) == 6


def test_expiry_lets_go_of_whole_days_by_commit_and_an_old_snapshot_still_reads(world: World) -> None:
    for day in range(4):
        world.append(trades(100, start_ns=NOON + day * DAY))
    world.flush()
    before, disk = world.snapshot(), Disk("")
    catalogue = world.flusher().tables["trades"]
    assert expire(catalogue, 30, NOON + 3 * DAY, disk) is None
    assert expire(catalogue, 0, NOON + 10**5 * DAY, disk) is None
    gone = expire(catalogue, 1, NOON + 3 * DAY, disk)
    assert gone is not None
    assert (gone.partitions, gone.rows) == (["2025-11-20", "2025-11-21"], 200)
    assert len(world.snapshot().records("trades", None, *EVER)[0]) == 200
    assert vacuum(catalogue, disk) == 0  # given up just now
    assert len(before.records("trades", None, *EVER)[0]) == 400
    assert world.snapshot().position("trades") == world.tape.position


def test_vacuum_deletes_what_no_version_needs_and_orphans_of_a_crash(world: World) -> None:
    filled(world)
    world.compact("trades", TODAY)
    orphan = world.lake / "trades" / f"date={TODAY}" / "00000000000000-00000000000001-00000000.parquet"
    orphan.write_bytes(b"left by a crash")
    catalogue = world.flusher().tables["trades"]
    assert vacuum(catalogue, Disk(""), keep_hours=0) == 7
    assert [path.name for path in orphan.parent.iterdir()] == [world.snapshot().versions["trades"].files[0].path[16:]]
    assert same_rows(world.snapshot().records("trades", None, *EVER), world.on_tape(*TABLES["trades"].kinds))


def test_other_engines_read_the_same_rows(world: World) -> None:
    filled(world)
    world.compact("trades", TODAY)
    world.append(market(100, seed=99))
    world.flush()
    import polars as pl

    positions = world.on_tape(*TABLES["trades"].kinds)[0]
    frame = pl.scan_delta(str(world.lake / "trades")).collect()
    assert sorted(frame["position"].to_list()) == sorted(positions.tolist())
    assert frame["date"].unique().to_list() == [TODAY]
    other: Any = DeltaTable(str(world.lake / "trades")).to_pyarrow_table()  # pyright: ignore[reportUnknownMemberType]
    assert sorted(other.column("position").to_pylist()) == sorted(positions.tolist())
    assert Kind.TRADE in other.column("kind").to_pylist()
