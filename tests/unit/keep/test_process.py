"""The keeper: one at a time, trims only behind the lake, outlives a failing disk, flushes when told to stop."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import numpy as np
import pytest
import structlog
from lake_support import DAY, EVER, NOON, SECOND, World, market, same_rows, trades

from ticktape.errors import Busy
from ticktape.keep.process import Keeper, KeepSettings
from ticktape.keep.run import keep
from ticktape.lake.disk import Disk
from ticktape.lake.schema import TABLES
from ticktape.model.records import Kind
from ticktape.tape import segment
from ticktape.tape.reader import Reader

HOUR = 3600 * SECOND


def keeper(world: World, **settings: Any) -> Keeper:
    return Keeper(KeepSettings(data=world.folder, **settings), Reader(world.folder / "tape"), clock=world.clock)


def test_a_second_keeper_on_one_folder_is_refused_and_told_who_has_it(world: World) -> None:
    world.append(trades(10))
    first = keeper(world)
    with pytest.raises(Busy, match="keep"):
        keeper(world)
    first.close()
    keeper(world).close()


def test_the_tape_is_trimmed_behind_the_slowest_table_and_the_hot_window_by_whole_segments(world: World) -> None:
    world.append(trades(40_000, step_ns=SECOND))  # 11 hours, 5 segments
    made = keeper(world, hot_hours=4)
    for name in TABLES:
        made.flusher.flush_table(name, 20_000)
    assert made.trim() == 2  # of what is older than four hours, only what every table has
    made.flush()
    assert segment.numbers(world.folder / "tape")[0] == (40_000 - 4 * 3600) // 8192
    assert made.trim() == 0
    made.close()
    found = world.snapshot().records("trades", None, *EVER)
    assert len(found[0]) == 40_000


def test_with_no_hot_window_nothing_is_trimmed(world: World) -> None:
    world.append(trades(40_000, step_ns=HOUR))
    made = keeper(world, hot_hours=0)
    made.flush()
    assert segment.numbers(world.folder / "tape")[0] == 0
    made.close()


def test_a_failing_flush_keeps_the_tape_says_so_backs_off_and_heals(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append(trades(40_000, step_ns=SECOND))
    made = keeper(world)
    write = Disk.write

    def full(self: Disk, *_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Disk, "write", full)
    with structlog.testing.capture_logs() as lines:
        pauses = [made.turn() for _ in range(4)]
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert [line["event"] for line in lines] == ["lake.flush_failed"] * 4
    assert lines[-1]["in_a_row"] == 4
    assert "No space left" in lines[0]["error"]
    assert segment.numbers(world.folder / "tape")[0] == 0
    monkeypatch.setattr(Disk, "write", write)
    with structlog.testing.capture_logs() as lines:
        assert made.turn() == 600.0
    assert [line["event"] for line in lines][:2] == ["tape.trimmed", "lake.flushed"]
    assert (made.figures.failures, made.figures.failures_in_a_row, made.figures.lag_records) == (4, 0, 0)
    assert lines[1]["rows"] >= 40_000
    made.close()


@pytest.mark.asyncio
async def test_told_to_stop_it_flushes_once_more(world: World) -> None:
    world.append(market(500))
    stop = asyncio.Event()
    running = asyncio.create_task(keep(KeepSettings(data=world.folder, hot_hours=0), stop))
    async with asyncio.timeout(30):
        while not world.lake.exists() or world.snapshot().position("bars") < 0:  # noqa: ASYNC110  # another thread's
            await asyncio.sleep(0.01)
    world.append(market(500, seed=2))
    stop.set()
    await running
    for table in ("trades", "quotes", "quality"):
        assert same_rows(world.snapshot().records(table, None, *EVER), world.on_tape(*TABLES[table].kinds))


@pytest.mark.asyncio
async def test_it_waits_for_a_tape_and_stops_without_one(tmp_path: Any) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(keep(KeepSettings(data=tmp_path), stop))
    await asyncio.sleep(0)
    stop.set()
    await running
    assert not (tmp_path / "lake").exists()


def test_tidying_compacts_closed_days_and_lets_go_of_old_ones(world: World) -> None:
    made = keeper(world, retain_days={"trades": 2, "bars": 0})
    for day in range(5):
        for hour in range(3):
            world.append(market(200, start_ns=NOON + day * DAY + hour * HOUR, seed=day * 3 + hour))
            made.flush()
    with structlog.testing.capture_logs() as lines:
        made.tidy()
    events = [line["event"] for line in lines if line.get("table") == "trades"]
    assert events == ["lake.expired", "lake.compacted", "lake.compacted"]
    days = [e.partition for e in world.snapshot().versions["trades"].files]
    assert days == ["2025-11-22", "2025-11-23", *["2025-11-24"] * 3]
    positions, records = world.on_tape(*TABLES["trades"].kinds)
    recent = records["ts_event"] >= NOON - 12 * HOUR + 2 * DAY
    assert same_rows(world.snapshot().records("trades", None, *EVER), (positions[recent], records[recent]))
    assert len(world.snapshot().versions["quotes"].files) == 4 + 3
    made.close()


def test_bars_outlive_the_ticks_they_were_built_from(world: World) -> None:
    made = keeper(world, retain_days={"trades": 1})
    world.append(trades(500, start_ns=NOON))
    world.append(trades(500, start_ns=NOON + 5 * DAY))
    made.flush()
    made.tidy()
    assert len(world.snapshot().records("trades", None, *EVER)[0]) == 500
    assert int(world.snapshot().bars(None, *EVER, DAY).bars["count"].sum()) == 1000
    assert np.isin(Kind.TRADE, world.on_tape(Kind.TRADE)[1]["kind"]).all()
    made.close()
