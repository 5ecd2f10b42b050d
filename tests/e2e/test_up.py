"""`ticktape up` as a user starts it: real processes, the simulated venue, the REST door, and kill -9 in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ticktape.model.records import Kind
from ticktape.tape.reader import Reader

pytestmark = pytest.mark.timeout(180)

COMMAND = [sys.executable, "-m", "ticktape.cli.main"]


class Running:
    """A started `ticktape up`, what it said, and its API."""

    def __init__(self, process: subprocess.Popen[str], port: int, data: Path) -> None:
        self.process, self.port, self.data = process, port, data
        self.said: list[str] = []
        self.key = ""

    def until(self, wanted: str) -> str:
        """Read what it says until a line has `wanted`, and return that line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("API key"):
                self.key = line.split()[-1]
            if wanted in line:
                return line
        raise AssertionError(f"ended without {wanted!r}:\n{''.join(self.said)}")

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def until_answers(self, path: str, good: Callable[[Any], bool]) -> Any:
        """Ask until the answer is good; the deadline is the test's own."""
        while True:
            assert self.process.poll() is None, "up ended"
            try:
                answer = self.get(path)
                if good(answer):
                    return answer
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Ask it to stop and return how long that took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return time.monotonic() - began


@contextmanager
def up(data: Path, port: int, *flags: str) -> Generator[Running]:
    command = [*COMMAND, "up", "--data", str(data), "--port", str(port), *flags]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        running = Running(process, port, data)
        try:
            yield running
        finally:
            if process.poll() is None:
                process.kill()


def test_the_first_run_shows_bars_answers_and_stops_in_order(tmp_path: Path, port: int) -> None:
    with up(tmp_path, port, "--sample") as running:
        assert "SAMPLE" in running.until("ticktape")
        running.until("first 1s bar")
        ticks = running.until_answers("/api/v1/ticks/realtime?symbols=BTCUSDT&limit=5", lambda a: len(a["ticks"]) == 5)
        assert ticks["sample"] is True
        futures = running.get("/api/v1/instruments")["instruments"]
        assert {i["symbol"]: i["asset_class"] for i in futures}["MNQ"] == "future"
        assert running.get("/api/v1/ohlc/BTCUSDT?timeframe=1m&limit=1")["bars"]
        assert running.stop() < 10
        assert running.process.returncode == 0
    reader = Reader(tmp_path / "sample" / "tape")
    assert reader.meta.sample
    assert reader.durable == reader.end, "everything accepted is on disk"


def test_r01_every_process_may_die_and_none_takes_the_others_along(tmp_path: Path, port: int) -> None:
    with up(tmp_path, port, "--sample") as running:
        running.until("first 1s bar")
        running.until_answers("/healthz", lambda a: a["ok"])
        before = Reader(tmp_path / "sample" / "tape").end
        for name in ("record", "serve", "keep"):
            os.kill(child(running.process.pid, name), signal.SIGKILL)
        running.until("process.died")
        after = running.until_answers("/api/v1/status", lambda a: a["as_of_position"] > before + 500)
        assert after["recorder"]["status"] == "up"
        restarted = running.until_answers("/api/v1/gaps", lambda a: any(g["cause"] == "restart" for g in a["gaps"]))
        assert restarted["gaps"]
        assert running.stop() < 10
    reader = Reader(tmp_path / "sample" / "tape")
    trades = reader.view(reader.first, reader.end)
    trades = trades[trades["kind"] == Kind.TRADE]
    pairs = list(zip(trades["instrument"].tolist(), trades["c"].tolist(), strict=True))
    assert len(pairs) == len(set(pairs)), "each trade once"


def children(parent: int) -> dict[int, str]:
    """Return the command lines of the processes that `parent` started, by process id."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return {int(number): command for number, above, command in rows if int(above) == parent}


def child(parent: int, name: str) -> int:
    """Return the process id of the part `name` that `parent` started."""
    return next(n for n, command in children(parent).items() if f"ticktape.cli.main {name} " in command)


def test_children_stop_when_their_supervisor_is_killed(tmp_path: Path, port: int) -> None:
    with up(tmp_path, port, "--sample") as running:
        running.until("first 1s bar")
        own = children(running.process.pid)
        assert len(own) == 4, "record, serve, keep and the simulated venue"
        running.process.kill()
        running.process.wait()
    while any(Path(f"/proc/{number}").exists() for number in own):
        time.sleep(0.05)


def test_r37_a_second_up_on_the_folder_is_refused_and_says_who_owns_it(tmp_path: Path, port: int) -> None:
    with up(tmp_path, port, "--sample") as running:
        running.until("first 1s bar")
        second = subprocess.run(
            [*COMMAND, "record", "--data", str(tmp_path), "--config", str(tmp_path / "sample" / "run.json")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert f"process {child(running.process.pid, 'record')}" in second.stderr
        taken = subprocess.run([*COMMAND, "up", "--port", str(port)], capture_output=True, text=True, check=False)
        assert taken.returncode == 1
        assert f"--port {port + 1}" in taken.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[record]\nsync_every = 5\n", "sync_every"),
        ("[sources.binance]\nsymbols = 7\n", "symbols"),
        ("[sources.nasdaq]\nkind = 'nasdaq'\n", "nasdaq"),
        ("[[", "TOML"),
    ],
)
def test_r38_a_wrong_configuration_is_named_and_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "ticktape.toml"
    file.write_text(text)
    tried = subprocess.run([*COMMAND, "record", "--config", str(file)], capture_output=True, text=True, check=False)
    assert tried.returncode == 2
    assert says.lower() in tried.stderr.lower()
    assert "hint:" in tried.stderr


def test_a_capture_plays_in_a_world_of_its_own(tmp_path: Path, port: int) -> None:
    capture = tmp_path / "small.frames"
    lines = [
        b'%d {"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"10.50","q":"1.0","T":%d,"m":true,"M":true}\n'
        % (1_700_000_000_000_000_000 + k * 10_000_000, 1_700_000_000_000 + k * 10, k + 1, 1_700_000_000_000 + k * 10)
        for k in range(500)
    ]
    capture.write_bytes(b"".join(lines))
    with up(tmp_path / "data", port, "--capture", str(capture), "--speed", "10") as running:
        assert "REPLAY" in running.until("ticktape")
        running.until("API key")
        answer = running.until_answers(
            "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=500", lambda a: len(a.get("ticks", [])) == 500
        )
        assert [t["venue_id"] for t in answer["ticks"]] == list(range(1, 501))
        assert running.stop(signal.SIGINT) < 10
