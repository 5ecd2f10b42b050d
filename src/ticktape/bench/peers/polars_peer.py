"""Polars (and DuckDB, where it reads the same files) doing the lake's work, with their own readers, on two threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ticktape.bench.history import EVER, HOUR_NS, NO_LIMITS, sides
from ticktape.bench.lakes import symbol_year
from ticktape.bench.peers import load, named
from ticktape.bench.place import Place
from ticktape.bench.result import Beside, Measured, Wrong
from ticktape.lake.history import Lake

REPEATS = 3
_SQL = """
    select ts_event // $2 as hour, arg_min(price, ts_event), max(price) as high, min(price) as low,
           arg_max(price, ts_event), sum(size) as volume, count(*) as count
    from read_parquet($1) group by hour order by hour
"""


def year_raw(place: Place, ours: Measured) -> Beside:
    """Seconds to hourly bars from the same files. The ratio is to the faster of the two.

    In their favour: no notional, nothing left out by flags, and which of two trades at one instant opens or closes a
    bar is left to them, or to the order of the file.
    """
    snapshot = Lake(symbol_year(place)).snapshot()
    files = [str(snapshot.folder / "trades" / entry.path) for entry in snapshot.versions["trades"].files]
    wanted = snapshot.bars([1], *EVER, HOUR_NS, limits=NO_LIMITS).bars
    polars, duckdb = _polars_year(files), _duckdb_year(files)
    theirs = {name: _best(run, wanted) for name, run in (("polars", polars), ("duckdb", duckdb))}
    why = f"{named('duckdb')}: {theirs['duckdb']:.3g} s; the ratio is to the faster"
    return Beside(
        peer=named("polars"), peer_value=theirs["polars"], ratio=min(theirs.values()) / ours.value, why=why
    )  # fmt: skip


def _best(run: Callable[[], Any], wanted: Any) -> float:
    """Return the median of the repeats after a warm-up. Raises Wrong unless high, low, volume and count are ours."""
    seconds: list[float] = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - began)
        for name, values in zip(("high", "low", "volume_low", "count"), found, strict=True):
            if not np.array_equal(values, wanted[name]):
                raise Wrong(f"a peer's {name} is not ours")
    return float(np.median(seconds[1:]))


def _polars_year(files: list[str]) -> Callable[[], Any]:
    pl = load("polars")

    def run() -> Any:
        price, size = pl.col("price"), pl.col("size")
        asked = (
            pl.scan_parquet(files, hive_partitioning=False)
            .group_by((pl.col("ts_event") // HOUR_NS).alias("hour"))
            .agg(
                price.first().alias("open"), price.max().alias("high"), price.min().alias("low"),
                price.last().alias("close"), size.sum().alias("volume"), pl.len().alias("count"),
            )
            .sort("hour")
        )  # fmt: skip
        found = asked.collect(engine="streaming")  # faster here than in memory
        return [found[name].to_numpy() for name in ("high", "low", "volume", "count")]

    return run


def _duckdb_year(files: list[str]) -> Callable[[], Any]:
    duckdb = load("duckdb")

    def run() -> Any:
        with duckdb.connect() as con:
            found = con.execute(_SQL, [files, HOUR_NS]).fetchnumpy()
        return [found[name].astype(np.int64) for name in ("high", "low", "volume", "count")]

    return run


def asof(place: Place, ours: Measured) -> Beside:
    """Milliseconds of `join_asof` by instrument on the same columns, sorted, in memory."""
    pl = load("polars")
    given = sides(place)
    trades = pl.DataFrame({"id": given.trade_id, "ts": given.trade_ts})
    quotes = pl.DataFrame({"id": given.quote_id, "ts": given.quote_ts, "bid": given.bid, "ask": given.ask})
    runs: list[float] = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        found = trades.join_asof(quotes, on="ts", by="id", check_sortedness=False)
        runs.append((time.perf_counter() - began) * 1e3)
        if found.height != len(given.trade_ts):
            raise Wrong("the peer did not join every trade")
    value = float(np.median(runs[1:]))
    return Beside(peer=named("polars"), peer_value=value, ratio=value / ours.value)
