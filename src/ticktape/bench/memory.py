"""Memory: what the processes hold for themselves after a long run, apart from pages that belong to files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ticktape.bench.child import Child, role
from ticktape.bench.feed import enrol
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong
from ticktape.bench.roles import Record
from ticktape.bench.served import Client, serving
from ticktape.bench.ticks import BATCH
from ticktape.errors import Unavailable
from ticktape.model.records import RECORD_BYTES
from ticktape.tape.directory import TapeDirectory

TICKS = 36_000_000
PORTIONS = 12
PER_S = 1.5e6  # of the machine's time: what both processes take on two cores, with the page faults of a growing tape
MARKET_PER_S = 10_000.0  # of market time: one hour, in which the rings of 1s bars fill
CATCH_UP_S = 60.0


def memory(place: Place) -> Measured:
    """Megabytes (10^6) of private memory of `record` and `serve` together after 36 M ticks of 1,000 instruments.

    A real recorder fed by a source in its own process, so that it and not a venue is busy; a real `serve` that
    follows with all its readers. Counted: `Anonymous` of /proc/<pid>/smaps_rollup, compiled kernels and Python
    included; pages of the tape are the page cache's. `growth` is what the last third of the ticks added, `peak` the
    most that was seen after any twelfth. The ticks are an hour of a market at 10,000/s, because memory goes by the
    bars kept, not by the ticks: a shorter market has shorter rings, and looks better than it will stay.
    """
    ticks = place.size(TICKS, 192_000)
    with place.scratch("memory", 2 * ticks * RECORD_BYTES) as folder:
        directory = TapeDirectory(folder / "tape")
        enrol(directory, BATCH)
        directory.close()
        told = Record(folder, ticks, PORTIONS, PER_S, MARKET_PER_S, place.quick)
        with Child(role("record", told), folder / "record.log") as recorder, serving(folder) as (serve, client):
            place.say(f"feeding {ticks:,} ticks")
            held: list[tuple[float, float]] = []
            while len(held) < PORTIONS:
                recorder.said()
                held.append(_both(recorder, serve))
            _until_caught_up(client, ticks)
            held[-1] = _both(recorder, serve)
    totals = [sum(pair) for pair in held]
    growth = totals[-1] - totals[2 * PORTIONS // 3 - 1]
    return Measured(
        value=totals[-1], runs=[round(total, 1) for total in totals],
        more={"growth": growth, "peak": max(totals), "record": held[-1][0], "serve": held[-1][1]},
    )  # fmt: skip


def _both(recorder: Child, serve: Child) -> tuple[float, float]:
    return private_mb(recorder.pid), private_mb(serve.pid)


def private_mb(pid: int) -> float:
    """Return the anonymous memory of a process, MB. Raises Unavailable where the system does not tell."""
    try:
        lines: Sequence[str] = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError as error:
        raise Unavailable(f"no /proc/{pid}/smaps_rollup: {error.strerror}; this bench needs Linux") from error
    kib = next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))
    return kib * 1024 / 1e6


def _until_caught_up(client: Client, ticks: int) -> None:
    deadline = time.monotonic() + CATCH_UP_S
    while True:
        tape = client.get("/api/v1/status")["tape"]
        if tape["end"] >= ticks and tape["behind"] < 1000:
            return
        if time.monotonic() > deadline:
            raise Wrong(f"serve is {tape['behind']} records behind after {CATCH_UP_S:.0f} s")
        time.sleep(0.2)
