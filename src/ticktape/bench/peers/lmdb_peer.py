"""LMDB, the fastest embedded store with a Python binding: the same 64-byte records, at the same durability.

Everything is set in its favour: a writable map, no sync (what was written survives kill -9, as at level `process`),
keys that only rise and are appended without a search, keys and values made before the clock starts. It judges
nothing, links nothing and keeps no checksum.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from ticktape.bench.peers import load, named
from ticktape.bench.place import Place
from ticktape.bench.result import Beside, Measured, Wrong
from ticktape.bench.ticks import BATCH

REPEATS = 5
MAP_BYTES = 2 << 30
VALUE = bytes(range(64))
LATEST = 100


@contextmanager
def _opened(place: Place) -> Generator[Any]:
    lmdb = load("lmdb")
    with place.scratch("lmdb", MAP_BYTES) as folder:
        options = {"sync": False, "metasync": False, "writemap": True, "map_async": True}
        env = lmdb.open(str(folder), map_size=MAP_BYTES, **options)
        try:
            yield env
        finally:
            env.close()


def _pairs(first: int, count: int) -> list[tuple[bytes, bytes]]:
    return [(number.to_bytes(8), VALUE) for number in range(first, first + count)]


def _beside(ours: Measured, runs: list[float], why: str = "") -> Beside:
    value = float(np.median(runs[1:]))
    return Beside(peer=named("lmdb"), peer_value=value, ratio=ours.value / value, why=why)


def append(place: Place, ours: Measured) -> Beside:
    """Records a second in transactions of 1,000, each one `putmulti`."""
    count, runs = place.size(500_000, 10_000), list[float]()
    with _opened(place) as env:
        for repeat in range(REPEATS + 1):
            pairs = _pairs(repeat * count, count)
            batches = [pairs[k : k + BATCH] for k in range(0, count, BATCH)]
            began = time.perf_counter()
            for batch in batches:
                with env.begin(write=True) as transaction, transaction.cursor() as cursor:
                    cursor.putmulti(batch, append=True)
            runs.append(count / (time.perf_counter() - began))
        _insist(env, (REPEATS + 1) * count)
    return _beside(ours, runs)


def append_one(place: Place, ours: Measured) -> Beside:
    """Records a second, a transaction for each."""
    count, runs = place.size(100_000, 2000), list[float]()
    with _opened(place) as env:
        for repeat in range(REPEATS + 1):
            pairs = _pairs(repeat * count, count)
            began = time.perf_counter()
            for key, value in pairs:
                with env.begin(write=True) as transaction:
                    transaction.put(key, value, append=True)
            runs.append(count / (time.perf_counter() - began))
        _insist(env, (REPEATS + 1) * count)
    return _beside(ours, runs)


def _insist(env: Any, count: int) -> None:
    if env.stat()["entries"] != count:
        raise Wrong(f"lmdb holds {env.stat()['entries']} of {count} records")


def latest(place: Place, ours: Measured) -> Beside:
    """Microseconds to read the last 100 of one of 1,000 instruments, keys (instrument, number), by a cursor backwards.

    Out of 4 M records: filling 36 M takes too long, and a deeper tree could only be slower. One transaction for all.
    """
    each = place.size(4000, 200)
    with _opened(place) as env:
        _fill(env, each)
        asked = np.random.default_rng(1).integers(0, BATCH, place.size(10_000, 300)).tolist()
        with env.begin() as transaction, transaction.cursor() as cursor:
            _ask(cursor, asked[:200])
            took = _ask(cursor, asked)
    value = float(np.median(took)) / 1e3
    why = f"out of {each * BATCH:,} records"
    return Beside(peer=named("lmdb"), peer_value=value, ratio=value / ours.value, why=why)


def _fill(env: Any, each: int) -> None:
    for instrument in range(BATCH):
        start = instrument.to_bytes(4)
        pairs: Iterable[tuple[bytes, bytes]] = [(start + number.to_bytes(8), VALUE) for number in range(each)]
        with env.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(pairs, append=True)


def _ask(cursor: Any, instruments: list[int]) -> list[int]:
    took: list[int] = []
    for instrument in instruments:
        began = time.perf_counter_ns()
        if cursor.set_range((instrument + 1).to_bytes(4)):
            cursor.prev()
        else:
            cursor.last()
        found: list[bytes] = list(islice(cursor.iterprev(keys=False, values=True), LATEST))
        took.append(time.perf_counter_ns() - began)
        if len(found) != LATEST:
            raise Wrong(f"lmdb found {len(found)} of {LATEST}")
    return took
