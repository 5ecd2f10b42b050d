"""The recorder as a whole, with sources that do as they are told: clocks, full disks, damage, orders, stops."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from record_support import TRADES, Gap, Scripted, gaps_in, until
from tape_support import CAPACITY, SmallDisk, all_of, market, trades

from ticktape.clock import Clock, ManualClock
from ticktape.control import MAX_LINE
from ticktape.errors import BadSymbol, Busy, Misconfigured, Unavailable, UnknownSymbol
from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import (
    RECORD_BYTES,
    BadReason,
    Channel,
    Completeness,
    Flag,
    GapCause,
    GapState,
    Kind,
    Records,
    Status,
    empty,
)
from ticktape.record import memory
from ticktape.record.process import Recorder, RecordSettings
from ticktape.record.raw import RawFrames
from ticktape.record.runner import Backoff
from ticktape.record.watchdog import Patience
from ticktape.sources.capture.lines import Line, read_lines
from ticktape.sources.contract import Bad, Batch, Hole, Sink, Watched
from ticktape.tape import segment
from ticktape.tape.reader import trim
from ticktape.tape.segment import Disk

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

SECOND = 10**9
NOW = 1_763_640_100_000_000_000
QUICK = Backoff(first_s=0.01, most_s=0.02)


@asynccontextmanager
async def recording(
    data: Path, *sources: Any, clock: Clock | None = None, disk: Disk | None = None, **fields: Any
) -> AsyncGenerator[Recorder]:
    """A recorder that runs until the block ends, and then ends in good order."""
    defaults: dict[str, Any] = {"segment_records": CAPACITY, "backoff": QUICK, "settle_s": 0.0, "sync_every_ms": 5.0}
    recorder = Recorder(RecordSettings(data=data, **(defaults | fields)), sources, clock, disk)
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    await asyncio.sleep(0)
    try:
        yield recorder
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await running


class Fed(Scripted):
    """A source with one connection at a time, whose sink the test holds."""

    def __init__(self, watched: list[Watched] = TRADES, **more: Any) -> None:
        super().__init__(self._live, **more)
        self.watched = watched
        self.sink: Sink | None = None
        self.ended: asyncio.Future[None] | None = None

    async def _live(self, _: Scripted, sink: Sink) -> None:
        sink.up(self.watched)
        self.ended = asyncio.get_running_loop().create_future()
        self.sink = sink
        try:
            await self.ended
        finally:
            self.sink = None

    async def up(self) -> Sink:
        await until(lambda: self.sink is not None)
        assert self.sink is not None
        return self.sink

    async def feed(self, records: Records) -> None:
        (await self.up()).batch(Batch(records))

    async def fail(self, error: Exception) -> None:
        await self.up()
        assert self.ended is not None
        self.ended.set_exception(error)
        await until(lambda: self.sink is None)


def tape_of(data: Path) -> Records:
    return all_of(data / "tape")


def gaps(data: Path) -> list[Gap]:
    return gaps_in(tape_of(data))


def said(data: Path, status: Status) -> Records:
    records = tape_of(data)
    return records[(records["kind"] == Kind.STATUS) & (records["a"] == status)]


def live(ids: list[int] | range, clock: Clock, *, source: int = 1) -> Records:
    records = trades(ids, source=source)
    records["ts_event"] = records["ts_recv"] = clock.now_ns()
    return records


# -- R12, R13 ---------------------------------------------------------------------------------------------


async def test_r12_a_clock_stepping_back_5_s_and_forward_1_h_keeps_receive_times_monotonic(tmp_path: Path) -> None:
    clock, source = ManualClock(NOW), Fed()
    async with recording(tmp_path, source, clock=clock) as recorder:
        await source.feed(live(range(10), clock))
        for at, step in ((10, -5 * SECOND), (20, 3600 * SECOND), (30, 400_000_000), (40, -3600 * SECOND)):
            clock.advance(SECOND)
            clock.step(step)
            recorder.tick()
            await asyncio.sleep(0.05)  # room for a reconnection that must not come
            await source.feed(live(range(at, at + 10), clock))
    stored = tape_of(tmp_path)
    assert (np.diff(stored["ts_recv"][stored["kind"] != Kind.GAP]) >= 0).all()
    steps = said(tmp_path, Status.CLOCK_STEPPED)["b"].tolist()
    assert steps == [-5 * SECOND, 3600 * SECOND, -3600 * SECOND]  # what drifts is not a step
    clocks = stored[stored["kind"] == Kind.CLOCK]
    assert [c for c in clocks["c"].tolist() if c] == steps
    assert market(stored)["c"].tolist() == list(range(50))
    assert source.connections == 1  # an hour that did not pass is no silence


async def test_r12_a_restart_with_the_clock_set_back_does_not_go_back_on_the_tape(tmp_path: Path) -> None:
    source = Fed()
    ahead = ManualClock(2**62)
    async with recording(tmp_path, source, clock=ahead):
        await source.feed(live([1], ahead))
    again = Fed()
    async with recording(tmp_path, again) as recorder:
        await again.up()
        await again.feed(live([2], recorder.clock))
    assert (np.diff(tape_of(tmp_path)["ts_recv"]) >= 0).all()


async def test_r13_the_skew_of_a_venue_is_on_the_tape_when_it_moves_and_not_with_every_tick(tmp_path: Path) -> None:
    clock, source = ManualClock(NOW), Fed()
    async with recording(tmp_path, source, clock=clock) as recorder:
        for k in range(600):
            ahead = trades([k])
            ahead["ts_recv"] = clock.now_ns()
            ahead["ts_event"] = clock.now_ns() + (1_270_000_000 if k < 300 else 20_000_000) + k % 7 * 1_000_000
            await source.feed(ahead)
            clock.advance(SECOND // 10)
            if k % 10 == 0:
                recorder.tick()
        assert 15_000_000 < recorder.runners[0].pump.skew_ns < 30_000_000
    skews = said(tmp_path, Status.SKEW)["b"].tolist()
    assert len(skews) <= 3
    assert 1_260_000_000 < skews[0] < 1_280_000_000
    assert 15_000_000 < skews[-1] < 30_000_000


# -- R38 --------------------------------------------------------------------------------------------------


def refusing(error: Exception) -> Callable[..., Any]:
    def make(_: object) -> Any:
        raise error

    return make


async def hopeless(_: Scripted, sink: Sink) -> None:
    raise Misconfigured("no such thing")


async def test_r38_misconfigured_sources_are_named_and_the_healthy_one_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy, clock = Fed(name="healthy"), ManualClock(NOW)
    bad = Scripted(hopeless, name="hopeless")
    makers = [refusing(Misconfigured("acme: no key")), refusing(BadSymbol("acme: '../x'")), bad, healthy]
    async with recording(tmp_path, *makers, clock=clock) as recorder:
        await healthy.feed(live(range(5), clock))
        await until(lambda: not recorder.runners[0].running)
        assert bad.connections == 1
        assert recorder.runners[1].running
        listed = {about["name"]: about for about in (await ask(tmp_path, call="sources"))["ok"]}
        assert listed["hopeless"]["running"] is False
        assert listed["hopeless"]["trouble"]["what"] == "no such thing"
    assert market(tape_of(tmp_path))["c"].tolist() == list(range(5))
    out = "".join(capsys.readouterr())
    assert "acme: no key" in out
    assert "../x" in out


async def test_r38_when_no_source_is_healthy_the_start_is_refused_and_the_tape_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(Misconfigured, match="acme: no key"):
            Recorder(RecordSettings(data=tmp_path, segment_records=CAPACITY), [refusing(Misconfigured("acme: no key"))])


async def test_r37_a_second_recorder_on_one_folder_is_refused(tmp_path: Path) -> None:
    source = Fed()
    async with recording(tmp_path, source):
        await source.up()
        with pytest.raises(Busy, match="being written by process"):
            Recorder(RecordSettings(data=tmp_path, segment_records=CAPACITY), [])
        assert "ok" in await ask(tmp_path, call="sources")  # and its socket was left alone


async def test_a_bug_in_a_source_ends_the_recorder_with_everything_stored(tmp_path: Path) -> None:
    source, clock = Fed(), ManualClock(NOW)
    recorder = Recorder(RecordSettings(data=tmp_path, segment_records=CAPACITY), [source], clock)
    running = asyncio.create_task(recorder.run(asyncio.Event()))
    await source.feed(live(range(5), clock))
    await source.fail(RuntimeError("our bug"))
    with pytest.raises(ExceptionGroup) as ended:
        await running
    assert ended.value.subgroup(RuntimeError)
    again = Fed()
    async with recording(tmp_path, again, clock=clock):
        await again.feed(live([5], clock))
    assert market(tape_of(tmp_path))["c"].tolist() == list(range(6))


# -- R14 and filling --------------------------------------------------------------------------------------


def history(*ids: int, refuse: int = 0) -> tuple[Callable[[Hole], AsyncIterator[Batch]], list[Hole]]:
    """A venue's history that has these ids, and refuses so many times first."""
    asked: list[Hole] = []

    async def fill(hole: Hole) -> AsyncIterator[Batch]:
        asked.append(hole)
        if len(asked) <= refuse:
            raise Unavailable("not now")
        for i in ids:
            if hole.first_id <= i <= hole.last_id:
                records = trades([i], instrument=hole.instrument_id)
                records["flags"] |= np.uint32(Flag.BACKFILLED)
                yield Batch(records)

    return fill, asked


