"""`ticktape bench` end to end with tiny sizes. No figure is asserted: a test machine proves no speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ticktape.bench import peers
from ticktape.bench.catalogue import ENTRIES, NAMES
from ticktape.cli.main import app

Run = Callable[..., Result]
WITH_PEER = [entry for entry in ENTRIES if entry.peer]


@pytest.fixture
def run() -> Run:
    """Return a function that runs `ticktape ARGS`."""
    runner = CliRunner()
    return lambda *args: runner.invoke(app, [str(arg) for arg in args])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_each_bench_runs_and_prints_one_line(run: Run, tmp_path: Path, entry: object) -> None:
    found = next(e for e in ENTRIES if e is entry)
    done = run("bench", found.name, "--quick", "--json", "--data", tmp_path)
    assert done.exit_code == 0, done.output
    (line,) = done.stdout.splitlines()
    row = json.loads(line)
    assert (row["bench"], row["unit"]) == (found.name, found.unit)
    assert row["value"] > 0
    assert row["reached"] is None, "tiny sizes are no verdict"
    percentiles = [goal.figure for goal in found.goals if goal.figure.startswith("p")]
    if percentiles:
        assert 0 < row["p50"] <= row["p99"] <= row["max"]
        assert row["value"] == row[percentiles[0]]
    assert "peer" not in row
    assert f"{found.name}: {found.what}" in done.stderr
    assert list(tmp_path.iterdir()) == [], "the folder is gone"


@pytest.mark.parametrize("entry", WITH_PEER, ids=lambda entry: entry.name)
def test_each_peer_that_is_installed_runs_beside_us(run: Run, tmp_path: Path, entry: object) -> None:
    found = next(e for e in ENTRIES if e is entry)
    done = run("bench", found.name, "--quick", "--json", "--peers", "--data", tmp_path)
    row = json.loads(done.stdout)
    assert done.exit_code == 0, done.output
    assert row["peer"].startswith(found.peer_name)
    if row["peer_value"] is None:
        pytest.skip(f"{found.peer_name}: {row['why']}")
    assert row["peer_value"] > 0
    assert row["ratio"] > 0


def test_a_missing_peer_is_told_and_fails_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr("ticktape.bench.peers.lmdb_peer.load", missing)
    done = run("bench", "tape.append", "--quick", "--json", "--peers", "--data", tmp_path)
    row = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (row["peer"], row["peer_value"], row["ratio"]) == ("lmdb", None, None)
    assert row["why"] == "not installed; pip install 'ticktape[peers]'"
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_is_not_there_has_only_its_name() -> None:
    assert peers.named("no-such-package") == "no-such-package"


def test_without_json_there_is_a_table_with_the_goal_beside_the_value(run: Run, tmp_path: Path) -> None:
    done = run("bench", "bars.build", "--quick", "--data", tmp_path)
    header, row = (line.split("\t") for line in done.stdout.splitlines())
    assert header[:3] == ["bench", "value", "unit"]
    assert row[0] == "bars.build"
    assert ">= 40,000,000" in row[header.index("goal")]


def test_list_measures_nothing(run: Run, tmp_path: Path) -> None:
    done = run("bench", "--list", "--data", tmp_path / "data")
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == list(NAMES)
    rows = [json.loads(line) for line in run("bench", "--list", "--json").stdout.splitlines()]
    assert [row["bench"] for row in rows] == list(NAMES)
    assert not (tmp_path / "data").exists()


def test_an_unknown_name_is_misuse_and_names_the_list(run: Run) -> None:
    done = run("bench", "tape.apend")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert all(name in done.stderr for name in NAMES)


def test_a_bench_that_cannot_be_measured_says_why_and_the_others_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ticktape.bench.tape.append", full)
    done = run("bench", "tape.append", "tape.append_one", "--quick", "--json", "--data", tmp_path)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert "No space left" in rows[0]["error"]
    assert rows[1]["value"] > 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_middle_it_leaves_no_file_and_no_process(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-m", "ticktape.cli.main", "bench", "query.realtime", "--data", str(tmp_path / "data")]
    bench = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 40
    while not (children := _children(bench.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    bench.send_signal(number)
    bench.communicate(timeout=20)
    assert children
    assert bench.returncode == code
    assert list(tmp_path.iterdir()) == []
    assert not any(_alive(pid) for pid in children)


def _children(pid: int) -> list[int]:
    try:
        return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
