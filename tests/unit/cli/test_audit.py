"""`ticktape audit verify` and `ticktape key history`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from ticktape.clock import ManualClock
from ticktape.serve.audit import Audit, Entry
from ticktape.serve.keys import KeyStore

Run = Callable[..., Result]
T0 = 1_763_640_000_000_000_000


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Return a data folder with an audit of three requests."""
    store = KeyStore(tmp_path)
    audit = Audit(tmp_path, store.pepper, ManualClock(T0))
    for n in range(3):
        entry = Entry(ts=T0 + n * 10**9, request_id="0" * 16, address="127.0.0.1", key="aaaaaaaa", name="bot")
        entry.route, entry.said, entry.status, entry.rows, entry.us = "GET /x", {"symbols": "BTCUSDT"}, 200, n, 1500
        audit.put(entry)
    audit.flush()
    store.close()
    return tmp_path


def test_an_audit_as_it_was_written_is_said_to_be(run: Run, asked: Path) -> None:
    done = run("audit", "verify", "--data", asked)
    assert (done.exit_code, done.stdout) == (0, "3 lines, all as they were written\n")


def test_a_changed_line_is_named_and_the_exit_says_so(run: Run, asked: Path) -> None:
    path = asked / "audit" / "2025-11-20.jsonl"
    path.write_text(path.read_text().replace('"rows":1', '"rows":9'))
    done = run("audit", "verify", "--data", asked)
    assert (done.exit_code, done.stdout.splitlines()[0]) == (1, "2025-11-20.jsonl:2: line 2 was changed")
    found = json.loads(run("audit", "verify", "--data", asked, "--json").stdout)
    assert (found["ok"], found["lines"], found["findings"][0]["line"]) == (False, 3, 2)


def test_the_history_of_a_key_is_shown_by_prefix_and_by_name(run: Run, asked: Path) -> None:
    lines = run("key", "history", "bot", "--data", asked).stdout.splitlines()
    assert lines[1].split("\t") == [
        *("2025-11-20T12:00:00Z", "tt_aaaaaaaa", "GET /x", "symbols=BTCUSDT", "200", "0", "0", "1.5", "127.0.0.1")
    ]
    newest = json.loads(run("key", "history", "tt_aaaaaaaa", "--data", asked, "--limit", 2, "--json").stdout)
    assert [entry["rows"] for entry in newest] == [1, 2]


def test_without_an_audit_it_says_so(run: Run, tmp_path: Path) -> None:
    done = run("audit", "verify", "--data", tmp_path)
    assert (done.exit_code, "nothing was asked yet" in done.stderr) == (2, True)
