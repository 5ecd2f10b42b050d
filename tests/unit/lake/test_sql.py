"""X11: the SQL door reads the lake's live files and nothing else on the machine."""

from __future__ import annotations

import pytest
from lake_support import NOON, World, market, trades

from ticktape.errors import BadInput, TooCostly
from ticktape.lake.schema import TABLES
from ticktape.lake.sql import SqlLimits, query
from ticktape.tape.reader import Reader


@pytest.fixture
def filled(world: World) -> World:
    for k in range(4):
        world.append(market(400, seed=k, start_ns=NOON + k * 10**11))
        world.flush()
    world.compact("trades", "2025-11-20")  # its old files are still on disk
    world.append(market(100, seed=9))
    world.flush()
    return world


def tape_of(world: World) -> Reader:
    """Return the tape as it is now."""
    world.reader.refresh()
    return world.reader


def test_it_counts_live_rows_only_and_takes_parameters(filled: World) -> None:
    wanted = len(filled.on_tape(*TABLES["trades"].kinds)[0])
    answer = query(filled.snapshot(), "SELECT count(*) AS n, min(date) AS d FROM trades")
    assert answer.rows.to_pylist() == [{"n": wanted, "d": "2025-11-20"}]
    sql = "SELECT count(*) AS n FROM trades WHERE instrument_id = ? AND ts_event >= ?"
    assert query(filled.snapshot(), sql, [2, 0]).rows.to_pylist()[0]["n"] > 0


def test_every_table_is_there_also_when_empty(world: World) -> None:
    world.append(trades(10))
    world.flush()
    for name in TABLES:
        rows = query(world.snapshot(), f"SELECT * FROM {name}").rows
        assert rows.column_names == [*TABLES[name].names(), TABLES[name].partition]


def test_joins_and_windows_work(filled: World) -> None:
    sql = (
        "SELECT t.position, q.bid_price FROM trades t ASOF JOIN quotes q"
        " ON t.instrument_id = q.instrument_id AND t.ts_event >= q.ts_event LIMIT 5"
    )
    assert query(filled.snapshot(), sql).rows.num_rows == 5


def test_what_is_not_flushed_yet_stands_beside_what_is(filled: World) -> None:
    filled.append(market(300, seed=11))  # on the tape only
    for name in ("trades", "quotes", "book", "gaps", "quality"):
        positions = set(filled.on_tape(*TABLES[name].kinds)[0].tolist())
        found = query(filled.snapshot(), f"SELECT position FROM {name}", tape=tape_of(filled)).rows.to_pylist()
        assert sorted(row["position"] for row in found) == sorted(positions), name
    lake = query(filled.snapshot(), "SELECT count(*) AS n FROM trades")
    both = query(filled.snapshot(), "SELECT count(*) AS n, count(DISTINCT date) AS d FROM trades", tape=tape_of(filled))
    assert both.rows.to_pylist()[0]["n"] > lake.rows.to_pylist()[0]["n"]
    assert (both.unflushed, both.upto) == ([], tape_of(filled).end)
    assert both.rows.to_pylist()[0]["d"] == 1


BARS = (
    "SELECT instrument_id, basis, ts_event, min(low) AS low, max(high) AS high, sum(count) AS n,"
    " sum(volume_low) AS volume FROM bars GROUP BY ALL ORDER BY ALL"
)


def test_bars_of_what_is_not_flushed_are_those_that_a_flush_writes(filled: World) -> None:
    filled.append(market(300, seed=11))
    before = query(filled.snapshot(), BARS, tape=tape_of(filled)).rows.to_pylist()
    filled.flush()
    assert query(filled.snapshot(), BARS, tape=tape_of(filled)).rows.to_pylist() == before
    assert query(filled.snapshot(), BARS).rows.to_pylist() == before


