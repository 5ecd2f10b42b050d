"""The made-up trades are what a strict judge lets pass, and latencies are counted from the right moment."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from ticktape.bench.place import place
from ticktape.bench.result import Wrong
from ticktape.bench.scratch import appender, insist
from ticktape.bench.tail import until_noted
from ticktape.bench.tape import until_durable
from ticktape.bench.ticks import Live, Rounds, pace, stream
from ticktape.errors import DiskFull
from ticktape.tape.reader import Reader


def test_rounds_go_on_without_a_word_of_the_judge(tape_folder: Path) -> None:
    rounds = Rounds(instruments=50, batches=3)
    with appender(tape_folder, quick=True) as made:
        for _ in range(4):
            for batch in rounds.advance():
                made.append(batch)
        insist(made, 4 * 3 * 50)
        with pytest.raises(Wrong):
            insist(made, 4 * 3 * 50 + 1)


def test_live_ticks_of_any_size_keep_ids_dense(tape_folder: Path) -> None:
    live, done = Live(instruments=50), 0
    with appender(tape_folder, quick=True) as made:
        for most in (1, 7, 100, 42, 50, 3):
            part = live.take(most)
            made.append(part)
            done += len(part)
        insist(made, done)


def test_a_stream_is_a_market_the_judge_believes(tape_folder: Path) -> None:
    ticks = stream(5000, 8, 1000.0)
    assert (np.diff(ticks["ts_event"]) >= 0).all()
    with appender(tape_folder, quick=True) as made:
        made.append(ticks)
        insist(made, len(ticks))


def test_pace_makes_up_for_late_wake_ups() -> None:
    sent: list[int] = []
    end = time.perf_counter() + 0.05

    def send(due: int) -> int:
        sent.append(due)
        if len(sent) == 1:
            time.sleep(0.02)
        return due

    pace(10_000, lambda: time.perf_counter() > end, send)
    assert max(sent) >= 150, "what came due in 20 ms of sleep is sent at once"


def test_a_batch_is_durable_with_the_first_position_at_or_after_its_own() -> None:
    stops, handed = np.array([10, 20, 30]), np.array([100, 200, 300])
    durable = np.array([(20, 250), (40, 900)])
    assert until_durable(stops, handed, durable).tolist() == [150, 50, 600]


def test_a_tick_is_seen_with_the_first_note_beyond_it(tape_folder: Path) -> None:
    batch = Live(instruments=4).take(4)
    batch["ts_recv"] = (100, 200, 300, 400)
    with appender(tape_folder, quick=True) as made:
        made.append(batch[:2])  # positions 0, 1 and a commit
        made.append(batch[2:])  # positions 3, 4 and a commit
        noted = np.array([(0, 50), (3, 1000), (6, 2000)])
        assert until_noted(Reader(tape_folder), noted, 0).tolist() == [900, 800, 1700, 1600]


def test_a_place_leaves_nothing_behind(tmp_path: Path) -> None:
    data = tmp_path / "not" / "there" / "yet"

    def work() -> None:
        with place(data, print, quick=True) as here, here.scratch("a") as folder:
            (folder / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_small_is_told_before_anything_is_written(tmp_path: Path) -> None:
    def work() -> None:
        with place(tmp_path, print, quick=True) as here, here.scratch("a", 1 << 60):
            pass

    with pytest.raises(DiskFull, match="this bench needs"):
        work()


def test_what_is_kept_is_made_once_and_half_of_it_is_never_taken_for_the_whole(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("x")
        if len(made) == 1:
            raise KeyboardInterrupt

    with place(tmp_path, print, quick=True) as here:
        with pytest.raises(KeyboardInterrupt):
            here.kept("lake", 0, make)
        assert [(here.kept("lake", 0, make) / "file").read_text() for _ in range(3)] == ["x"] * 3
    assert len(made) == 2
    assert list(tmp_path.iterdir()) == []
