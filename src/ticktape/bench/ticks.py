"""Made-up trades to measure with: seeded, dense ids, rising times; the judge has all its work and no complaint."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ticktape.model.records import Ints, Kind, Records, empty

SOURCE = 1
START_NS = 1_763_640_000_000_000_000  # 2025-11-20T12:00:00Z
LATENCY_NS = 1_000_000  # from the venue to us
BATCH = 1000
PRICE = 10**10  # 100 at the default scale
PACE_S = 0.001


class Rounds:
    """Batches in which each instrument trades once, in another order each. Sixteen at a time stay in the cache.

    `advance` gives them their next ids and times in place; that is the venue's and the decoder's work, so callers
    leave it outside of what they time.
    """

    def __init__(self, instruments: int = BATCH, batches: int = 16, per_s: float = 1e5, seed: int = 1) -> None:
        chance = np.random.default_rng(seed)
        self._step_ns = int(instruments * 1e9 / per_s)  # market time of one round
        self._count, self._now = 0, START_NS
        self._batches = [_round(instruments, chance) for _ in range(batches)]

    def advance(self) -> list[Records]:
        """Return the next batches; the same arrays every time."""
        for batch in self._batches:
            self._count += 1
            self._now += self._step_ns
            batch["c"] = self._count
            batch["ts_event"] = self._now
            batch["ts_recv"] = self._now + LATENCY_NS
        return self._batches


class Live:
    """The same, but cut to what is due, at the time of the machine."""

    def __init__(self, instruments: int = BATCH, seed: int = 1) -> None:
        self._batch = _round(instruments, np.random.default_rng(seed))
        self._at, self._count = 0, 1

    def take(self, most: int) -> Records:
        """Return up to `most` trades that happen now; a view that the next call overwrites."""
        part = self._batch[self._at : self._at + most]
        part["c"] = self._count
        part["ts_event"] = part["ts_recv"] = time.time_ns()
        self._at += len(part)
        if self._at == len(self._batch):
            self._at, self._count = 0, self._count + 1
        return part


def pace(per_s: float, over: Callable[[], bool], send: Callable[[int], int]) -> None:
    """Call `send` every millisecond with how many are due until `over`; it returns how many it took.

    What a late wake-up left undone is due at the next: the rate holds, as a venue's does.
    """
    began, done = time.perf_counter(), 0
    while not over():
        due = int((time.perf_counter() - began) * per_s) - done
        while due > 0:
            took = send(due)
            done, due = done + took, due - took
        passed = time.perf_counter() - began
        time.sleep(PACE_S - passed % PACE_S)


def stream(count: int, instruments: int, per_s: float, seed: int = 1) -> Records:
    """Return a market as it comes: instrument k trades 1/k as often as the first, at random times, in random steps."""
    chance = np.random.default_rng(seed)
    weights = 1 / np.arange(1, instruments + 1)
    batch = _trades(count, chance)
    batch["instrument"] = chance.choice(instruments, count, p=weights / weights.sum()) + 1
    passed = np.cumsum(chance.exponential(1e9 / per_s, count)).astype(np.int64)
    batch["ts_event"] = START_NS + passed // 1000 * 1000  # venues count in microseconds
    batch["ts_recv"] = batch["ts_event"] + LATENCY_NS
    wave = 1 + 0.01 * np.sin(np.arange(count) / 1e5) + 1e-5 * chance.standard_normal(count)
    batch["a"] = (PRICE * wave).astype(np.int64)
    batch["c"] = _numbered(batch["instrument"])
    return batch


def _numbered(instruments: Ints) -> Ints:
    """Return 1, 2, 3 ... for each instrument by itself."""
    order = np.argsort(instruments, kind="stable")
    counts = np.unique(instruments, return_counts=True)[1]
    numbers: Ints = np.empty(len(instruments), dtype=np.int64)
    numbers[order] = np.arange(len(instruments)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return numbers


def _round(instruments: int, chance: np.random.Generator) -> Records:
    batch = _trades(instruments, chance)
    batch["instrument"] = chance.permutation(instruments) + 1
    batch["a"] = PRICE + chance.integers(-PRICE // 1000, PRICE // 1000, instruments)
    return batch


def _trades(count: int, chance: np.random.Generator) -> Records:
    batch = empty(count)
    batch["kind"], batch["source"] = Kind.TRADE, SOURCE
    batch["side"] = chance.integers(1, 3, count)
    batch["b"] = chance.integers(1, 10**8, count)
    return batch
