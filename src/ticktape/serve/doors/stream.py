"""The stream on the main port: the same sessions as on the hub's own port, carried by ASGI instead of picows.

The hub is opened with the first client, so that a server nobody streams from follows the tape once, not twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ticktape.clock import Clock
from ticktape.errors import TicktapeError, Unavailable
from ticktape.serve.audit import Audit
from ticktape.serve.keys import BadKey, Key, KeyStore
from ticktape.serve.limits import Limits
from ticktape.serve.stream.handshake import PATH, Handshake, Refused, refusal_of
from ticktape.serve.stream.hub import Hub
from ticktape.serve.stream.process import opened
from ticktape.serve.stream.session import Session
from ticktape.serve.stream.settings import Close, StreamSettings
from ticktape.serve.stream.trail import Trail

__all__ = ["PATH", "StreamDoor"]


class StreamDoor:
    """An ASGI app for the stream's path, and the hub behind it."""

    def __init__(
        self, data: Path, keys: KeyStore, limits: Limits, clock: Clock, *, hosts: Iterable[str] | None = None,
        origins: Iterable[str] = (), settings: StreamSettings = StreamSettings(),  # noqa: B008 - frozen
        audit: Audit | None = None,
    ) -> None:  # fmt: skip
        self._data, self._keys, self._limits, self._clock = data, keys, limits, clock
        self._settings, self._audit = settings, audit
        self._handshake = Handshake(keys, hosts, origins)
        self._wanted = asyncio.Event()
        self._hub: asyncio.Future[Hub | None] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Wait for the first client, then follow the tape until `stop` is set."""
        waiting = [asyncio.create_task(self._wanted.wait()), asyncio.create_task(stop.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        hub = None
        if not stop.is_set():
            hub = await opened(self._data, self._keys, self._limits, self._clock, self._settings, stop, self._audit)
        self._ready().set_result(hub)
        if hub is not None:
            await hub.run(stop)

    def _ready(self) -> asyncio.Future[Hub | None]:
        if self._hub is None:
            self._hub = asyncio.get_running_loop().create_future()
        return self._hub

    async def hub(self) -> Hub:
        """Return the hub, opened when nobody asked before. Raises Unavailable when the server stops."""
        self._wanted.set()
        hub = await asyncio.shield(self._ready())
        if hub is None:
            raise Unavailable("the server stops", hint="later")
        return hub

    def before(self, app: ASGIApp) -> ASGIApp:
        """Return an app that gives the stream's WebSockets to this door and everything else to `app`."""

        async def either(scope: Scope, receive: Receive, send: Send) -> None:
            mine = scope["type"] == "websocket" and scope["path"] == PATH
            await (self if mine else app)(scope, receive, send)

        return either

    # -- WebSocket ---------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak the stream's protocol with a WebSocket client."""
        headers = Headers(scope=scope)
        await receive()  # websocket.connect
        address = str((scope.get("client") or ("",))[0])
        target = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        try:
            encoding, key = self._handshake.check(
                target, headers.get("host", ""), headers.get("origin"), headers.get("authorization")
            )
            hub = await self.hub()
        except (BadKey, Refused, Unavailable) as error:
            status, code = refusal_of(error)
            Trail(self._audit, address, "stream", PATH).refused(status, code)
            await _refuse(scope, send, status, code, error)
            return
        await send({"type": "websocket.accept"})
        wire = Pipe(send, hub.settings.buffer_bytes)
        session = wire.session = Session(hub, wire, encoding, address)
        writing = asyncio.create_task(wire.write(), name="stream:write")
        try:
            begin(hub, session, key)
            await _listen(session, receive)
        finally:
            session.gone()
            wire.end()
            await writing


def begin(hub: Hub, session: Session, key: Key | None) -> None:
    """Let a client in, with its key when it has one already."""
    hub.joined(session)
    if key is None or session.over:
        return
    try:
        session.admit(key)
    except TicktapeError as error:
        session.complain(error, None)
    else:
        hub.welcome(session)


async def _listen(session: Session, receive: Receive) -> None:
    while not session.over:
        message = await receive()
        session.alive_s = session.hub.now_s()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        if text is not None:
            session.heard(text.encode("utf-8", "surrogatepass"), binary=False)
        else:
            session.heard(message["bytes"], binary=True)


async def _refuse(scope: Scope, send: Send, status: int, code: str, error: TicktapeError) -> None:
    body = msgspec.json.encode(
        {"error": {"code": code, "message": error.message, "hint": error.hint, "request_id": ""}}
    )
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": int(Close.POLICY)})
        return
    headers = [(b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class Pipe:
    """Carries messages to an ASGI server, whose `send` waits. What waits here is bounded by the session's policy."""

    def __init__(self, send: Send, most_bytes: int) -> None:
        self.session: Session | None = None
        self._send = send
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._ended = False
        self._closing: tuple[Close, str] | None = None

    def send(self, data: bytes, *, binary: bool) -> None:
        """Send one message."""
        self._waiting.append((data, binary))
        self._bytes += len(data)
        self._news.set()
        if self._bytes > self._most_bytes and self.session is not None:
            self.session.paused()

    def ping(self) -> None:
        """Leave it to the server, which pings by itself."""
        if self.session is not None:
            self.session.alive_s = self.session.hub.now_s()

    def close(self, code: Close, reason: str) -> None:
        """Say why and end."""
        self._closing = (code, reason)
        self._ended = True
        self._news.set()

    def end(self) -> None:
        """Write no more."""
        self._ended = True
        self._waiting.clear()
        self._news.set()

    async def write(self) -> None:
        """Write until it ends."""
        try:
            while not self._ended or self._waiting:
                if not self._waiting:
                    self._news.clear()
                    await self._news.wait()
                    continue
                data, binary = self._waiting.popleft()
                await self._write(data, binary=binary)
                self._bytes -= len(data)
                if self._bytes <= self._most_bytes // 4 and self.session is not None:
                    self.session.resumed()
            if self._closing is not None:
                code, reason = self._closing
                await self._send({"type": "websocket.close", "code": int(code), "reason": reason})
        except (OSError, RuntimeError):  # the client is gone, or has closed: uvicorn says so by either
            self._waiting.clear()

    async def _write(self, data: bytes, *, binary: bool) -> None:
        body = {"bytes": data} if binary else {"text": data.decode()}
        await self._send({"type": "websocket.send", **body})
