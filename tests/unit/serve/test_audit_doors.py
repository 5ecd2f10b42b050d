"""X23 at every door: WebSocket, server-sent events, replay and MCP tools leave their lines, as REST does."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
import websockets
from mcp_support import CALLS, answering, furnish, sdk
from serve_support import SECOND, T0, Client, House
from stream_support import HOSTS

from ticktape.serve import audit_chain as chain
from ticktape.serve.audit_chain import Seal
from ticktape.serve.links import Links
from ticktape.serve.mcp.tools import TOOLS
from ticktape.serve.stream.process import StreamProcess, stream

BAD = {"Authorization": "Bearer tt_AAAAAAAA_" + "A" * 43}
TRADES: dict[str, Any] = {"op": "subscribe", "channels": ["trades"], "symbols": ["BTCUSDT"]}


def lines_of(house: House, door: str) -> list[dict[str, Any]]:
    """Return what one door left, checked to be whole."""
    folder = house.data / "audit"
    assert chain.verify(folder, Seal(house.keys.pepper))[1] == []
    lines = [json.loads(line) for path in chain.days(folder) for line in path.read_text().splitlines()]
    return [line for line in lines if line["door"] == door]


async def told(url: str, key: str, *said: dict[str, Any], until: str = "update") -> int:
    """Say things on the stream; return how many messages came before it was closed."""
    heard = 0
    headers = {"Authorization": f"Bearer {key}"}
    async with websockets.connect(url, additional_headers=headers) as ws:
        for message in said:
            await ws.send(json.dumps(message))
        async for data in ws:
            heard += 1
            if json.loads(data)["type"] == until:
                break
    return heard


async def drained(ws: websockets.ClientConnection) -> None:
    """Read until it ends."""
    while True:
        await ws.recv()


@pytest.mark.asyncio
@pytest.mark.parametrize("own_port", [False, True])
async def test_x23_a_stream_leaves_its_opening_what_it_asked_for_and_its_end(house: House, own_port: bool) -> None:
    furnish(house)
    made = house.keys.create("bot", ["stream"], model="alpha")
    replay = {**TRADES, "from": T0, "to": T0 + SECOND, "speed": "max"}

    async def ask(url: str) -> tuple[int, int]:
        live = await told(url, made.key, {**TRADES, "symbols": ["NOBODY"]}, TRADES, until="snapshot")
        return live, await told(url, made.key, replay, until="end")

    if own_port:
        stop, sock = asyncio.Event(), socket.create_server(("127.0.0.1", 0))
        running = asyncio.create_task(stream(StreamProcess(data=house.data, hosts=HOSTS), stop, sock=sock))
        heard = await ask(f"ws://127.0.0.1:{sock.getsockname()[1]}/api/v1/stream")
        stop.set()
        await running
    else:
        async with answering(house) as client:
            heard = await ask(f"ws://127.0.0.1:{client.port}/api/v1/stream")
    lines = lines_of(house, "stream")
    assert {(line["key"], line["name"], line["model"]) for line in lines} == {(made.info.prefix, "bot", "alpha")}
    first = [line for line in lines if line["request_id"] == lines[0]["request_id"]]
    second = [line for line in lines if line not in first]
    path = "/api/v1/stream"
    assert [line["route"] for line in first] == [f"OPEN {path}", *[f"SUBSCRIBE {path}"] * 2, f"CLOSE {path}"]
    assert [line["route"] for line in second] == [f"OPEN {path}", f"SUBSCRIBE {path}", f"CLOSE {path}"]
    assert [(line["code"], line["said"]["symbols"]) for line in first[1:3]] == [
        ("unknown_symbol", "NOBODY"),
        ("", "BTCUSDT"),
    ]
    assert second[1]["said"] == {
        "channels": "trades", "symbols": "BTCUSDT", "from": str(T0), "to": str(T0 + SECOND), "speed": "max",
    }  # fmt: skip
    assert first[3]["rows"] >= heard[0] >= 3
    assert second[2]["rows"] == heard[1]
    entries, _ = chain.history(house.data / "audit", made.info.prefix, 100)
    assert {line["n"] for line in lines} <= {entry["n"] for entry in entries}, "`key history` shows them"


@pytest.mark.asyncio
async def test_x23_whom_the_stream_does_not_let_in_leaves_a_line_too(house: House) -> None:
    furnish(house)
    async with answering(house) as client:
        url = f"ws://127.0.0.1:{client.port}/api/v1/stream"
        for headers, origin in ((BAD, None), ({}, "https://evil.example")):
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(url, additional_headers=headers, origin=origin)  # type: ignore[arg-type]
        async with websockets.connect(url) as ws:
            await ws.send(json.dumps({"op": "auth", "key": BAD["Authorization"][7:]}))
            with pytest.raises(websockets.ConnectionClosedError):
                await drained(ws)
    lines = lines_of(house, "stream")
    assert [(line["route"][:5], line["status"], line["code"]) for line in lines[:2]] == [
        ("OPEN ", 401, "bad_key"),
        ("OPEN ", 403, "bad_origin"),
    ]
    assert [(line["route"][:6], line["status"]) for line in lines[2:]] == [("CLOSE ", 1008)]
    assert "A" * 43 not in json.dumps(lines)


@pytest.mark.asyncio
async def test_x23_server_sent_events_leave_their_opening_and_one_line_of_their_request(house: House) -> None:
    furnish(house)
    made = house.keys.create("bot", ["stream"])
    async with answering(house) as client:
        asked = {"channels": "trades", "symbols": "BTCUSDT", "most": "2", "token": "hunter2"}
        answer = await client.get("/api/v1/sse", params=asked, headers={"Authorization": f"Bearer {made.key}"})
        assert answer.status_code == 200
    opened, asked_for = lines_of(house, "sse")
    assert (opened["route"], asked_for["route"]) == ("OPEN /api/v1/sse", "SUBSCRIBE /api/v1/sse")
    (line,) = [line for line in lines_of(house, "rest") if line["route"] == "GET /api/v1/sse"]
    assert (line["key"], line["status"], line["rows"], line["unsaid"]) == (made.info.prefix, 200, 2, 1)
    assert line["said"]["symbols"] == "BTCUSDT"


@pytest.mark.asyncio
async def test_x23_every_tool_leaves_one_line_with_its_arguments_and_rows(house: House) -> None:
    furnish(house)
    made = house.keys.create("assistant", ["realtime", "history", "sql"])
    async with answering(house) as client, sdk(client, made.key) as models:
        for name in TOOLS:
            await models.call_tool(name, CALLS[name])
        await models.call_tool("ticks", {"symbols": ["BTCUSDT"], "password": "hunter2", "cursor": made.key})
    lines = lines_of(house, "mcp")
    assert {(line["route"], line["key"]) for line in lines} == {("POST /mcp", made.info.prefix)}
    by_tool = {name: [line for line in lines if line["said"].get("tool") == name] for name in TOOLS}
    assert {name: len(found) for name, found in by_tool.items()} == dict.fromkeys(TOOLS, 1) | {"ticks": 2}
    assert by_tool["latest"][0]["said"]["symbols"] == '["BTCUSDT","/ES"]'
    assert by_tool["compare"][0]["said"]["a.symbol"] == "BTCUSDT"
    assert by_tool["sql"][0]["said"]["query"] == CALLS["sql"]["query"]
    assert by_tool["sql"][0]["rows"] == 1
    assert (by_tool["ticks"][1]["unsaid"], by_tool["ticks"][1]["said"]["symbols"]) == (2, '["BTCUSDT"]')
    assert "hunter2" not in json.dumps(lines)
    assert made.key[12:] not in json.dumps(lines)


@pytest.mark.asyncio
async def test_x23_signing_in_by_a_link_leaves_a_line(house: House) -> None:
    furnish(house)
    async with answering(house) as client:
        await signed_in(client, house)
    (line,) = [line for line in lines_of(house, "rest") if line["route"] == "POST /desk/session"]
    assert line["said"]["body"].startswith("signed in by a link as tt_")


async def signed_in(client: Client, house: House) -> None:
    """Exchange a code for a key."""
    links = Links(house.data, house.clock)
    answer = await client.post("/desk/session", json={"code": links.make()})
    links.close()
    assert answer.status_code == 200, answer.text
