"""The stream as server-sent events, for clients that only speak HTTP: one message of the stream an event.

The id of an event is the position up to which everything has been sent. `Last-Event-ID` goes on right after it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from ticktape.errors import BadInput, Unavailable
from ticktape.model.symbols import shown
from ticktape.serve.audit import note
from ticktape.serve.doors.parts import Needs, Parts
from ticktape.serve.keys import Key, Scope
from ticktape.serve.stream.hub import Hub
from ticktape.serve.stream.protocol import CHANNELS, Encoding, Policy, Subscribe
from ticktape.serve.stream.session import Session
from ticktape.serve.stream.settings import Close

Streamer = Annotated[Key, Depends(Needs((Scope.STREAM,)))]
Patterns = Annotated[
    str, Query(description="symbols, or beginnings of symbols and a star, comma-separated", examples=["BTCUSDT,ETH*"])
]
Names = Annotated[str, Query(description=f"channels, comma-separated: {', '.join(CHANNELS)}", examples=["trades"])]
PolicyName = Annotated[Literal["every", "conflate", "disconnect"], Query(description="when there is too much")]
Rate = Annotated[float, Query(ge=0.01, le=1000, description="messages a second")]
Most = Annotated[int, Query(ge=0, description="end after so many events; 0: never")]
LastEventId = Annotated[str | None, Header(description="go on after this event")]


class _Head(msgspec.Struct):
    type: str
    position: int | None = None


class Sse:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def quotes(
        self, key: Streamer, request: Request, symbols: Patterns, policy: PolicyName = "conflate", rate: Rate = 100.0,
        most: Most = 0, last_event_id: LastEventId = None,
    ) -> Response:  # fmt: skip
        """Stream the quotes of some symbols as server-sent events: first the newest, then each that moved."""
        return await self._stream(key, request, "quotes", symbols, policy, rate, most, last_event_id)

    async def events(
        self, key: Streamer, request: Request, channels: Names = "trades", symbols: Patterns = "",
        policy: PolicyName = "every", rate: Rate = 100.0, most: Most = 0, last_event_id: LastEventId = None,
    ) -> Response:  # fmt: skip
        """Stream channels of some symbols as server-sent events; Last-Event-ID goes on where it broke off."""
        return await self._stream(key, request, channels, symbols, policy, rate, most, last_event_id)

    async def _stream(
        self,
        key: Key,
        request: Request,
        channels: str,
        symbols: str,
        policy: str,
        rate: float,
        most: int,
        after: str | None,
    ) -> Response:
        if self._parts.stream is None:
            raise Unavailable("this server does not stream", hint="ticktape serve")
        hub: Hub = await self._parts.stream.hub()
        wire = Events(hub.settings.buffer_bytes, most)
        client = request.client
        session = wire.session = Session(
            hub, wire, Encoding.JSON, client.host if client else "", door="sse", path=request.url.path
        )
        hub.joined(session)
        try:
            session.admit(key)
            hub.answer(
                session,
                Subscribe(
                    channels=_listed(channels), symbols=_listed(symbols), policy=Policy(policy), rate=rate,
                    from_position=None if after is None else _position(after) + 1,
                ),
            )  # fmt: skip
        except BaseException:
            session.gone()
            raise
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(wire.said(), media_type="text/event-stream", headers=headers)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _position(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadInput(f"Last-Event-ID: not a position: '{shown(text)}'", hint="the id of the last event")
    return int(text)


class Events:
    """Carries messages to an HTTP answer that does not end."""

    def __init__(self, most_bytes: int, most: int) -> None:
        self.session: Session | None = None
        self._most_bytes = most_bytes
        self._left = most or -1
        self._told = 0
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._ended = False

    def send(self, data: bytes, *, binary: bool) -> None:
        """Send one message."""
        head = msgspec.json.decode(data, type=_Head)
        number = b"" if head.position is None else b"id: %d\n" % head.position
        event = b"%sevent: %s\ndata: %s\n\n" % (number, head.type.encode(), data)
        self._waiting.append(event)
        self._bytes += len(event)
        self._news.set()
        if self._bytes > self._most_bytes and self.session is not None:
            self.session.paused()

    def ping(self) -> None:
        """Do nothing: heartbeats show whether anybody is there."""
        if self.session is not None:
            self.session.alive_s = self.session.hub.now_s()

    def close(self, code: Close, reason: str) -> None:
        """Say why and end."""
        said = msgspec.json.encode({"type": "close", "code": int(code), "reason": reason})
        self._waiting.append(b"event: close\ndata: %s\n\n" % said)
        self._ended = True
        self._news.set()

    async def said(self) -> AsyncIterator[bytes]:
        """Yield what is to be written, until it ends or the client goes."""
        try:
            while True:
                while self._waiting:
                    event = self._waiting.popleft()
                    self._told += 1
                    note(rows=self._told)
                    yield event
                    self._left -= 1
                    if self._left == 0:
                        return
                    self._bytes -= len(event)
                    if self._bytes <= self._most_bytes // 4 and self.session is not None:
                        self.session.resumed()
                if self._ended:
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            if self.session is not None:
                self.session.gone()
