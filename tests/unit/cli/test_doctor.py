"""`ticktape doctor` tells what is wrong with this machine, with the next command."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from ticktape.cli import checks
from ticktape.cli.warm import warm

Run = Callable[..., Result]


def test_a_good_machine_is_exit_0(run: Run, data: Path, port: int) -> None:
    done = run("doctor", "--offline", "--data", data, "--port", port, "--json")
    answer = json.loads(done.stdout)
    assert answer["ok"] == (done.exit_code == 0)
    states = {check["name"]: check["state"] for check in answer["checks"]}
    assert {states[name] for name in ("python", "folder", "clock", "port", "tape")} == {"ok"}


def test_a_port_in_use_fails_with_another_to_try(run: Run, data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        done = run("doctor", "--offline", "--data", data, "--port", taken)
    assert done.exit_code == 1
    assert f"FAIL  port     {taken} is in use" in done.stdout
    assert f"hint: ticktape up --port {taken + 1}" in done.stdout


def test_a_damaged_tape_is_told(data: Path) -> None:
    (data / "tape" / "tape.json").write_text("{")
    found = checks.tape(data / "tape")
    assert (found.state, found.hint) == ("fail", "ticktape tape repair")


def test_a_venue_that_does_not_answer_is_a_warning(port: int) -> None:
    found = checks.reach(f"http://127.0.0.1:{port}", within_s=1)
    assert found.state == "warn"
    assert "SAMPLE" in found.detail


def test_a_venue_that_answers_is_fine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert checks.reach(f"http://127.0.0.1:{server.getsockname()[1]}").state == "ok"


def test_a_clock_of_long_ago_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ticktape.cli.checks.time.time_ns", lambda: 10**18)
    assert checks.clock().state == "fail"


def test_warm_runs_every_kernel() -> None:
    warm()
