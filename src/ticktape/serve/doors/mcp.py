"""MCP at `/mcp`, streamable HTTP: one POST, one answer, nothing kept in between.

The gate before it checks key, host, size and rate as for REST. Here: the Origin, which MCP wants answered with 403,
and the method; a GET would hold a stream open on which nothing ever comes. The SDK is loaded with the first call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
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
        request = Request(scope, receive)
        if request.method != "POST":
            answer = errors.of_status(405, scope["state"]["request_id"])
            answer.headers["Allow"] = "POST"
            await answer(scope, receive, send)
            return
        check_origin(request.headers, self._parts.hosts)
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


def check_origin(headers: Headers, hosts: frozenset[str] | None) -> None:
    """Raise Refused (403) for a page of another site. Programs send no Origin; `hosts` None: only our own Host."""
    origin = headers.get("origin")
    if origin is None:
        return
    try:
        found = urlsplit(origin)
        own = urlsplit(f"//{headers.get('host', '')}").hostname
        good = found.scheme in ("http", "https") and found.hostname in (hosts if hosts is not None else {own})
    except ValueError:
        good = False
    if not good:
        raise errors.Refused(403, "bad_origin", "pages of that origin may not ask here", hint="an MCP client")
