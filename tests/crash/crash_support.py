"""A venue process, recorder processes that can be killed, and the comparison of a tape with the venue's own ledger."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ticktape.model.records import Ints, Kind, Records
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

RECORDER = Path(__file__).parent / "recorder.py"


def poll(what: Callable[[], bool], timeout_s: float = 30.0, why: str = "it did not come about") -> None:
    """Wait until something is so; fail when it does not come about."""
    until = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < until, why
        time.sleep(0.01)


class Venue:
    """The simulated venue as a process of its own."""

    def __init__(self, process: subprocess.Popen[str], where: dict[str, Any], ledger: Path) -> None:
        self.process, self.ledger_path = process, ledger
        self.recorders: list[subprocess.Popen[bytes]] = []
        self.ws_url, self.rest_url = str(where["ws_url"]), str(where["rest_url"])

    def order(self, **fault: Any) -> None:
        """Order a fault."""
        body = json.dumps(fault).encode()
        request = urllib.request.Request(f"{self.rest_url}/sim/faults", body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def ledger_lines(self) -> int:
        """Return how many trades the venue has made."""
        return self.ledger_path.read_bytes().count(b"\n") if self.ledger_path.exists() else 0

    def ledger(self) -> dict[str, Ints]:
        """Return every trade the venue made: symbol -> rows of (id, price, size, time ns)."""
        found: dict[str, list[tuple[int, int, int, int]]] = {}
        with self.ledger_path.open() as lines:
            for line in lines:
                symbol, number, price, size, us, _ = line.split(",")
                found.setdefault(symbol, []).append((int(number), _units(price), _units(size), int(us) * 1000))
        return {symbol: np.array(rows, dtype=np.int64) for symbol, rows in found.items()}


def _units(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(8, "0"))


@contextmanager
def venue(folder: Path, *, paced: int = 20_000, symbols: int = 4) -> Generator[Venue]:
    """Run a venue that makes `paced` trades a second, and writes each down before it sends it."""
    ledger = folder / "ledger.csv"
    command = [
        sys.executable, "-m", "ticktape.simulate.binance", "--paced", str(paced), "--symbols", str(symbols),
        "--ledger", str(ledger), "--json", "--set", "weight_per_m=100000000", "--set", "connections_per_5m=100000",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        running = Venue(process, json.loads(process.stdout.readline()), ledger)
        try:
            yield running
        finally:
            for each in [process, *running.recorders]:
                each.kill()
                each.wait(20)


def start_recorder(venue: Venue, data: Path, log: Path, symbols: int = 4) -> subprocess.Popen[bytes]:
    """Start a recorder process on a data folder."""
    command = [sys.executable, str(RECORDER), str(data), venue.ws_url, venue.rest_url, str(symbols)]
    with log.open("ab") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=errors)
    venue.recorders.append(process)
    return process


def trades_on(data: Path) -> dict[str, Ints]:
    """Return the trades of a tape: symbol -> rows of (id, price, size, time ns), in order of id."""
    reader = Reader(data / "tape")
    records = reader.view(reader.first, reader.end)
    directory = TapeDirectory(data / "tape")
    try:
        return {i.symbol: _rows(records, i.id) for i in directory.all()}
    finally:
        directory.close()


def _rows(records: Records, instrument: int) -> Ints:
    mine = records[(records["kind"] == Kind.TRADE) & (records["instrument"] == instrument)]
    rows = np.stack([mine[name] for name in ("c", "a", "b", "ts_event")], axis=1).astype(np.int64)
    return rows[np.argsort(rows[:, 0], kind="stable")]
