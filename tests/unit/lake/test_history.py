"""The lake gives back what the tape had: every row once, exactly, with the tape's own rows joined to it."""

from __future__ import annotations

from dataclasses import fields
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_support import DAY, EVER, NOON, SECOND, World, market, same_rows, trades

from ticktape.errors import TooCostly
from ticktape.lake.history import Cursor, Limits, Page
from ticktape.lake.schema import TABLES
from ticktape.lake.tail import Trimmed
from ticktape.model.bars import BAR, TIMEFRAMES, Bars, Basis
from ticktape.model.records import Flag, Kind, Records, empty
from ticktape.serve.readers.bars import BarReader
from ticktape.tape.reader import trim

CONTENT = [name for name in BAR.names or () if name not in ("flags", "revision")]


@pytest.mark.parametrize("table", [name for name in TABLES if TABLES[name].kinds])
def test_every_record_comes_back_exactly(world: World, table: str) -> None:
    world.append(market(5000))
    world.flush()
    wanted = world.on_tape(*TABLES[table].kinds)
    assert len(wanted[0]) > 0
    found = world.snapshot().records(table, None, *EVER)
    assert same_rows(found, wanted)
    assert np.array_equal(found[0], wanted[0])  # sorted by instrument, time, position


def test_rows_sorted_across_flushes_chunks_and_late_rows(world: World) -> None:
    world.append(market(3000))
    world.flush(chunk=700)
    world.append(market(3000, start_ns=NOON - 60 * SECOND, seed=2))
    world.flush(chunk=700)
    found = world.snapshot().records("trades", None, *EVER)
    assert np.array_equal(found[0], world.on_tape(*TABLES["trades"].kinds)[0])


def test_days_are_partitions_and_come_in_order(world: World) -> None:
    for day in (2, 0, 1):
        world.append(trades(300, start_ns=NOON + day * DAY))
    world.flush()
    assert [e.partition for e in world.snapshot().versions["trades"].files] == [
        "2025-11-20",
        "2025-11-21",
        "2025-11-22",
    ]
    rows = world.snapshot().read("trades", [2], *EVER).rows.column("ts_event").to_numpy()
    assert (np.diff(rows) >= 0).all()


def test_a_range_is_half_open_and_only_what_was_asked(world: World) -> None:
    world.append(trades(4000))
    world.flush()
    _, wanted = world.on_tape(Kind.TRADE)
    start, end = (int(t) for t in np.sort(wanted["ts_event"])[[500, 1500]])
    _, found = world.snapshot().records("trades", [1, 3], start, end)
    inside = (wanted["ts_event"] >= start) & (wanted["ts_event"] < end) & np.isin(wanted["instrument"], (1, 3))
    assert np.array_equal(found, wanted[inside])


def test_what_nobody_recorded_is_empty(world: World) -> None:
    assert world.snapshot().read("trades", [1], *EVER).rows.num_rows == 0  # no lake at all
    world.append(trades(100))
    world.flush()
    for ids, start, end in (([9], *EVER), ([1], NOON + DAY, NOON + 2 * DAY), ([], *EVER)):
        page = world.snapshot().read("trades", ids, start, end)
        assert (page.rows.num_rows, page.missing, page.next) == (0, [], None)


@given(at=st.integers(0, 4000), seed=st.integers(0, 9))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lake_and_tape_together_are_every_row_once(
    tmp_path_factory: pytest.TempPathFactory, at: int, seed: int
) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    world.append(market(4000, seed=seed))
    world.flush(stop=at)
    world.reader.refresh()
    for table in ("trades", "quotes", "gaps"):
        found = world.snapshot().records(table, None, *EVER, tape=world.reader)
        assert same_rows(found, world.on_tape(*TABLES[table].kinds))
    world.close()