async def settled(data: Path, count: int) -> list[Gap]:
    await until(lambda: len([g for g in gaps(data) if g.state >= GapState.FILLED]) >= count)
    return [g for g in gaps(data) if g.state >= GapState.FILLED]


async def test_r14_an_outage_is_declared_from_the_last_good_record_and_filled_from_history(tmp_path: Path) -> None:
    fill, asked = history(*range(100))
    source, clock = Fed(history=fill), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live(range(10), clock))
        clock.advance(3 * SECOND)
        await source.fail(Unavailable("reset by peer"))
        clock.advance(2 * SECOND)
        await source.feed(live(range(15, 20), clock))
        (filled,) = await settled(tmp_path, 1)
        opened, closed = gaps(tmp_path)[:2]
        assert (opened.cause, opened.state) == (GapCause.DISCONNECTED, GapState.OPENED)
        assert (closed.id, closed.first, closed.last) == (opened.id, 10, 14)
        assert (closed.start_ns, closed.end_ns) == (NOW, NOW + 5 * SECOND)
        assert (filled.id, filled.state) == (opened.id, GapState.FILLED)
        assert asked == [Hole(1, Channel.TRADE, 10, 14)]
    stored = market(tape_of(tmp_path))
    assert sorted(stored["c"].tolist()) == list(range(20))
    assert stored["flags"][stored["c"] == 12][0] & Flag.BACKFILLED


async def test_r14_what_history_does_not_have_is_unfillable_and_what_it_cannot_say_yet_is_asked_again(
    tmp_path: Path,
) -> None:
    fill, asked = history(2, 4, refuse=2)
    source, clock = Fed(history=fill), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live([0, 1, 5], clock))

        def let_time_pass() -> bool:
            clock.advance(SECOND)
            return len(asked) >= 3

        await until(let_time_pass)
        (gap,) = await settled(tmp_path, 1)
        assert gap.state == GapState.UNFILLABLE
        assert sorted(market(tape_of(tmp_path))["c"].tolist()) == [0, 1, 2, 4, 5]


async def test_r14_only_dense_ids_that_go_on_prove_that_nothing_was_missed(tmp_path: Path) -> None:
    quote = empty(1)
    quote["kind"], quote["instrument"], quote["a"], quote["b"] = Kind.QUOTE, 1, 5, 6
    watched = [*TRADES, Watched(1, Channel.QUOTE), Watched(2, Channel.TRADE)]
    dense = {Channel.TRADE: Completeness.SEQUENCE, Channel.QUOTE: Completeness.RISING}
    source, clock = Fed(watched, completeness=dense), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live(range(10), clock))
        await source.feed(quote.copy())
        await source.fail(Unavailable("gone"))
        await source.feed(live([10], clock))
        await source.feed(quote.copy())
        await source.feed(trades([3], instrument=2))  # its first ever: nobody knows what came before
        states = {(g.instrument, g.channel): g.state for g in await settled(tmp_path, 3)}
    assert states == {
        (1, Channel.TRADE): GapState.FILLED,
        (1, Channel.QUOTE): GapState.UNFILLABLE,
        (2, Channel.TRADE): GapState.UNFILLABLE,
    }


async def test_r20_a_reset_during_an_outage_is_not_called_filled(tmp_path: Path) -> None:
    source, clock = Fed(), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live(range(1000, 1010), clock))
        await source.fail(Unavailable("gone"))
        clock.advance(SECOND)
        await source.feed(live([1], clock))
        clock.advance(SECOND)
        await source.feed(live([2, 3], clock))
        (gap,) = await settled(tmp_path, 1)
        assert gap.state == GapState.UNFILLABLE
    assert market(tape_of(tmp_path))["c"].tolist() == [*range(1000, 1010), 1, 2, 3]


