"""R1, R39: killed or stopped at any moment under 20,000 ticks a second, each trade is on the tape exactly once."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from crash_support import Venue, poll, start_recorder, trades_on, venue

from ticktape.model.records import GapState, Kind, Records, Status, empty
from ticktape.tape.reader import Reader
from ticktape.tape.verify import verify

SYMBOLS = 4


def published(data: Path) -> int:
    """Return the position a recorder has published, 0 before its tape is there."""
    return Reader(data / "tape").end if (data / "tape" / "head").exists() else 0


def fresh_trades(data: Path, since: int) -> set[int]:
    """Return the instruments that got live trades since a position."""
    reader = Reader(data / "tape")
    view = reader.view(since, reader.end)
    return set(view["instrument"][view["kind"] == Kind.TRADE].tolist())


class Promise(NamedTuple):
    """Records that were published when their recorder was killed."""

    start: int
    records: Records

    def check(self, data: Path) -> None:
        """See whether the tape still has them."""
        reader = Reader(data / "tape")
        assert np.array_equal(reader.view(self.start, self.start + len(self.records)), self.records)


def kill(process: subprocess.Popen[bytes], data: Path) -> Promise:
    """Kill a recorder; return the last records it had published at that moment."""
    reader = Reader(data / "tape")
    start = max(0, reader.end - 5000)
    promise = Promise(start, reader.view(start, reader.refresh()).copy())
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    return promise


def open_gaps(data: Path) -> int:
    """Return how many gaps of trades are neither filled nor given up."""
    reader = Reader(data / "tape")
    records = reader.view(reader.first, reader.end)
    gaps = records[(records["kind"] == Kind.GAP) & (records["instrument"] > 0)]
    state = dict(zip(gaps["a"].tolist(), gaps["side"].tolist(), strict=True))
    return sum(s < GapState.FILLED for s in state.values())


def campaign(folder: Path, kills: int, seed: int) -> None:
    chance, data = random.Random(seed), folder / "data"
    promise = Promise(0, empty(0))
    with venue(folder, symbols=SYMBOLS) as market:
        for k in range(kills):
            before = published(data)
            process = start_recorder(market, data, folder / "log")
            poll(lambda before=before: published(data) > before, why=f"recorder {k} did not start: {folder / 'log'}")
            if k == 0 or chance.random() < 0.6:  # else: killed while it starts, connects or fills
                poll(lambda before=before: len(fresh_trades(data, before)) == SYMBOLS)
            promise.check(data)
            time.sleep(chance.uniform(0.0, 0.5))
            promise = kill(process, data)
        last = start_recorder(market, data, folder / "log")
        before = published(data)
        poll(lambda: len(fresh_trades(data, before)) == SYMBOLS)
        market.order(fault="burst", factor=0.0, seconds=3600)
        compare(market, data)
        stop(last, data)


def compare(market: Venue, data: Path) -> None:
    """Wait until nothing is waiting to be filled, then hold the tape against the venue's ledger."""

    def quiet() -> bool:
        end = published(data)
        return open_gaps(data) == 0 and end == published(data)

    poll(quiet, 120, "gaps are left")
    theirs = market.ledger()
    poll(lambda: sum(len(rows) for rows in trades_on(data).values()) >= sum(map(len, theirs.values())), 20)
    ours = trades_on(data)
    assert set(ours) == set(theirs)
    for symbol, rows in theirs.items():
        assert np.array_equal(ours[symbol], rows), symbol


def stop(process: subprocess.Popen[bytes], data: Path) -> None:
    """Stop a recorder with SIGTERM: it ends in good order, within ten seconds, with all it had accepted."""
    accepted = published(data)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    reader = Reader(data / "tape")
    assert reader.end >= accepted
    assert reader.durable == reader.end
    last = reader.view(reader.end - 2, reader.end)[0]
    assert (last["kind"], last["a"]) == (Kind.STATUS, Status.RECORDER_STOPPED)
    assert not (data / "record.sock").exists()
    assert verify(data / "tape").ok


@pytest.mark.timeout(240)
def test_r01_killed_30_times_under_20_k_ticks_a_second_no_trade_is_lost_and_none_is_twice(tmp_path: Path) -> None:
    campaign(tmp_path, 30, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_r01_killed_500_times(tmp_path: Path) -> None:
    for round_ in range(10):  # a folder each, so that the comparison stays in memory
        campaign(_made(tmp_path / str(round_)), 50, seed=100 + round_)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.timeout(60)
def test_r39_stopped_by_sigterm_under_load_everything_accepted_is_there_within_ten_seconds(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with venue(tmp_path, symbols=SYMBOLS) as market:
        for _ in range(2):
            before = published(data)
            process = start_recorder(market, data, tmp_path / "log")
            poll(lambda before=before: len(fresh_trades(data, before)) == SYMBOLS if published(data) else False)
            stop(process, data)
        ours, theirs = trades_on(data), market.ledger()
        for symbol, rows in ours.items():
            known = theirs[symbol]
            assert np.isin(rows[:, 0], known[:, 0]).all()
            assert len(np.unique(rows[:, 0])) == len(rows)
