"""A language model's call of a tool, from its SDK's client and back."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import numpy as np
from mcp.client.client import Client as Sdk
from mcp.client.streamable_http import streamable_http_client

from ticktape.bench.client import T0, written
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_latencies
from ticktape.bench.served import serving
from ticktape.model.records import RECORD_BYTES

ROWS = 1_000_000
HOUR_NS = 3600 * 10**9
CALLS = 100  # of each tool
WARM = 3


def call(place: Place) -> Measured:
    """Milliseconds of `call_tool` of the official SDK's client over one kept connection, answer checked by its schema.

    Round and round: the latest trades, an hour of bars, a page of ticks that fills its budget of 8,000 tokens, a moment
    of the past; of a million trades in the lake. Left out: the first rounds, which load libraries and start a worker.
    """
    with place.scratch("mcp", ROWS * RECORD_BYTES * 2) as folder:
        symbol, _ = written(folder, place.size(ROWS, 20_000), quick=place.quick)
        with serving(folder) as (serve, plain):
            took = asyncio.run(_call(plain.port, plain.key, symbol, place.size(CALLS, 2)))
            serve.alive()
    by_tool = {name: float(np.percentile(ms, 95)) for name, ms in took.items()}
    every = np.array([ms for each in took.values() for ms in each])
    return of_latencies(every, "p95", p95=float(np.percentile(every, 95)), **by_tool)


async def _call(port: int, key: str, symbol: str, rounds: int) -> dict[str, list[float]]:
    hour: dict[str, Any] = {"start": str(T0), "end": str(T0 + HOUR_NS)}
    calls: dict[str, dict[str, Any]] = {
        "latest": {"symbols": [symbol], "trades": 20},
        "bars": {"symbol": symbol, "interval": "1m", **hour},
        "ticks": {"symbols": [symbol], **hour},
        "snapshot_at": {"symbols": [symbol], "time": str(T0 + HOUR_NS // 2)},
    }
    took: dict[str, list[float]] = {name: [] for name in calls}
    headers = {"Authorization": f"Bearer {key}"}
    where = f"http://127.0.0.1:{port}/mcp"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Sdk(streamable_http_client(where, http_client=http)) as models,
    ):
        for number in range(WARM + rounds):
            for name, arguments in calls.items():
                began = time.perf_counter()
                result = await models.call_tool(name, arguments)
                if result.is_error:
                    raise Wrong(f"{name}: {result.content}")
                if number >= WARM:
                    took[name].append((time.perf_counter() - began) * 1e3)
    return took