def other(ids: range, clock: Clock) -> Records:
    """Return trades with ids and times the tape has had, that say something else."""
    records = live(ids, clock)
    records["ts_event"], records["a"] = NOW, 777
    return records


@pytest.mark.parametrize("in_an_outage", [False, True])
async def test_r20_a_numbering_among_known_ids_and_times_is_told_from_repeats_by_what_it_says(
    tmp_path: Path, in_an_outage: bool
) -> None:
    source, clock = Fed(), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock) as recorder:
        await source.feed(live(range(1000, 1500), clock))
        if in_an_outage:
            await source.fail(Unavailable("gone"))
        at = 1100
        while not any(g.cause == GapCause.RESET for g in gaps(tmp_path)):
            await source.feed(other(range(at, at + 30), clock))
            at += 30
            recorder.tick()
            assert at < 1300
        await source.feed(other(range(at, at + 100), clock))
        await source.feed(other(range(at, at + 100), clock))  # and of these the repeats are known again
        recorder.tick()
        assert recorder.runners[0].pump.counts()["resets"] == 1
        found = gaps(tmp_path)
        lost = next(g for g in found if g.cause == GapCause.RESET)
        assert (lost.state, lost.start_ns) == (GapState.OPENED, NOW)
        await until(lambda: any(g.id == lost.id and g.state == GapState.UNFILLABLE for g in gaps(tmp_path)))
        ended = {g.id for g in gaps(tmp_path) if g.state in (GapState.CLOSED, GapState.UNFILLABLE)}
        assert {g.id for g in found if g.state == GapState.OPENED} == ended
    expected = [*range(1000, 1500), *range(at, at + 100)]
    assert market(tape_of(tmp_path))["c"].tolist() == expected
    again = Fed()
    async with recording(tmp_path, again, clock=clock) as recorder:  # a restart knows which numbering it is
        await again.feed(other(range(at, at + 102), clock))
    assert market(tape_of(tmp_path))["c"].tolist() == [*expected, at + 100, at + 101]


async def test_r17_repeats_that_say_the_same_are_never_a_new_numbering_however_many_come(tmp_path: Path) -> None:
    source, clock = Fed(), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock) as recorder:
        said = live(range(1000, 1500), clock)
        said["ts_event"] += 999_999 - NOW % 1_000_000  # in us; what comes again is in ms
        await source.feed(said.copy())
        for k in range(20):
            again = said[k * 20 : k * 20 + 100].copy()
            again["ts_event"] -= again["ts_event"] % 1_000_000
            await source.feed(again)
            recorder.tick()
        await source.feed(other(range(1000, 1010), clock))  # a few odd ones prove nothing
        recorder.tick()
        assert recorder.runners[0].pump.counts()["resets"] == 0
        assert gaps(tmp_path) == []


async def test_a_gap_that_was_not_filled_before_a_stop_is_filled_by_the_next_run(tmp_path: Path) -> None:
    never, _ = history(refuse=10**6)
    first, clock = Fed(history=never), ManualClock(NOW)
    async with recording(tmp_path, first, clock=clock):
        await first.feed(live([1, 5], clock))
    fill, asked = history(*range(100))
    second = Fed(history=fill)
    async with recording(tmp_path, second, clock=clock):
        await second.feed(live([6], clock))
        await settled(tmp_path, 2)
        assert asked == [Hole(1, Channel.TRADE, 2, 4)]
    restart = [g for g in gaps(tmp_path) if g.cause == GapCause.RESTART]
    assert [g.state for g in restart] == [GapState.OPENED, GapState.CLOSED, GapState.FILLED, GapState.OPENED]
    assert sorted(market(tape_of(tmp_path))["c"].tolist()) == [1, 2, 3, 4, 5, 6]


async def trimmed(data: Path, recorder: Recorder) -> None:
    """Fill segments with what says nothing of the market, and trim what the recorder says it needs no more."""
    position = recorder.tape.position
    while recorder.tape.position < position + 2 * CAPACITY:
        recorder.tick()
    await until(lambda: recorder.tape.head.needed >= position + CAPACITY)
    assert trim(data / "tape", recorder.tape.position) > 0
    assert len(market(tape_of(data))) == 0


@pytest.mark.parametrize("killed", [False, True])
async def test_a_quiet_channel_and_a_waiting_gap_outlive_the_tape_that_told_of_them(
    tmp_path: Path, killed: bool
) -> None:
    never, _ = history(refuse=10**6)
    first, clock = Fed(history=never), ManualClock(NOW)
    data = tmp_path / "a"
    async with recording(data, first, clock=clock, remember_every_s=0.01) as recorder:
        await first.feed(live([1, 5], clock))
        await trimmed(data, recorder)
        if killed:
            shutil.copytree(data / "tape", tmp_path / "b" / "tape")  # as a kill at this moment leaves it
    data = tmp_path / "b" if killed else data
    fill, asked = history(*range(100))
    second = Fed(history=fill)
    async with recording(data, second, clock=clock):
        await second.up()
        restarts = [g for g in gaps(data) if g.cause == GapCause.RESTART]
        assert [g.state for g in restarts] == [GapState.OPENED]  # though nothing of the channel is on the tape
        await second.feed(live([5, 9], clock))  # a repeat of one that is in the lake only, and a new one
        await settled(data, 2)
    assert asked == [Hole(1, Channel.TRADE, 2, 8, ((2, 4), (6, 8)))]  # together: what waited, and what was missed
    assert sorted(market(tape_of(data))["c"].tolist()) == [2, 3, 4, 6, 7, 8, 9]


async def test_a_damaged_memory_is_said_and_the_tape_is_read_instead(tmp_path: Path) -> None:
    source, clock = Fed(), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live([1, 2], clock))
    (tmp_path / "tape" / "memory").write_bytes(b"rubbish")
    again = Fed()
    with structlog.testing.capture_logs() as lines:
        async with recording(tmp_path, again, clock=clock):
            await again.feed(live([2, 3], clock))
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["record.memory_lost"]
    assert market(tape_of(tmp_path))["c"].tolist() == [1, 2, 3]


async def test_a_memory_that_cannot_be_written_keeps_the_tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(memory, "save", full)
    source, clock = Fed(), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock, remember_every_s=0.01) as recorder:
        await source.feed(live([1, 2], clock))
        for _ in range(3 * CAPACITY):
            recorder.tick()
        await asyncio.sleep(0.1)
        assert recorder.tape.head.needed == 0
        assert trim(tmp_path / "tape", recorder.tape.position) == 0