def test_of_a_long_tail_the_first_part_is_read_and_the_rest_declared(filled: World) -> None:
    start = filled.snapshot().position("trades")
    filled.append(market(300, seed=11))
    reader = tape_of(filled)
    answer = query(filled.snapshot(), "SELECT max(position) AS p FROM trades", limits=SqlLimits(tail=100), tape=reader)
    assert start <= answer.rows.to_pylist()[0]["p"] < start + 100 == answer.upto
    rest = f"{reader.end - start - 100} records of the tape from position {start + 100} on"
    assert answer.unflushed == [f"trades: {rest} are not flushed yet"]


CORPUS = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM read_parquet('{lake}/trades/*/*.parquet')",
    "SELECT * FROM '{lake}/trades/date=2025-11-20/*.parquet'",
    "SELECT * FROM glob('{lake}/**')",
    "SELECT * FROM read_blob('{lake}/keep.lock')",
    "SELECT * FROM trades; COPY trades TO '/tmp/stolen.csv'",
    "COPY (SELECT 1) TO '/tmp/stolen.csv'",
    "COPY trades FROM '/etc/passwd'",
    "ATTACH '/tmp/stolen.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET enable_external_access",
    "PRAGMA database_list",
    "CREATE TABLE x AS SELECT 1",
    "DROP VIEW trades",
    "DELETE FROM trades",
    "INSERT INTO trades SELECT * FROM trades",
    "EXPORT DATABASE '/tmp/stolen'",
    "IMPORT DATABASE '/tmp/stolen'",
    "CALL pragma_version()",
    "EXPLAIN ANALYZE SELECT * FROM read_text('/etc/passwd')",
    "SELECT getenv('HOME')",
    "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
    "SELECT * FROM read_csv('http://169.254.169.254/latest/meta-data')",
    "SELECT * FROM sqlite_scan('/tmp/x', 'y')",
    "SELECT * FROM read_json('/proc/self/environ')",
    "SELECT 1; SELECT 2",
    "",
    "nonsense",
    "SELECT * FROM trades WHERE 1 = 1 --'\n UNION ALL SELECT content FROM read_text('/etc/passwd')",
    "SELECT " + "1+" * 6000 + "1",
]


@pytest.mark.parametrize("sql", CORPUS, ids=range(len(CORPUS)))
def test_x11_whatever_reaches_beyond_the_lake_is_refused(filled: World, sql: str) -> None:
    with pytest.raises(BadInput):
        query(filled.snapshot(), sql.format(lake=filled.lake))
    with pytest.raises(BadInput):
        query(filled.snapshot(), sql.format(lake=filled.lake), tape=tape_of(filled))


def test_r32_a_runaway_is_cut_by_time_and_by_memory(filled: World) -> None:
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = 7"
    with pytest.raises(TooCostly, match="longer"):
        query(filled.snapshot(), endless, limits=SqlLimits(seconds=0.2))
    large = "SELECT list(a.range) FROM range(100000000) a GROUP BY a.range % 3"
    with pytest.raises(TooCostly, match="more than"):
        query(filled.snapshot(), large, limits=SqlLimits(memory_mb=64))


def test_rows_beyond_the_limit_are_cut_and_it_is_said(filled: World) -> None:
    answer = query(filled.snapshot(), "SELECT * FROM range(50000)", limits=SqlLimits(rows=10))
    assert (answer.rows.num_rows, answer.cut) == (10, True)
    assert not query(filled.snapshot(), "SELECT 1", limits=SqlLimits(rows=10)).cut


def test_a_damaged_file_is_left_out_and_named(filled: World) -> None:
    entry = filled.snapshot().versions["quotes"].files[1]
    path = filled.lake / "quotes" / entry.path
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    answer = query(filled.snapshot(), "SELECT count(*) AS n FROM quotes")
    assert [m.first_position for m in answer.missing] == [entry.positions[0]]
    total = sum(e.rows for e in filled.snapshot().versions["quotes"].files)
    assert answer.rows.to_pylist()[0]["n"] == total - entry.rows
