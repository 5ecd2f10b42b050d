"""The stream by the other doors: WebSocket on the main port, server-sent events, and a replay from the lake."""

from __future__ import annotations

import json
from typing import Any

import pytest
import websockets
from past_support import Past as PastDesk
from serve_support import SECOND, T0, House, serving, until
from stream_support import Client, market, streaming
from websockets.typing import Origin

from ticktape.tape.reader import trim


@pytest.mark.asyncio
async def test_the_main_port_speaks_the_same_protocol(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 2)
    async with serving(house) as http:
        url = f"ws://127.0.0.1:{http.port}/api/v1/stream"
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(url, additional_headers={"Authorization": "Bearer tt_nobody00_" + 43 * "x"})
        assert caught.value.response.status_code == 401
        with pytest.raises(websockets.InvalidStatus) as caught:
            await websockets.connect(
                url, additional_headers={"Authorization": http.bearer}, origin=Origin("https://evil.example")
            )
        assert caught.value.response.status_code == 403
        async with websockets.connect(url, additional_headers={"Authorization": http.bearer}) as ws:
            client = Client(ws)
            await client.hear("welcome")
            await client.say(op="subscribe", channels=["trades", "bars.1s"], symbols=["BTC*"])
            assert [e["kind"] for e in (await client.hear("snapshot"))["events"]] == ["trade", "bar"]
            house.trades(btc, 1, T0 + SECOND, 3)
            events = await client.until(house.tape.position - 1)
            assert [e["kind"] for e in events] == ["trade", "bar"]
            await client.ws.send("x" * 70_000)
            assert (await client.closed())[0] == 1009


async def events_of(http: Any, path: str, **headers: str) -> list[dict[str, Any]]:
    """Return the events of an answer that ends by itself."""
    async with http.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        found: list[dict[str, Any]] = []
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                found.append({"id": value})
            elif name == "data":
                found[-1]["data"] = json.loads(value)
        return found


@pytest.mark.asyncio
async def test_server_sent_events_go_on_after_the_last_one(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 3)
    async with serving(house) as http:
        await until(lambda: http.get("/api/v1/status"), 200)
        first = await events_of(http, "/api/v1/sse?channels=trades&symbols=BTCUSDT&most=2")
        assert [event["data"]["type"] for event in first] == ["subscribed", "snapshot"]
        house.trades(btc, 4, T0 + SECOND, 4)
        again = await events_of(
            http, "/api/v1/sse?channels=trades&symbols=BTCUSDT&most=2", **{"Last-Event-ID": first[-1]["id"]}
        )
        assert [e["venue_id"] for e in again[-1]["data"]["events"]] == [4, 5, 6, 7]
        house.quotes(btc, 1)
        quotes = await events_of(http, "/api/v1/quotes/stream?symbols=BTCUSDT&most=2")
        assert [e["kind"] for e in quotes[-1]["data"]["events"]] == ["quote"]
        for query, status in (("symbols=NOBODY", 404), ("symbols=../x", 422), ("channels=x&symbols=BTCUSDT", 422)):
            assert (await http.get(f"/api/v1/sse?{query}&most=1")).status_code == status, query
        bad = await http.get("/api/v1/sse?symbols=BTCUSDT&most=1", headers={"Last-Event-ID": "-1"})
        assert bad.status_code == 422


@pytest.mark.asyncio
async def test_what_the_tape_has_no_longer_comes_from_the_lake(house: House) -> None:
    instruments = [house.enrol("BTCUSDT"), house.enrol("ETHUSDT")]
    lake, second = PastDesk(house), 0
    told: dict[str, Any] = {"channels": ["trades", "quotes", "gaps"], "symbols": ["*"], "throttle": 0}
    while house.tape.position < 3 * (1 << 14):  # three segments, flushed in uneven parts
        market(house, instruments, 40, second, per_second=20)
        second += 40
        if second % 120 == 0:
            lake.flush()
    lake.flush()

    async def played(**more: Any) -> list[dict[str, Any]]:
        async with streaming(house) as served, served.client() as client:
            await client.say(op="subscribe", **told, from_="position:5", speed="max", **more)
            await client.hear("end")
            return [e for m in client.said if m["type"] == "update" for e in m["events"]]

    before = await played()
    assert trim(house.data / "tape", 2 * (1 << 14)) == 2
    assert await played() == before
    assert len(before) > 30_000
    middle = T0 + second // 2 * SECOND
    some = await played(to=middle)
    assert some == [e for e in before if e["ts_event"] < middle]
    async with streaming(house) as served, served.client() as client:
        await client.say(op="subscribe", **told, from_position=5)
        assert await client.until(house.tape.position - 1) == before
