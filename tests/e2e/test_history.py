"""History over a real server while the keeper flushes, compacts and trims: every row once, all the time (R31)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serve"))

from serve_support import MS, SECOND, T0, Client, House, serving, until

from ticktape.keep.process import Keeper, KeepSettings
from ticktape.model.records import Kind, empty
from ticktape.tape.reader import Reader

API = "/api/v1/"
RANGE = "start_time=2025-11-01&end_time=2025-12-31"
BATCH = 500
DAY = 86_400 * SECOND


def append(house: House, instrument_id: int, first: int, n: int) -> None:
    """Append trades with dense ids, of which every tenth comes for the day before."""
    rows = empty(n)
    ids = np.arange(first, first + n)
    rows["kind"], rows["instrument"], rows["source"], rows["a"], rows["b"] = Kind.TRADE, instrument_id, 1, 10**10, 10**8
    rows["c"], rows["ts_event"] = ids, T0 + ids * 20 * MS - np.where(ids % 10 == 0, DAY, 0)
    rows["ts_recv"] = T0 + ids * 20 * MS + MS
    house.tape.append(rows)


async def ids_of(client: Client, limit: int, symbol: str) -> list[int]:
    """Return the venue ids of all pages."""
    found, cursor = list[int](), ""
    while True:
        answer = await client.get(f"{API}ticks/historical?symbols={symbol}&{RANGE}&limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        assert [note for note in body["notes"] if note["code"] != "only_tape"] == []
        found += [row["venue_id"] for row in body["ticks"]]
        if body["next_cursor"] is None:
            return found
        cursor = f"&cursor={body['next_cursor']}"


@pytest.mark.asyncio
async def test_r31_no_row_is_lost_or_twice_while_the_keeper_works(tmp_path: Path) -> None:
    house = House(tmp_path / "data")
    one = house.enrol("BTCUSDT")
    keeper = Keeper(KeepSettings(data=house.data, hot_hours=0.01), Reader(house.data / "tape"))
    written, done = 0, asyncio.Event()

    async def write_and_keep() -> None:
        nonlocal written
        for step in range(40):
            append(house, one.id, written, BATCH)
            written += BATCH
            await asyncio.to_thread(keeper.flush)
            if step % 10 == 9:
                await asyncio.to_thread(keeper.tidy)
        done.set()

    try:
        async with serving(house) as client:
            client.timeout = 50
            await until(lambda: client.get(f"{API}status"), 200)
            work = asyncio.create_task(write_and_keep())
            rounds = 0
            while not done.is_set() or rounds < 5:
                least = written
                found = await ids_of(client, 700, "BTCUSDT")
                assert len(set(found)) == len(found)
                assert set(range(least)) <= set(found) <= set(range(written))
                least = written
                bars = (await client.get(f"{API}bars/BTCUSDT?{RANGE}&interval=1h&limit=5000")).json()["bars"]
                assert least <= sum(bar["count"] for bar in bars) <= written
                assert (await client.get(f"{API}ticks/realtime?symbols=BTCUSDT&limit=1")).status_code == 200
                rounds += 1
            await work
            assert sorted(await ids_of(client, 5000, "BTCUSDT")) == list(range(written))
            assert Reader(house.data / "tape").first > 0  # the tape was trimmed under way
    finally:
        keeper.close()
        house.close()
