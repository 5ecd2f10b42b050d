"""The past over a real server and real workers: routes, forms, limits, what is refused, and what a runaway costs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from past_support import KEY
from serve_support import MS, SECOND, T0, Client, House, serving, until
from test_rest_refusals import HOSTILE, held

from ticktape.errors import TooCostly, Unavailable
from ticktape.keep.flush import Flusher
from ticktape.model.records import GapState
from ticktape.serve import answers as a
from ticktape.serve.limits import TooMany
from ticktape.serve.past import pool as pools
from ticktape.serve.past.asks import Allowance, AskSql
from ticktape.serve.past.pool import Body, Overloaded, Pool, PoolSettings
from ticktape.tape.reader import Reader

API = "/api/v1/"
RANGE = "start_time=2025-11-20&end_time=2025-11-21"
ROUTES = [
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}", a.Historical),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&kind=quotes", a.Historical),
    (f"ticks/historical?symbols=BTCUSDT,/ES&{RANGE}&interval=37s", a.Historical),
    (f"ticks/asof?symbol=BTCUSDT&{RANGE}", a.AsofAnswer),
    (f"bars/BTCUSDT?{RANGE}&interval=1m", a.BarsAnswer),
    (f"bars//ES?{RANGE}&interval=100ms&basis=quotes", a.BarsAnswer),
    (f"bars/%2FES?{RANGE}", a.BarsAnswer),
    (f"estimate?symbols=BTCUSDT&{RANGE}&interval=1d", a.EstimateAnswer),
    ("completeness/BTCUSDT/2025-11-20", a.CompletenessAnswer),
    ("completeness/%2FES/2025-11-20?basis=trade_date", a.CompletenessAnswer),
]


def furnish(house: House) -> None:
    """Put two instruments on the tape and half of it into the lake."""
    for symbol in ("BTCUSDT", "/ES"):
        one = house.enrol(symbol)
        house.trades(one, 300)
        house.quotes(one, 300)
    house.gap(one.id, GapState.CLOSED, start=T0 + MS, duration_ns=MS)
    Flusher(house.data / "lake", Reader(house.data / "tape")).flush(700)


@asynccontextmanager
async def answering(house: House, key: str | None = None, **more: Any) -> AsyncGenerator[Client]:
    async with serving(house, key, **more) as client:
        client.timeout = 50
        await until(lambda: client.get(f"{API}status"), 200)
        yield client


@pytest.mark.asyncio
async def test_every_route_answers_its_declared_type_and_every_form(house: House) -> None:
    furnish(house)
    async with answering(house) as client:
        for target, kind in ROUTES:
            status, body = await client.exactly(API + target)
            found = msgspec.json.decode(body)
            assert status == 200, (target, found)
            assert set(found) == set(kind.__struct_fields__), target
        media = {
            "text/csv": "text/csv; charset=utf-8",
            "application/x-ndjson": "application/x-ndjson",
            "application/vnd.apache.arrow.stream": "application/vnd.apache.arrow.stream",
            "application/vnd.apache.parquet": "application/vnd.apache.parquet",
            "application/msgpack": "application/vnd.msgpack",
            "text/html,application/xhtml+xml,*/*;q=0.8": "application/json",
            "application/json;q=0.1, text/csv;q=0.5": "text/csv; charset=utf-8",
        }
        target = f"{API}ticks/historical?symbols=BTCUSDT&{RANGE}&limit=250"
        for accept, said in media.items():
            answer = await client.get(target, headers={"Accept": accept})
            assert (answer.status_code, answer.headers["content-type"]) == (200, said), accept
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert "ticktape-next-cursor" in answer.headers
        assert pa.ipc.open_stream((await client.get(target + "&format=arrow")).content).read_all().num_rows == 250
        assert (await client.get(target, headers={"Accept": "image/png"})).status_code == 406
        assert (await client.get(target, headers={"Accept": "text/csv;q=0"})).status_code == 406


@pytest.mark.asyncio
async def test_a_large_answer_arrives_whole(house: House) -> None:
    one = house.enrol("BTCUSDT")
    for start in range(0, 20_000, 4000):
        house.trades(one, 4000, T0 + start * MS, start)
    async with answering(house) as client:
        answer = await client.get(f"{API}ticks/historical?symbols=BTCUSDT&{RANGE}&limit=20000")
        assert len(answer.content) > 4 * pools.CHUNK
        assert [row["venue_id"] for row in answer.json()["ticks"]] == list(range(20_000))


# -- refused ------------------------------------------------------------------------------------

TARGETS = [
    f"bars/{{}}?{RANGE}",
    f"ticks/historical?{RANGE}&symbols={{}}",
    f"ticks/asof?{RANGE}&symbol={{}}",
    f"estimate?{RANGE}&symbols={{}}",
    "completeness/{}/2025-11-20",
]
INJECTIONS = [
    "1m;DROP TABLE trades",
    "1m' OR '1'='1",
    "1m--",
    "1m%00",
    "-1m",
    "1e9s",
    "0s",
    "%27",
    "1m)",
    "${1m}",
    "1w",
]
REFUSED = [
    (f"ticks/historical?{RANGE}", 422, "bad_input"),
    ("ticks/historical?symbols=BTCUSDT", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&kind=secrets", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&kind=book&interval=1m", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&format=xlsx", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&limit=0", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&limit=100001", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&limit=250001&format=arrow", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&cursor=AAAA", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&cursor={'A' * 2000}", 422, "bad_input"),
    (f"ticks/historical?symbols=BTCUSDT&{RANGE}&as_known_at=position:-1", 422, "bad_input"),
    ("ticks/historical?symbols=BTCUSDT&start_time=1763640000", 422, "bad_input"),
    ("ticks/historical?symbols=BTCUSDT&start_time=2025-11-21&end_time=2025-11-20", 422, "bad_input"),
    (f"ticks/historical?symbols=NOBODY&{RANGE}", 404, "unknown_symbol"),
    (f"bars/NOBODY?{RANGE}", 404, "unknown_symbol"),
    (f"ticks/asof?symbol=BTCUSDT,ETHUSDT&{RANGE}", 422, "bad_symbol"),
    ("completeness/BTCUSDT/yesterday", 422, "bad_input"),
    ("completeness/BTCUSDT/2999-01-01", 422, "bad_input"),
    ("completeness/BTCUSDT/2025-11-20?basis=moon", 422, "bad_input"),
]


@pytest.mark.asyncio
async def test_x10_x11_what_is_hostile_or_wrong_is_refused_before_any_worker_starts(house: House) -> None:
    house.enrol("BTCUSDT")
    async with answering(house) as client:
        for target, symbol in product(TARGETS, HOSTILE):
            status, body = await client.exactly(API + target.format(symbol))
            assert status in {404, 422}, (target, symbol, body)
            assert held(msgspec.json.decode(body))["code"] in {"bad_symbol", "unknown_symbol", "not_found"}
        for width in INJECTIONS:
            for target in (f"bars/BTCUSDT?{RANGE}", f"ticks/historical?symbols=BTCUSDT&{RANGE}"):
                status, body = await client.exactly(f"{API}{target}&interval={width.replace(' ', '%20')}")
                assert (status, held(msgspec.json.decode(body))["code"]) == (422, "bad_input"), width
        for target, status, code in REFUSED:
            answer = await client.get(API + target)
            assert (answer.status_code, held(answer.json())["code"]) == (status, code), (target, answer.text)


@pytest.mark.asyncio
async def test_a_key_for_some_symbols_reads_no_others_past_and_no_sql(house: House) -> None:
    furnish(house)
    async with answering(house, house.key(symbols=["/ES"])) as client:
        for target in TARGETS:
            assert (await client.get(API + target.format("BTCUSDT"))).status_code == 403, target
        assert (await client.get(f"{API}ticks/historical?{RANGE}&symbols=/ES,BTCUSDT")).status_code == 403
        assert (await client.get(f"{API}ticks/historical?{RANGE}&symbols=/ES")).status_code == 200
        answer = await client.post(f"{API}sql", json={"query": "SELECT 1"})
        assert (answer.status_code, held(answer.json())["code"]) == (403, "forbidden")


# -- SQL ----------------------------------------------------------------------------------------


def attacks(house: House) -> list[str]:
    secret = house.data / "pepper"
    return [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        f"SELECT * FROM read_text('{secret}')",
        f"SELECT * FROM read_blob('{secret}')",
        f"SELECT content FROM read_text('{house.data}/**')",
        f"SELECT * FROM glob('{house.data}/*')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM parquet_metadata('/etc/passwd')",
        "SELECT * FROM read_json_auto('http://127.0.0.1:1/x')",
        "SELECT * FROM 'https://example.com/x.parquet'",
        f"SELECT * FROM read_parquet('{house.data}/lake/trades/**/*.parquet')",
        f"COPY (SELECT 1) TO '{house.data}/out.csv'",
        "COPY trades FROM '/etc/passwd'",
        f"ATTACH '{house.data}/keys.sqlite' AS k",
        f"SELECT * FROM sqlite_scan('{house.data}/keys.sqlite', 'keys')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "FORCE INSTALL httpfs FROM 'http://127.0.0.1:1'",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "RESET lock_configuration",
        "PRAGMA enable_external_access",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "EXPORT DATABASE '/tmp/ticktape-x'",
        "IMPORT DATABASE '/tmp/ticktape-x'",
        "CREATE TABLE x AS SELECT 1",
        "CREATE SECRET s (TYPE s3)",
        "DROP VIEW trades",
        "INSERT INTO trades VALUES (1)",
        "DELETE FROM trades",
        "UPDATE trades SET price = 0",
        "CHECKPOINT",
        "VACUUM",
        "BEGIN",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY (SELECT 1) TO '/tmp/ticktape-x'",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "SELECT getenv('HOME')",
        "SELECT * FROM query('COPY (SELECT 1) TO ''/tmp/ticktape-x''')",
        "SELECT * FROM query_table('/etc/passwd')",
        "SELECT * FROM snapshot",  # Python's own variables
        "SELECT * FROM con",
        "SELECT * FROM missing",
        "SELECT * FROM paths",
        "SELECT * FROM rows",
        "SELECT write_log('x')::INT + 'x'",
        "SELECT * FROM python_map_function()",
        "",
        ";",
        "--",
        "SELECT",
        "\x00",
        "SELECT " + "(" * 5000,
        "x" * 20_000,
    ]


def written_outside() -> bool:
    return Path("/tmp/ticktape-x").exists()


@pytest.mark.asyncio
async def test_sql_reads_the_tables_and_nothing_else(house: House) -> None:
    furnish(house)
    async with answering(house) as client:
        before = [path for path in sorted(house.data.rglob("*")) if "audit" not in path.parts]
        good = await client.post(f"{API}sql", json={"query": "SELECT kind, count(*) AS n FROM trades GROUP BY 1"})
        found = good.json()
        assert set(found) == set(a.SqlAnswer.__struct_fields__)
        assert (found["columns"], found["rows"], found["cut"]) == (["kind", "n"], [[1, 600]], False)
        for query in attacks(house):
            answer = await client.post(f"{API}sql", json={"query": query})
            error = held(answer.json())
            # DuckDB 2.0's parser takes gigabytes for nested parentheses: then the worker is stopped.
            assert (answer.status_code, error["code"] in {"bad_input", "too_costly"}) == (422, True), (query, error)
            assert "root:" not in answer.text
        assert [path for path in sorted(house.data.rglob("*")) if "audit" not in path.parts] == before
        assert not written_outside()
        asked = {"query": "SELECT position FROM trades ORDER BY 1", "limit": 10}
        cut = (await client.post(f"{API}sql", json=asked)).json()
        assert (cut["count"], cut["cut"], len(cut["rows"])) == (10, True, 10)
        text = await client.post(f"{API}sql?format=csv", json={"query": "SELECT 1 AS a, 'x,\"y' AS b"})
        assert text.text == 'a,b\n1,"x,""y"\n'
        arrow = await client.post(f"{API}sql", json=asked, headers={"Accept": "application/vnd.apache.arrow.stream"})
        assert pa.ipc.open_stream(arrow.content).read_all().num_rows == 10
        for body in (
            b"",
            b"[]",
            b'{"query": 1}',
            b'{"query": "SELECT 1", "file": "x"}',
            b'{"query":"SELECT 1","limit":0}',
        ):
            assert (await client.post(f"{API}sql", content=body)).status_code == 422, body
        odd = (
            "SELECT [1, 2] AS l, {'a': 1.5::DECIMAL(9, 3)} AS s, 'NaN'::DOUBLE AS n, DATE '2025-11-20' AS d, NULL AS z"
        )
        assert (await client.post(f"{API}sql", json={"query": odd})).json()["rows"][0][0] == [1, 2]


RUNAWAY = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range % 7 = b.range % 11"
EATER = "SELECT list(a.range) FROM range(1000000000) a"


@pytest.mark.asyncio
async def test_r32_x12_a_runaway_is_cut_and_the_live_answers_do_not_wait_for_it(house: House) -> None:
    furnish(house)
    async with answering(house, past=Allowance(seconds=0.5, memory_mb=1024)) as client:
        runaway = asyncio.create_task(client.post(f"{API}sql", json={"query": RUNAWAY}))
        while not runaway.done():
            assert (await client.get(f"{API}ticks/realtime?symbols=BTCUSDT")).status_code == 200
        answer = await runaway
        assert (answer.status_code, held(answer.json())["code"]) == (422, "too_costly")
        eaten = await client.post(f"{API}sql", json={"query": EATER})
        assert (eaten.status_code, held(eaten.json())["code"]) == (422, "too_costly")
        assert (await client.get(f"{API}estimate?symbols=BTCUSDT&{RANGE}")).status_code == 200


# -- the workers --------------------------------------------------------------------------------


def one(query: str = "SELECT 1", **allowance: Any) -> AskSql:
    return AskSql(now_ns=T0, allowance=Allowance(**allowance), sources={}, query=query, limit=10, format="json")


@asynccontextmanager
async def pool_of(house: House, **settings: Any) -> AsyncGenerator[Pool]:
    pool = Pool(house.data, PoolSettings(**settings))
    try:
        yield pool
    finally:
        for pid in pool.processes:
            os.kill(pid, signal.SIGCONT)
        await pool.close()
        assert pool.processes == []


@pytest.mark.asyncio
async def test_no_worker_is_there_until_somebody_asks_and_one_serves_many(house: House) -> None:
    async with pool_of(house) as pool:
        assert pool.processes == []
        for _ in range(3):
            await pool.ask("k", one())
            assert len(pool.processes) == 1


@pytest.mark.asyncio
async def test_a_full_queue_is_told_at_once_and_one_key_cannot_fill_it(house: House) -> None:
    async with pool_of(house, workers=1, queue=2, per_key=2) as pool:
        await pool.ask("k", one())
        (pid,) = pool.processes
        os.kill(pid, signal.SIGSTOP)
        waiting = [asyncio.create_task(pool.ask(key, one())) for key in ("k", "k", "other")]
        while pool.asking < 3:  # noqa: ASYNC110 - another part's state
            await asyncio.sleep(0)
        with pytest.raises(TooMany):
            await pool.ask("k", one())
        with pytest.raises(Overloaded):
            await pool.ask("third", one())
        os.kill(pid, signal.SIGCONT)
        assert all(isinstance(body, Body) for body in await asyncio.gather(*waiting))
        assert pool.asking == 0
        await pool.ask("third", one())


@pytest.mark.asyncio
async def test_a_worker_that_hangs_grows_or_dies_is_replaced(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "GRACE_S", 0.1)
    async with pool_of(house, workers=1) as pool:
        await pool.ask("k", one())
        (first,) = pool.processes
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(TooCostly, match="longer than"):
            await pool.ask("k", one(seconds=0.1))
        await pool.ask("k", one())
        (second,) = pool.processes
        assert second != first
        os.kill(second, signal.SIGSTOP)
        with pytest.raises(TooCostly, match="more than 1 MiB"):
            await pool.ask("k", one(memory_mb=1))
        await pool.ask("k", one())
        (third,) = pool.processes
        os.kill(third, signal.SIGKILL)
        with pytest.raises(Unavailable, match="died"):
            await pool.ask("k", one())
        await pool.ask("k", one())


@pytest.mark.asyncio
async def test_a_worker_ends_with_the_one_who_asks(house: House) -> None:
    async with pool_of(house) as pool:
        await pool.ask("k", one())
        pool._reap()  # pyright: ignore[reportPrivateUsage]
        assert pool.processes == []
        await pool.ask("k", one())  # and a new one is there when it is needed


@pytest.mark.asyncio
async def test_without_the_libraries_of_the_lake_the_live_answers_stand(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.trades(house.enrol("BTCUSDT"), 5)
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "deltalake.py").write_text("raise ImportError('No module named deltalake')")
    monkeypatch.setenv("PYTHONPATH", str(fake))
    async with answering(house) as client:
        assert (await client.get(f"{API}ticks/realtime?symbols=BTCUSDT")).status_code == 200
        answer = await client.get(f"{API}ticks/historical?symbols=BTCUSDT&{RANGE}")
        error = held(answer.json())
        assert (answer.status_code, error["code"]) == (503, "unavailable")
        assert "deltalake" in error["message"]


@pytest.mark.asyncio
async def test_serving_loads_neither_arrow_nor_delta_nor_duckdb() -> None:
    code = (
        "import sys, ticktape.serve.process\n"
        "print([m for m in ('pyarrow', 'deltalake', 'duckdb', 'pandas') if m in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out == b"[]\n"


def test_the_key_of_these_tests_may_do_everything() -> None:
    KEY.require(["sql"])  # type: ignore[list-item]
    assert SECOND > MS
