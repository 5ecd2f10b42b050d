"""Bulk feeds and the venue as a process: what benches and kill -9 campaigns stand on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

import ticktape
from ticktape.simulate.binance import BinanceVenue, Drop, VenueSettings

pytestmark = pytest.mark.timeout(60)


def url(venue: BinanceVenue, symbols: list[str]) -> str:
    return f"{venue.ws_url}/stream?streams={'/'.join(f'{s.lower()}@trade' for s in symbols)}"


async def received(address: str, count: int) -> dict[str, list[Any]]:
    by_symbol: dict[str, list[Any]] = defaultdict(list)
    async with connect(address, max_queue=None) as ws:
        for _ in range(count):
            frame = json.loads(await ws.recv())
            assert frame["stream"] == frame["data"]["s"].lower() + "@trade"
            by_symbol[frame["data"]["s"]].append(frame["data"])
    return by_symbol


@pytest.mark.asyncio
@pytest.mark.parametrize("fields", [{"flat_out": 3}, {"paced_per_s": 20_000, "paced_symbols": 3}])
async def test_bulk_frames_have_dense_ids_and_are_the_ledger(fields: dict[str, int]) -> None:
    """More frames than the prepared rows, so that the seam between two rounds is in it."""
    count = 10_000
    async with BinanceVenue(VenueSettings(bulk_frames=count, **fields)) as venue:  # pyright: ignore[reportArgumentType]
        seen = await received(url(venue, list(venue.listings)), count)
        await venue.playing
        for symbol in venue.listings:
            rows = [(r.trade_id, r.price, r.size, r.time_us // 1000, r.buyer_is_maker) for r in venue.ledger(symbol)]
            got = [
                (d["t"], round(float(d["p"]) * 1e8), round(float(d["q"]) * 1e8), d["T"], d["m"]) for d in seen[symbol]
            ]
            assert got == rows
            assert [row[0] for row in rows] == list(range(rows[0][0], rows[0][0] + len(rows)))
    assert sum(len(rows) for rows in seen.values()) == count


@pytest.mark.asyncio
async def test_a_client_gets_only_what_it_subscribed() -> None:
    async with BinanceVenue(VenueSettings(flat_out=5, bulk_frames=5000)) as venue:
        seen = await received(url(venue, ["ETHUSDT", "SIM002USDT"]), 2000)

    assert set(seen) == {"ETHUSDT", "SIM002USDT"}
    assert len(seen["ETHUSDT"]) == 1000


@pytest.mark.asyncio
async def test_faults_reach_into_bulk_feeds() -> None:
    async with BinanceVenue(VenueSettings(paced_per_s=5000, paced_symbols=1, bulk_frames=1000)) as venue:
        venue.order(Drop(after=10, count=5))
        seen = await received(url(venue, ["BTCUSDT"]), 995)
        ids = [row.trade_id for row in venue.ledger("BTCUSDT")]

    assert [d["t"] for d in seen["BTCUSDT"]] == ids[:10] + ids[15:]


@pytest.mark.asyncio
async def test_a_bounded_ledger_forgets_the_oldest() -> None:
    async with BinanceVenue(VenueSettings(flat_out=1, bulk_frames=50_000, ledger_limit=1000)) as venue:
        await received(url(venue, ["BTCUSDT"]), 50_000)
        rows = venue.ledger("BTCUSDT")

    assert 1000 <= len(rows) <= 1250 + 2048
    assert rows[-1].trade_id - rows[0].trade_id == len(rows) - 1


@asynccontextmanager
async def process(*flags: str) -> AsyncGenerator[tuple[asyncio.subprocess.Process, dict[str, Any]]]:
    """The venue as a process of its own and where it listens."""
    source = Path(ticktape.__file__).parents[1]
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ticktape.simulate.binance",
        "--json",
        *flags,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(source)},
    )
    assert child.stdout is not None
    try:
        yield child, json.loads(await child.stdout.readline() or b"{}")
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


@pytest.mark.asyncio
async def test_the_process_says_where_it_listens_and_stops_on_sigterm(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.csv"
    async with process("--paced", "2000", "--symbols", "2", "--ledger", str(ledger)) as (child, where):
        address = f"{where['ws_url']}/stream?streams=btcusdt@trade/ethusdt@trade"
        seen = await received(address, 500)
        request = urllib.request.Request(f"{where['rest_url']}/sim/status")
        status = json.loads(await asyncio.to_thread(lambda: urllib.request.urlopen(request).read()))
        child.send_signal(signal.SIGTERM)
        assert await child.wait() == 0
        assert child.stderr is not None
        assert await child.stderr.read() == b""

    assert status["frames_sent"] >= 500
    lines = [line.split(",") for line in ledger.read_text().splitlines()]
    written = {(line[0], int(line[1])): line for line in lines}
    assert len(written) == len(lines)
    for symbol, rows in seen.items():
        for data in rows:
            assert written[(symbol, data["t"])][2:4] == [data["p"], data["q"]]


@pytest.mark.asyncio
async def test_a_wrong_setting_is_misuse() -> None:
    async with process("--set", "nosuch=1") as (child, where):
        _, err = await child.communicate()

    assert (child.returncode, where) == (2, {})
    assert b"nosuch" in err
