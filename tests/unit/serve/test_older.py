"""Started anew on a trimmed tape, `serve` has the bars that it had: what the lake tells and the tape completes."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any

import numpy as np
import pytest
from past_support import Direct
from serve_support import MS, SECOND, T0, House, serving, until

from ticktape.errors import Unavailable
from ticktape.keep.flush import Flusher
from ticktape.model.bars import TIMEFRAMES, BarFlag, Basis
from ticktape.model.records import GapState, Kind, Status, empty
from ticktape.serve.live import Live
from ticktape.serve.past import older, recall
from ticktape.serve.past.older import Older
from ticktape.serve.past.pool import Overloaded
from ticktape.tape.reader import Reader, trim

HOUR, DAY = 3600 * SECOND, 86_400 * SECOND
ALL = [(name, basis) for name in TIMEFRAMES for basis in Basis]


class Story:
    """Writes a market of several days onto the tape, with a clock that ticks between."""

    def __init__(self, house: House, *, days: float = 4.0, seed: int = 1) -> None:
        self.house = house
        self.btc, self.eth, self.old = (house.enrol(name) for name in ("BTCUSDT", "ETHUSDT", "OLDUSDT"))
        self.chance = np.random.default_rng(seed)
        self.at, self.number, self.monotonic = T0, 1, 5 * HOUR
        house.status(Status.SOURCE_UP)
        self.ticks([self.old], 40, 600)  # trades once, then never again
        self.flusher = Flusher(house.data / "lake", Reader(house.data / "tape"))
        self.go_on(days)

    def go_on(self, days: float, pieces: int = 12) -> None:
        """Let time pass, with ticks of both instruments in order of time."""
        for _ in range(pieces):
            self.ticks([self.btc, self.eth], 400, days * 86_400 / pieces)
            self.at += int(days * DAY / pieces)
            self.clock()

    def clock(self) -> None:
        self.monotonic += SECOND
        record = empty(1)
        record["kind"], record["a"], record["b"] = Kind.CLOCK, self.at, self.monotonic
        record["ts_event"] = record["ts_recv"] = self.at
        self.house.tape.append(record)

    def ticks(self, several: list[Any], n: int, within_s: float) -> None:
        """Append n trades and n quotes of each instrument, some of them within one second."""
        made: list[Any] = []
        for who, kind in product(several, (Kind.TRADE, Kind.QUOTE)):
            rows = self.house.rows(kind, who.id, n, 0)
            rows["ts_event"] = self.at + np.sort(self.chance.integers(0, int(within_s * 20), n)) * (SECOND // 20)
            rows["ts_recv"] = rows["ts_event"] + MS
            rows["a"] = self.chance.integers(10**9, 2 * 10**9, n)
            rows["b"] = rows["a"] + 5 if kind == Kind.QUOTE else self.chance.integers(1, 2**40, n)
            rows["c"] = self.number + np.arange(n) if kind == Kind.TRADE else 7
            self.number += n
            made.append(rows)
        rows = np.concatenate(made)
        self.house.tape.append(rows[np.argsort(rows["ts_recv"], kind="stable")])

    def flush(self, part: float = 1.0) -> int:
        """Flush up to a part of what the lake has not, and return the position."""
        end, done = self.house.tape.position, max(0, self.flusher.position())
        stop = done + int((end - done) * part)
        self.flusher.flush(stop)
        return stop


def everything(live: Live, instruments: list[Any]) -> dict[Any, Any]:
    """Return all bars of all instruments."""
    while live.step():
        pass
    found: dict[Any, Any] = {}
    for who in instruments:
        for name, basis in ALL:
            found[who.symbol, name, basis.name] = live.bars.latest(who.id, name, basis, 10_000).tolist()
        for basis in Basis:
            found[who.symbol, basis.name] = live.bars.watermark_ns(who.id, basis)
    return found


async def recalled(house: House) -> Live:
    """Return the state of a `serve` that was started now."""
    live, stop = house.live(), asyncio.Event()
    while live.step():
        pass
    await recall.recall(live, house.directory, Direct(house), house.clock, stop)
    return live


@pytest.mark.asyncio
async def test_the_same_bars_as_before_the_restart(house: House) -> None:
    story, before = Story(house), house.live()
    names = [story.btc, story.eth, story.old]
    for part in (0.3, 0.7, 0.9, 1.0):  # parts of a minute in several flushes
        story.flush(part)
    story.go_on(0.001, pieces=1)
    position = story.flush(0.5)  # inside bars of every width, the second's too
    story.go_on(0.002, pieces=1)
    story.flusher.reader.refresh()
    for table in ("trades", "quotes"):
        story.flusher.flush_table(table, house.tape.position)  # and a flush died before it came to the bars
    wanted = everything(before, names)
    assert trim(house.data / "tape", position) > 0

    live = await recalled(house)

    assert 0 < live.reader.first < position < house.tape.position
    assert live.lacking == []
    found = everything(live, names)
    for key, value in wanted.items():
        assert found[key] == value, key
    assert len(found["OLDUSDT", "1s", "TRADES"]) > 0, "an instrument that the tape no longer has"
    bare = everything(house.live(), names)
    assert bare != wanted, "the tape alone would not do"

    # And on from there, both hear the same.
    story.go_on(0.1)
    wanted, found = everything(before, names), everything(live, names)
    assert found == wanted


@pytest.mark.asyncio
async def test_history_that_fills_the_rings_is_cut_as_the_rings_cut_it(house: House) -> None:
    story, before = Story(house, days=300.0), house.live()
    position = story.flush()
    story.clock()
    wanted = everything(before, [story.btc, story.eth, story.old])
    trim(house.data / "tape", position)
    live = await recalled(house)
    found = everything(live, [story.btc, story.eth, story.old])
    assert len(found["BTCUSDT", "1d", "TRADES"]) == 180
    for key, value in wanted.items():
        assert found[key] == value, key


@pytest.mark.asyncio
async def test_gaps_and_statuses_from_before_the_tape_are_known(house: House) -> None:
    house.status(Status.RECORDER_UP, source=0)
    story = Story(house, days=0.1)
    opened = house.gap(story.btc.id, GapState.OPENED, start=T0)
    closed = house.gap(story.btc.id, GapState.CLOSED, start=T0 + HOUR, duration_ns=MS, ids=(5, 7))
    story.go_on(3.0)
    story.go_on(3.0)
    position = story.flush(0.8)
    house.gap(story.btc.id, GapState.CLOSED, start=T0, duration_ns=HOUR, gap_id=opened)
    house.gap(story.btc.id, GapState.FILLED, start=T0 + HOUR, duration_ns=MS, gap_id=closed, ids=(5, 7))
    trim(house.data / "tape", position)

    live = await recalled(house)

    assert [(gap.gap_id, gap.state) for gap in live.gaps.latest(9)] == [
        (opened, GapState.CLOSED),
        (closed, GapState.FILLED),
    ]
    assert live.board.sources[house.source].status == "up"
    assert live.board.recorder.since > 0


@pytest.mark.asyncio
async def test_a_quiet_market_stays_closed_although_the_tape_holds_only_the_clock(house: House) -> None:
    story, before = Story(house, days=1.0), house.live()
    for _ in range(40_000):  # eleven hours in which only time passes
        story.at += SECOND
        story.monotonic += SECOND
    clocks = empty(40_000)
    clocks["kind"] = Kind.CLOCK
    clocks["ts_recv"] = clocks["ts_event"] = clocks["a"] = story.at - 40_000 * SECOND + np.arange(40_000) * SECOND
    clocks["b"] = story.monotonic - 40_000 * SECOND + np.arange(40_000) * SECOND
    house.tape.append(clocks)
    wanted = everything(before, [story.btc])
    trim(house.data / "tape", story.flush())
    live = await recalled(house)
    assert not (live.reader.view(live.reader.first, live.reader.end)["kind"] == Kind.TRADE).any()
    found = everything(live, [story.btc])
    mark = ("BTCUSDT", "TRADES")
    assert abs(found.pop(mark) - wanted.pop(mark)) <= 10 * SECOND
    found.pop(("BTCUSDT", "QUOTES"))
    wanted.pop(("BTCUSDT", "QUOTES"))
    assert found == wanted


@pytest.mark.asyncio
@pytest.mark.parametrize("change", [Kind.CANCEL, Kind.CORRECT])
async def test_a_correction_on_a_trimmed_tape_revises_bars_that_reach_behind_it(house: House, change: Kind) -> None:
    story, before = Story(house, days=2.0), house.live()
    position = story.flush()
    story.go_on(0.01)
    trim(house.data / "tape", position)
    live = await recalled(house)
    everything(before, [story.btc])
    newest = live.reader.latest(story.btc.id, 0, 1).records[0]
    rows = house.rows(change, story.btc.id, 1, int(newest["ts_event"]))
    rows["a"], rows["b"], rows["c"] = 5, 1, newest["c"]
    house.tape.append(rows)
    wanted, found = everything(before, [story.btc]), everything(live, [story.btc])
    assert live.reader.first > 0
    assert wanted["BTCUSDT", "1d", "TRADES"][-1][-1] & BarFlag.CORRECTED
    for key, value in wanted.items():
        assert found[key] == value, key
    assert live.bars.unsettled == 0


@pytest.mark.asyncio
async def test_a_correction_of_what_left_the_tape_is_said_to_be_missing(house: House) -> None:
    story = Story(house, days=2.0)
    trim(house.data / "tape", story.flush())
    live = await recalled(house)
    rows = house.rows(Kind.CANCEL, story.old.id, 1, T0)
    rows["c"] = 1
    house.tape.append(rows)
    everything(live, [story.old])
    assert live.bars.unsettled > 1, "a second, and what it is part of"


@pytest.mark.asyncio
async def test_a_lake_that_cannot_be_read_is_said_and_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(house, days=2.0)
    trim(house.data / "tape", story.flush())
    live, stop, pool = house.live(), asyncio.Event(), Direct(house)
    said: list[list[str]] = []
    answer, failures = pool.ask, iter([Overloaded("busy"), Unavailable("died")])

    async def ask(key: str, question: Any) -> Any:
        said.append(live.lacking)
        if (failure := next(failures, None)) is not None:
            raise failure
        return await answer(key, question)

    monkeypatch.setattr(recall, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(pool, "ask", ask)
    await recall.recall(live, house.directory, pool, house.clock, stop)
    assert ["are being read" in said[0][0], "busy" in said[1][0], "died" in said[2][0]] == [True] * 3
    assert live.lacking == []


@pytest.mark.asyncio
async def test_what_was_told_of_another_beginning_of_the_tape_is_refused(house: House) -> None:
    story = Story(house, days=1.0)
    position = story.flush()
    live = house.live()
    with pytest.raises(Unavailable, match="trimmed"):
        await live.catch_up(Older(position=position, gaps_before=1))
    with pytest.raises(Unavailable, match="trimmed"):
        await live.catch_up(Older(position=house.tape.position + 1, gaps_before=0))
    assert older.decode(older.encode(Older(position=3, gaps_before=0))).position == 3


@pytest.mark.asyncio
async def test_a_server_on_a_trimmed_tape_answers_at_once_and_with_all_bars_soon(house: House) -> None:
    story = Story(house, days=4.0)
    trim(house.data / "tape", story.flush())
    async with serving(house) as client:
        asked = "/api/v1/ohlc/BTCUSDT?timeframe=1d&limit=10"
        while (answer := await until(lambda: client.get(asked), 200)).json()["missing"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert len(answer.json()["bars"]) >= 4
        ticks = (await client.get("/api/v1/ticks/realtime?symbols=BTCUSDT,OLDUSDT&limit=5000")).json()
        assert [text.partition(" in the hot")[0].partition(" ")[0] for text in ticks["missing"]] == ["only", "no"]
        quote = (await client.get("/api/v1/quotes/latest/OLDUSDT")).json()
        assert quote["quote"] is None
        assert "/api/v1/ticks/historical?kind=quotes" in quote["missing"][0]
