"""The stream over a real socket, with a client that is not ours."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from serve_support import SECOND, T0, House
from stream_support import clock_tick, market, streaming

from ticktape.alerts import AlertBook
from ticktape.model.records import Kind, Status

CHANNELS = ["trades", "quotes", "bars.1s", "bars.1m", "gaps", "status"]


def keys_of(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return what no two events share."""
    return [(e["position"], e["kind"], e.get("timeframe"), e.get("start"), e.get("revision")) for e in events]


@pytest.mark.asyncio
async def test_snapshot_then_updates_with_positions(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 3)
    house.quotes(btc, 2)
    async with streaming(house) as served, served.client() as client:
        await client.say(op="subscribe", id="a", channels=["trades", "quotes"], symbols=["BTCUSDT"])
        subscribed, snapshot = await client.hear(), await client.hear()
        assert (subscribed["type"], subscribed["id"], subscribed["symbols"]) == ("subscribed", "a", ["BTCUSDT"])
        assert [(e["kind"], e["position"]) for e in snapshot["events"]] == [("trade", 2), ("quote", 5)]
        end = house.tape.position
        house.trades(btc, 2, T0 + SECOND, 4)
        events = await client.until(house.tape.position - 1)
        assert [(e["position"], e["venue_id"]) for e in events] == [(end, 4), (end + 1, 5)]


@pytest.mark.asyncio
async def test_messagepack_carries_the_same_events_with_exact_numbers(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 1)
    async with streaming(house) as served, served.client() as plain, served.client(query="?encoding=msgpack") as packed:
        await plain.say(op="subscribe", channels=["trades"], symbols=["BTC*"])
        await packed.ws.send(msgspec.msgpack.encode({"op": "subscribe", "channels": ["trades"], "symbols": ["BTC*"]}))
        await plain.hear("snapshot")
        await packed.hear("snapshot")
        house.trades(btc, 3, T0 + SECOND, 2)
        one, other = await plain.hear("update"), await packed.hear("update")
    text = json.loads(json.dumps(one), parse_float=str)
    assert other == text
    assert other["events"][0]["price"] == "65432.1"


@pytest.mark.asyncio
async def test_a_client_that_was_cut_loses_nothing_and_gets_nothing_twice(house: House) -> None:
    instruments = [house.enrol("BTCUSDT"), house.enrol("ETHUSDT")]
    market(house, instruments, 4)
    async with streaming(house) as served, served.client() as whole:
        await whole.say(op="subscribe", channels=CHANNELS, symbols=["*"], throttle=0)
        await whole.hear("snapshot")
        first = whole.position + 1
        got: list[dict[str, Any]] = []
        resume: int = first
        for cut in range(4):
            async with served.client() as client:
                await client.say(
                    op="subscribe", channels=CHANNELS, symbols=["*"], throttle=0, from_position=resume
                )  # fmt: skip
                market(house, instruments, 3, 4 + 3 * cut)
                got += await client.until(house.tape.position - 1 - 7 * (cut % 2))
                resume = client.position + 1
        async with served.client() as client:
            await client.say(op="subscribe", channels=CHANNELS, symbols=["*"], throttle=0, from_position=resume)
            house.trades(instruments[0], 1, T0 + 30 * SECOND, 999)
            got += await client.until(house.tape.position - 1)
        expected = await whole.until(house.tape.position - 1)
    assert keys_of(got) == keys_of(expected)
    assert got == expected
    bars = [(e["symbol"], e["timeframe"], e["start"], e["revision"]) for e in got if e["kind"] == "bar"]
    assert len(bars) == len(set(bars)) > 20
    assert any(revision for *_, revision in bars)  # late trades revised some


