"""R2, R35: a backup and a restore killed at each named step, and anywhere: the last good backup stays what it was."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ticktape.keep.process import Keeper, KeepSettings
from ticktape.keep.restore import Restored, restore, source_of
from ticktape.model.records import Kind, Records, empty
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(300)

CHILD = Path(__file__).parent / "backup_child.py"
BACKUP = [
    *("backup.pinned", "backup.object.written", "backup.object.placed", "backup.listing", "backup.listed"),
    *("backup.forgotten", "backup.dropped"),
]
RESTORE = ["restore.written", "restore.proven", "restore.placing"]


def grow(folder: Path, first: int, n: int = 1500) -> None:
    """Record n more trades and bring them into the lake."""
    tape = Writer(folder / "tape", capacity=1024, sync_every_ms=0)
    records = empty(n)
    records["kind"], records["instrument"], records["source"] = Kind.TRADE, 1, 1
    records["c"] = np.arange(first, first + n)
    records["ts_event"] = records["ts_recv"] = 1_763_640_000 * 10**9 + records["c"] * 10**6
    records["a"], records["b"] = 10**9, 1
    for start in range(0, n, 100):
        tape.append(records[start : start + 100])
    tape.close()
    TapeDirectory(folder / "tape").close()
    keeper = Keeper(KeepSettings(data=folder, hot_hours=0), Reader(folder / "tape"))
    keeper.flush()
    keeper.close()


def child(what: str, data: Path, place: Path, crash_at: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "TICKTAPE_CRASH_AT": crash_at}
    return subprocess.Popen(
        [sys.executable, str(CHILD), what, str(data), str(place)], env=environment, stdout=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str]) -> None:
    with process:
        assert process.communicate()[0] == "done\n"


def trades(folder: Path) -> Records:
    reader = Reader(folder / "tape")
    view = reader.view(reader.first, reader.end)
    return view[view["kind"] == Kind.TRADE].copy()


def usable(place: Path, to: Path) -> Restored:
    with source_of(str(place)) as source:
        done = restore(source, to)
    assert done.ok, done.wrong
    return done


@pytest.mark.parametrize("step", BACKUP)
def test_r35_killed_in_a_backup_the_last_good_one_restores(tmp_path: Path, step: str) -> None:
    data, place = tmp_path / "data", tmp_path / "backups"
    grow(data, 1)
    finished(child("backup", data, place))
    before = trades(data)
    grow(data, 1501)
    with child("backup", data, place, step) as process:
        assert process.wait() == -signal.SIGKILL, f"nobody passes {step}"
    usable(place, tmp_path / "one")
    found = trades(tmp_path / "one")
    assert np.array_equal(found, before) or np.array_equal(found, trades(data))
    finished(child("backup", data, place))
    usable(place, tmp_path / "two")
    assert np.array_equal(trades(tmp_path / "two"), trades(data))
    assert not (data / ".backup").exists()
    assert not list(place.rglob("*.new"))
    grow(data, 3001)  # and nothing keeps recorder and keeper from going on


@pytest.mark.parametrize("step", RESTORE)
def test_r35_killed_in_a_restore_the_next_one_is_whole_or_says_what_is_in_its_way(tmp_path: Path, step: str) -> None:
    data, place = tmp_path / "data", tmp_path / "backups"
    grow(data, 1)
    finished(child("backup", data, place))
    with child("restore", tmp_path / "new", place, step) as process:
        assert process.wait() == -signal.SIGKILL, f"nobody passes {step}"
    assert not (tmp_path / "new" / "tape").exists()  # the tape comes last: what is half is no world
    if step == "restore.placing":
        for path in (tmp_path / "new").iterdir():
            assert path.name in ("lake", ".restoring")
        return
    usable(place, tmp_path / "new")
    assert np.array_equal(trades(tmp_path / "new"), trades(data))
    assert not (tmp_path / "new" / ".restoring").exists()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_r35_killed_anywhere(tmp_path: Path, seed: int) -> None:
    data, place, chance = tmp_path / "data", tmp_path / "backups", random.Random(seed)
    grow(data, 1)
    finished(child("backup", data, place))
    for k in range(4):
        grow(data, 1501 + 1500 * k)
        with child("backup", data, place) as process:
            try:
                process.wait(timeout=chance.uniform(0.5, 1.5))
            except subprocess.TimeoutExpired:
                process.kill()
        usable(place, tmp_path / f"new{k}")
