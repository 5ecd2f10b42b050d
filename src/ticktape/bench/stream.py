"""The hub under load: a writer, the hub and its clients, three processes on the cores there are."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ticktape.bench.child import Child, role
from ticktape.bench.feed import enrol
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Spread, Wrong
from ticktape.bench.roles import Pace
from ticktape.bench.stream_clients import Crowd
from ticktape.model.records import RECORD_BYTES
from ticktape.serve.keys import KeyStore, Scope
from ticktape.tape.directory import TapeDirectory

INSTRUMENTS = 200
START_S = 60.0


def subscribed(symbols: list[str], **more: Any) -> str:
    """Return what a client says."""
    return json.dumps({"op": "subscribe", "channels": ["trades"], "symbols": symbols, "snapshot": False} | more)


@contextmanager
def market(place: Place, per_s: float, seconds: float) -> Generator[tuple[Path, list[str]]]:
    """Run a writer and give the data folder and the symbols."""
    with place.scratch("stream", int(per_s * (seconds + 60)) * RECORD_BYTES) as folder:
        directory = TapeDirectory(folder / "tape")
        symbols = enrol(directory, INSTRUMENTS)
        directory.close()
        with Child(role("pace", Pace(folder / "tape", per_s, INSTRUMENTS, place.quick)), folder / "pace.log") as writer:
            writer.said()
            yield folder, symbols
            writer.alive()


@contextmanager
def hub(folder: Path) -> Generator[tuple[Child, int, str]]:
    """Run `ticktape stream` and give its process, its port and a key."""
    keys = KeyStore(folder)
    key = keys.create("bench", [Scope.STREAM]).key
    keys.close()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "ticktape.cli.main", "stream", "--data", str(folder), "--port", str(port)]
    with Child([*command, "--log-level", "error", "--supervised"], folder / "stream.log") as child:
        _until_up(child, port)
        yield child, port, key


def _until_up(child: Child, port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        child.alive()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _heard(folder: Path, crowd: Crowd, name: str = "clients") -> dict[str, Any]:
    told = msgspec.json.encode(crowd).decode()
    command = [sys.executable, "-m", "ticktape.bench.stream_clients", told]
    with Child(command, folder / f"{name}.log") as clients:
        clients.said(60.0)
        found = clients.said(crowd.seconds + crowd.warm_s + 60.0)
    if not found["events_per_s"]:
        raise Wrong("the clients heard nothing")
    return found


def _resident_kib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    raise Wrong(f"/proc/{pid} says nothing of memory")


def _measured(found: dict[str, Any], lead: str = "p50", **more: float) -> Measured:
    spread = Spread(found["p50"], found["p99"], found["max"])
    named = {name: float(found[name]) for name in ("messages_per_s", "events_per_s")}
    return Measured(value=float(found[lead]), spread=spread, more=named | more)


def latency(place: Place) -> Measured:
    """Milliseconds from a tick's arrival to its place in a client, 100 clients, 100,000 ticks/s of 200 instruments.

    Each client asks for every trade of one instrument of its own, at most 100 messages a second, as JSON. A message
    counts by its newest event. Left out: what a client does with the JSON.
    """
    seconds = place.seconds(10.0, 0.5)
    with market(place, 100_000, seconds) as (folder, symbols), hub(folder) as (_, port, key):
        url = f"ws://127.0.0.1:{port}/api/v1/stream"
        lines = [subscribed([symbol]) for symbol in symbols[: place.size(100, 4)]]
        return _measured(_heard(folder, Crowd(url, key, lines, len(lines), seconds=seconds, warm_s=seconds / 5)))


def ten_thousand(place: Place) -> Measured:
    """Milliseconds from arrival to client with 10,000 clients, 20,000 messages/s in all, conflated.

    Each client asks for two messages a second of one instrument of 200, while 20,000 ticks/s come in. So a message
    may be half a second old by what the client asked for; its newest event is not. `client_kib` is what
    the hub grew by.
    """
    seconds, count = place.seconds(10.0, 0.5), place.size(10_000, 50)
    with market(place, 20_000, seconds) as (folder, symbols), hub(folder) as (child, port, key):
        lines = [subscribed([symbol], policy="conflate", rate=2.0) for symbol in symbols]
        before = _resident_kib(child.pid)
        told = msgspec.json.encode(
            Crowd(f"ws://127.0.0.1:{port}/api/v1/stream", key, lines, count, seconds=seconds, warm_s=seconds / 5)
        ).decode()
        command = [sys.executable, "-m", "ticktape.bench.stream_clients", told]
        with Child(command, folder / "clients.log") as clients:
            clients.said(60.0)
            found = clients.said(seconds * 2 + 60.0)
            grown = _resident_kib(child.pid) - before
        return _measured(found, "p99", connected_s=float(found["connected_s"]), client_kib=grown / count)


def slow(place: Place) -> Measured:
    """How many times the others' p99 grows when 1 % of 1,000 clients stop reading; at 20,000 ticks/s, every event."""
    seconds, count = place.seconds(8.0, 0.5), place.size(1_000, 20)
    with market(place, 20_000, 2 * seconds) as (folder, symbols), hub(folder) as (_, port, key):
        lines = [subscribed([symbol], rate=10.0) for symbol in symbols]
        crowd = Crowd(f"ws://127.0.0.1:{port}/api/v1/stream", key, lines, count, seconds=seconds, warm_s=seconds / 4)
        alone = _heard(folder, crowd)
        beside = _heard(folder, msgspec.structs.replace(crowd, deaf=max(1, count // 100)))
    return Measured(
        value=beside["p99"] / max(alone["p99"], 1e-9), more={"p99_alone": alone["p99"], "p99_beside": beside["p99"]}
    )
