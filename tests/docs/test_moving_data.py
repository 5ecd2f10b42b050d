"""docs/moving-data.md: each Python block runs on a real lake and gives what is on the tape."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ticktape.keep.backup import backup
from ticktape.keep.backup_pin import World
from ticktape.keep.backup_store import FolderStore
from ticktape.keep.flush import Flusher
from ticktape.model.records import Kind, Records, empty
from ticktape.tape.reader import Reader
from ticktape.tape.verify import verify
from ticktape.tape.writer import Writer

PAGE = (Path(__file__).parents[2] / "docs" / "moving-data.md").read_text()
NOON = 1_763_640_000 * 10**9  # 2025-11-20T12:00:00Z


@pytest.fixture
def traded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    """Record and flush some trades, and return those of the page's day."""
    chance = np.random.default_rng(1)
    records = empty(3000)
    records["kind"], records["side"], records["source"] = Kind.TRADE, 1, 1
    records["instrument"] = chance.integers(1, 4, 3000)
    records["ts_event"] = records["ts_recv"] = NOON + np.arange(3000) * 20 * 10**9  # on to the next day
    records["a"], records["b"] = 61_832 * 10**8 + chance.integers(0, 10**9, 3000), chance.integers(1, 10**8, 3000)
    records["c"] = np.arange(1, 3001)
    tape = Writer(tmp_path / "tape", sync_every_ms=0)
    for start in range(0, 3000, 1000):
        tape.append(records[start : start + 1000])
        Flusher(tmp_path / "lake", Reader(tmp_path / "tape")).flush()
    tape.close()
    monkeypatch.setenv("LAKE", str(tmp_path / "lake"))
    return records[records["ts_event"] < NOON + 43_200 * 10**9]


def ran(title: str) -> dict[str, Any]:
    found = re.search(rf"### {title}\n.*?```python\n(.*?)```", PAGE, re.DOTALL)
    assert found, title
    names: dict[str, Any] = {}
    exec(compile(found[1], title, "exec", dont_inherit=True), names)
    return names


def test_polars(traded: Records) -> None:
    pytest.importorskip("polars")
    found = ran("Polars")
    mine = traded[traded["instrument"] == 1]
    assert found["trades"].height == len(mine)
    assert str(found["trades"]["price"][0]).startswith("618")
    assert found["hourly"]["volume"].sum() == pytest.approx(mine["b"].sum() / 10**8)
    assert found["hourly"].height == 12


def test_duckdb(traded: Records) -> None:
    pytest.importorskip("duckdb")
    rows = ran("DuckDB")["rows"]
    for instrument, trades, notional in rows:
        mine = traded[traded["instrument"] == instrument]
        assert trades == len(mine)
        assert notional == sum(a * b for a, b in zip(mine["a"].tolist(), mine["b"].tolist(), strict=True))
    assert [row[0] for row in rows] == [1, 2, 3]


def test_pandas(traded: Records) -> None:
    pytest.importorskip("pandas")
    found = ran("pandas")
    assert len(found["frame"]) == len(traded)
    assert found["volume"].sum() == pytest.approx(traded["b"].sum() / 10**8)


def test_every_python_block_is_run() -> None:
    assert PAGE.count("```python") == 3


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_a_backup_comes_back_by_hand(traded: Records, tmp_path: Path) -> None:
    assert len(traded)
    made = backup(World(tmp_path, "", tmp_path), FolderStore(tmp_path / "safe"))
    found = re.search(r"## A backup without ticktape\n.*?```sh\n(.*?)```", PAGE, re.DOTALL)
    assert found
    script = found[1].replace("/mnt/safe", str(tmp_path / "safe")).replace("20251120T120000.000Z", made.name)
    subprocess.run(["bash", "-c", script], check=True)
    Writer(tmp_path / "safe" / "out" / "tape", sync_every_ms=0).close()
    report = verify(tmp_path / "safe" / "out" / "tape")
    assert (report.ok, report.position) == (True, made.position)
