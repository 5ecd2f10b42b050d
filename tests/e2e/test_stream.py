"""`ticktape serve` with its stream workers as processes: on a tape being written, killed, and stopped."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websockets

from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import Kind, Records, empty
from ticktape.serve.keys import KeyStore
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.writer import Writer

T0 = 1_763_640_000_000_000_000  # 2025-11-20T12:00:00Z
SECOND = 1_000_000_000


@contextmanager
def serve(data: Path, port: int) -> Generator[subprocess.Popen[bytes]]:
    """Run `ticktape serve` with two stream workers; they are gone afterwards."""
    command = [sys.executable, "-m", "ticktape.cli.main", "serve", "--data", str(data), "--port", str(port)]
    started = subprocess.Popen([*command, "--stream-workers", "2"], stderr=subprocess.PIPE)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
            started.wait()
        if started.stderr:
            started.stderr.close()


def trades(directory: TapeDirectory, first: int, count: int) -> Records:
    """Return trades, a tenth of a second apart."""
    listing = Listing(
        symbol="BTCUSDT", venue="binance", asset_class=AssetClass.CRYPTO, tick_size=Decimal("0.01"),
        size_step=Decimal("0.00001"),
    )  # fmt: skip
    rows = empty(count)
    rows["kind"], rows["instrument"] = Kind.TRADE, directory.enrol("binance", "BTCUSDT", listing).id
    rows["source"], rows["c"] = directory.source_id("binance"), range(first, first + count)
    rows["ts_event"] = rows["ts_recv"] = T0 + rows["c"] * (SECOND // 10)
    rows["a"], rows["b"] = 6543210000000, 100000000
    return rows


async def connected(port: int, key: str) -> Any:
    """Connect as soon as somebody listens; the test's own time-out is the bound."""
    while True:
        try:
            return await websockets.connect(
                f"ws://127.0.0.1:{port}/api/v1/stream", additional_headers={"Authorization": f"Bearer {key}"}
            )
        except (OSError, websockets.InvalidHandshake):
            await asyncio.sleep(0.05)


async def heard(ws: Any, stop_at: int) -> tuple[list[dict[str, Any]], int]:
    """Return the events up to a venue's id, and the position reached."""
    events: list[dict[str, Any]] = []
    position = -1
    while not any(e.get("venue_id") == stop_at for e in events):
        message = json.loads(await ws.recv())
        if message["type"] == "update":
            events, position = events + message["events"], message["position"]
    return events, position


@pytest.mark.asyncio
async def test_the_stream_goes_on_by_position_over_a_kill_and_ends_with_a_word(tmp_path: Path, port: int) -> None:
    keys = KeyStore(tmp_path)
    key = keys.create("test", ["stream"]).key
    keys.close()
    tape, directory = Writer(tmp_path / "tape"), TapeDirectory(tmp_path / "tape")
    tape.append(trades(directory, 1, 10))
    told = {"op": "subscribe", "channels": ["trades", "bars.1s"], "symbols": ["BTCUSDT"]}
    with serve(tmp_path, port) as first:
        ws = await connected(port + 1, key)
        await ws.send(json.dumps(told | {"from_position": 0}))
        before, position = await heard(ws, 10)
        first.kill()
        first.wait()
        with pytest.raises(websockets.ConnectionClosed):  # its workers go with it
            await heard(ws, -1)
    tape.append(trades(directory, 11, 25))
    with serve(tmp_path, port) as second:
        after: list[dict[str, Any]] = []
        while not after:  # a worker of the first may be the one that answers, and go
            ws = await connected(port + 1, key)
            with suppress(websockets.ConnectionClosed):
                await ws.send(json.dumps(told | {"from_position": position + 1}))
                after, _ = await heard(ws, 35)
        second.send_signal(signal.SIGTERM)
        with pytest.raises(websockets.ConnectionClosed) as caught:
            await heard(ws, -1)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
        assert await asyncio.to_thread(second.wait, 10) == 0
    directory.close()
    tape.close()
    found = before + after
    assert [e["venue_id"] for e in found if e["kind"] == "trade"] == list(range(1, 36))
    assert [e["start"] for e in found if e["kind"] == "bar"] == [T0, T0 + SECOND, T0 + 2 * SECOND]
