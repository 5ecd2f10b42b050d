"""Binance: what a trade frame costs from its bytes to the tape, alone and over a real socket."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import numpy as np
import uvloop

from ticktape.bench.child import Child
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_runs
from ticktape.bench.scratch import SMALL_SEGMENT, appender
from ticktape.clock import SystemClock
from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import RECORD_BYTES, Kind
from ticktape.record import judge
from ticktape.record.append import Appender
from ticktape.record.process import Recorder, RecordSettings
from ticktape.record.pump import Pump
from ticktape.simulate.binance import wire as spelled
from ticktape.simulate.binance.bulk_feed import FIRST_ID, names
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.sources.binance.source import BinanceSource
from ticktape.sources.contract import Directory, Source
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

REPEATS = 5
READ = 1000  # frames of one socket read: what `wire` sees when the venue is faster than we are
SYMBOLS = 8
VENUE = "bench"
FRAMES = 200_000
WIRE_FRAMES = 1_500_000
WIRE_PARTS = 6  # the first is warm-up


def trade_frames(first: int, count: int) -> list[bytes]:
    """Return bare trade frames, round-robin over the symbols, as Binance spells them; `first` numbers the first."""
    return [spelled.trade(*_trade(k), maker=k % 3 == 0, micro=True) for k in range(first, first + count)]


def combined_aggregates(first: int, count: int) -> list[bytes]:
    """Return the same trades as combined aggTrade frames, each trade an aggregate of its own."""
    found: list[bytes] = []
    for k in range(first, first + count):
        symbol, number, price, size, time_us = _trade(k)
        data = spelled.aggregate(
            symbol, spelled.Aggregate(number, price, size, number, number, time_us, k % 3 == 0), micro=True
        )
        found.append(spelled.combined(f"{symbol.lower()}@aggTrade", data))
    return found


def _trade(k: int) -> tuple[str, int, int, int, int]:
    price = 6_000_000_000_000 + (k * 7919 % 100_000) * 1_000_000  # 60,000.00 to 61,000.00, in cents
    size = 1000 * (1 + k * 104_729 % 500_000)
    return names(SYMBOLS)[k % SYMBOLS], FIRST_ID + k // SYMBOLS, price, size, 1_763_640_000_000_000 + 10 * k


class Decoding:
    """A Binance source, its pump and a tape, fed frames by hand."""

    def __init__(self, folder: Path, made: Appender) -> None:
        directory = TapeDirectory(folder)
        for symbol in names(SYMBOLS):
            directory.enrol(VENUE, symbol, _listing(symbol))
        settings = BinanceSettings(
            symbols=tuple(names(SYMBOLS)), channels=("trade", "aggTrade"), venue=VENUE, synthetic=True
        )
        source = BinanceSource(settings, directory, VENUE)
        number = directory.source_id(VENUE)
        self._counts = made.counts[number]
        self._pump = Pump(source, number, made, SystemClock(), sample=True, raw=None)
        self._directory = directory

    def seconds(self, frames: list[bytes], ts_recv: int, read: int = READ) -> float:
        """Take frames in reads and return how long it took. Raises Wrong unless each became a record."""
        reads = [frames[k : k + read] for k in range(0, len(frames), read)]
        before = int(self._counts[judge.STORED])
        began = time.perf_counter()
        for part in reads:
            self._pump.frames(part, ts_recv)
        took = time.perf_counter() - began
        stored = int(self._counts[judge.STORED]) - before
        if stored != len(frames) or self._counts[judge.GAPS] or self._pump.quarantined:
            raise Wrong(
                f"{len(frames)} frames went in, {stored} records came out, {self._pump.quarantined} were refused"
            )
        return took

    def close(self) -> None:
        """Close the directory."""
        self._directory.close()


@contextmanager
def decoding(place: Place) -> Generator[Decoding]:
    """Open a fresh tape with a Binance source in front of it."""
    with (
        place.scratch("decode", 3 * REPEATS * FRAMES * RECORD_BYTES) as folder,
        appender(folder, quick=place.quick) as made,
    ):
        opened = Decoding(folder, made)
        try:
            yield opened
        finally:
            opened.close()


def decode(place: Place) -> Measured:
    """Frames a second through `Pump.frames` on one core: decoded, checked, turned into records, judged, appended.

    Bare `trade` frames of 8 symbols, 1,000 to a read. Left out: the socket (binance.wire has it) and making frames.
    `in_tens` is the same with ten frames to a read, as a calmer market delivers them.
    """
    count = place.size(FRAMES, 8000)
    with decoding(place) as opened:
        rates, tens = list[float](), list[float]()
        for repeat in range(REPEATS + 1):
            frames = trade_frames(2 * repeat * count, 2 * count)
            ts_recv = SystemClock().now_ns()
            rates.append(count / opened.seconds(frames[:count], ts_recv))
            tens.append(count / opened.seconds(frames[count:], ts_recv, 10))
    return of_runs(rates[1:], in_tens=float(np.median(tens[1:])))


def _listing(symbol: str) -> Listing:
    return Listing(
        symbol=symbol,
        venue=VENUE,
        asset_class=AssetClass.CRYPTO,
        tick_size=Decimal("0.01"),
        size_step=Decimal("0.00001"),
    )


# -- over a socket ---------------------------------------------------------------------------------


def wire(place: Place) -> Measured:
    """Frames a second from a simulated venue, in its own process, over a TCP socket to our tape; it sends flat out.

    Trades of 8 symbols through the real `binance` source and a real recorder at level `power`, both processes on the
    cores there are. Every id must be on the tape once and in order, or there is no result. The rate is the median of
    five parts of the run; the first sixth, connecting included, is warm-up.
    """
    count = place.size(WIRE_FRAMES, 24_000)
    with place.scratch("wire", 3 * count * RECORD_BYTES) as folder:
        command = [
            sys.executable,
            "-m",
            "ticktape.simulate.binance",
            "--flat-out",
            str(SYMBOLS),
            "--frames",
            str(count),
            "--json",
        ]
        with Child(command, folder / "venue.log") as venue:
            where = venue.said()
            settings = RecordSettings(
                data=folder,
                sample=True,
                segment_records=SMALL_SEGMENT if place.quick else RecordSettings(data=folder).segment_records,
            )
            source = BinanceSettings(
                symbols=tuple(names(SYMBOLS)), channels=("trade",), venue=VENUE, synthetic=True,
                ws_url=where["ws_url"], rest_url=where["rest_url"],
            )  # fmt: skip
            uvloop.run(_record(settings, source, count, venue))
        return of_runs(arrived(Reader(folder / "tape"), count))


async def _record(settings: RecordSettings, source: BinanceSettings, count: int, venue: Child) -> None:
    def make(directory: Directory) -> Source:
        return BinanceSource(source, directory, VENUE)

    recorder = Recorder(settings, [make])
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop), name="record")
    pump = recorder.runners[0].pump
    try:
        before, quiet = -1, 0
        while not running.done() and pump.counts()["stored"] < count and quiet < 100:
            await asyncio.sleep(0.05)
            venue.alive()
            before, quiet = pump.frames_read, quiet + 1 if pump.frames_read == before else 0
    finally:
        stop.set()
        await running


def arrived(reader: Reader, count: int) -> list[float]:
    """Return the rate of each part of the run but the first. Raises Wrong unless every id came once and in order."""
    seen = reader.view(reader.first, reader.end)
    trades = seen[seen["kind"] == Kind.TRADE]
    for instrument in np.unique(trades["instrument"]):
        ids = trades["c"][trades["instrument"] == instrument]
        if ids[0] != FIRST_ID or (np.diff(ids) != 1).any():
            raise Wrong(f"the ids of instrument {instrument} are not dense on the tape")
    if len(trades) != count:
        raise Wrong(f"{count} frames were sent, {len(trades)} are on the tape")
    edges = np.linspace(0, count - 1, WIRE_PARTS + 1).astype(np.int64)
    times = trades["ts_recv"][edges]
    steps, took = np.diff(edges)[1:], np.diff(times)[1:]
    # Of a tiny run several parts may be one read, and took no time.
    return (steps[took > 0] / took[took > 0] * 1e9).tolist() or [0.0]
