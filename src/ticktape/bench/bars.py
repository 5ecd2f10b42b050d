"""Bars: what a tick costs from the tape into the bars of all seven timeframes."""

from __future__ import annotations

import time
from pathlib import Path

from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_runs
from ticktape.bench.scratch import appender, insist
from ticktape.bench.ticks import BATCH, stream
from ticktape.model.bars import TIMEFRAMES, Basis
from ticktape.model.records import RECORD_BYTES, Records
from ticktape.serve.live import CHUNK
from ticktape.serve.readers.bars import BarReader
from ticktape.tape.reader import Reader

REPEATS = 7
FEW, FEW_PER_S = 8, 1_000.0
MANY, MANY_PER_S = 1000, 10_000.0
TICKS = 4_000_000


def market(place: Place) -> Records:
    """Return the ticks of `build`, for a peer to be fed the same."""
    return stream(place.size(TICKS, 40_000), FEW, FEW_PER_S)


def build(place: Place) -> Measured:
    """Ticks a second through `BarReader.absorb`: seven timeframes, exact sums, revisions, watermarks.

    4 M trades of 8 instruments, unequally busy, at 1,000 a second of market time: 67 minutes, about as busy as 8 of
    the liquid ones; more ticks to the second would flatter us, because a second is gathered before it is merged. Read
    from the mapped tape in chunks as `serve` does, into empty bars each time, growth included. Left out: appending,
    and copying bars out. One warm-up, median of the repeats.
    """
    return _build(place, market(place), FEW)


def build_1000(place: Place) -> Measured:
    """As `build` with 1,000 instruments at 10,000 ticks a second of market time: a twelfth as many to a bar."""
    return _build(place, stream(place.size(TICKS, 40_000), MANY, MANY_PER_S), MANY)


def _build(place: Place, ticks: Records, instruments: int) -> Measured:
    with place.scratch("bars", 2 * len(ticks) * RECORD_BYTES) as folder:
        _write(folder, ticks, place)
        reader = Reader(folder)
        seconds = [_absorb(reader, len(ticks), instruments) for _ in range(REPEATS + 1)]
    return of_runs([len(ticks) / took for took in seconds[1:]])


def _write(folder: Path, ticks: Records, place: Place) -> None:
    with appender(folder, quick=place.quick) as made:
        for start in range(0, len(ticks), BATCH):
            made.append(ticks[start : start + BATCH])
        insist(made, len(ticks))


def _absorb(reader: Reader, count: int, instruments: int) -> float:
    bars, position = BarReader(), reader.first
    began = time.perf_counter()
    while position < reader.end:
        stop = min(position + CHUNK, reader.end)
        bars.absorb(reader, position, stop)
        position = stop
    took = time.perf_counter() - began
    for timeframe in TIMEFRAMES:
        if timeframe == "1s":  # its ring is an hour long, the stream is longer
            continue
        counted = sum(
            int(bars.latest(i, timeframe, Basis.TRADES, 100)["count"].sum()) for i in range(1, instruments + 1)
        )
        if counted != count:
            raise Wrong(f"{count} ticks went in, and the {timeframe} bars counted {counted}")
    return took
