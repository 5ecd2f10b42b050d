"""MCP at `/mcp`, streamable HTTP: one POST, one answer, nothing kept in between.

The gate before it checks key, Host, Origin (403, as MCP wants it), size and rate as for REST. Other methods are
refused: a GET would hold a stream open on which nothing ever comes. The SDK is loaded with the first call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ticktape.serve.doors import errors
from ticktape.serve.doors.parts import Parts

PATHS = ("/mcp", "/mcp/")  # assistants write both, and a redirect would lose the key


class McpDoor:
    """ASGI middleware behind the gate: what is not MCP goes on."""

    def __init__(self, app: ASGIApp, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._manager: Callable[[], Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one message."""
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self._app(scope, receive, send)
            return
        if scope["method"] != "POST":
            answer = errors.of_status(405, scope["state"]["request_id"])
            answer.headers["Allow"] = "POST"
            await answer(scope, receive, send)
            return
        make = self._manager or await self._load()
        # A manager for each request: stateless, it keeps nothing, and its tasks end with the request.
        manager, whole = make(), await _whole(receive)
        async with manager.run():
            await manager.handle_request(scope, whole, send)

    async def _load(self) -> Callable[[], Any]:
        build, manager = await asyncio.to_thread(_imported)  # a second of imports, with others served meanwhile
        server = build(self._parts)
        self._manager = lambda: manager(server, json_response=True, stateless=True)
        return self._manager


async def _whole(receive: Receive) -> Receive:
    # Read here, so that the gate's refusal of a large body is not wrapped in a group of the SDK's tasks.
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


def _imported() -> tuple[Any, Any]:
    ours = import_module("ticktape.serve.mcp.server")
    theirs = import_module("mcp.server.streamable_http_manager")
    return ours.build, theirs.StreamableHTTPSessionManager
