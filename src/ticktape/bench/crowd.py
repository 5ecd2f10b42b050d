"""A hundred clients that ask all the time, while a busy market comes in."""

from __future__ import annotations

import asyncio
import random
import time

import numpy as np
import uvloop

from ticktape.bench.child import Child, role
from ticktape.bench.feed import enrol
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_latencies
from ticktape.bench.roles import Pace
from ticktape.bench.served import Client, serving
from ticktape.model.records import RECORD_BYTES
from ticktape.tape.directory import TapeDirectory

CLIENTS = 100
PER_S = 10_000
INSTRUMENTS = 200
LIMIT = 10
SECONDS = 30.0


def hundred(place: Place) -> Measured:
    """Milliseconds of `GET /api/v1/ticks/realtime?symbols=X&limit=10` by a hundred clients that never pause.

    Each keeps its connection and asks again as soon as it has its answer, so that a hundred questions are under way all
    the time, for 30 s, while a writer appends 10,000 ticks/s; writer, server and clients share the cores. An answer
    that is not a 200 with its ticks fails the bench. `per_s` is how many were answered.
    """
    seconds = place.seconds(SECONDS, 1.0)
    with place.scratch("crowd", int(2 * (seconds + 20) * PER_S) * RECORD_BYTES) as folder:
        directory = TapeDirectory(folder / "tape")
        symbols = enrol(directory, INSTRUMENTS)
        directory.close()
        told = Pace(folder / "tape", PER_S, INSTRUMENTS, place.quick)
        with Child(role("pace", told), folder / "pace.log") as writer:
            writer.said()
            with serving(folder) as (serve, plain):
                took = uvloop.run(_ask(plain, symbols, seconds))
                writer.alive()
                serve.alive()
    every = np.array(took)
    return of_latencies(every, "p95", p95=float(np.percentile(every, 95)), per_s=len(took) / seconds)


async def _ask(plain: Client, symbols: list[str], seconds: float) -> list[float]:
    requests = [plain.request(f"/api/v1/ticks/realtime?symbols={symbol}&limit={LIMIT}") for symbol in symbols]
    took, chance, end = list[float](), random.Random(1), time.perf_counter() + seconds
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(_client(plain.port, requests, chance, end, took))
    return took


async def _client(port: int, requests: list[bytes], chance: random.Random, end: float, took: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while (began := time.perf_counter()) < end:
            writer.write(chance.choice(requests))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
            body = await reader.readexactly(length)
            took.append((time.perf_counter() - began) * 1e3)
            if not head.startswith(b"HTTP/1.1 200") or b'"ts_event"' not in body:
                raise Wrong(f"no answer: {head[:40]!r} {body[:200]!r}")
    finally:
        writer.close()
        await writer.wait_closed()
