"""A language model's way in, asked by hand: the official SDK's client."""

import asyncio
import os

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client


async def main() -> None:
    address = os.environ.get("TICKTAPE_ADDRESS", "http://127.0.0.1:8877") + "/mcp"
    headers = {"Authorization": f"Bearer {os.environ['TICKTAPE_API_KEY']}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(address, http_client=http)) as models,
    ):
        print([tool.name for tool in (await models.list_tools()).tools])
        day = {"start": "2025-11-20", "end": "2025-11-21"}
        answer = await models.call_tool("bars", {"symbol": "BTCUSDT", "interval": "1h", **day})
        print(answer.structured_content["bars"])


asyncio.run(main())
