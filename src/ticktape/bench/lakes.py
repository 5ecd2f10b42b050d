"""Lakes to measure with, made by the lake's own writer: a symbol's year of trades, and a year of minutes of many.

A few days are drawn at random and then repeated at later dates: encoding, sorting and checksums are those of real
files, only the drawing is saved. The trades are a made-up MNQ: a tick of 0.25, few sizes, microseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ticktape.bench.place import Place
from ticktape.lake import bars
from ticktape.lake.catalogue import Catalogue
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker, Written, pieces_of
from ticktape.lake.place import place as put
from ticktape.lake.rows import group_bounds
from ticktape.lake.schema import TABLES
from ticktape.model.bars import BAR, Bars
from ticktape.model.records import Kind

DAY_NS = 86_400 * 10**9
FIRST_DAY_NS = 1_735_689_600 * 10**9  # 2025-01-01
DAYS = 250
A_DAY = 500_000  # trades; 125 M in a year
SYMBOLS = 200
MINUTES = 390  # of a session on the New York exchange
DRAWN = 5  # different days
THREADS = 2
COMPACTED = 3  # zstd level of compacted files
TICK, UNIT = 25_000_000, 10**8  # 0.25 and 1 at the usual scale
_BYTES_A_TRADE, _BYTES_A_BAR = 10, 60  # on disk, about


class Shape(NamedTuple):
    """How large the lakes are."""

    days: int
    a_day: int
    symbols: int

    @property
    def trades(self) -> int:
        """Trades in the symbol's year."""
        return self.days * self.a_day

    @property
    def minutes(self) -> int:
        """Minutes of all symbols in their year."""
        return self.days * MINUTES * self.symbols


def shape(place: Place) -> Shape:
    """Return the sizes to work at."""
    return Shape(place.size(DAYS, 3), place.size(A_DAY, 5000), place.size(SYMBOLS, 5))


def symbol_year(place: Place) -> Path:
    """Return a lake with a year of trades of instrument 1, and their minutes; made once a run."""
    sizes = shape(place)
    return place.kept("symbol-year", sizes.trades * _BYTES_A_TRADE, lambda folder: _make_symbol_year(folder, sizes))


def many_year(place: Place) -> Path:
    """Return a lake with a year of one-minute bars of many instruments; made once a run."""
    sizes = shape(place)
    return place.kept("many-year", sizes.minutes * _BYTES_A_BAR, lambda folder: _make_many_year(folder, sizes))


# -- trades ------------------------------------------------------------------------------------------


def mnq_day(count: int, seed: int) -> dict[str, Any]:
    """Return the columns of a day's trades, from midnight of 1970-01-01, position and venue id from 0."""
    chance = np.random.default_rng(seed)
    number = np.arange(count)
    ts = np.cumsum(chance.exponential(0.95 * DAY_NS / count, count)).astype(np.int64) // 1000 * 1000
    fixed = {name: np.zeros(count, dtype=np.int32) for name in TABLES["trades"].names()}
    return fixed | {
        "position": number + number // 1000,  # each batch ends in a commit
        "ts_event": ts,
        "ts_recv": ts + (chance.gamma(2.0, 1e6, count) + 1e6).astype(np.int64),
        "instrument_id": fixed["instrument_id"] + 1,
        "source_id": fixed["source_id"] + 1,
        "kind": fixed["kind"] + int(Kind.TRADE),
        "side": chance.integers(1, 3, count),
        "price": (80_000 + np.cumsum(chance.choice([-1, 0, 0, 1], count))) * TICK,
        "size": chance.geometric(0.4, count) * UNIT,
        "venue_id": number + 1,
    }


def _moved(drawn: dict[str, Any], day: int) -> dict[str, Any]:
    at, count = FIRST_DAY_NS + day * DAY_NS, len(drawn["price"])
    moved = {name: drawn[name] + at for name in ("ts_event", "ts_recv")}
    moved["position"] = drawn["position"] + 2 * count * day
    return drawn | moved | {"venue_id": drawn["venue_id"] + count * day}


