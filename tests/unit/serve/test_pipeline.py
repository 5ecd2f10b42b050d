"""Keep's figures and orders over REST and for Prometheus, with a keeper, without one and with one that died."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serve_support import T0, House, serving, until

from ticktape.keep.process import KeepSettings
from ticktape.keep.run import keep
from ticktape.lake.figures import KeepStat
from ticktape.serve.doors.examples_keep import KEEP
from ticktape.serve.keys import Scope


@asynccontextmanager
async def keeping(folder: Path) -> AsyncGenerator[None]:
    stop = asyncio.Event()
    settings = KeepSettings(data=folder, hot_hours=0, flush_every_s=3600, spot_every_s=0)
    running = asyncio.create_task(keep(settings, stop))
    while not (folder / "keep.sock").exists() and not running.done():  # noqa: ASYNC110  # another thread's
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        stop.set()
        await running


def furnish(house: House) -> None:
    instrument = house.enrol("BTCUSDT")
    house.trades(instrument, 500, ts=T0)
    house.quotes(instrument, 500, ts=T0)


def figures_in(body: str) -> dict[str, float]:
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


@pytest.mark.asyncio
async def test_status_stats_and_metrics_carry_what_keep_says(house: House) -> None:
    furnish(house)
    async with keeping(house.data), serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        while True:
            stats = (await client.get("/api/v1/pipeline/stats")).json()
            if stats["keep"]["figures"]["rows"] >= 1000:
                break
        stat = msgspec.convert(stats["keep"], KeepStat)
        assert stat.figures.flushes == 1
        assert stat.figures.failures == 0
        assert stats["missing"] == []
        status = (await client.get("/api/v1/status")).json()
        assert status["keep"]["figures"]["rows"] == stat.figures.rows
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        found = figures_in(answer.text)
        assert found["ticktape_keep_flushed_rows_total"] == stat.figures.rows
        assert found["ticktape_keep_up"] == 1
        assert found["ticktape_record_source_records_total[binance]"] == 1000
        assert found["ticktape_serve_behind_records"] == 0
        assert not any("BTCUSDT" in name for name in found)
        assert all(re.fullmatch(r"ticktape_(record|serve|keep)_[a-z_]+(\[[a-z]+\])?", name) for name in found)


@pytest.mark.asyncio
async def test_cleanup_is_done_by_the_keeper_and_needs_the_scope_admin(house: House) -> None:
    furnish(house)
    async with keeping(house.data), serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        for path in ("/api/v1/admin/pipeline/cleanup", "/admin/pipeline/cleanup"):
            answer = await client.post(path)
            assert answer.status_code == 200, answer.text
            assert answer.json()["ok"]["done"]
            assert {row["table"] for row in answer.json()["ok"]["result"]} >= {"trades", "quotes", "bars"}
            others = [scope for scope in Scope if scope != Scope.ADMIN]
            key = house.key(others)
            assert (await client.post(path, headers={"Authorization": f"Bearer {key}"})).status_code == 403


@pytest.mark.asyncio
async def test_without_a_keeper_the_answers_say_so_and_nothing_is_wrong(house: House) -> None:
    furnish(house)
    async with serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        status = (await client.get("/api/v1/status")).json()
        assert status["keep"] is None
        assert not [problem for problem in status["problems"] if "keep" in problem]
        assert figures_in((await client.get("/metrics")).text)["ticktape_keep_up"] == 0
        answer = await client.post("/api/v1/admin/pipeline/cleanup")
        assert (answer.status_code, answer.json()["error"]["hint"]) == (503, "ticktape keep")


@pytest.mark.asyncio
async def test_a_keeper_that_died_is_a_problem_in_words(house: House) -> None:
    furnish(house)
    import socket

    left = socket.socket(socket.AF_UNIX)  # what kill -9 leaves: a name that nobody answers
    left.bind(str(house.data / "keep.sock"))
    left.close()
    async with serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        status = (await client.get("/api/v1/status")).json()
        assert not status["ok"]
        assert any("keep does not answer" in problem for problem in status["problems"])
        assert (await client.get("/metrics")).status_code == 200


def test_the_example_is_what_keep_says() -> None:
    stat = msgspec.convert(KEEP, KeepStat, strict=True)
    assert msgspec.to_builtins(stat) == KEEP