async def test_r01_a_run_after_a_kill_declares_what_was_not_recorded_for_each_known_channel(tmp_path: Path) -> None:
    watched = [*TRADES, Watched(1, Channel.QUOTE)]
    quote = empty(1)
    quote["kind"], quote["instrument"], quote["a"], quote["b"] = Kind.QUOTE, 1, 5, 6
    quote["ts_event"] = quote["ts_recv"] = NOW - 7
    first, clock = Fed(watched), ManualClock(NOW)
    async with recording(tmp_path / "a", first, clock=clock):
        await first.feed(live([1], clock))
        await first.feed(quote.copy())
        shutil.copytree(tmp_path / "a" / "tape", tmp_path / "b" / "tape")  # as a kill at this moment leaves it
    second = Fed([Watched(2, Channel.TRADE)])
    async with recording(tmp_path / "b", second, clock=clock):
        (await second.up()).up([*watched, Watched(2, Channel.TRADE)])  # a long subscription is answered in parts
        opened = {(g.instrument, g.channel): (g.cause, g.start_ns, g.state) for g in gaps(tmp_path / "b")}
        assert opened == {
            (1, Channel.TRADE): (GapCause.RESTART, NOW, GapState.OPENED),
            (1, Channel.QUOTE): (GapCause.RESTART, NOW - 7, GapState.OPENED),
        }


async def test_a_symbol_that_is_taken_out_is_missing_until_it_comes_back(tmp_path: Path) -> None:
    both = [*TRADES, Watched(2, Channel.TRADE)]
    source, clock = Fed(both), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live([1], clock))
        await source.feed(trades([1], instrument=2))
        sink = await source.up()
        sink.up(TRADES)
        clock.advance(SECOND)
        sink.up(both)
        await source.feed(trades([5], instrument=2))
        await settled(tmp_path, 1)
    assert [(g.instrument, g.cause, g.state) for g in gaps(tmp_path)[:2]] == [
        (2, GapCause.STOPPED, GapState.OPENED),
        (2, GapCause.STOPPED, GapState.CLOSED),
    ]


async def test_r01_a_gap_of_an_earlier_run_waits_for_its_source_to_be_up_before_it_is_given_up(tmp_path: Path) -> None:
    first, clock = Fed(history=history(refuse=10**6)[0]), ManualClock(NOW)
    async with recording(tmp_path, first, clock=clock):
        await first.feed(live([1, 5, 6], clock))

    answer, _ = history(*range(100))
    reachable = asyncio.Event()

    async def fill(hole: Hole) -> AsyncIterator[Batch]:
        if not reachable.is_set():
            raise Misconfigured("no history: its symbols are learned when it connects")
        async for batch in answer(hole):
            yield batch

    class Late(Fed):
        async def connect(self, sink: Sink) -> None:
            if not reachable.is_set():
                raise Unavailable("nobody answers")
            await super().connect(sink)

    second = Late(history=fill)
    async with recording(tmp_path, second, clock=clock) as recorder:
        for _ in range(40):
            clock.advance(60 * SECOND)
            await asyncio.sleep(0.02)
        assert recorder.runners[0].pump.connects == 0
        assert not [g for g in gaps(tmp_path) if g.state == GapState.UNFILLABLE]
        reachable.set()

        def filled() -> bool:
            clock.advance(SECOND)
            return any(g.state == GapState.FILLED and g.first == 2 for g in gaps(tmp_path))

        await until(filled)
    assert sorted(market(tape_of(tmp_path))["c"].tolist()) == [1, 2, 3, 4, 5, 6]


def asked_ids(asked: list[Hole]) -> list[int]:
    """Return every id that was asked for, as often as it was."""
    parts = [part for hole in asked for part in hole.parts or ((hole.first_id, hole.last_id),)]
    return [i for first, last in parts for i in range(first, last + 1)]


async def test_r30_a_thousand_small_holes_are_asked_for_together_and_each_comes_back_once(tmp_path: Path) -> None:
    asked: list[Hole] = []

    async def all_of_it(hole: Hole) -> AsyncIterator[Batch]:  # as a page is: with what was not asked for
        asked.append(hole)
        records = trades(range(hole.first_id, hole.last_id + 1))
        records["flags"] |= np.uint32(Flag.BACKFILLED)
        yield Batch(records)

    source, clock = Fed(history=all_of_it), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock) as recorder:
        await source.feed(live([i for i in range(3001) if i % 3 != 1], clock))
        assert len({g.state for g in await settled(tmp_path, 1000)}) == 1
        assert len(asked) == 1
        assert asked_ids(asked) == list(range(1, 3000, 3))
        assert recorder.runners[0].pump.counts()["duplicates"] == 0  # what was not asked for is not judged
    assert sorted(market(tape_of(tmp_path))["c"].tolist()) == list(range(3001))
    assert {g.state for g in gaps(tmp_path) if g.cause == GapCause.SEQUENCE} == {GapState.CLOSED, GapState.FILLED}


async def test_r30_a_fill_that_breaks_off_goes_on_with_what_is_missing_still(tmp_path: Path) -> None:
    asked: list[Hole] = []

    async def breaking(hole: Hole) -> AsyncIterator[Batch]:
        asked.append(hole)
        for n, i in enumerate(asked_ids([hole])):
            if n == 7:
                raise Unavailable("broken off")
            records = trades([i])
            records["flags"] |= np.uint32(Flag.BACKFILLED)
            yield Batch(records)

    source, clock = Fed(history=breaking), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live([0, 21, *range(22, 62, 2)], clock))

        def filled() -> bool:
            clock.advance(10 * SECOND)
            return len([g for g in gaps(tmp_path) if g.state == GapState.FILLED]) == 20

        await until(filled)
    holes = [*range(1, 21), *range(23, 61, 2)]
    assert sorted(market(tape_of(tmp_path))["c"].tolist()) == sorted([0, 21, *range(22, 62, 2), *holes])
    # Seven of each call came back, and none of those is asked for again.
    assert [len(asked_ids([hole])) for hole in asked] == [len(holes) - 7 * n for n in range(len(asked))]


async def test_r30_what_the_venue_confirms_as_missing_is_said_though_the_rest_must_wait(tmp_path: Path) -> None:
    async def lagging(hole: Hole) -> AsyncIterator[Batch]:
        records = trades([5])  # and so 3 never was
        records["flags"] |= np.uint32(Flag.BACKFILLED)
        yield Batch(records)
        raise Unavailable("history ends before the hole does")

    source, clock = Fed(history=lagging), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live([1, 2, 4, 6, 8], clock))
        found = {g.first: g.state for g in await settled(tmp_path, 2)}
    assert found == {3: GapState.UNFILLABLE, 5: GapState.FILLED}


