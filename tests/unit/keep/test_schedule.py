"""Backups by the clock: made when due, tried again when they fail, drilled, and never in the way of a flush."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from checks_support import enrolled, keeper
from lake_support import DAY, World, market

from ticktape.keep import backup_store
from ticktape.keep.backup_pin import World as BackedUp
from ticktape.keep.process import Keeper
from ticktape.keep.schedule import FILE, LOOK_S, Schedule
from ticktape.lake.disk import Disk

HOUR = 3600 * 10**9


def schedule(world: World, made: Keeper, **more: Any) -> Schedule:
    return Schedule(
        made.settings, BackedUp(world.folder, "", world.folder), made.alerts, made.figures.backup,
        clock=world.clock, **more,
    )  # fmt: skip


@pytest.fixture
def made(world: World, tmp_path: Path) -> Keeper:
    enrolled(world).close()
    world.append(market(2000))
    found = keeper(world, backup_to=str(tmp_path / "safe"), backup_every_h=24, backup_keep=2, drill_every_days=2)
    found.flush()
    return found


def test_a_backup_is_made_when_the_last_one_is_old_enough_and_old_ones_go(world: World, made: Keeper) -> None:
    times = schedule(world, made)
    names: list[str] = []
    for hours in (0, 1, 23, 1, 24, 24):
        world.clock.advance(hours * HOUR)
        assert times.turn() == LOOK_S
        names.append(made.figures.backup.last_name)
    assert len(dict.fromkeys(names)) == 4  # at 0, 24, 49 and 73 hours: not by the hour
    assert made.figures.backup.made == 4
    assert len(backup_store.store_of(made.settings.backup_to).names()) == 2
    assert not made.alerts.standing()
    made.close()


def test_it_is_drilled_and_the_drill_remembered(world: World, made: Keeper) -> None:
    times = schedule(world, made)
    times.turn()
    assert (made.figures.backup.drills, made.figures.backup.last_drill_ok) == (1, True)
    times.turn()
    assert made.figures.backup.drills == 1
    again = keeper_again(world, made)
    times = schedule(world, again)
    times.turn()
    assert again.figures.backup.drills == 0
    assert again.figures.backup.last_drill_ok
    world.clock.advance(3 * DAY)
    times.turn()
    assert again.figures.backup.drills == 1
    assert not list(world.folder.glob("ticktape-drill-*"))
    assert (world.folder / FILE).exists()
    again.close()


def keeper_again(world: World, made: Keeper) -> Keeper:
    made.close()
    settings = {name: getattr(made.settings, name) for name in ("backup_to", "backup_every_h", "drill_every_days")}
    return keeper(world, **settings)


def test_what_does_not_come_back_as_it_was_raises_an_alert_until_it_does(world: World, made: Keeper) -> None:
    times = schedule(world, made)
    trades = next(iter((world.lake / "trades").glob("date=*/*.parquet")))
    good = trades.read_bytes()
    times.turn(now=True)
    trades.write_bytes(good[:-1] + b"?")
    world.clock.advance(3 * DAY)
    made.figures.backup.last_drill_ns = 0
    times.drill()
    assert made.figures.backup.last_drill_ok is False
    assert [alert.kind for alert in made.alerts.standing()] == ["drill_failure"]
    trades.write_bytes(good)
    times.drill()
    assert not made.alerts.standing()
    made.close()


def test_a_backup_that_fails_alarms_once_waits_longer_each_time_and_heals(
    world: World, made: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = schedule(world, made)
    put = backup_store.FolderStore.put

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backup_store.FolderStore, "put", full)
    assert [times.turn() for _ in range(4)] == [60.0, 120.0, 240.0, 480.0]
    (alert,) = made.alerts.standing()
    assert alert.kind == "backup_failure"
    assert "No space" in alert.message
    assert made.figures.backup.failures == 4
    world.append(market(500, seed=2))
    assert made.flush()  # nothing that a flush needs is held
    monkeypatch.setattr(backup_store.FolderStore, "put", put)
    assert times.turn() == LOOK_S
    assert not made.alerts.standing()
    assert made.figures.backup.failures_in_a_row == 0
    made.close()


def test_told_to_stop_it_leaves_the_backup_and_says_no_failure(world: World, made: Keeper) -> None:
    times = schedule(world, made, stopped=lambda: True)
    assert times.turn() == LOOK_S
    assert made.figures.backup.made == 0
    assert made.figures.backup.failures == 0
    assert not (world.folder / ".backup").exists()
    made.close()


def test_what_a_killed_drill_left_is_taken_away(world: World, made: Keeper) -> None:
    (world.folder / "ticktape-drill-old" / "data").mkdir(parents=True)
    schedule(world, made, disk=Disk("")).turn()
    assert not list(world.folder.glob("ticktape-drill-*"))
    made.close()
