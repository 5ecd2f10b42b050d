"""A speed counts only when the work was done: what is lost, doubled or made up is noticed, and no number comes out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ticktape.bench.binance import READ, arrived, decoding, trade_frames
from ticktape.bench.child import Child
from ticktape.bench.memory import private_mb
from ticktape.bench.peers import load
from ticktape.bench.peers.nautilus_trader_peer import build
from ticktape.bench.place import place
from ticktape.bench.result import Measured, Wrong
from ticktape.bench.scratch import appender
from ticktape.errors import Unavailable
from ticktape.model.records import Kind, Records, empty
from ticktape.simulate.binance.bulk_feed import FIRST_ID
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

Make = Callable[[list[int]], Reader]
IDS = list(range(FIRST_ID, FIRST_ID + 600))


@pytest.fixture
def taped(tape_folder: Path) -> Make:
    """Return a function that makes a tape of trades of one instrument with these ids."""

    def make(ids: list[int]) -> Reader:
        batch: Records = empty(len(ids))
        batch["kind"], batch["instrument"], batch["c"] = Kind.TRADE, 1, ids
        batch["ts_recv"] = np.arange(len(ids)) * 1_000_000 + 1
        tape = Writer(tape_folder, capacity=4096, sync_every_ms=0)
        tape.append(batch)
        tape.close()
        return Reader(tape_folder)

    return make


def test_frames_that_all_arrived_have_a_rate(taped: Make) -> None:
    rates = arrived(taped(IDS), 600)
    assert rates == pytest.approx([1000.0] * len(rates), rel=0.02)


@pytest.mark.parametrize(
    "spoiled",
    [
        pytest.param([*IDS[:300], *IDS[301:], IDS[-1] + 1], id="one is missing, the count is right"),
        pytest.param([*IDS[:300], IDS[299], *IDS[300:-1]], id="one is there twice"),
        pytest.param([IDS[1], IDS[0], *IDS[2:]], id="two changed places"),
        pytest.param(IDS[:-1], id="the last is missing"),
        pytest.param([*IDS[1:], IDS[-1] + 1], id="the first was missed"),
    ],
)
def test_a_frame_lost_doubled_or_moved_leaves_no_rate(taped: Make, spoiled: list[int]) -> None:
    with pytest.raises(Wrong):
        arrived(taped(spoiled), 600)


def test_a_frame_that_becomes_no_record_leaves_no_rate(tmp_path: Path) -> None:
    frames = trade_frames(0, 2 * READ)
    frames[7] = b'{"e":"trade","E":1}'
    with place(tmp_path, print, quick=True) as here, decoding(here) as opened, pytest.raises(Wrong):
        opened.seconds(frames, 1_763_640_000_000_000_000)


def test_a_peer_that_does_less_leaves_no_ratio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nautilus_trader")
    load("nautilus_trader.test_kit.providers")  # compiled against the real class: before it is replaced
    bars = load("nautilus_trader.data.aggregation")

    class Idle(bars.TimeBarAggregator):
        def handle_trade_tick(self, tick: object) -> None:
            pass

    monkeypatch.setattr(bars, "TimeBarAggregator", Idle)
    with place(tmp_path, print, quick=True) as here, pytest.raises(Wrong):
        build(here, Measured(value=1.0))


def test_memory_is_that_of_the_process() -> None:
    before = private_mb(os.getpid())
    held = np.ones(64_000_000 // 8)
    assert private_mb(os.getpid()) - before == pytest.approx(held.nbytes / 1e6, abs=8)


def test_memory_of_a_process_that_is_gone_is_no_number() -> None:
    with pytest.raises(Unavailable, match="smaps_rollup"):
        private_mb(2**22 + 1)


def test_a_child_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('the disk is on fire')"]
    with Child(command, tmp_path / "log") as child, pytest.raises(Unavailable, match="the disk is on fire"):
        child.said()


def test_a_child_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with Child([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log") as child:
        with pytest.raises(Unavailable, match="said nothing"):
            child.said(0.2)
        pid = child.pid
    assert not Path(f"/proc/{pid}").exists()


def test_a_scratch_tape_may_hold_one_already(tape_folder: Path) -> None:
    for _ in range(2):
        with appender(tape_folder, quick=True) as made:
            assert made.tape.position >= 0
