"""Asking over HTTP while a busy market comes in."""

from __future__ import annotations

import random
import time

import numpy as np

from ticktape.bench.child import Child, role
from ticktape.bench.feed import enrol
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_latencies
from ticktape.bench.roles import Pace
from ticktape.bench.served import Client, serving
from ticktape.model.records import RECORD_BYTES
from ticktape.tape.directory import TapeDirectory

PER_S = 100_000
INSTRUMENTS = 200
LIMIT = 100
WARM_S = 2.0
PAUSES_S = (0.001, 0.005)


def realtime(place: Place) -> Measured:
    """Milliseconds of `GET /api/v1/ticks/realtime?symbols=X&limit=100` on one kept connection, whole answer read.

    A writer process appends 100,000 ticks/s of 200 instruments at level `power`, a real `ticktape serve` tails them
    and builds their bars, and one client here asks for another symbol at random every 1 to 5 ms, so that it does not
    fall into step with anything: three processes on the cores there are. Each tenth answer is checked. Left out:
    what a client does with the JSON. The first two seconds are warm-up; ten follow.
    """
    seconds = place.seconds(10 + WARM_S, 1.0)
    with place.scratch("query", int(2 * (seconds + 20) * PER_S) * RECORD_BYTES) as folder:
        tape = folder / "tape"
        directory = TapeDirectory(tape)
        symbols = enrol(directory, INSTRUMENTS)
        directory.close()
        told = Pace(tape, PER_S, INSTRUMENTS, place.quick)
        with Child(role("pace", told), folder / "pace.log") as writer:
            writer.said()
            with serving(folder) as (serve, client):
                _until_long(client, symbols[-1])
                end = time.perf_counter() + seconds
                took, moved = _ask(client, symbols, end)
                writer.alive()
                serve.alive()
    if moved < 0.8 * PER_S * seconds:
        raise Wrong(
            f"the tape moved {moved} places in {seconds:.0f} s: this machine cannot take {PER_S} ticks a second"
        )
    warm = 0 if place.quick else int(len(took) * WARM_S / seconds)
    return of_latencies(np.array(took[warm:]) / 1e6, requests=float(len(took) - warm))


def _path(symbol: str) -> str:
    return f"/api/v1/ticks/realtime?symbols={symbol}&limit={LIMIT}"


def _until_long(client: Client, symbol: str) -> None:
    deadline = time.monotonic() + 30
    while len(client.get(_path(symbol))["ticks"]) < LIMIT:
        if time.monotonic() > deadline:
            raise Wrong(f"{symbol} does not come to {LIMIT} ticks")
        time.sleep(0.05)


def _ask(client: Client, symbols: list[str], end: float) -> tuple[list[int], int]:
    """Return how long each request took, ns, and how far the tape came meanwhile."""
    chance = random.Random(1)
    requests = [client.request(_path(symbol)) for symbol in symbols]
    first = _position(client, symbols[0])
    took: list[int] = []
    while time.perf_counter() < end:
        request = chance.choice(requests)
        began = time.perf_counter_ns()
        body = client.ask(request)
        took.append(time.perf_counter_ns() - began)
        if len(took) % 10 == 0 and body.count(b'"ts_event"') < LIMIT:
            raise Wrong(f"an answer without {LIMIT} ticks: {body[:200]!r}")
        time.sleep(chance.uniform(*PAUSES_S))
    return took, _position(client, symbols[0]) - first


def _position(client: Client, symbol: str) -> int:
    return int(client.get(_path(symbol))["as_of_position"])
