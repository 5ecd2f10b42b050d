"""The process: orders on the socket, each part beside the others, and none of them in the way of a flush."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from checks_support import enrolled, notes_of
from lake_support import DAY, NOON, SECOND, World, market, trades

from ticktape.control import CallRefused, Client
from ticktape.errors import Damaged, Unavailable
from ticktape.keep.daily import Daily
from ticktape.keep.orders import Answered, Call, Orders
from ticktape.keep.process import KeepSettings
from ticktape.keep.run import SOCKET, keep
from ticktape.lake.figures import KeepStat
from ticktape.lake.notes import Noted


class Asked(msgspec.Struct):
    call: str


class Running:
    """A keep that runs, and its socket."""

    def __init__(self, folder: Path) -> None:
        self.client = Client(folder / SOCKET, "keep", "ticktape keep", 30.0)

    async def ask(self, call: str) -> Any:
        return msgspec.json.decode(await self.client.ask(Asked(call)))

    async def stat(self) -> KeepStat:
        return msgspec.json.decode(await self.client.ask(Asked("stat")), type=KeepStat)


@asynccontextmanager
async def running(world: World, **settings: Any) -> AsyncGenerator[Running]:
    stop = asyncio.Event()
    settings = {"hot_hours": 0, "flush_every_s": 3600, "spot_every_s": 0, "quality_every_s": 0} | settings
    task = asyncio.create_task(keep(KeepSettings(data=world.folder, **settings), stop))
    try:
        while not (world.folder / SOCKET).exists() and not task.done():  # noqa: ASYNC110  # another task's
            await asyncio.sleep(0.01)
        yield Running(world.folder)
    finally:
        stop.set()
        await task


@pytest.mark.asyncio
async def test_every_order_is_taken_and_told_what_came_of_it(world: World, tmp_path: Path) -> None:
    enrolled(world).close()
    world.append(trades(3000, start_ns=NOON - DAY // 2 + 60 * SECOND, step_ns=60 * SECOND))  # two days
    async with running(world, backup_to=str(tmp_path / "safe"), drill_every_days=0) as one:
        assert (await one.ask("flush"))["done"]
        assert (await one.ask("quality"))["result"] == {"settled": ["2025-11-20", "2025-11-21"]}
        assert (await one.ask("quality"))["result"] == {"settled": []}
        assert (await one.ask("spot"))["result"] == {"looked": True, "pass_rate": 1.0}
        assert (await one.ask("backup"))["result"]["name"]
        assert {row["error"] for row in (await one.ask("cleanup"))["result"]} == {""}
        stat = await one.stat()
        assert stat.figures.quality_days == 2
        assert stat.figures.backup.made >= 1
        assert stat.figures.position == 3000 + len(range(0, 3000, 500))
        with pytest.raises(CallRefused, match="no call"):
            await one.ask("drop")
    assert len(notes_of(world, Noted.SPOT)) >= 1  # what waited was written at the end


@pytest.mark.asyncio
async def test_without_a_place_a_backup_is_refused_with_the_next_command(world: World) -> None:
    world.append(market(100))
    async with running(world) as one:
        with pytest.raises(CallRefused, match="backup_to") as refused:
            await one.ask("backup")
        assert refused.value.hint == "ticktape backup --to DIR"


@pytest.mark.asyncio
async def test_a_job_that_fails_alarms_and_flushes_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    enrolled(world).close()
    world.append(market(500))

    def broken(*_: object) -> None:
        raise Damaged("a file is not what was written", hint="ticktape lake verify")

    monkeypatch.setattr(Daily, "due", broken)
    async with running(world, quality_every_s=60) as one:
        while not (stat := await one.stat()).alerts:  # noqa: ASYNC110  # another task's
            await asyncio.sleep(0.01)
        assert [(a.kind, a.subject) for a in stat.alerts] == [("quality_failure", "quality")]
        world.append(market(500, seed=2))
        assert (await one.ask("flush"))["result"]
        assert (await one.stat()).figures.failures == 0


@pytest.mark.asyncio
async def test_work_that_takes_long_goes_on_and_is_the_same_when_asked_again() -> None:
    go_on, begun = asyncio.Event(), 0

    async def slow() -> int:
        nonlocal begun
        begun += 1
        await go_on.wait()
        return begun

    orders = Orders(lambda: None, {"cleanup": slow}, answer_s=0.01)
    assert await orders(Call("cleanup")) == Answered(done=False)
    assert await orders(Call("cleanup")) == Answered(done=False)
    go_on.set()
    assert await orders(Call("cleanup")) == Answered(done=True, result=1)
    assert await orders(Call("cleanup")) == Answered(done=True, result=2)
    await orders.close()


@pytest.mark.asyncio
async def test_what_a_disk_says_reaches_who_asked() -> None:
    async def full() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(Unavailable, match="No space left"):
        await Orders(lambda: None, {"flush": full})(Call("flush"))


def test_settings_are_those_of_the_configuration(tmp_path: Path) -> None:
    from ticktape.app.keep import settings_of
    from ticktape.config import Config, KeepConfig

    told = KeepConfig(backup_to="/safe", backup_every_h=6, backup_keep=3, drill_every_days=1, spot_every_s=5)
    settings = settings_of(tmp_path, Config(keep=told))
    assert (settings.backup_to, settings.backup_every_h, settings.backup_keep) == ("/safe", 6, 3)
    assert (settings.drill_every_days, settings.spot_every_s) == (1, 5)
