"""The venue's own bars: stored once, under bars from ticks, and the tape's position stays where it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from lake_support import DAY, NOON, SECOND, World, trades

from ticktape.errors import Busy
from ticktape.keep.klines import KlineStore
from ticktape.lake.disk import Disk
from ticktape.lake.history import Snapshot
from ticktape.model.bars import BAR, BarFlag, Bars, Basis
from ticktape.model.records import Flag, Kind, Records, empty
from ticktape.tape.reader import Reader

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
VENUE_VOLUME = 10**15  # of a minute, far beyond what ticks sum to here


def venue(n: int, start: int = NOON) -> Bars:
    """Return n minutes of a venue."""
    bars: Bars = np.zeros(n, dtype=BAR)
    bars["start"] = bars["open_ts"] = start + np.arange(n) * MINUTE
    bars["close_ts"] = bars["start"] + MINUTE - 1
    bars["open"], bars["high"], bars["low"], bars["close"] = 100, 120, 80, 101
    bars["volume_low"], bars["count"], bars["flags"] = VENUE_VOLUME, 7, int(BarFlag.KLINES)
    return bars


def add(world: World, instrument: int, minutes: Bars, disk: Disk | None = None) -> int:
    store = KlineStore(Reader(world.folder / "tape"), disk, world.clock)
    try:
        return store.add(instrument, minutes)
    finally:
        store.close()


def missing(world: World, start: int, end: int) -> list[tuple[int, int]]:
    store = KlineStore(Reader(world.folder / "tape"), clock=world.clock)
    try:
        return store.missing(1, start, end)
    finally:
        store.close()


def ticks(at_minutes: Sequence[int], kind: Kind = Kind.TRADE) -> Records:
    """Return a trade of size 5 in each of some minutes after noon."""
    records = empty(len(at_minutes))
    records["kind"], records["instrument"], records["source"] = kind, 1, 1
    records["ts_event"] = NOON + np.array(at_minutes, dtype=np.int64) * MINUTE + SECOND
    records["ts_recv"] = records["ts_event"] + 1
    records["a"], records["b"], records["c"] = 200, 5, 1 + np.array(at_minutes, dtype=np.int64)
    return records


def told(snapshot: Snapshot, width: int, *, reader: Reader | None = None, **more: int) -> list[tuple[int, int, bool]]:
    """Return (minute after noon, volume, is the venue's) of each bar of two hours."""
    found = snapshot.bars([1], NOON, NOON + 2 * HOUR, width, tape=reader, known_at_ns=more.get("known"))
    columns = [found.bars[name].tolist() for name in ("start", "volume_low", "flags")]
    return [((s - NOON) // MINUTE, v, bool(f & BarFlag.KLINES)) for s, v, f in zip(*columns, strict=True)]


def test_a_minute_is_of_one_origin_and_ticks_come_first(world: World) -> None:
    world.append(ticks([1, 3, 3]))
    world.flush()
    world.append(ticks([4]))  # on the tape alone
    reader = Reader(world.folder / "tape")
    add(world, 1, venue(6))
    wanted = [(0, VENUE_VOLUME, True), (1, 5, False), (2, VENUE_VOLUME, True), (3, 10, False)]
    wanted += [(4, 5, False), (5, VENUE_VOLUME, True)]
    assert told(world.snapshot(), MINUTE, reader=reader) == wanted
    assert told(world.snapshot(), HOUR, reader=reader) == [(0, 3 * VENUE_VOLUME + 20, True)]
    without = world.snapshot().bars([1], NOON, NOON + HOUR, MINUTE, tape=reader, raw=True).bars
    assert without["volume_low"].tolist() == [5, 10, 5]  # of ticks only
    assert len(world.snapshot().bars([1], NOON, NOON + HOUR, MINUTE, basis=Basis.QUOTES, tape=reader).bars) == 0


def test_aggregated_trades_come_before_the_venues_bars_too(world: World) -> None:
    world.append(ticks([1, 2], Kind.AGG_TRADE))
    world.flush()
    add(world, 1, venue(3))
    assert told(world.snapshot(), MINUTE) == [(0, VENUE_VOLUME, True), (1, 5, False), (2, 5, False)]
    assert told(world.snapshot(), HOUR) == [(0, VENUE_VOLUME + 10, True)]


def test_a_minute_without_a_trade_is_stored_and_answers_nothing(world: World) -> None:
    quiet = venue(3)
    quiet["count"][1] = quiet["volume_low"][1] = 0
    add(world, 1, quiet)
    assert [minute for minute, _, _ in told(world.snapshot(), MINUTE)] == [0, 2]
    assert missing(world, NOON, NOON + 3 * MINUTE) == []
    assert world.snapshot().bars([1], NOON, NOON + HOUR, HOUR).until == NOON + 3 * MINUTE


def test_only_what_is_not_stored_is_missing(world: World) -> None:
    world.append(ticks([2]))  # a bar from ticks is not the venue's
    world.flush()
    span = NOON, NOON + 10 * MINUTE
    assert missing(world, *span) == [span]
    add(world, 1, venue(2, NOON + 3 * MINUTE))
    add(world, 2, venue(10))  # another instrument's
    assert missing(world, *span) == [(NOON, NOON + 3 * MINUTE), (NOON + 5 * MINUTE, NOON + 10 * MINUTE)]
    add(world, 1, venue(3))
    add(world, 1, venue(5, NOON + 5 * MINUTE))
    assert missing(world, *span) == []


def test_the_position_stays_and_flushes_and_compaction_go_on(world: World) -> None:
    add(world, 1, venue(60))  # before anything was flushed
    assert world.snapshot().position("bars") == -1
    world.append(trades(3000, step_ns=SECOND, instruments=1))
    world.flush(1500)
    before = world.snapshot().position("bars")
    assert before == 1500
    add(world, 1, venue(60, NOON + HOUR))
    assert world.snapshot().position("bars") == before
    world.flush()
    reader = Reader(world.folder / "tape")
    answers = told(world.snapshot(), MINUTE, reader=reader)
    assert [minute for minute, _, _ in answers] == list(range(120))
    assert [minute for minute, _, theirs in answers if theirs] == list(range(50, 120))  # 3000 s of ticks before
    rows = world.snapshot().versions["bars"].rows
    world.compact("bars", "2025-11")
    assert world.snapshot().versions["bars"].rows < rows
    assert told(world.snapshot(), MINUTE, reader=reader) == answers


def test_what_was_known_before_the_fetch_has_none_and_after_it_has(world: World) -> None:
    world.append(ticks([1, 3]))
    world.flush()
    fetched = world.clock.now_ns()
    add(world, 1, venue(4))
    reader, snapshot = Reader(world.folder / "tape"), world.snapshot()
    assert told(snapshot, MINUTE, reader=reader, known=fetched) == [(1, 5, False), (3, 5, False)]
    assert told(snapshot, HOUR, reader=reader, known=fetched) == [(0, 10, False)]
    late = fetched + SECOND
    now = told(snapshot, MINUTE, reader=reader)
    assert told(snapshot, MINUTE, reader=reader, known=late) == now
    assert told(snapshot, HOUR, reader=reader, known=late) == [(0, 2 * VENUE_VOLUME + 10, True)]
    # Of the time of the second trade only the first was known; its minute is the venue's if that had been fetched.
    then = NOON + 2 * MINUTE
    assert told(snapshot, MINUTE, reader=reader, known=then) == [(1, 5, False)]


def test_a_correction_that_is_on_the_tape_only_does_not_hide_the_venues_bars(world: World) -> None:
    world.append(ticks([1, 3]))
    world.flush()
    add(world, 1, venue(4))
    notice = ticks([3], Kind.CORRECT)
    notice["b"] = 9
    world.append(notice)
    found = told(world.snapshot(), MINUTE, reader=Reader(world.folder / "tape"))
    assert found == [(0, VENUE_VOLUME, True), (1, 5, False), (2, VENUE_VOLUME, True), (3, 9, False)]


class Full(Disk):
    """A disk that fails at one step."""

    def __init__(self, at: str) -> None:
        super().__init__("")
        self.at = at

    def step(self, name: str) -> None:
        if name == self.at:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize(("step", "stored"), [("klines.begun", 0), ("klines.written", 0), ("klines.committed", 20)])
def test_a_commit_that_breaks_off_is_there_or_not(world: World, step: str, stored: int) -> None:
    with pytest.raises(OSError, match="No space"):
        add(world, 1, venue(20), Full(step))
    assert world.snapshot().versions["bars"].rows == stored
    span = NOON, NOON + 20 * MINUTE
    assert missing(world, *span) == ([] if stored else [span])


def test_months_are_cut_and_other_bits_stay(world: World) -> None:
    over = venue(4, NOON + 10 * DAY + 12 * HOUR - 2 * MINUTE)  # into December
    add(world, 1, over)
    assert [e.partition for e in world.snapshot().versions["bars"].files] == ["2025-11", "2025-12"]
    found = world.snapshot().bars([1], NOON, NOON + 30 * DAY, MINUTE).bars
    assert np.array_equal(found, over)


def test_nobody_else_commits_meanwhile(world: World) -> None:
    store = KlineStore(Reader(world.folder / "tape"))
    with pytest.raises(Busy, match="bootstrap"):
        KlineStore(Reader(world.folder / "tape"))
    store.close()
    KlineStore(Reader(world.folder / "tape")).close()


def test_a_doubtful_tick_makes_no_minute_so_the_venues_answers(world: World) -> None:
    spike = ticks([1])
    spike["flags"] = int(Flag.SPIKE)
    world.append(spike)
    world.flush()
    add(world, 1, venue(2))
    assert told(world.snapshot(), MINUTE) == [(0, VENUE_VOLUME, True), (1, VENUE_VOLUME, True)]
