"""Settled days: noted once, used while they match the data, made again when it changed, silent instruments found."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import msgspec
import numpy as np
import pytest
from checks_support import WHO, change, enrolled, keeper, notes_of
from lake_support import DAY, NOON, SECOND, World, trades

from ticktape.keep.daily import Daily, Stopped
from ticktape.keep.process import Keeper
from ticktape.lake.certificate_day import summarise
from ticktape.lake.certificate_form import Check
from ticktape.lake.certificate_kept import Kept
from ticktape.lake.certificate_past import LakePast
from ticktape.lake.certificate_quality import QualityReport
from ticktape.lake.notes import Noted
from ticktape.model.records import Channel, GapCause, GapState, Kind, Records, empty, pack_gap
from ticktape.model.sessions import calendar
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

FIRST = date(2025, 11, 20)
MIDNIGHT = NOON - DAY // 2


@pytest.fixture
def directory(world: World) -> Iterator[TapeDirectory]:
    made = enrolled(world)
    yield made
    made.close()


def day_of(k: int, n: int = 600, first_id: int = 1, instruments: int = 3) -> Records:
    """Return a day of trades, every 144 s or so, ids going on from day to day."""
    found = trades(n, start_ns=MIDNIGHT + k * DAY + 60 * SECOND, step_ns=DAY // n - SECOND, instruments=instruments)
    found["c"] = np.arange(first_id + k * n, first_id + (k + 1) * n)
    return found


def clock_at(ns: int) -> Records:
    found = empty(1)
    found["kind"], found["ts_event"], found["ts_recv"] = Kind.CLOCK, ns, ns
    return found


def daily(world: World, made: Keeper, directory: TapeDirectory) -> Daily:
    return Daily(made, Reader(world.folder / "tape"), directory)


def settle_all(job: Daily) -> list[date]:
    days = job.due()
    for day in days:
        job.settle(day)
    return days


def kept_of(world: World) -> Kept:
    return Kept(world.snapshot(), Reader(world.folder / "tape"), WHO, MIDNIGHT - DAY, MIDNIGHT + 60 * DAY)


def past_of(world: World) -> LakePast:
    return LakePast(world.snapshot(), Reader(world.folder / "tape"), WHO)


def test_a_day_is_settled_once_when_it_is_over_and_flushed(world: World, directory: TapeDirectory) -> None:
    world.append(day_of(0))
    made = keeper(world)
    made.flush()
    job = daily(world, made, directory)
    assert job.due() == []  # the day may still go on
    world.append(clock_at(MIDNIGHT + DAY + 30 * 60 * SECOND))
    made.flush()
    assert job.due() == []  # late rows still come
    world.append(clock_at(MIDNIGHT + DAY + 2 * 3600 * SECOND))
    assert job.due() == []  # not flushed
    made.flush()
    assert settle_all(job) == [FIRST]
    assert job.due() == []
    assert daily(world, made, directory).due() == []  # nor after a restart
    (settled,) = notes_of(world, Noted.SETTLED)
    assert msgspec.json.decode(settled.body or b"", type=QualityReport).checked == 3
    assert len(notes_of(world, Noted.SUMMARY)) == 3
    assert made.figures.quality_days == 1
    made.close()


def test_what_was_noted_is_what_the_rows_say(world: World, directory: TapeDirectory) -> None:
    for k in range(3):
        world.append(day_of(k))
    made = keeper(world)
    made.flush()
    settle_all(daily(world, made, directory))
    kept, past = kept_of(world), past_of(world)
    for number in WHO:
        for k in range(2):
            day = FIRST + timedelta(days=k)
            fresh = summarise(past, number, Channel.TRADE, calendar("24/7"), day)
            assert kept.summary(past, number, Channel.TRADE, day) == fresh
    made.close()


def test_compaction_leaves_a_summary_true_and_a_late_row_does_not(world: World, directory: TapeDirectory) -> None:
    for k in range(3):
        world.append(day_of(k, n=300))
        world.flush()
    made = keeper(world)
    made.flush()
    job = daily(world, made, directory)
    assert settle_all(job) == [FIRST, FIRST + timedelta(days=1)]
    late = day_of(1, n=1, first_id=10**6)
    late["instrument"], late["ts_recv"] = 1, MIDNIGHT + 3 * DAY
    made.tidy()
    assert kept_of(world).summary(past_of(world), 1, Channel.TRADE, FIRST) is not None
    assert job.due() == []
    world.append(late)  # on the tape only: whoever reads the tape knows
    second = FIRST + timedelta(days=1)
    assert kept_of(world).summary(past_of(world), 1, Channel.TRADE, second) is None
    assert kept_of(world).summary(past_of(world), 2, Channel.TRADE, second) is not None
    made.flush()
    assert kept_of(world).summary(past_of(world), 1, Channel.TRADE, second) is None
    assert settle_all(job) == [second]  # its rows are others now
    fresh = summarise(past_of(world), 1, Channel.TRADE, calendar("24/7"), second)
    assert kept_of(world).summary(past_of(world), 1, Channel.TRADE, second) == fresh
    assert kept_of(world).summary(past_of(world), 1, Channel.TRADE, FIRST) is not None
    made.close()


def test_a_new_numbering_makes_a_summary_stale(world: World, directory: TapeDirectory) -> None:
    for k in range(2):
        world.append(day_of(k))
    made = keeper(world)
    made.flush()
    settle_all(daily(world, made, directory))
    assert kept_of(world).summary(past_of(world), 1, Channel.TRADE, FIRST) is not None
    gap = empty(1)
    gap["kind"], gap["instrument"], gap["source"], gap["side"] = Kind.GAP, 1, 1, GapState.CLOSED
    gap["ts_event"], gap["b"], gap["c"] = NOON, 0, -1
    gap["ts_recv"], gap["d"] = NOON + 40 * DAY, pack_gap(GapCause.RESET, Channel.TRADE, 1000)
    world.append(gap)
    assert kept_of(world).summary(past_of(world), 1, Channel.TRADE, FIRST) is None
    assert kept_of(world).summary(past_of(world), 2, Channel.TRADE, FIRST) is not None
    made.close()


def test_an_expired_day_is_neither_settled_again_nor_answered_from_its_summary(
    world: World, directory: TapeDirectory
) -> None:
    for k in range(4):
        world.append(day_of(k))
    made = keeper(world, retain_days={"trades": 2})
    made.flush()
    job = daily(world, made, directory)
    assert len(settle_all(job)) == 3
    made.tidy()
    assert "2025-11-20" not in {entry.partition for entry in world.snapshot().versions["trades"].files}
    assert job.due() == []
    assert daily(world, made, directory).due() == []
    assert kept_of(world).summary(past_of(world), 1, Channel.TRADE, FIRST) is None
    made.close()


def test_a_silent_instrument_and_a_thin_day_are_found_and_told_by_instrument(
    world: World, directory: TapeDirectory
) -> None:
    for k in range(7):
        world.append(day_of(k, n=2000))
    quiet = day_of(7, n=100, first_id=10**6)
    world.append(quiet[quiet["instrument"] != 3])
    world.append(clock_at(MIDNIGHT + 8 * DAY + 2 * 3600 * SECOND))
    made = keeper(world)
    made.flush()
    settle_all(daily(world, made, directory))
    last, kept = FIRST + timedelta(days=7), kept_of(world)
    assert [f.check for f in kept.findings(3, last) or []] == [Check.SILENT]
    assert Check.VOLUME in [f.check for f in kept.findings(1, last) or []]
    assert kept.findings(1, FIRST + timedelta(days=6)) == []
    assert kept.findings(1, last + timedelta(days=1)) is None  # nobody looked
    report = msgspec.json.decode(notes_of(world, Noted.SETTLED)[-1].body or b"", type=QualityReport)
    assert report.date == last
    assert [c.source for c in report.coverage] == ["binance"]
    assert report.coverage[0].records == len(quiet[quiet["instrument"] != 3])
    made.close()


def test_told_to_stop_nothing_is_noted(world: World, directory: TapeDirectory) -> None:
    for k in range(2):
        world.append(day_of(k))
    made = keeper(world)
    made.flush()
    job = daily(world, made, directory)
    with pytest.raises(Stopped):
        job.settle(FIRST, lambda: True)
    assert job.due() == [FIRST]
    assert not notes_of(world, Noted.SUMMARY)
    made.close()


def test_a_changed_lake_is_told_by_the_hash_of_a_deep_look(world: World, directory: TapeDirectory) -> None:
    for k in range(2):
        world.append(day_of(k))
    made = keeper(world)
    made.flush()
    settle_all(daily(world, made, directory))
    before = kept_of(world).summary(past_of(world), 1, Channel.TRADE, FIRST)
    change(made, "trades", "2025-11-20", lambda columns: columns["price"].__iadd__(1))
    fresh = summarise(past_of(world), 1, Channel.TRADE, calendar("24/7"), FIRST)
    assert before is not None
    assert fresh.hash != before.hash
    made.close()