async def test_a_gap_whose_instrument_the_source_does_not_know_now_waits(tmp_path: Path) -> None:
    known = asyncio.Event()

    async def fill(hole: Hole) -> AsyncIterator[Batch]:
        if not known.is_set():
            raise UnknownSymbol("acme: not listed")
        records = trades([2])
        records["flags"] |= np.uint32(Flag.BACKFILLED)
        yield Batch(records)

    source, clock = Fed(history=fill), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock) as recorder:
        await source.feed(live([1, 3], clock))
        await until(lambda: any(w.tries for w in recorder._filler._waiting.values()))  # pyright: ignore[reportPrivateUsage]
        assert recorder.runners[0].running
        assert {g.state for g in gaps(tmp_path)} == {GapState.CLOSED}
        known.set()
        assert await ask(tmp_path, call="fill") == {"ok": {"waiting": 1}}  # and no time passes
        (gap,) = await settled(tmp_path, 1)
        assert gap.state == GapState.FILLED


async def test_an_order_to_fill_counts_what_waits_and_takes_up_what_no_source_is_there_for(tmp_path: Path) -> None:
    first, clock = Fed(history=history(refuse=10**6)[0]), ManualClock(NOW)
    async with recording(tmp_path, first, clock=clock) as recorder:
        await first.feed(live([1, 5], clock))
        await until(lambda: recorder._filler.waiting == 1)  # pyright: ignore[reportPrivateUsage]
        assert await ask(tmp_path, call="fill") == {"ok": {"waiting": 1}}
    other = Fed(name="other")
    async with recording(tmp_path, other, clock=clock) as recorder:
        await other.up()
        await until(lambda: len(recorder._filler._aside) == 1)  # pyright: ignore[reportPrivateUsage]
        assert recorder._filler.waiting == 0  # pyright: ignore[reportPrivateUsage]
        assert await ask(tmp_path, call="fill") == {"ok": {"waiting": 1}}
        assert {g.state for g in gaps(tmp_path) if g.cause == GapCause.SEQUENCE} == {GapState.CLOSED}


# -- R5 at the recorder -----------------------------------------------------------------------------------


