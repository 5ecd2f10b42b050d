"""The Python client: a long range over HTTP into Polars."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ticktape.bench.feed import enrol
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_runs
from ticktape.bench.scratch import appender
from ticktape.bench.served import serving
from ticktape.client import Client
from ticktape.keep.flush import Flusher
from ticktape.model.records import RECORD_BYTES, Kind, empty
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

ROWS = 10_000_000
PASSES = 3
BATCH = 100_000
T0 = 1_763_596_800 * 10**9  # 2025-11-20
SPAN_NS = 10 * 86_400 * 10**9  # ten days


def arrow(place: Place) -> Measured:
    """Rows a second of `Client().timeseries.get_range(...).to_polars()`: 10 M trades of ten days over HTTP.

    The rows lie in the lake, as after a flush. Counted is from the call to a Polars frame whose sum of sizes is known,
    of which `wire` is the part until all pages are there. Server, its worker and this client share the cores. Left out:
    starting the server and its worker (one small question before).
    """
    rows = place.size(ROWS, 50_000)
    with place.scratch("arrow", rows * (RECORD_BYTES + 20)) as folder:
        place.say(f"writing {rows:,} trades")
        symbol, total = written(folder, rows, quick=place.quick)
        with serving(folder) as (serve, plain):
            with Client(plain.key, f"http://127.0.0.1:{plain.port}") as client:
                client.timeseries.get_range(symbols=symbol, start=T0, limit=1000)
                passes = [_read(client, symbol, rows, total) for _ in range(place.size(PASSES, 1))]
            serve.alive()
    return of_runs([rows / took for took, _ in passes], wire=float(np.median([rows / wire for _, wire in passes])))


def written(folder: Path, rows: int, *, quick: bool) -> tuple[str, int]:
    """Put trades on a tape and into the lake; return their symbol and the sum of their sizes."""
    directory = TapeDirectory(folder / "tape")
    (symbol,) = enrol(directory, 1)
    source = directory.source_id("bench")
    directory.close()
    chance, total = np.random.default_rng(1), 0
    with appender(folder / "tape", quick=quick) as tape:
        for start in range(0, rows, BATCH):
            count = min(BATCH, rows - start)
            batch, number = empty(count), start + np.arange(count)
            batch["kind"], batch["instrument"], batch["source"], batch["side"] = Kind.TRADE, 1, source, 1 + number % 2
            batch["ts_event"] = T0 + number * (SPAN_NS // rows)
            batch["ts_recv"] = batch["ts_event"] + 1_000_000
            batch["a"] = 6_000_000_000_000 + np.cumsum(chance.integers(-1, 2, count)) * 1_000_000
            batch["b"], batch["c"] = chance.integers(1, 1000, count) * 100_000, number + 1
            total += int(batch["b"].sum())
            tape.append(batch)
    Flusher(folder / "lake", Reader(folder / "tape")).flush()
    return symbol, total


def _read(client: Client, symbol: str, rows: int, total: int) -> tuple[float, float]:
    began = time.perf_counter()
    table = client.timeseries.get_range(symbols=symbol, schema="trades", start=T0, end=T0 + SPAN_NS)
    came = time.perf_counter()
    frame = table.to_polars()
    took = time.perf_counter() - began
    found = int(frame["size"].sum().scaleb(table.scales["size"]))
    if frame.height != rows or found != total:
        raise Wrong(f"{frame.height:,} rows of {rows:,} came, with sizes of {found} where {total} were written")
    return took, came - began
