"""Spot checks: what is right passes, a changed value is found with both, and its alert ends when it is right again."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest
from checks_support import WHO, change, keeper, notes_of
from lake_support import DAY, NOON, SECOND, World, market, trades

from ticktape.errors import Unavailable
from ticktape.keep.process import Keeper
from ticktape.keep.spot import PENDING, Spotter, pass_rate, pick
from ticktape.lake.certificate_kept import Kept
from ticktape.lake.certificate_spot import Miss
from ticktape.lake.notes import FIRST, Noted, With
from ticktape.model.records import Channel, Kind, Records, empty
from ticktape.tape.reader import Reader

MINUTE = 60 * SECOND


def spotter(world: World, made: Keeper, **venues: Any) -> Spotter:
    by_id = {1: venues["venue"]} if venues else {}
    return Spotter(made, Reader(world.folder / "tape"), WHO, by_id.get)


def take(checks: Spotter, times: int = 1) -> None:
    async def several() -> None:
        for _ in range(times):
            assert await checks.run_one(asyncio.to_thread)

    asyncio.run(several())


def test_a_right_lake_passes_every_comparison_and_says_so_in_quality(world: World) -> None:
    world.append(market(6000))
    made = keeper(world)
    made.flush()
    checks = spotter(world, made)
    take(checks, 30)
    checks.write()
    assert pass_rate(made.figures.spots) == 1.0
    assert made.figures.spots["tape"].samples == 30
    assert made.figures.spots["bars"].samples > 5
    found = notes_of(world, Noted.SPOT)
    assert {note.side for note in found} == {With.TAPE, With.BARS}
    assert all(note.a == note.b > 0 and note.body is None for note in found)
    assert [note.position for note in found] == list(range(FIRST, FIRST + len(found)))
    assert not made.alerts.standing()
    made.close()


def test_which_minute_is_looked_at_comes_from_the_version_and_the_number(world: World) -> None:
    world.append(market(3000, step_ns=SECOND))
    world.flush()
    one = [pick(world.snapshot(), number) for number in range(20)]
    assert one == [pick(world.snapshot(), number) for number in range(20)]
    assert len({(s.instrument_id, s.minute) for s in one if s}) > 10


def test_a_changed_row_is_a_miss_with_both_values_until_it_is_right_again(world: World) -> None:
    world.append(trades(300, step_ns=SECOND // 100, instruments=1))  # one minute or two
    made = keeper(world)
    made.flush()
    checks = spotter(world, made)
    right = int(world.snapshot().records("trades", [1], NOON - DAY, NOON + DAY)[1]["a"][7])

    def worse(columns: dict[str, Any]) -> None:
        columns["price"][7] += 1

    def better(columns: dict[str, Any]) -> None:
        columns["price"][7] -= 1

    change(made, "trades", "2025-11-20", worse)
    take(checks, 6)
    (alert,) = [a for a in made.alerts.standing() if a.subject.startswith("tape ")]
    assert alert.kind == "spot_miss"
    assert alert.detail["left"] == str(right + 1)
    assert alert.detail["right"] == str(right)
    assert alert.detail["field"] == "a"
    missed = [n for n in notes_of(world, Noted.SPOT) if n.side == With.TAPE and n.body]
    assert missed
    assert missed[0].a - missed[0].b == 1
    assert msgspec.json.decode(missed[0].body or b"", type=list[Miss])[0].right == right
    spots = Kept(world.snapshot(), None, [1], NOON - DAY, NOON + DAY).spots(1, NOON - DAY, NOON + DAY)
    assert spots is not None
    assert spots.misses
    assert (pass_rate(made.figures.spots) or 1) < 1

    change(made, "trades", "2025-11-20", better)
    assert checks.missed > 0
    take(checks, 8)
    checks.write()
    assert not made.alerts.standing()
    assert checks.missed == 0
    spots = Kept(world.snapshot(), None, [1], NOON - DAY, NOON + DAY).spots(1, NOON - DAY, NOON + DAY)
    assert spots is not None
    assert not spots.misses  # the last look at a minute counts
    made.close()


def test_a_missing_row_is_a_miss(world: World) -> None:
    world.append(trades(300, step_ns=SECOND // 100, instruments=1))
    made = keeper(world)
    made.flush()

    def without(columns: dict[str, Any]) -> None:
        columns.update({name: np.delete(values, 150) for name, values in columns.items()})

    change(made, "trades", "2025-11-20", without)
    take(spotter(world, made), 6)
    kinds = {alert.subject.split(" ")[0]: alert.detail for alert in made.alerts.standing()}
    assert kinds["tape"]["field"] == "missing"
    assert "bars" in kinds  # the stored bar still has it
    made.close()


def test_a_changed_bar_is_a_miss(world: World) -> None:
    world.append(trades(300, step_ns=SECOND // 100, instruments=1))
    made = keeper(world)
    made.flush()

    def higher(columns: dict[str, Any]) -> None:
        columns["high"] += 5

    change(made, "bars", "2025-11", higher)
    take(spotter(world, made), 6)
    subjects = [alert.subject for alert in made.alerts.standing()]
    assert subjects
    assert all(subject.startswith("bars ") for subject in subjects)
    detail = made.alerts.standing()[0].detail
    assert int(detail["left"]) - int(detail["right"]) == 5
    made.close()


class Told:
    """A venue that says what it is given."""

    def __init__(self, records: Records) -> None:
        self.records_of, self.asked, self.away = records, 0, False

    async def records(self, instrument_id: int, channel: Channel, first_id: int, last_id: int) -> Records:
        self.asked += 1
        if self.away:
            raise Unavailable("no answer")
        mine = self.records_of[self.records_of["instrument"] == instrument_id]
        assert channel == Channel.TRADE
        return mine[(mine["c"] >= first_id) & (mine["c"] <= last_id)]


def test_r29_the_venue_is_asked_for_ids_without_a_hole_and_a_difference_is_a_miss(world: World) -> None:
    records = trades(300, step_ns=SECOND // 100, instruments=1)
    world.append(records)
    made = keeper(world)
    made.flush()
    venue = Told(records.copy())
    checks = spotter(world, made, venue=venue)
    take(checks, 4)
    assert venue.asked == 4
    assert made.figures.spots["venue"].samples == 4
    assert pass_rate(made.figures.spots) == 1.0
    venue.records_of["b"] += 1
    take(checks, 1)
    (alert,) = made.alerts.standing()
    assert alert.subject.startswith("venue trades 1 ")
    assert int(alert.detail["right"]) - int(alert.detail["left"]) == 1
    venue.away = True
    take(checks, 2)
    assert made.figures.venue_away == 2
    assert made.alerts.standing()  # nobody said that it is right now
    made.close()


def test_holes_that_the_ledger_knows_are_not_asked_for(world: World) -> None:
    records = trades(300, step_ns=SECOND // 100, instruments=1)
    world.append(records[records["c"] % 10 != 0])
    made = keeper(world)
    made.flush()
    checks = spotter(world, made, venue=Told(records))
    take(checks, 10)
    assert pass_rate(made.figures.spots) == 1.0
    made.close()


def test_after_a_restart_counting_and_looking_go_on(world: World) -> None:
    world.append(trades(300, step_ns=SECOND // 100, instruments=1))
    made = keeper(world)
    made.flush()

    def higher(columns: dict[str, Any]) -> None:
        columns["high"] += 5

    change(made, "bars", "2025-11", higher)
    checks = spotter(world, made)
    take(checks, 6)
    checks.write()
    before, standing = made.figures.spots, made.alerts.standing()
    made.close()
    again = keeper(world)
    checks = spotter(world, again)
    assert again.figures.spots == before
    assert [a.subject for a in again.alerts.standing()] == [a.subject for a in standing]
    take(checks, 2)
    checks.write()
    pairs = [(n.c, n.d, n.side) for n in notes_of(world, Noted.SPOT)]
    assert len(set(pairs)) == len(pairs)  # no number twice
    again.close()


def test_results_wait_for_each_other_but_a_miss_does_not(world: World) -> None:
    world.append(trades(300, step_ns=SECOND // 100, instruments=1))
    made = keeper(world)
    made.flush()
    checks = spotter(world, made)
    take(checks, 1)
    assert not notes_of(world, Noted.SPOT)
    take(checks, PENDING)
    assert len(notes_of(world, Noted.SPOT)) >= PENDING
    made.close()


def test_bodies_and_notes_are_no_rows_of_the_tape(world: World) -> None:
    world.append(market(2000))
    made = keeper(world)
    made.flush()
    take(spotter(world, made), 20)
    reader = Reader(world.folder / "tape")
    positions, _ = world.snapshot().records("quality", None, NOON - DAY, NOON + DAY, tape=reader)
    wanted, _ = world.on_tape(Kind.STATUS, Kind.CLOCK, Kind.QUARANTINE, Kind.BLOB)
    assert np.array_equal(np.sort(positions), np.sort(wanted))
    made.close()


@pytest.mark.parametrize("rows", [0, 1])
def test_an_empty_lake_has_nothing_to_look_at(world: World, rows: int) -> None:
    records = empty(rows)
    records["kind"], records["ts_event"], records["ts_recv"] = Kind.CLOCK, NOON, NOON
    if rows:
        world.append(records)
    made = keeper(world)
    if rows:
        made.flush()

    async def once() -> bool:
        return await spotter(world, made).run_one(asyncio.to_thread)

    assert not asyncio.run(once())
    made.close()