async def test_r05_a_damaged_range_is_declared_with_its_window_and_its_ids_and_filled_from_history(
    tmp_path: Path,
) -> None:
    clock = ManualClock(NOW)
    first = Fed()
    async with recording(tmp_path, first, clock=clock):
        for at in range(0, 100, 5):
            await first.feed(live(range(at, at + 5), clock))
            clock.advance(SECOND)
    stored = tape_of(tmp_path)
    (place,) = np.flatnonzero((stored["kind"] == Kind.TRADE) & (stored["c"] == 52)).tolist()
    with segment.path_of(tmp_path / "tape", place // CAPACITY).open("r+b") as file:
        file.seek(segment.HEADER_BYTES + place % CAPACITY * RECORD_BYTES + 20)
        file.write(b"\xff")

    fill, asked = history(*range(1000))
    second = Fed(history=fill)
    async with recording(tmp_path, second, clock=clock):
        await second.feed(live([100], clock))
        await settled(tmp_path, 2)
    damaged = [g for g in gaps(tmp_path) if g.cause == GapCause.DAMAGED]
    whole, ids = damaged[0], damaged[1]
    assert (whole.channel, whole.state, whole.id) == (Channel.ALL, GapState.CLOSED, whole.position)
    assert NOW + 9 * SECOND <= whole.start_ns <= NOW + 10 * SECOND <= whole.end_ns <= NOW + 11 * SECOND
    assert (ids.channel, ids.instrument, ids.source, ids.first, ids.last) == (Channel.TRADE, 1, 1, 50, 54)
    assert [(g.state, g.id) for g in damaged[2:]] == [(GapState.FILLED, ids.id)]
    assert asked == [Hole(1, Channel.TRADE, 50, 54)]
    recovered = said(tmp_path, Status.RECOVERED)
    assert recovered["b"].tolist() == [0]
    assert recovered["c"].tolist() == [6 * RECORD_BYTES]
    assert sorted(market(tape_of(tmp_path))["c"].tolist()) == list(range(101))
    third = Fed(history=fill)
    async with recording(tmp_path, third, clock=clock):
        await third.up()
    assert len([g for g in gaps(tmp_path) if g.cause == GapCause.DAMAGED]) == 3  # said once


async def test_r04_a_torn_tail_is_declared_and_its_ids_come_back(tmp_path: Path) -> None:
    clock, first = ManualClock(NOW), Fed()
    async with recording(tmp_path, first, clock=clock):
        await first.feed(live(range(10), clock))
    stored = tape_of(tmp_path)
    (place,) = np.flatnonzero((stored["kind"] == Kind.TRADE) & (stored["c"] == 7)).tolist()
    with segment.path_of(tmp_path / "tape", 0).open("r+b") as file:
        file.seek(segment.HEADER_BYTES + place * RECORD_BYTES)
        file.write(bytes((len(stored) - place) * RECORD_BYTES))
    fill, _ = history(*range(1000))
    second = Fed(history=fill)
    async with recording(tmp_path, second, clock=clock):
        await second.feed(live([10], clock))  # the venue's first word is the first id ever: nothing to compare with
        torn = [g for g in gaps(tmp_path) if g.cause == GapCause.TORN]
    assert [(g.channel, g.state) for g in torn] == [(Channel.ALL, GapState.CLOSED)]
    assert said(tmp_path, Status.RECOVERED)["b"][0] > 0


# -- R7 ---------------------------------------------------------------------------------------------------


async def test_r07_a_full_disk_sheds_quotes_first_then_trades_says_so_and_resumes_by_itself(tmp_path: Path) -> None:
    capacity = 8192
    watched = [*TRADES, Watched(1, Channel.QUOTE)]
    kinds = {Channel.TRADE: Completeness.SEQUENCE, Channel.QUOTE: Completeness.RISING}
    fill, _ = history(*range(10**6))
    source, clock, disk = Fed(watched, completeness=kinds, history=fill), ManualClock(NOW), SmallDisk(2)
    quote = empty(50)
    quote["kind"], quote["instrument"], quote["a"], quote["b"] = Kind.QUOTE, 1, 5, 6

    async with recording(tmp_path, source, clock=clock, disk=disk, segment_records=capacity) as recorder:
        pump, at = recorder.runners[0].pump, 0

        async def market_goes_on() -> None:
            nonlocal at
            clock.advance(SECOND // 100)
            mixed = np.concatenate([live(range(at, at + 50), clock), quote])
            mixed["ts_event"] = mixed["ts_recv"] = clock.now_ns()
            await source.feed(mixed)
            at += 50

        while not recorder.tape.low_space:
            await market_goes_on()
        recorder.tick()
        trades_before, shed_before = len(market(tape_of(tmp_path))), pump.shed
        for _ in range(20):
            await market_goes_on()
        later = market(tape_of(tmp_path))[trades_before:]
        assert (later["kind"] == Kind.TRADE).all()  # quotes are shed first ...
        assert len(later) == 1000  # ... and trades are not
        assert pump.shed - shed_before == 20 * 50
        while pump.trouble is None:
            await market_goes_on()
        for _ in range(10):
            await market_goes_on()
        refused_from = int(market(tape_of(tmp_path))["c"].max()) + 1
        assert pump.shed == 50 * at // 50 - trades_quotes_stored(tmp_path, Kind.QUOTE) + at - refused_from
        recorder.tick()
        assert [g.channel for g in gaps(tmp_path)] == [Channel.QUOTE, Channel.TRADE]
        assert {g.cause for g in gaps(tmp_path)} == {GapCause.DISK_FULL}
        assert "ok" in await ask(tmp_path, call="sources")  # answers all the while
        last_ns = int(market(tape_of(tmp_path))["ts_event"].max())

        disk.left = 50
        await until(lambda: not recorder.tape.low_space)
        recorder.tick()
        resumed = at
        await market_goes_on()
        await settled(tmp_path, 2)
        closed = {g.channel: g for g in gaps(tmp_path) if g.state == GapState.CLOSED}
        assert (closed[Channel.TRADE].first, closed[Channel.TRADE].last) == (refused_from, resumed - 1)
        assert closed[Channel.TRADE].cause == GapCause.DISK_FULL
        assert (closed[Channel.TRADE].start_ns, closed[Channel.TRADE].end_ns) == (last_ns, clock.now_ns())
    stored = market(tape_of(tmp_path))
    assert sorted(stored["c"][stored["kind"] == Kind.TRADE].tolist()) == list(range(at))
    assert len(said(tmp_path, Status.DISK_FULL)) == len(said(tmp_path, Status.DISK_OK)) == 1


@pytest.mark.parametrize("failures", [1, 2, 5])
@pytest.mark.parametrize("nth", range(1, 9))
async def test_r09_a_write_that_fails_stops_the_acknowledging_and_not_the_recorder(
    tmp_path: Path, nth: int, failures: int
) -> None:
    class Failing(Disk):
        def __init__(self) -> None:
            self.from_call, self.calls = 10**9, 0

        def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
            self.calls += 1
            if self.from_call <= self.calls < self.from_call + failures:
                super().write(fd, data[: len(data) // 2], offset)
                raise OSError(5, "Input/output error")
            return super().write(fd, data, offset)

    disk = Failing()
    fill, _ = history(*range(1000))
    source, clock = Fed(history=fill), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock, disk=disk) as recorder:
        await source.feed(live(range(10), clock))
        disk.from_call = disk.calls + nth
        at = 10
        while disk.calls < disk.from_call + failures or recorder.tape.refusing:
            clock.advance(SECOND)
            await source.feed(live(range(at, at + 10), clock))
            at += 10
            recorder.tick()
        await source.feed(live([at], clock))
        assert recorder.tape.head.published == recorder.tape.position
        assert source.connections == 1
        refused = recorder.runners[0].pump.shed
        opened = [g for g in gaps(tmp_path) if g.cause == GapCause.DISK_FULL and g.state == GapState.OPENED]
        assert bool(opened) is bool(refused)  # what was refused is declared, and nothing else
        await until(lambda: sorted(market(tape_of(tmp_path))["c"].tolist()) == list(range(at + 1)))


def trades_quotes_stored(data: Path, kind: Kind) -> int:
    return int((tape_of(data)["kind"] == kind).sum())


async def test_r07_a_fill_that_finds_no_room_is_tried_again_and_not_called_unfillable(tmp_path: Path) -> None:
    disk = SmallDisk(100)
    fill, asked = history(*range(5000))
    source, clock = Fed(history=fill), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock, disk=disk, settle_s=3600.0) as recorder:
        await source.feed(live([0, 3000], clock))
        disk.left = 0
        while not recorder.tape.low_space:
            await source.feed(live(range(3001 + recorder.tape.position, 3002 + recorder.tape.position), clock))

        def asked_now() -> bool:
            clock.advance(600 * SECOND)
            return len(asked) > 0

        await until(asked_now)
        await until(lambda: recorder.runners[0].pump.shed > 0)
        await asyncio.sleep(0.3)
        assert not [g for g in gaps(tmp_path) if g.state == GapState.UNFILLABLE and g.first == 1]
        disk.left = 100
        await until(lambda: not recorder.tape.low_space)

        def filled() -> bool:
            clock.advance(60 * SECOND)
            return any(g.state == GapState.FILLED and (g.first, g.last) == (1, 2999) for g in gaps(tmp_path))

        await until(filled)
    stored = market(tape_of(tmp_path))["c"].tolist()
    assert sorted(stored) == sorted(set(stored))
    assert set(range(3001)) <= set(stored)


async def test_r07_raw_frames_on_a_full_disk_are_an_extra_that_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    source = Framed()
    async with recording(tmp_path, source, keep_raw=True) as recorder:
        sink = await source.up()
        sink.frames([b"1"], sink.now_ns())
        monkeypatch.setattr(RawFrames, "write", full)
        sink.frames([b"2", b"3"], sink.now_ns())
        monkeypatch.undo()
        sink.frames([b"4"], sink.now_ns())
        assert recorder.runners[0].pump.counts()["raw_lost"] == 2
    assert market(tape_of(tmp_path))["c"].tolist() == [1, 2, 3, 4]


class Framed(Fed):
    """Its frames are ids in ASCII."""

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        records = trades([int(f) for f in frames])
        records["ts_event"] = records["ts_recv"] = ts_recv
        return Batch(records)


def lines(path: Path) -> list[bytes]:
    return [line.frame for line in read_lines(path) if isinstance(line, Line)]


async def test_raw_frames_survive_a_crash_in_the_middle_and_come_back_as_they_were(tmp_path: Path) -> None:
    first = RawFrames(tmp_path, "binance")
    frames = [b'{"a":1}', b'{"b":\n2}', "\u20ac".encode(), b"\xff\xfe"]
    first.write(frames, NOW)
    first._out.flush()  # killed here: no end of the frame  # pyright: ignore[reportPrivateUsage]
    second = RawFrames(tmp_path, "binance")
    second.write(frames, NOW + 1)
    second.close()
    one, two = sorted((tmp_path / "binance").iterdir(), key=lambda path: len(path.name))
    assert lines(two) == frames
    assert lines(one) == frames
    first._file.close()  # pyright: ignore[reportPrivateUsage]


# -- quarantine -------------------------------------------------------------------------------------------


async def test_r19_what_cannot_be_a_record_is_kept_with_its_reason_and_a_limit(tmp_path: Path) -> None:
    source, clock = Fed(), ManualClock(NOW)
    payloads = [b"{", b"\xff\xfe", b"", b"9" * (10 << 20)]
    async with recording(tmp_path, source, clock=clock) as recorder:
        sink = await source.up()
        bad = [Bad(BadReason.NOT_JSON, "why\nnot \ud800", payload) for payload in payloads]
        sink.batch(Batch(live([1], clock), bad))
        await source.feed(live([2], clock))
        assert recorder.runners[0].pump.counts()["quarantined"] == 4
        reader = recorder._filler._reader  # pyright: ignore[reportPrivateUsage]
        reader.refresh()
        kept = [reader.blob(int(p)) for p in np.flatnonzero(tape_of(tmp_path)["kind"] == Kind.QUARANTINE)]
    assert [k.rsplit(b"\n", 1)[1] for k in kept] == [*payloads[:3], b"9" * (1 << 16)]
    assert kept[3].split(b"\n")[-2] == str(10 << 20).encode()
    assert all(k.startswith(b"why") for k in kept)
    stored = tape_of(tmp_path)
    assert stored["d"][stored["kind"] == Kind.QUARANTINE].tolist() == [BadReason.NOT_JSON] * 4
    assert market(stored)["c"].tolist() == [1, 2]


# -- orders -----------------------------------------------------------------------------------------------


async def ask(data: Path, **call: Any) -> dict[str, Any]:
    return await tell(data, json.dumps(call).encode() + b"\n")


async def tell(data: Path, line: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(str(data / "record.sock"), limit=1 << 22)
    try:
        writer.write(line)
        await writer.drain()
        answer = await reader.readline()
        return json.loads(answer) if answer else {}
    finally:
        writer.close()


async def test_the_control_socket_stops_starts_and_restarts_a_source(tmp_path: Path) -> None:
    source, clock = Fed(name="acme"), ManualClock(NOW)
    async with recording(tmp_path, source, clock=clock):
        await source.feed(live([1], clock))
        stopped = (await ask(tmp_path, call="stop", name="acme"))["ok"]
        assert (stopped["running"], stopped["status"]) == (False, "stopped")
        assert source.open_now == 0
        assert [g.cause for g in gaps(tmp_path)] == [GapCause.STOPPED]
        assert (await ask(tmp_path, call="stop", name="acme"))["ok"]["running"] is False
        assert (await ask(tmp_path, call="start", name="acme"))["ok"]["running"] is True
        await source.feed(live([2], clock))
        await ask(tmp_path, call="start", name="acme")  # running already
        assert (source.connections, source.most_open) == (2, 1)
        await ask(tmp_path, call="restart", name="acme")
        await source.feed(live([3], clock))
        assert source.connections == 3
        changed = (await ask(tmp_path, call="symbols", name="acme", add=["A", "B"], remove=[]))["ok"]
        assert changed["symbols"] == ["A", "B"]
    assert market(tape_of(tmp_path))["c"].tolist() == [1, 2, 3]


async def test_orders_that_come_together_never_leave_two_connections_or_a_stray_one(tmp_path: Path) -> None:
    source = Fed(name="acme")
    async with recording(tmp_path, source) as recorder:
        await source.up()
        for _ in range(10):
            calls = ["restart", "stop", "restart", "start", "restart", "stop", "start"]
            answers = await asyncio.gather(*[ask(tmp_path, call=call, name="acme") for call in calls])
            assert all("ok" in answer for answer in answers)
        assert source.most_open == 1
        await ask(tmp_path, call="stop", name="acme")
        await asyncio.sleep(0.1)
        assert (source.open_now, recorder.runners[0].running) == (0, False)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\n", "bad_input"),
        (b"garbage\n", "bad_input"),
        (b"\xff\xfe\xfd\n", "bad_input"),
        (b'{"call": "stop"}\n', "bad_input"),
        (b'{"call": "fly", "name": "acme"}\n', "bad_input"),
        (b'{"call": "stop", "name": 5}\n', "bad_input"),
        (b'{"call": "stop", "name": "acme", "more": 1}\n', "bad_input"),
        (b'{"call": "stop", "name": "no\\nsuch\\u0000"}\n', "bad_input"),
        (b"[" * 5000 + b"\n", "bad_input"),
        (b'{"call": "sources"', None),
        (b"x" * (MAX_LINE + 10), None),
        (b"x" * (MAX_LINE + 10) + b"\n", None),
    ],
    ids=range(12),
)
async def test_a_bad_line_gets_an_error_or_a_closed_door_and_stops_nothing(
    tmp_path: Path, line: bytes, code: str | None
) -> None:
    source = Fed(name="acme")
    async with recording(tmp_path, source):
        await source.up()
        if code is None:
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "record.sock"))
            writer.write(line)
            writer.write_eof()
            answer = await reader.read()
            assert b'"ok"' not in answer
            writer.close()
        else:
            answer = await tell(tmp_path, line)
            assert answer["error"]["code"] == code
            assert "\n" not in answer["error"]["message"]
        assert (await ask(tmp_path, call="sources"))["ok"][0]["running"]


