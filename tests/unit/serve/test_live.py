"""Following the tape: everything is absorbed once, whatever the chunks; the board says how things are."""

from __future__ import annotations

import asyncio

import pytest
from serve_support import MS, SECOND, T0, House

from ticktape.model.bars import Basis
from ticktape.model.records import Flag, GapState, Kind, Status
from ticktape.serve import health
from ticktape.serve.answers import StatusAnswer
from ticktape.serve.live import Live
from ticktape.serve.provenance import Provenance
from ticktape.tape.reader import Reader, trim


def test_chunks_do_not_change_what_is_read(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    for n in range(20):
        house.trades(btc, 500, T0 + n * SECOND, 500 * n)
        house.gap(btc.id, GapState.CLOSED, start=T0 + n * SECOND, duration_ns=MS)
    whole, pieces = house.live(), house.live()
    while whole.step():
        pass
    while pieces.step(most=97):
        pass
    assert whole.position == pieces.position == house.tape.position
    for live in (whole, pieces):
        assert live.board.tallies[house.source]["records"] == 10_000
        assert len(live.gaps) == 20
    bars = [live.bars.latest(btc.id, "1s", Basis.TRADES, 100).tobytes() for live in (whole, pieces)]
    assert bars[0] == bars[1]


@pytest.mark.asyncio
async def test_the_loop_follows_until_it_is_stopped(house: House) -> None:
    btc, stop = house.enrol("BTCUSDT"), asyncio.Event()
    live = house.live()
    task = asyncio.create_task(live.run(stop))
    for n in range(5):
        house.trades(btc, 3, T0 + n * SECOND, 3 * n)
        while live.position < house.tape.position:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0)
    stop.set()
    await task
    assert live.board.tallies[house.source]["records"] == 15


def test_a_tape_trimmed_under_us_is_read_on_from_where_it_begins(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 40_000)
    trim(house.data / "tape", 30_000)
    live = house.live()
    while live.step():
        pass
    assert 0 < live.board.tallies[house.source]["records"] < 40_000
    assert live.position == house.tape.position


def test_more_gaps_than_one_scan_can_note_are_all_noted(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    rows = house.rows(Kind.GAP, btc.id, 3000, T0)
    rows["a"], rows["c"], rows["d"], rows["side"] = range(3000), -1, 1, GapState.CLOSED
    house.tape.append(rows)
    live = house.live()
    live.step()
    assert len(live.gaps) == 3000


def _status(house: House, live: Live) -> StatusAnswer:
    while live.step():
        pass
    provenance = Provenance(live, house.directory, house.clock)
    return health.status(live, provenance, house.clock.now_ns(), 1)


def test_the_board_tells_a_source_s_life(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.status(Status.RECORDER_UP, source=0)
    house.status(Status.SOURCE_STARTING)
    house.status(Status.SOURCE_UP, ts=T0 + SECOND)
    house.status(Status.SKEW, 1_250_000_000)
    rows = house.rows(Kind.TRADE, btc.id, 3, T0)
    rows["a"], rows["b"], rows["flags"] = 1, 1, [0, Flag.SPIKE, 0]
    house.tape.append(rows)
    house.tape.append(house.rows(Kind.QUARANTINE, 0, 2, T0))
    live = house.live()
    answer = _status(house, live)
    (source,) = answer.sources
    assert (source.name, source.status, source.since) == ("binance", "up", "2025-11-20T12:00:01.001000000Z")
    assert (source.records, source.doubtful, source.quarantined, source.skew_s) == (3, 1, 2, 1.25)
    assert (answer.recorder.status, answer.ok) == ("up", False)
    assert answer.problems == ["the clock of binance differs from ours by 1.25 s"]
    house.status(Status.SOURCE_DOWN, ts=T0 + 2 * SECOND)
    assert "source binance is down since 2025-11-20T12:00:02.001000000Z" in _status(house, live).problems


def test_the_rate_is_records_per_second_between_samples(house: House) -> None:
    btc, live = house.enrol("BTCUSDT"), house.live()
    house.trades(btc, 10)
    live.step()
    live.board.sample(house.clock.monotonic_ns())
    house.trades(btc, 500, T0 + SECOND, 11)
    live.step()
    house.clock.advance(2 * SECOND)
    live.board.sample(house.clock.monotonic_ns())
    assert live.board.sources[house.source].per_s == 250.0


def test_a_recorder_that_died_takes_its_sources_with_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.status(Status.RECORDER_UP, source=0)
    house.status(Status.SOURCE_UP)
    live = house.live()
    assert _status(house, live).recorder.status == "up"
    house.clock.advance(11 * SECOND)
    assert _status(house, live).recorder.status == "silent"
    monkeypatch.setattr(Reader, "writer_pid", 2**22 + 1)  # above any pid the kernel gives
    answer = _status(house, live)
    assert (answer.recorder.status, answer.sources[0].status) == ("down", "down")
    house.status(Status.RECORDER_STOPPED, source=0)
    assert _status(house, live).recorder.status == "stopped"


def test_a_full_disk_is_a_problem_until_it_is_not(house: House) -> None:
    live = house.live()
    house.status(Status.DISK_FULL, source=0)
    assert "the disk is full or nearly so" in _status(house, live).problems
    house.status(Status.DISK_OK, source=0)
    assert _status(house, live).problems == []
