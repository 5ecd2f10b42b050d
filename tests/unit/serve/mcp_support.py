"""An MCP client of the official SDK over a real server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
from mcp.client.client import Client as Sdk
from mcp.client.streamable_http import streamable_http_client
from serve_support import MS, T0, Client, House, serving, until

from ticktape.keep.flush import Flusher
from ticktape.model.records import GapState
from ticktape.tape.reader import Reader

DAY = {"start": "2025-11-20", "end": "2025-11-21"}
# Arguments with which each tool answers in `furnish`ed houses.
CALLS: dict[str, dict[str, Any]] = {
    "instruments": {},
    "latest": {"symbols": ["BTCUSDT", "/ES"], "trades": 3},
    "ticks": {"symbols": ["BTCUSDT"], **DAY},
    "bars": {"symbol": "BTCUSDT", "interval": "100ms", **DAY},
    "gaps": {},
    "certificate": {"symbol": "/ES", "date": "2025-11-20"},
    "status": {},
    "snapshot_at": {"symbols": ["BTCUSDT"], "time": "2025-11-20T12:00:00.150Z"},
    "compare": {"a": {"symbol": "BTCUSDT", **DAY}, "b": {"symbol": "/ES", **DAY}, "interval": "100ms"},
    "sql": {"query": "select count(*) as n from trades"},
}


def furnish(house: House, n: int = 300) -> None:
    """Put two instruments on the tape and more than half of it into the lake."""
    for symbol in ("BTCUSDT", "/ES"):
        one = house.enrol(symbol)
        house.trades(one, n)
        house.quotes(one, n)
    house.gap(one.id, GapState.CLOSED, start=T0 + MS, duration_ns=MS)
    Flusher(house.data / "lake", Reader(house.data / "tape")).flush(n * 7 // 3)


@asynccontextmanager
async def answering(house: House, **more: Any) -> AsyncGenerator[Client]:
    """Run a server that has its tape open."""
    async with serving(house, **more) as client:
        client.timeout = 50
        await until(lambda: client.get("/api/v1/status"), 200)
        yield client


@asynccontextmanager
async def sdk(client: Client, key: str | None = None, mode: str = "auto") -> AsyncGenerator[Sdk]:
    """Connect the SDK's client."""
    headers = {"Authorization": f"Bearer {key}" if key else client.bearer}
    where = f"http://127.0.0.1:{client.port}/mcp"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=50) as http,
        Sdk(streamable_http_client(where, http_client=http), mode=mode) as models,
    ):
        yield models


async def called(client: Sdk, name: str, **arguments: Any) -> dict[str, Any]:
    """Return a tool's answer, checked to be the same in both forms."""
    result = await client.call_tool(name, arguments)
    text: Any = result.content[0]
    assert not result.is_error, text.text
    assert msgspec.json.decode(text.text) == result.structured_content
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Sdk, name: str, **arguments: Any) -> dict[str, Any]:
    """Return a tool's error."""
    result = await client.call_tool(name, arguments)
    assert result.is_error
    assert result.structured_content is None
    text: Any = result.content[0]
    error = msgspec.json.decode(text.text)["error"]
    assert set(error) == {"code", "message", "hint", "request_id"}
    assert error["hint"]
    return error