def test_a_tape_trimmed_past_the_snapshot_is_said_and_the_next_one_is_whole(world: World) -> None:
    world.append(trades(20_000))
    world.flush(stop=5000)
    old = world.snapshot()
    world.flush()
    wanted = world.on_tape(Kind.TRADE)
    trim(world.folder / "tape", world.tape.position)
    world.reader.release()
    with pytest.raises(Trimmed):
        old.records("trades", None, *EVER, tape=world.reader)
    assert same_rows(world.snapshot().records("trades", None, *EVER, tape=world.reader), wanted)


@pytest.mark.parametrize("limit", [3, 41, 1000])
def test_pages_are_the_whole_and_later_rows_do_not_shift_them(world: World, limit: int) -> None:
    world.append(trades(300, start_ns=NOON - DAY))
    world.append(trades(300))
    world.flush(stop=400)
    world.reader.refresh()
    whole = world.snapshot().read("trades", None, *EVER, tape=world.reader).rows
    got: list[Any] = []
    after: Cursor | None = None
    while True:
        page: Page = world.snapshot().read("trades", None, *EVER, tape=world.reader, limit=limit, after=after)
        got += page.rows.column("position").to_numpy().tolist()
        after = page.next
        if after is None:
            break
        if len(got) < 10:  # rows keep coming, and are flushed, between two pages
            world.append(trades(50, start_ns=NOON - DAY, seed=len(got)))
            world.flush()
            world.reader.refresh()
    assert got == whole.column("position").to_numpy().tolist()


def test_as_known_at_a_time_leaves_out_what_came_later(world: World) -> None:
    world.append(trades(1000))
    world.flush()
    _, wanted = world.on_tape(Kind.TRADE)
    at = int(np.median(wanted["ts_recv"]))
    page = world.snapshot().read("trades", None, *EVER, known_at_ns=at)
    assert page.rows.num_rows == int((wanted["ts_recv"] < at).sum())


def test_limits_refuse_before_reading_and_the_estimate_says_how_much(world: World) -> None:
    world.append(trades(2000))
    world.flush()
    snapshot = world.snapshot()
    assert snapshot.estimate("trades", None, *EVER).rows == 2000
    assert snapshot.estimate("trades", [1], NOON + DAY, NOON + 2 * DAY).rows == 0
    with pytest.raises(TooCostly, match="2,000 rows"):
        snapshot.read("trades", None, *EVER, limits=Limits(rows=1999))
    with pytest.raises(TooCostly, match="longer"):
        snapshot.read("trades", None, *EVER, limits=Limits(seconds=-1))
    with pytest.raises(TooCostly, match="MiB"):
        snapshot.read("trades", None, *EVER, limits=Limits(memory_bytes=1000))


# -- bars --------------------------------------------------------------------------------------------


def content(found: Bars) -> list[Any]:
    return found[CONTENT].tolist()


def live(world: World, instrument: int, frame: str, basis: Basis) -> Bars:
    reader, made = world.reader, BarReader()
    made.absorb(reader, reader.first, reader.refresh())
    return made.latest(instrument, frame, basis, 10_000)


