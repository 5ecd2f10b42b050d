"""`serve` as its own process: before there is a tape, beside a writer, killed and started again, stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from time import sleep

import httpx2
import numpy as np

from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import Kind, empty
from ticktape.serve.keys import KeyStore
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.writer import Writer

T0 = 1_763_640_000_000_000_000  # 2025-11-20T12:00:00Z
START = """
import sys
from pathlib import Path
from ticktape import log
from ticktape.serve.process import ServeSettings, main
log.configure()
main(ServeSettings(data=Path(sys.argv[1]), port=int(sys.argv[2])))
"""


@contextmanager
def process(data: Path, port: int) -> Generator[subprocess.Popen[bytes]]:
    """Run `serve`; it is gone afterwards."""
    started = subprocess.Popen([sys.executable, "-c", START, str(data), str(port)], stderr=subprocess.PIPE)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
            started.wait()
        if started.stderr:
            started.stderr.close()


def answered(client: httpx2.Client, target: str, status: int) -> httpx2.Response:
    """Ask until this status comes back; the test's own time-out is the bound."""
    while True:
        try:
            answer = client.get(target)
            if answer.status_code == status:
                return answer
        except httpx2.TransportError:
            pass  # not listening yet
        sleep(0.02)


def test_serve_waits_follows_survives_a_kill_and_stops(tmp_path: Path, port: int) -> None:
    store = KeyStore(tmp_path)
    headers = {"Authorization": f"Bearer {store.create('test', ['realtime']).key}"}
    store.close()
    ticks = "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=5000"
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
        with process(tmp_path, port) as first:
            assert answered(client, "/healthz", 200).json() == {"ok": True}
            assert client.get(ticks).status_code == 503
            tape = Writer(tmp_path / "tape")
            directory = TapeDirectory(tmp_path / "tape")
            write(tape, directory, 0)
            assert venue_ids(answered(client, ticks, 200)) == list(range(100))
            first.kill()
            first.wait()
        write(tape, directory, 100)
        with process(tmp_path, port) as second:
            answered(client, ticks, 200)
            write(tape, directory, 200)
            assert venue_ids(client.get(ticks)) == list(range(300))
            second.send_signal(signal.SIGTERM)
            _, log = second.communicate()
            assert second.returncode == 0
            assert b"serve.stopped" in log
    directory.close()
    tape.close()


def write(tape: Writer, directory: TapeDirectory, first_id: int) -> None:
    """Append a hundred trades."""
    listing = Listing(
        symbol="BTCUSDT",
        venue="binance",
        asset_class=AssetClass.CRYPTO,
        tick_size=Decimal("0.01"),
        size_step=Decimal("0.00001"),
    )
    rows = empty(100)
    rows["kind"], rows["instrument"] = Kind.TRADE, directory.enrol("binance", "BTCUSDT", listing).id
    rows["source"], rows["c"] = directory.source_id("binance"), first_id + np.arange(100)
    rows["ts_event"] = rows["ts_recv"] = T0 + rows["c"] * 1_000_000
    rows["a"], rows["b"] = 6543210000000, 100000000
    tape.append(rows)


def venue_ids(answer: httpx2.Response) -> list[int]:
    """Return the venue's ids of the ticks in an answer."""
    return [tick["venue_id"] for tick in answer.json()["ticks"]]
