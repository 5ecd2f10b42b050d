"""MCP over standard input and output, for assistants that start a program: every call goes on to `serve`.

Nothing is answered here, so tools, scopes, limits and errors are those of `/mcp`. Each call is one POST; `serve` may
come and go meanwhile.
"""

from __future__ import annotations

from typing import Any

import httpx2
import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from ticktape import __version__
from ticktape.errors import TicktapeError, Unavailable
from ticktape.serve.mcp.server import INSTRUCTIONS

SECONDS = 120.0  # one call; `serve` has its own, shorter limits
_PROTOCOL = "2025-06-18"  # of our POSTs: the newest that needs no handshake headers
Context = ServerRequestContext[Any, Any]


class Refused(TicktapeError):
    """What `serve` answered instead, in its own words."""


class Upstream:
    """The `serve` that answers."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the result of one request. Raises Unavailable and Refused."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            answer = await self._http.post("/mcp", content=msgspec.json.encode(message))
        except httpx2.TransportError as error:
            raise Unavailable(f"no ticktape at {self._http.base_url}: {error}", hint="ticktape up") from error
        try:
            found = msgspec.json.decode(answer.content, type=dict[str, Any])
        except msgspec.DecodeError:
            raise Unavailable(f"{self._http.base_url}/mcp: HTTP {answer.status_code}", hint="ticktape up") from None
        if "result" in found:
            return found["result"]
        error = found.get("error", {})
        raise Refused(str(error.get("message", answer.status_code)), hint=str(error.get("hint", "ticktape status")))


def bridge(upstream: Upstream) -> Server[Any]:
    """Return a server whose tools are those of another."""

    async def listed(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult.model_validate(await upstream.ask("tools/list", {}))

    async def called(_ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            found = await upstream.ask("tools/call", {"name": params.name, "arguments": params.arguments or {}})
        except TicktapeError as error:
            return types.CallToolResult(content=[types.TextContent(type="text", text=str(error))], is_error=True)
        return types.CallToolResult.model_validate(found)

    return Server("ticktape", version=__version__, instructions=INSTRUCTIONS, on_list_tools=listed, on_call_tool=called)


async def run_mcp(address: str, key: str) -> None:
    """Answer on standard input and output until it closes."""
    headers = {
        "Authorization": f"Bearer {key}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": _PROTOCOL,
    }
    async with httpx2.AsyncClient(base_url=address, headers=headers, timeout=SECONDS) as http:
        server = bridge(Upstream(http))
        async with stdio_server() as (read, write):
            await server.run(read, write, server.create_initialization_options())
