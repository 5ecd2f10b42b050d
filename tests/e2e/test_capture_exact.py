"""The real capture, played by the simulated venue over a real socket, ends on the tape exactly as it was sent."""

from __future__ import annotations

import asyncio
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ticktape.model.book import Book
from ticktape.model.records import Channel, Flag, Kind, Records, Side
from ticktape.record.process import Recorder, RecordSettings
from ticktape.simulate.binance import BinanceVenue, VenueSettings
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.sources.binance.source import BinanceSource
from ticktape.sources.capture.source import CaptureSettings, CaptureSource
from ticktape.tape.reader import Reader

FIXTURE = Path(__file__).parents[3] / "shared/fixtures/binance/hftbacktest_spot_btcusdt_20240808.gz"
pytestmark = pytest.mark.skipif(not FIXTURE.exists(), reason=f"the real capture is not here: {FIXTURE}")
SENT_TRADES, SENT_QUOTES = 9_757, 28_040


def sent_trades() -> list[tuple[int, int, int, int, int]]:
    """Return (id, price, size, venue ns, aggressor) of each trade in the file, by json and Decimal."""
    found: list[tuple[int, int, int, int, int]] = []
    with gzip.open(FIXTURE) as file:
        for line in file:
            data = json.loads(line.partition(b" ")[2]).get("data", {})
            if data.get("e") == "trade":
                price, size = (int(Decimal(data[name]).scaleb(8)) for name in ("p", "q"))
                side = Side.SELL if data["m"] else Side.BUY
                found.append((data["t"], price, size, data["T"] * 1_000_000, side))
    return found


def recorded(records: Records) -> list[tuple[int, ...]]:
    trades = records[records["kind"] == Kind.TRADE]
    return [tuple(int(v) for v in row) for row in trades[["c", "a", "b", "ts_event", "side"]].tolist()]


async def record_from_venue(data: Path, speed: float) -> Any:
    """Play the capture through the venue, record it, return the venue's book as it ends."""
    settings = VenueSettings(capture=FIXTURE, speed=speed, capture_start="all")
    async with BinanceVenue(settings) as venue:
        source = BinanceSettings(symbols=("BTCUSDT",), ws_url=venue.ws_url, rest_url=venue.rest_url, time_unit="ms")
        recorder = Recorder(RecordSettings(data=data), [lambda directory: BinanceSource(source, directory)])
        stop = asyncio.Event()
        running = asyncio.create_task(recorder.run(stop))
        await venue.playing
        book = await venue.book("BTCUSDT")
        until = asyncio.get_running_loop().time() + 30
        stored = recorder.appender.stored
        while stored(1, Channel.TRADE) < SENT_TRADES or stored(1, Channel.QUOTE) < SENT_QUOTES:
            assert asyncio.get_running_loop().time() < until, "not everything that was sent came"
            await asyncio.sleep(0.05)
        stop.set()
        await running
    return book


def check(data: Path, book: Any) -> None:
    reader = Reader(data / "tape")
    records = reader.view(reader.first, reader.end)
    assert recorded(records) == sent_trades()
    mine = Book(1)
    mine.apply(records)
    assert mine.synced
    depth = min(50, len(book.bids), len(book.asks))
    assert mine.levels(Side.BUY, depth) == [tuple(level) for level in book.bids[:depth]]
    assert mine.levels(Side.SELL, depth) == [tuple(level) for level in book.asks[:depth]]


@pytest.mark.asyncio
@pytest.mark.timeout(180)
async def test_flat_out_every_trade_once_and_the_venues_book(tmp_path: Path) -> None:
    check(tmp_path, await record_from_venue(tmp_path, 0))


@pytest.mark.asyncio
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_at_its_own_pace_every_trade_once_and_the_venues_book(tmp_path: Path) -> None:
    check(tmp_path, await record_from_venue(tmp_path, 1.0))


@pytest.mark.asyncio
@pytest.mark.timeout(180)
async def test_r13_a_venue_clock_ahead_of_ours_is_reported_as_skew_and_nothing_is_dropped(tmp_path: Path) -> None:
    settings = CaptureSettings(path=str(FIXTURE), speed=0)
    recorder = Recorder(RecordSettings(data=tmp_path), [lambda directory: CaptureSource(settings, directory)])
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    pump = recorder.runners[0].pump
    while not pump.source.finished:
        assert not running.done()
        await asyncio.sleep(0.05)
    skew_s = pump.skew_ns / 1e9
    stop.set()
    await running

    assert 1.2 < skew_s < 1.3
    reader = Reader(tmp_path / "tape")
    records = reader.view(reader.first, reader.end)
    trades = records[records["kind"] == Kind.TRADE]
    assert len(trades) == SENT_TRADES
    assert np.mean(trades["flags"] & Flag.CLOCK_SKEW != 0) > 0.9
    assert (trades["flags"] & Flag.REPLAYED != 0).all()
