"""X12, R32: a hundred of the worst questions at once take no more than they may, and nobody else waits for them."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp_support import answering, furnish
from serve_support import SECOND, T0, House

from ticktape.serve.past.asks import Allowance

MEMORY_MB, WORKERS = 512, 2
WORST = (
    ("POST", "sql", "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range % 7 = b.range % 11"),
    ("POST", "sql", "SELECT list(a.range) FROM range(1000000000) a"),
    ("POST", "sql", "SELECT count(*) FROM trades a, trades b, trades c, trades d, quotes e"),
    ("GET", "ticks/historical?symbols=BTCUSDT,/ES&kind=quotes&start_time=2015-01-01&end_time=2030-01-01", ""),
)
SAID = {(200, ""), (422, "too_costly"), (429, "too_many"), (503, "overloaded")}


def held_by_workers() -> list[int]:
    """Return the bytes of memory of its own that each worker of ours holds."""
    found: list[int] = []
    for task in Path(f"/proc/{os.getpid()}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # what has just ended
            for pid in (task / "children").read_text().split():
                if b"ticktape.serve.past.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    fields = Path(f"/proc/{pid}/statm").read_text().split()
                    found.append((int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE"))
    return found


async def worst(client: httpx2.AsyncClient, n: int, key: str) -> httpx2.Response:
    """Ask one of the worst questions."""
    method, path, query = WORST[n % len(WORST)]
    body: dict[str, Any] = {"json": {"query": query}} if query else {}
    return await client.request(method, f"/api/v1/{path}", headers={"Authorization": f"Bearer {key}"}, **body)


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_x12_r32_a_hundred_of_the_worst_questions_hold_up_nobody(house: House) -> None:
    furnish(house)
    btc, began = house.directory.by_symbol("BTCUSDT"), house.tape.position
    keys = [house.key() for _ in range(10)]
    allowed = Allowance(seconds=0.5, memory_mb=MEMORY_MB)
    most_workers = most_bytes = rounds = 0
    limits: dict[str, Any] = {"past_workers": WORKERS, "past_queue": 8, "past_per_key": 4}
    # The clock stands still: a bucket of the usual depth would never fill again.
    async with answering(house, key=house.key(per_s=1e9), past=allowed, **limits) as client:
        client.timeout = None  # a question may stand in the queue while worker after worker is stopped
        asked = [asyncio.create_task(worst(client, n, keys[n % len(keys)])) for n in range(100)]
        while not all(task.done() for task in asked):
            house.trades(btc, 10, T0 + (1 + rounds) * SECOND, 1000 + 10 * rounds)
            rounds += 1
            live = await client.get("/api/v1/ticks/realtime?symbols=BTCUSDT&limit=1")
            assert live.status_code == 200
            held = held_by_workers()
            most_workers, most_bytes = max(most_workers, len(held)), max(most_bytes, sum(held))
        answers = [task.result() for task in asked]
        newest = (await client.get("/api/v1/ticks/realtime?symbols=BTCUSDT&limit=1")).json()["ticks"][-1]
        again = await client.post("/api/v1/sql", json={"query": "SELECT count(*) AS n FROM trades"})
    told = {(a.status_code, "" if a.status_code == 200 else a.json()["error"]["code"]) for a in answers}
    assert told <= SAID
    statuses = {status for status, _ in told}
    assert 422 in statuses
    assert statuses & {429, 503}, "there is no room for a hundred"
    assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code in (429, 503))
    assert house.tape.position - began >= 11 * rounds, "ten trades and a commit a round, another where a segment ends"
    assert newest["venue_id"] == 1000 + 10 * rounds - 1
    assert rounds > 10, "the live answers went on meanwhile"
    assert again.json()["rows"] == [[600 + 10 * rounds]], "what is not flushed counts, and the door is open again"
    assert most_workers <= WORKERS
    assert most_bytes <= WORKERS * (MEMORY_MB << 20) * 5 // 4, "looked at every 50 ms"


@pytest.mark.asyncio
async def test_statements_know_what_instruments_and_sources_are_called(house: House) -> None:
    furnish(house)
    async with answering(house) as client:
        query = (
            "SELECT i.symbol, s.name, count(*) AS n, max(t.price / power(10, i.price_scale)) > 0 AS good FROM trades t"
            " JOIN instruments i USING (instrument_id) JOIN sources s USING (source_id) GROUP BY ALL ORDER BY 1"
        )
        found = (await client.post("/api/v1/sql", json={"query": query})).json()
        assert found["rows"] == [["/ES", "binance", 300, True], ["BTCUSDT", "binance", 300, True]]
        assert (found["as_of_position"], found["missing"]) == (house.tape.position, [])
        about = await client.post("/api/v1/sql", json={"query": "SELECT * FROM instruments ORDER BY symbol"})
        assert about.json()["columns"][:5] == ["instrument_id", "symbol", "venue", "asset_class", "tick_size"]
        assert about.json()["rows"][1][4] == "0.01"
