"""Playback: a capture comes out of the simulated venue as it went in."""

from __future__ import annotations

import asyncio
import gzip
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import zstandard
from websockets.asyncio.client import connect

from ticktape.errors import BadInput
from ticktape.simulate.binance import BinanceVenue, VenueSettings
from ticktape.simulate.binance.capture import lines

pytestmark = pytest.mark.timeout(120)

FIXTURE = Path(__file__).parents[3] / "shared/fixtures/binance/hftbacktest_spot_btcusdt_20240808.gz"
needs_fixture = pytest.mark.skipif(not FIXTURE.exists(), reason=f"the real capture is not here: {FIXTURE}")
NAMES = ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth@100ms")


async def get(venue: BinanceVenue, path: str) -> Any:
    def call() -> Any:
        with urllib.request.urlopen(f"{venue.rest_url}/api/v3/{path}") as answer:
            return json.loads(answer.read())

    return await asyncio.to_thread(call)


def trade(number: int, at_ms: int) -> bytes:
    return (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"10.50000000",'
        b'"q":"1.00000000","T":%d,"m":true,"M":true}}' % (at_ms, number, at_ms)
    )


def small(path: Path, count: int = 20, step_ns: int = 1_000_000) -> list[bytes]:
    """Write a capture of `count` trades; returns its frames. The suffix chooses the packing."""
    frames = [trade(number, 1_700_000_000_000 + number) for number in range(100, 100 + count)]
    text = b"".join(b"%d %s\n" % (10**18 + i * step_ns, frame) for i, frame in enumerate(frames))
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)
    # Two members: a recorder that appends to its file leaves several.
    path.write_bytes(pack(text[: len(text) // 2]) + pack(text[len(text) // 2 :]))
    return frames


@pytest.mark.asyncio
@pytest.mark.parametrize("suffix", [".gz", ".zst", ".txt"])
@pytest.mark.parametrize("speed", [None, 1.0, 50.0])
async def test_frames_come_out_as_they_went_in(tmp_path: Path, suffix: str, speed: float | None) -> None:
    path = tmp_path / f"capture{suffix}"
    frames = small(path)
    async with BinanceVenue(VenueSettings(capture=path, speed=speed)) as venue:
        async with connect(f"{venue.ws_url}/stream?streams=btcusdt@trade") as ws:
            assert [await ws.recv(decode=False) for _ in frames] == frames
            await venue.playing
        rest = await get(venue, "historicalTrades?symbol=BTCUSDT&fromId=105&limit=3")
        info = await get(venue, "exchangeInfo")

    assert [row["id"] for row in rest] == [105, 106, 107]
    assert [s["symbol"] for s in info["symbols"]] == ["BTCUSDT"]


@pytest.mark.asyncio
async def test_playback_can_wait_for_a_command(tmp_path: Path) -> None:
    frames = small(tmp_path / "capture.txt")
    settings = VenueSettings(capture=tmp_path / "capture.txt", speed=0, capture_start="command")
    url = "/stream?streams=btcusdt@trade"
    async with BinanceVenue(settings) as venue, connect(venue.ws_url + url, max_queue=None) as ws:
        await ws.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        assert json.loads(await ws.recv())["id"] == 1
        request = urllib.request.Request(f"{venue.rest_url}/sim/start", method="POST")
        await asyncio.to_thread(lambda: urllib.request.urlopen(request).close())
        assert await ws.recv(decode=False) == frames[0]


def test_a_line_that_is_no_frame_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"1 {}\nnonsense\n")
    with pytest.raises(BadInput, match="line 2"):
        list(lines(path))


@needs_fixture
@pytest.mark.asyncio
async def test_the_real_capture_is_played_exactly_and_its_book_is_reached() -> None:
    recorded = [body for _, body in lines(FIXTURE)]
    frames = [body for body in recorded if body.startswith(b'{"stream"')]
    (snapshot,) = [json.loads(body) for body in recorded if not body.startswith(b'{"stream"')]
    settings = VenueSettings(capture=FIXTURE, speed=None, depth_wait_s=60)
    async with (
        BinanceVenue(settings) as venue,
        connect(f"{venue.ws_url}/stream?streams={'/'.join(NAMES)}", max_queue=None) as ws,
    ):
        depth = asyncio.create_task(get(venue, "depth?symbol=BTCUSDT&limit=5000"))
        received = [await ws.recv(decode=False) for _ in frames]
        await venue.playing
        served, later = await depth, await venue.book("BTCUSDT", 10_000)
        ledger = venue.ledger("BTCUSDT")

    assert received == frames
    assert served == snapshot
    sent = [json.loads(body)["data"] for body in frames if b'"e":"trade"' in body]
    assert [row.trade_id for row in ledger] == [data["t"] for data in sent]
    assert [row.time_us // 1000 for row in ledger] == [data["T"] for data in sent]
    bids, asks = followed(served, [json.loads(body)["data"] for body in received if b"depthUpdate" in body])
    assert later is not None
    assert {price / 1e8: size / 1e8 for price, size in later.bids} == bids
    assert {price / 1e8: size / 1e8 for price, size in later.asks} == asks


def followed(book: Any, diffs: list[Any]) -> tuple[dict[float, float], dict[float, float]]:
    """The local book of the dossier's section 4."""
    sides = [{float(p): float(q) for p, q in book[name]} for name in ("bids", "asks")]
    last = book["lastUpdateId"]
    for diff in diffs:
        if diff["u"] <= last:
            continue
        assert diff["U"] <= last + 1 <= diff["u"]
        last = diff["u"]
        for side, changes in zip(sides, (diff["b"], diff["a"]), strict=True):
            for price, size in changes:
                side[float(price)] = float(size)
    return tuple({p: q for p, q in side.items() if q} for side in sides)  # pyright: ignore[reportReturnType]
