"""Appending: what a record costs on its way onto the tape, in batches, alone, and until it is durable."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_latencies, of_runs
from ticktape.bench.scratch import appender, insist
from ticktape.bench.ticks import BATCH, Live, Rounds, pace
from ticktape.model.records import RECORD_BYTES, Ints
from ticktape.record.append import Appender

REPEATS = 7
PER_S = 100_000
SYNC_EVERY_MS = 20.0
WARM_S = 1.0
LOOK_S = 0.0005


def append(place: Place) -> Measured:
    """Records a second through `Appender.append`: judged (dense ids), chained, summed, committed, published.

    Batches of 1,000 trades of 1,000 instruments, level `process`, on and on over many segments, so that making
    segments ready is in it. Left out: making the batches (decoding), and fsync, which this level does not wait for.
    The first repeat is warm-up.
    """
    count = place.size(2_000_000, 32_000)
    with (
        place.scratch("append", (REPEATS + 2) * count * RECORD_BYTES) as folder,
        appender(folder, quick=place.quick) as made,
    ):
        rounds = Rounds()
        seconds = [_batches(made, rounds, count) for _ in range(REPEATS + 1)]
        insist(made, (REPEATS + 1) * count)
    return of_runs([count / took for took in seconds[1:]])


def _batches(made: Appender, rounds: Rounds, count: int) -> float:
    took = 0.0
    for _ in range(count // (16 * BATCH)):
        batches = rounds.advance()
        began = time.perf_counter()
        for batch in batches:
            made.append(batch)
        took += time.perf_counter() - began
    return took


def append_one(place: Place) -> Measured:
    """Records a second when each comes alone: a call, a commit and a publication for every one.

    As `append` otherwise. The arrays of one record exist before the clock starts.
    """
    count = place.size(320_000, 16_000)
    need = 2 * (REPEATS + 2) * count * RECORD_BYTES
    with place.scratch("append_one", need) as folder, appender(folder, quick=place.quick) as made:
        rounds = Rounds()
        seconds = [_singles(made, rounds, count) for _ in range(REPEATS + 1)]
        insist(made, (REPEATS + 1) * count)
    return of_runs([count / took for took in seconds[1:]])


def _singles(made: Appender, rounds: Rounds, count: int) -> float:
    took = 0.0
    for _ in range(count // (16 * BATCH)):
        singles = [batch[k : k + 1] for batch in rounds.advance() for k in range(BATCH)]
        began = time.perf_counter()
        for single in singles:
            made.append(single)
        took += time.perf_counter() - began
    return took


def append_power(place: Place) -> Measured:
    """Milliseconds from handing a batch to the judge until it is on stable storage, at level `power`.

    100,000 ticks/s in batches each millisecond for ten seconds; fdatasync every 20 ms on the disk under test. Each
    batch is one sample, so a slow fsync counts for every batch that waited for it. Durable is what `head.durable` tells
    every process; it is looked at each half millisecond. The first second is left out.
    """
    stops: list[int] = []
    handed: list[int] = []
    durable: list[tuple[int, int]] = []
    with (
        place.scratch("append_power", 20 * PER_S * RECORD_BYTES) as folder,
        appender(folder, sync_every_ms=SYNC_EVERY_MS, quick=place.quick) as made,
    ):
        live = Live()

        def send(due: int) -> int:
            handed.append(time.perf_counter_ns())
            batch = live.take(due)
            stops.append(made.append(batch))
            return len(batch)

        end = time.perf_counter() + place.seconds(10 + WARM_S)
        with _watched(made, durable):
            pace(PER_S, lambda: time.perf_counter() > end, send)
            if not made.tape.sync.flush(stops[-1]):
                raise Wrong("the last batch did not become durable")
    waited = until_durable(np.array(stops), np.array(handed), np.array(durable, dtype=np.int64))
    warm = 0 if place.quick else int(np.searchsorted(handed, handed[0] + int(WARM_S * 1e9)))
    return of_latencies(waited[warm:] / 1e6, "p99")


@contextmanager
def _watched(made: Appender, durable: list[tuple[int, int]]) -> Generator[None]:
    over, head = threading.Event(), made.tape.head

    def look() -> None:
        seen = head.durable
        while not over.wait(LOOK_S) or head.durable != seen:
            if head.durable != seen:
                seen = head.durable
                durable.append((seen, time.perf_counter_ns()))

    thread = threading.Thread(target=look, name="bench:durable", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def until_durable(stops: Ints, handed: Ints, durable: Ints) -> Ints:
    """Return how long each batch waited: it ends at position `stops[k]`, and rows of `durable` are (position, when)."""
    return durable[np.searchsorted(durable[:, 0], stops), 1] - handed