@pytest.mark.asyncio
async def test_a_restarted_hub_resumes_bars_from_the_tape(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    market(house, [btc], 5)
    async with streaming(house) as served, served.client() as client:
        await client.say(op="subscribe", channels=["bars.1s"], symbols=["BTCUSDT"])
        await client.hear("snapshot")
        first = client.position + 1
        market(house, [btc], 7, 5)
        expected = await client.until(house.tape.position - 1)
    async with streaming(house) as served, served.client() as client:
        await client.say(op="subscribe", channels=["bars.1s"], symbols=["BTCUSDT"], from_position=first)
        got = await client.until(house.tape.position - 1)
    assert got == expected
    assert len(got) > 7


@pytest.mark.asyncio
async def test_a_replay_sends_what_live_sent_and_the_same_every_time(house: House) -> None:
    instruments = [house.enrol("BTCUSDT"), house.enrol("ETHUSDT")]
    market(house, instruments, 3)
    async with streaming(house) as served:
        async with served.client() as live:
            await live.say(op="subscribe", channels=CHANNELS, symbols=["*"], throttle=0)
            await live.hear("snapshot")
            first = live.position + 1
            market(house, instruments, 6, 3)
            expected = await live.until(house.tape.position - 1)
        runs: list[list[dict[str, Any]]] = []
        for _ in range(2):
            async with served.client() as client:
                await client.say(
                    op="subscribe", channels=CHANNELS, symbols=["*"], throttle=0, from_=f"position:{first}",
                    to=f"position:{house.tape.position}", speed="max",
                )  # fmt: skip
                await client.hear("end")
                updates = [m for m in client.said if m["type"] == "update"]
                assert all(m["replay"] for m in updates)
                runs.append([e for m in updates for e in m["events"]])
    assert runs[0] == runs[1] == expected


@pytest.mark.asyncio
async def test_a_replay_is_held_stepped_and_moved(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 50)
    async with streaming(house) as served, served.client() as client:
        await client.say(
            op="subscribe", channels=["trades"], symbols=["BTCUSDT"], from_="position:0", speed=1, paused=True
        )  # fmt: skip
        await client.hear("subscribed")
        await client.say(op="step", id=1, events=3)
        assert [e["venue_id"] for e in (await client.hear("update"))["events"]] == [1, 2, 3]
        await client.say(op="seek", id=2, to="position:40")
        await client.say(op="step", id=3, events=2)
        assert [e["venue_id"] for e in (await client.hear("update"))["events"]] == [41, 42]
        await client.say(op="speed", speed="max")
        await client.say(op="resume")
        await client.hear("end")
        last = [m for m in client.said if m["type"] == "update"][-1]
        assert last["events"][-1]["venue_id"] == 50
        await client.say(op="seek", to=T0 + 45 * 10**6)
        assert (await client.hear("update"))["events"][0]["venue_id"] == 46


@pytest.mark.asyncio
async def test_a_quote_that_hardly_moved_is_not_sent(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    async with streaming(house) as served, served.client() as client:
        await client.say(op="subscribe", channels=["quotes"], symbols=["BTCUSDT"], throttle=0.00001)
        await client.hear("snapshot")
        rows = house.rows(Kind.QUOTE, btc.id, 4, T0)
        rows["a"], rows["b"] = [10**12, 10**12 + 9 * 10**6, 10**12 + 11 * 10**6, 10**12 + 12 * 10**6], 2 * 10**12
        house.tape.append(rows)
        house.trades(btc, 1)
        house.quotes(btc, 1, T0 + SECOND)
        events = await client.until(house.tape.position - 1)
    assert [e["position"] for e in events] == [0, 2, 7]


@pytest.mark.asyncio
async def test_conflation_keeps_the_newest_and_counts_the_rest(house: House) -> None:
    btc, eth = house.enrol("BTCUSDT"), house.enrol("ETHUSDT")
    async with streaming(house) as served, served.client() as client:
        await client.say(op="subscribe", channels=["trades", "status"], symbols=["*"], policy="conflate", rate=4)
        await client.hear("snapshot")
        seen = missed = 0
        for k in range(10):
            house.trades(btc, 7, T0 + k * SECOND, 1 + 7 * k)
            house.trades(eth, 1, T0 + k * SECOND, 1 + k)
        house.status(Status.SOURCE_UP)
        while client.position < house.tape.position - 1:
            message = await client.hear("update")
            events = message["events"]
            seen, missed = seen + len([e for e in events if e["kind"] == "trade"]), missed + message["missed"]
    assert seen + missed == 80
    assert missed > 0
    assert [e["kind"] for m in client.said if m["type"] == "update" for e in m["events"]].count("status") == 1
    newest = [m for m in client.said if m["type"] == "update"][-1]["events"]
    assert [e["venue_id"] for e in newest if e.get("symbol") == "BTCUSDT"] == [70]


@pytest.mark.asyncio
async def test_a_symbol_enrolled_later_joins_a_pattern(house: House) -> None:
    house.trades(house.enrol("BTCUSDT"), 1)
    async with streaming(house, keys_every_s=0.0) as served, served.client() as client:
        await client.say(op="subscribe", channels=["trades"], symbols=["*"])
        await client.hear("snapshot")
        new = house.enrol("BTCEUR")
        number = 0
        while not any(e["symbol"] == "BTCEUR" for m in client.said if m["type"] == "update" for e in m["events"]):
            number += 1
            house.trades(new, 1, T0 + number * SECOND, number)
            house.trades(house.directory.by_symbol("BTCUSDT"), 1, T0 + number * SECOND, 1 + number)
            await client.hear("update")
    assert number < 1000


@pytest.mark.asyncio
async def test_bars_close_by_the_recorders_clock_too(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    clock_tick(house, T0, 0)
    async with streaming(house) as served, served.client() as client:
        await client.say(op="subscribe", channels=["bars.1s"], symbols=["BTCUSDT"])
        await client.hear("snapshot")
        house.trades(btc, 3)
        for second in range(1, 5):
            clock_tick(house, T0 + second * SECOND, second * SECOND)
        events = await client.until(house.tape.position - 1) or (await client.hear("update"))["events"]
    assert [(e["start"], e["count"], e["closed"]) for e in events] == [(T0, 3, True)]


@pytest.mark.asyncio
async def test_alerts_come_when_they_are_raised_and_when_they_are_cleared(house: House) -> None:
    book = AlertBook(house.data)
    book.start("disk", "data", "92 % full")
    async with streaming(house) as served, served.client() as client, served.client(
        key=house.key(symbols=["BTCUSDT"])
    ) as limited:  # fmt: skip
        await client.say(op="subscribe", channels=["alerts"])
        await limited.say(op="subscribe", channels=["alerts"])
        assert [e["alert"]["subject"] for e in (await client.hear("snapshot"))["events"]] == ["data"]
        assert (await limited.hear("snapshot"))["events"] == []
        book.start("stale", "binance", "nothing for 10 s")
        raised = (await client.hear("update"))["events"]
        book.clear("disk", "data")
        cleared = (await client.hear("update"))["events"]
        assert all(message["type"] != "update" for message in limited.said)
    book.close()
    assert [(e["kind"], e["alert"]["kind"], e["alert"]["cleared"]) for e in raised] == [("alert", "stale", None)]
    assert [e["alert"]["kind"] for e in cleared] == ["disk"]
    assert cleared[0]["alert"]["cleared"] is not None


@pytest.mark.asyncio
async def test_what_came_late_before_is_announced_after(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 2)
    house.trades(btc, 1, T0 + 3 * SECOND, 3)
    clock_tick(house, T0 + 3 * SECOND, 0)
    house.trades(btc, 1, T0 + 5, 4)  # its second is closed, and no clock record has come since
    told: dict[str, Any] = {"channels": ["bars.1s"], "symbols": ["BTCUSDT"]}
    async with streaming(house) as served, served.client() as live, served.client() as again:
        await live.say(op="subscribe", **told)
        await live.hear("snapshot")
        first = live.position + 1
        clock_tick(house, T0 + 4 * SECOND, SECOND)
        events = await live.until(house.tape.position - 1)
        assert [(e["start"], e["count"], e["revision"]) for e in events] == [(T0, 3, 1)]
        await again.say(op="subscribe", **told, from_=f"position:{first}", speed="max")
        await again.hear("end")
    assert [e for m in again.said if m["type"] == "update" for e in m["events"]] == events


@pytest.mark.asyncio
async def test_a_bar_comes_with_the_record_that_closed_it(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    for second in range(4):
        house.trades(btc, 1, T0 + second * SECOND, 1 + second)
    async with streaming(house) as served, served.client() as client:
        await client.say(
            op="subscribe", channels=["trades", "bars.1s"], symbols=["BTCUSDT"], from_="position:0", paused=True
        )  # fmt: skip
        for kinds in (["trade"], ["trade", "bar"], ["trade", "bar"]):
            await client.say(op="step")
            assert [e["kind"] for e in (await client.hear("update"))["events"]] == kinds