def _make_symbol_year(folder: Path, sizes: Shape) -> None:
    drawn = [mnq_day(sizes.a_day, seed) for seed in range(min(DRAWN, sizes.days))]
    bounds = group_bounds(np.array([0, sizes.a_day]), TABLES["trades"].group_rows)
    minutes: list[bars.Built] = [bars.Built(0, np.zeros(0, dtype=BAR))] * sizes.days

    def day(k: int, maker: Maker) -> Written:
        columns = _moved(drawn[k % len(drawn)], k)
        minutes[k] = bars.build(_ticks(columns), bars.MINUTE_NS)
        date = str(np.datetime64(FIRST_DAY_NS + k * DAY_NS, "ns").astype("M8[D]"))
        return _put(maker, folder, "trades", date, columns, bounds)

    end = 2 * sizes.trades
    _commit(folder, "trades", _side_by_side(day, range(sizes.days)), end)
    found = bars.Built(np.ones(sum(len(m.bars) for m in minutes)), np.concatenate([m.bars for m in minutes]))
    _put_bars(folder, found, end)


def _ticks(columns: dict[str, Any]) -> bars.Ticks:
    names = ("instrument_id", "ts_event", "price", "size", "venue_id", "position", "flags")
    return bars.Ticks(*(columns[name] for name in names))


# -- bars --------------------------------------------------------------------------------------------


def _make_many_year(folder: Path, sizes: Shape) -> None:
    chance = np.random.default_rng(1)
    one = _minutes_of_one(sizes.days, chance)
    who = np.repeat(np.arange(1, sizes.symbols + 1), len(one))
    made: Bars = np.tile(one, sizes.symbols)
    made["count"] += chance.integers(0, 50, len(made))
    made["volume_low"] += chance.integers(0, 500, len(made)).astype(np.uint64) * np.uint64(UNIT)
    _put_bars(folder, bars.Built(who, made), 10**9)


def _minutes_of_one(days: int, chance: np.random.Generator) -> Bars:
    made: Bars = np.zeros(days * MINUTES, dtype=BAR)
    day, minute = np.divmod(np.arange(len(made)), MINUTES)
    made["start"] = FIRST_DAY_NS + day * DAY_NS + (870 + minute) * bars.MINUTE_NS  # from half past two, UTC
    made["open"] = (80_000 + np.cumsum(chance.integers(-9, 10, len(made)))) * TICK
    made["close"] = np.append(made["open"][1:], made["open"][-1])
    made["high"] = np.maximum(made["open"], made["close"]) + chance.integers(0, 5, len(made)) * TICK
    made["low"] = np.minimum(made["open"], made["close"]) - chance.integers(0, 5, len(made)) * TICK
    made["count"] = chance.integers(100, 900, len(made))
    made["open_ts"] = made["start"] + chance.integers(0, 10**6, len(made)) * 1000
    made["close_ts"] = made["start"] + 59 * 10**9 + chance.integers(0, 10**6, len(made)) * 1000
    made["open_id"] = np.cumsum(made["count"]) - made["count"] + 1
    made["close_id"] = np.cumsum(made["count"])
    made["volume_low"] = (made["count"] * 2 * UNIT).astype(np.uint64)
    made["notional_low"] = (made["count"] * 2 * 80_000 * UNIT).astype(np.uint64)
    return made


def _put_bars(folder: Path, found: bars.Built, end: int) -> None:
    """Write bars month by month, as compaction leaves them."""
    months = found.bars["start"].view("M8[ns]").astype("M8[M]")

    def month(which: Any, maker: Maker) -> Written:
        mine = months == which
        part = bars.Built(found.instrument[mine], found.bars[mine])
        columns = bars.to_columns(part, 0, end - 1)
        ends = np.cumsum(np.bincount(columns["instrument_id"]), dtype=np.int64)
        return _put(maker, folder, "bars", str(which), columns, group_bounds(ends, TABLES["bars"].group_rows))

    _commit(folder, "bars", _side_by_side(month, np.unique(months)), end)


# -- writing -----------------------------------------------------------------------------------------


def _side_by_side(make: Callable[[Any, Maker], Written], parts: Iterable[Any]) -> list[Written]:
    kept = threading.local()

    def one(part: Any) -> Written:
        if not hasattr(kept, "maker"):
            kept.maker = Maker()
        return make(part, kept.maker)

    with ThreadPoolExecutor(THREADS, thread_name_prefix="bench:lake") as pool:
        return list(pool.map(one, parts))


def _put(maker: Maker, folder: Path, name: str, part: str, columns: dict[str, Any], bounds: list[int]) -> Written:
    return put(maker, folder / name, TABLES[name], part, pieces_of(columns), bounds, Disk(), level=COMPACTED)


def _commit(folder: Path, name: str, written: list[Written], position: int) -> None:
    catalogue = Catalogue(folder, name)
    catalogue.create("bench")
    catalogue.commit(catalogue.version().number, written, position=position)