async def test_the_socket_is_the_owners_and_gone_after_the_stop(tmp_path: Path) -> None:
    path = tmp_path / "record.sock"
    path.write_text("left behind by a crash")
    async with recording(tmp_path, Fed()):
        await until(path.is_socket)
        assert path.stat().st_mode & 0o777 == 0o600
        assert "ok" in await ask(tmp_path, call="sources")
    assert not path.exists()


async def test_a_folder_too_deep_for_a_unix_socket_is_named_before_anything_is_opened(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    with pytest.raises(Misconfigured, match="too long for a Unix socket"):
        Recorder(RecordSettings(data=deep), [])
    assert not deep.exists()


async def test_r39_a_stop_does_not_wait_for_an_order_that_hangs(tmp_path: Path) -> None:
    class Hanging(Fed):
        async def change(self, add: Any, remove: Any) -> None:
            await asyncio.sleep(3600)

    source = Hanging(name="acme")
    async with recording(tmp_path, source):
        await source.up()
        call = asyncio.create_task(ask(tmp_path, call="symbols", name="acme"))
        await asyncio.sleep(0.05)
    assert await call == {}


# -- the watchdog at work ---------------------------------------------------------------------------------


async def test_r15_a_mute_channel_is_cut_and_a_quiet_one_beside_it_is_not_blamed(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    source = Fed([*TRADES, Watched(2, Channel.TRADE)])
    async with recording(tmp_path, source, clock=clock) as recorder:
        at = 0
        for second in range(200):
            await source.feed(live(range(at, at + 20), clock))
            at += 20
            if second % 90 == 0:
                await source.feed(trades([second], instrument=2))
            clock.advance(SECOND)
            recorder.tick()
        assert source.connections == 1
        for _ in range(60):
            (await source.up()).alive()  # it still answers pings
            clock.advance(SECOND)
            recorder.tick()
            await asyncio.sleep(0)
            if source.connections > 1 or source.sink is None:
                break
        await until(lambda: source.connections == 2)
        await source.feed(live(range(at, at + 5), clock))
        trouble = recorder.runners[0].pump.trouble
        assert trouble is not None
        assert trouble.what == "1 of 2 channels mute, first trade"
        await settled(tmp_path, 1)
    mute = [g for g in gaps(tmp_path) if g.cause == GapCause.MUTE]
    assert {g.instrument for g in mute if g.state == GapState.OPENED} == {1, 2}
    assert [g.state for g in mute if g.instrument == 1] == [GapState.OPENED, GapState.CLOSED, GapState.FILLED]


async def test_r16_a_subscribed_channel_that_never_flows_is_declared_never_seen(tmp_path: Path) -> None:
    clock = ManualClock(NOW)
    source = Fed([*TRADES, Watched(2, Channel.TRADE)])
    async with recording(tmp_path, source, clock=clock) as recorder:
        for second in range(130):
            await source.feed(live(range(second * 3, second * 3 + 3), clock))
            clock.advance(SECOND)
            recorder.tick()
        (gap,) = gaps(tmp_path)
        assert (gap.cause, gap.instrument, gap.state) == (GapCause.NEVER_SEEN, 2, GapState.OPENED)
        assert gap.start_ns <= NOW + 120 * SECOND
        assert source.connections == 1
        await source.feed(trades([1], instrument=2))
        assert gaps(tmp_path)[-1].state in (GapState.CLOSED, GapState.UNFILLABLE)


async def test_a_socket_without_any_sign_of_life_is_cut(tmp_path: Path) -> None:
    clock, source = ManualClock(NOW), Fed()
    async with recording(tmp_path, source, clock=clock, patience=Patience(dead_s=30)) as recorder:
        await source.up()
        recorder.tick()
        clock.advance(29 * SECOND)
        recorder.tick()
        await asyncio.sleep(0.02)
        assert source.connections == 1
        clock.advance(2 * SECOND)
        recorder.tick()
        await until(lambda: source.connections == 2)


CLOSES = 1_763_672_400 * SECOND  # New York, 20 November 2025, 16:00
OPENS = CLOSES + int(17.5 * 3600) * SECOND


def enrolled(recorder: Recorder, symbol: str, calendar: str) -> int:
    cent, whole = Decimal("0.01"), Decimal(1)
    listing = Listing(
        symbol=symbol, venue="acme", asset_class=AssetClass.EQUITY, tick_size=cent, size_step=whole, calendar=calendar
    )
    return recorder.directory.enrol("acme", symbol, listing).id


async def test_r33_a_closed_market_is_left_alone_and_watched_again_from_its_opening(tmp_path: Path) -> None:
    clock = ManualClock(CLOSES - 200 * SECOND)
    source = Fed([Watched(1, Channel.TRADE), Watched(2, Channel.TRADE), Watched(3, Channel.TRADE)])
    recorder = Recorder(RecordSettings(data=tmp_path, segment_records=CAPACITY, backoff=QUICK), [source], clock)
    assert [enrolled(recorder, *it) for it in (("SPY", "NYSE"), ("BTC", "24/7"), ("QQQ", "NYSE"))] == [1, 2, 3]
    stop, at = asyncio.Event(), 0
    running = asyncio.create_task(recorder.run(stop))

    async def second(*instruments: int) -> None:
        nonlocal at
        at += 1
        for instrument in instruments:
            await source.feed(trades([at], instrument=instrument))
        clock.advance(SECOND)
        recorder.tick()
        await asyncio.sleep(0)

    while clock.now_ns() < CLOSES:
        await second(1, 2, 3)
    for _ in range(300):
        await second(2)
    clock.advance(OPENS - 5 * SECOND - clock.now_ns())
    await second(2)
    while clock.now_ns() < OPENS + 60 * SECOND:
        await second(2)
    assert source.connections == 1
    assert gaps(tmp_path) == []
    while source.connections == 1 and clock.now_ns() < OPENS + 120 * SECOND:
        await second(2, 3)
    await until(lambda: source.connections == 2)
    trouble = recorder.runners[0].pump.trouble
    assert trouble is not None
    assert trouble.what == "1 of 3 channels mute, first trade"  # open, and silent: that is a fault
    stop.set()
    await running


@pytest.mark.parametrize("pings", [True, False])
async def test_r33_at_night_only_a_venue_that_pings_is_missed(tmp_path: Path, pings: bool) -> None:
    clock, source = ManualClock(CLOSES + 600 * SECOND), Fed()
    recorder = Recorder(RecordSettings(data=tmp_path, segment_records=CAPACITY, backoff=QUICK), [source], clock)
    enrolled(recorder, "SPY", "NYSE")
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    sink = await source.up()
    if pings:
        sink.alive()
    for _ in range(200):
        clock.advance(SECOND)
        recorder.tick()
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert (source.connections > 1) is pings
    stop.set()
    await running


async def test_r14_failing_connections_are_tried_again_ever_more_slowly() -> None:
    import random

    backoff, chance = Backoff(first_s=0.2, most_s=30.0), random.Random(1)
    waits = [[backoff.wait_s(n, chance) for _ in range(50)] for n in range(1, 40)]
    assert all(0.1 <= w <= 0.2 for w in waits[0])
    assert all(15 <= w <= 30 for w in waits[-1])
    assert len(set(waits[5])) > 40  # jittered
