"""A tape with a past: what it costs to open one after a crash, and to ask it for the latest."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ticktape.bench.child import Child, role
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_latencies, of_runs
from ticktape.bench.roles import Fill
from ticktape.bench.scratch import appender
from ticktape.bench.ticks import BATCH
from ticktape.model.records import RECORD_BYTES
from ticktape.tape.kernels import CHAIN_TRADE
from ticktape.tape.reader import Found, Reader

RECORDS = 36_000_000
LATEST = 100
ASKED = 5_000
PASSES = 10
PAUSE_S = 0.3  # so that one busy neighbour does not sit on all passes
REOPENED = 3


@contextmanager
def killed(place: Place, name: str) -> Generator[Path]:
    """Give a tape of 36 M records (and a little more) whose writer was killed while it appended."""
    records = place.size(RECORDS, 200_000)
    with place.scratch(name, (records + (2 << 20)) * RECORD_BYTES) as folder:
        place.say(f"writing {records:,} records")
        told = Fill(folder / "tape", records, place.quick)
        with Child(role("fill", told), folder / "fill.log") as child:
            child.said()
            child.kill()
        yield folder / "tape"


def latest(place: Place) -> Measured:
    """Microseconds of `Reader.latest(instrument, trades, 100)` in this process, a fresh copy of the records included.

    36 M records of 1,000 instruments; each call asks for another instrument at random, so that the answer is not in
    the first-level cache (asking for one and the same is `same_p50`). Ten passes, a little apart. Left out: following
    what the writer appended since (tape.tail has it) and naming the fields.
    """
    with killed(place, "latest") as folder:
        reader = Reader(folder)
        reader.follow()
        asked = np.random.default_rng(1).integers(1, BATCH + 1, place.size(ASKED, 100)).tolist()
        took, same = list[int](), list[int]()
        _ask(reader, asked)
        for _ in range(PASSES):
            took += _ask(reader, asked)
            same += _ask(reader, asked[:1] * len(asked))
            time.sleep(place.seconds(PAUSE_S, 0.0))
    return of_latencies(np.array(took) / 1e3, same_p50=float(np.median(same)) / 1e3)


def _ask(reader: Reader, instruments: list[int]) -> list[int]:
    took: list[int] = []
    for instrument in instruments:
        began = time.perf_counter_ns()
        found = reader.latest(instrument, CHAIN_TRADE, LATEST)
        took.append(time.perf_counter_ns() - began)
        _check(found, instrument)
    return took


def _check(found: Found, instrument: int) -> None:
    records = found.records
    if (
        len(records) != LATEST
        or records["instrument"][0] != instrument
        or records["c"][-1] - records["c"][0] != LATEST - 1
    ):
        raise Wrong(f"not the last {LATEST} of instrument {instrument}")


def reopen(place: Place) -> Measured:
    """Seconds from opening the tape of a killed writer to its first answer, as a recorder and a server have to.

    In it: taking over the lock, checking every batch's CRC, bringing back the judge's state, mapping and following as
    a reader, and one `latest`. Left out: starting Python and loading compiled kernels, and a cold disk: the 2.3 GB
    were just written and are in the page cache. Three times, median.
    """
    with killed(place, "reopen") as folder:
        with place.scratch("reopen_warm") as warm:  # compiled kernels are loaded before the clock starts
            _reopen(warm / "tape", place, check=False)
        seconds = [_reopen(folder, place, check=True) for _ in range(REOPENED)]
    return of_runs(seconds)


def _reopen(folder: Path, place: Place, *, check: bool) -> float:
    began = time.perf_counter()
    with appender(folder, quick=place.quick) as made:
        reader = Reader(folder)
        reader.follow()
        found = reader.latest(1, CHAIN_TRADE, LATEST)
        took = time.perf_counter() - began
        if check:
            _check(found, 1)
            if made.tape.opened.found.records < place.size(RECORDS, 200_000):
                raise Wrong(f"only {made.tape.opened.found.records:,} records survived the kill")
    return took