@pytest.mark.parametrize("stop", [0, 2500, None])
def test_bars_are_those_that_live_builds(world: World, stop: int | None) -> None:
    records = market(5000, step_ns=SECOND // 4)
    records["kind"][records["kind"] == Kind.AGG_TRADE] = Kind.TRADE
    world.append(records)
    world.flush(stop=stop, chunk=900)
    world.reader.refresh()
    for basis, frame, raw in product(Basis, TIMEFRAMES, (True, False)):
        found = world.snapshot().bars([2], *EVER, TIMEFRAMES[frame], basis=basis, tape=world.reader, raw=raw)
        assert content(found.bars) == content(live(world, 2, frame, basis))
        assert (found.instrument_id == 2).all()


def test_bars_of_any_width_from_minutes_and_from_ticks_are_the_same(world: World) -> None:
    world.append(trades(3000, step_ns=SECOND))
    world.flush(chunk=500)
    for minutes in (1, 3, 7, 90, 1440, 10_080):
        width = minutes * 60 * SECOND
        raw, stored = (world.snapshot().bars(None, *EVER, width, raw=each) for each in (True, False))
        assert content(raw.bars) == content(stored.bars)
        assert raw.instrument_id.tolist() == stored.instrument_id.tolist()


def notice(kind: Kind, of: Any, price: int = 0, size: int = 0) -> Records:
    records = empty(1)
    for name in ("ts_event", "instrument", "source", "c"):
        records[name] = of[name]
    records["kind"], records["a"], records["b"], records["ts_recv"] = kind, price, size, of["ts_recv"] + DAY
    return records


def test_a_correction_that_only_the_tape_has_counts_at_once(world: World) -> None:
    first = trades(300, instruments=1, step_ns=SECOND)
    world.append(first)
    world.flush()
    world.append(notice(Kind.CANCEL, first[100]))
    world.append(notice(Kind.CORRECT, first[200], price=5, size=7))
    world.reader.refresh()
    found = world.snapshot().bars([1], *EVER, 60 * SECOND, tape=world.reader).bars
    assert (int(found["count"].sum()), int(found["low"].min())) == (299, 5)


@pytest.mark.parametrize("compacted", [False, True])
def test_r22_corrected_and_cancelled_trades_change_their_bars(world: World, compacted: bool) -> None:
    first = trades(600, instruments=1, step_ns=SECOND)
    world.append(first)
    world.flush()
    world.append(notice(Kind.CORRECT, first[100], price=5, size=7))
    world.append(notice(Kind.CANCEL, first[300]))
    world.flush()
    late = trades(1, instruments=1, start_ns=int(first["ts_recv"][300]))
    late["c"] = 10_000
    world.append(late)
    world.flush()
    if compacted:
        world.compact("bars", "2025-11")
    raw, stored = (world.snapshot().bars([1], *EVER, 60 * SECOND, raw=each).bars for each in (True, False))
    assert content(stored) == content(raw)
    assert stored["low"].min() == 5
    assert stored["count"].sum() == 600


def test_an_all_cancelled_minute_has_no_bar(world: World) -> None:
    first = trades(1, instruments=1)
    world.append(first)
    world.flush()
    assert len(world.snapshot().bars([1], *EVER, 60 * SECOND).bars) == 1
    world.append(notice(Kind.CANCEL, first[0]))
    world.flush()
    assert len(world.snapshot().bars([1], *EVER, 60 * SECOND).bars) == 0


def test_r18_a_late_trade_revises_a_stored_bar_that_was_closed(world: World) -> None:
    world.append(trades(1000, instruments=1, step_ns=SECOND))
    world.flush()
    before = world.snapshot().bars([1], *EVER, 60 * SECOND).bars
    late = trades(2, instruments=1, start_ns=int(before["start"][5]) + 4 * SECOND)
    late["flags"][1] = Flag.BACKFILLED
    world.append(late)
    world.flush()
    after = world.snapshot().bars([1], *EVER, 60 * SECOND).bars
    assert (after["revision"] - before["revision"]).tolist() == [int(k == 5) for k in range(len(after))]
    assert after["count"].sum() == before["count"].sum() + 2


def test_aggregated_trades_make_bars_only_where_there_are_no_trades(world: World) -> None:
    records = trades(200, instruments=2)
    records["kind"][records["instrument"] == 2] = Kind.AGG_TRADE
    both = trades(50, instruments=1, seed=3)
    both["kind"] = Kind.AGG_TRADE
    world.append(records)
    world.append(both)
    world.flush()
    for raw in (True, False):
        found = world.snapshot().bars(None, *EVER, DAY, raw=raw)
        counts = dict(zip(found.instrument_id.tolist(), found.bars["count"].tolist(), strict=True))
        assert counts == {i: int((records["instrument"] == i).sum()) for i in (1, 2)}


def test_page_has_the_fields_that_doors_rely_on() -> None:
    assert [field.name for field in fields(Page)] == ["rows", "next", "missing"]
