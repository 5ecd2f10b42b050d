"""Moving the tape into the lake: how fast, how small, what queries feel of it, and what a crash in it costs."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ticktape.app.importing import run_source
from ticktape.bench.child import Child, role
from ticktape.bench.feed import enrol
from ticktape.bench.lakes import A_DAY, COMPACTED, mnq_day
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong
from ticktape.bench.roles import Fill, Flush
from ticktape.bench.scratch import appender
from ticktape.bench.served import Client, serving
from ticktape.bench.ticks import BATCH, stream
from ticktape.errors import Unavailable
from ticktape.keep.flush import Flusher
from ticktape.lake.files import Maker, pieces_of
from ticktape.lake.history import Lake, Limits
from ticktape.lake.rows import Gatherer, columns_of, group_bounds, partitioned
from ticktape.lake.schema import TABLES
from ticktape.model.records import RECORD_BYTES, Kind
from ticktape.sources.capture.source import CaptureSettings, CaptureSource
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

ROWS = 12_000_000
INSTRUMENTS = 200
QUERIED_S = 5.0
PAUSES_S = (0.001, 0.005)
PENDING = 36_000_000
CAPTURE = Path("shared/fixtures/binance/hftbacktest_spot_btcusdt_20240808.gz")  # beside the checkout
NO_LIMITS = Limits(rows=2**62, memory_bytes=2**62, seconds=600.0)


def flush(place: Place) -> Measured:
    """Rows of trades a second from the tape to a committed Parquet file, fsync and all, in a process of its own.

    12 M trades of 200 instruments, unequally busy, in commits of 2 M. `all_tables` counts the time of every table: bars
    too, which are built anew from the same trades. `query_ratio`: `GET /ticks/realtime` on a real `ticktape serve` that
    shares the two cores, during all that, against five seconds before; `query_p99_idle` and `query_p99_flush` in ms.
    """
    rows = place.size(ROWS, 20_000)
    with place.scratch("flush", int(2.5 * rows) * RECORD_BYTES) as folder:
        symbols = _market(folder, rows, place)
        with serving(folder) as (_, client):
            _until_read(client, symbols[0])
            end = time.perf_counter() + place.seconds(QUERIED_S)
            idle = _asked(client, symbols, lambda: time.perf_counter() < end)
            place.say("flushing")
            with Child(role("flush", Flush(folder)), folder / "flush.log") as keeper:
                keeper.said()
                told: dict[str, Any] = {}
                busy = _asked(client, symbols, lambda: not _heard(keeper, told))
    if told["rows"] != rows:
        raise Wrong(f"{told['rows']} rows in the lake, {rows} on the tape")
    before, during = (float(np.percentile(np.array(each) / 1e6, 99)) for each in (idle, busy))
    more = {
        "all_tables": rows / told["all_s"],
        "query_p99_idle": before,
        "query_p99_flush": during,
        "query_ratio": during / before,
    }
    return Measured(value=rows / told["trades_s"], more=more)


def _market(folder: Path, rows: int, place: Place) -> list[str]:
    place.say(f"writing {rows:,} trades")
    directory = TapeDirectory(folder / "tape")
    symbols = enrol(directory, INSTRUMENTS)
    directory.close()
    ticks = stream(rows, INSTRUMENTS, 10_000.0)
    with appender(folder / "tape", quick=place.quick) as made:
        for start in range(0, rows, BATCH):
            made.append(ticks[start : start + BATCH])
    return symbols


def _until_read(client: Client, symbol: str) -> None:
    deadline = time.monotonic() + 60
    while client.get(f"/api/v1/ticks/realtime?symbols={symbol}&limit=100")["missing"]:
        if time.monotonic() > deadline:
            raise Wrong("serve does not get to the end of the tape")
        time.sleep(0.05)


def _heard(child: Child, told: dict[str, Any]) -> bool:
    try:
        told |= child.said(0.001)
    except Unavailable:
        child.alive()
    return bool(told)


def _asked(client: Client, symbols: list[str], going: Callable[[], bool]) -> list[int]:
    """Return how long each request took, ns."""
    chance, took = random.Random(1), list[int]()
    requests = [client.request(f"/api/v1/ticks/realtime?symbols={symbol}&limit=100") for symbol in symbols]
    while going() or not took:
        request = chance.choice(requests)
        began = time.perf_counter_ns()
        client.ask(request)
        took.append(time.perf_counter_ns() - began)
        time.sleep(chance.uniform(*PAUSES_S))
    return took


# -- size --------------------------------------------------------------------------------------------


def size(place: Place) -> Measured:
    """Bytes on disk of a row of the trades table as compaction leaves it, footer and checksums included.

    `mnq`: a made-up day of 500 k MNQ trades. `real`: the trades of a Binance capture of 346 s, where it lies beside the
    checkout; 10 k rows on both sides of midnight are few, and two footers weigh half a byte a row.
    """
    day = mnq_day(place.size(A_DAY, 20_000), 1)
    mnq = _bytes_a_row(day, group_bounds(np.array([0, len(day["price"])]), TABLES["trades"].group_rows))
    path = next((folder / CAPTURE for folder in Path(__file__).resolve().parents if (folder / CAPTURE).exists()), None)
    if path is None:
        place.say("no real capture beside the checkout: made-up trades only")
        return Measured(value=mnq, more={"mnq": mnq})
    with place.scratch("capture") as folder:
        real = _real(folder, path)
    return Measured(value=real, more={"mnq": mnq, "real": real})


def _bytes_a_row(columns: dict[str, Any], bounds: list[int]) -> float:
    return Maker().image(TABLES["trades"], pieces_of(columns), bounds, level=COMPACTED).size / bounds[-1]


def _real(folder: Path, path: Path) -> float:
    settings = CaptureSettings(path=str(path), speed=0)
    done = asyncio.run(run_source(folder, lambda directory: CaptureSource(settings, directory)))
    if not done.ok:
        raise Wrong(f"the capture could not be read: {done.trouble}")
    reader = Reader(folder / "tape")
    size = rows = 0
    for part in partitioned(TABLES["trades"], reader.view(reader.first, reader.end), reader.first):
        columns = columns_of(TABLES["trades"], Gatherer().fields(part, 0, part.bounds[-1]))
        size += int(_bytes_a_row(columns, part.bounds) * part.bounds[-1])
        rows += part.bounds[-1]
    return size / rows


# -- after a crash -----------------------------------------------------------------------------------


def restart(place: Place) -> Measured:
    """Seconds from starting anew until lake and tape together have answered exactly, after kill -9 in mid-flush.

    36 M trades of 1,000 instruments wait on the tape; the keeper is killed once some of them are committed. In it:
    mending and cleaning as a keeper does, mapping the tape, one version of every table, and an instrument's trades
    out of lake and tape. Checked besides: no row twice, none missing. Left out: starting Python.
    """
    records = place.size(PENDING, 200_000)
    with place.scratch("restart", int(1.5 * records) * RECORD_BYTES) as folder:
        place.say(f"writing {records:,} records")
        with Child(role("fill", Fill(folder / "tape", records, place.quick)), folder / "fill.log") as writer:
            writer.said()
            writer.kill()
        with Child(role("flush", Flush(folder)), folder / "flush.log") as keeper:
            keeper.said()
            _until_committed(folder / "lake" / "trades", keeper)
            keeper.kill()
        began = time.perf_counter()
        reader = Reader(folder / "tape")
        Flusher(folder / "lake", reader)
        snapshot = Lake(folder / "lake").snapshot()
        page = snapshot.read("trades", [1], 0, 2**62, columns=["venue_id"], tape=reader, limits=NO_LIMITS)
        took = time.perf_counter() - began
        _exact(np.sort(page.rows.column("venue_id").to_numpy()), reader)
        pending = reader.end - snapshot.position("trades")
    return Measured(value=took, more={"pending": float(pending)})


def _exact(ids: Any, reader: Reader) -> None:
    on_tape = reader.view(reader.first, reader.end)
    wanted = int(((on_tape["instrument"] == 1) & (on_tape["kind"] == Kind.TRADE)).sum())
    if not np.array_equal(ids, np.arange(1, wanted + 1)):
        raise Wrong(f"{len(ids)} trades of one instrument in lake and tape, {wanted} were appended")


def _until_committed(table: Path, keeper: Child) -> None:
    deadline = time.monotonic() + 30
    while not (table / "_delta_log" / f"{1:020d}.json").exists():
        if time.monotonic() > deadline:
            raise Wrong("nothing was committed in 30 s")
        keeper.alive()
        time.sleep(0.001)
