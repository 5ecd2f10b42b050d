"""One client's WebSocket: its subscriptions, its limits, its pings, and what has yet to be written to it.

binance-spot-api-docs, web-socket-streams.md, "General WSS information" and "WebSocket Limits". The close
codes are not documented: 1008 is used for broken rules and 1001 for going away.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from ticktape.simulate.binance.settings import VenueSettings
from ticktape.simulate.binance.streams import Refused, Subscriptions, Target
from ticktape.simulate.binance.wire import framed, header

CONTROL_BYTES = 1024 * 1024


class Owner(Protocol):
    """What a connection tells the hub."""

    def joined(self, connection: Connection) -> None:
        """A client is in."""
        ...

    def changed(self, connection: Connection) -> None:
        """Its subscriptions, its properties or its liveness changed."""
        ...

    def left(self, connection: Connection) -> None:
        """It is gone."""
        ...


class Connection(WSListener):
    """picows calls the on_* methods; the hub calls push and write."""

    def __init__(self, owner: Owner, settings: VenueSettings, wanted: Target) -> None:
        self._owner = owner
        self._settings = settings
        self._wanted = wanted
        self.micro = wanted.micro
        self.subscriptions = Subscriptions(wanted.combined, settings.streams_per_connection)
        self.writable = asyncio.Event()
        self.writable.set()
        self.open = False
        self.stalled = False
        self.cut_because = ""
        self.pongs: list[bytes] = []
        self._transport: WSTransport | None = None
        self._loop = asyncio.get_running_loop()
        self._out: list[bytes] = []
        self._incoming: deque[float] = deque(maxlen=settings.messages_per_s)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ping_payload: bytes | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Subscribe what the address names and start the clocks."""
        self._transport = transport
        self.open = True
        self._later("ping", self._settings.ping_every_s, self._ping)
        self._later("life", self._settings.life_s, self._end_of_life)
        self._owner.joined(self)
        try:
            self.subscriptions.subscribe(list(self._wanted.streams))
        except Refused as refused:
            self.cut(WSCloseCode.POLICY_VIOLATION, refused.message)
        self._owner.changed(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pings, pongs and JSON all count against the message limit."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
            return
        now = self._loop.time()
        if len(self._incoming) == self._incoming.maxlen and now - self._incoming[0] < 1.0:
            self.cut(WSCloseCode.POLICY_VIOLATION, "Too many requests")
            return
        self._incoming.append(now)
        if frame.msg_type == WSMsgType.PING:
            self.push(header(frame.payload_size, WSMsgType.PONG.value) + frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.PONG:
            self._pong(frame.get_payload_as_bytes())
        else:
            self._control(frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Stop the clocks and let nobody wait for this connection."""
        self.open = False
        for timer in self._timers.values():
            timer.cancel()
        self._out.clear()
        self.writable.set()
        self._owner.left(self)

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The transport's buffer has drained."""
        self.writable.set()

    def push(self, frame: bytes) -> None:
        """Queue one ready frame; frames of one loop turn leave in one write."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)

    def write(self, frames: bytes) -> None:
        """Write ready frames, behind whatever was pushed. A stalled or closed connection swallows them."""
        if self._transport is None or not self.open or self.stalled or self.cut_because:
            return
        if self._out:
            frames = b"".join([*self._out, frames])
            self._out.clear()
        pipe = self._transport.underlying_transport
        pipe.write(frames)
        if pipe.get_write_buffer_size() > self._settings.max_buffer_bytes:
            self.drop("rst")  # a graceful close would wait for the very buffer that does not drain
            self.cut_because = "slow client"

    def cut(self, code: WSCloseCode, reason: str) -> None:
        """Close with a code, after what is queued."""
        if self._transport is None or not self.open or self.cut_because:
            return
        self._flush()
        self.cut_because = reason
        self._transport.send_close(code, reason.encode()[:120])
        self._transport.disconnect()

    def drop(self, how: str) -> None:
        """Die as networks die: fin, rst, or a stalled peer that neither reads nor writes."""
        if self._transport is None or not self.open:
            return
        pipe = self._transport.underlying_transport
        if how == "stall":
            self.stalled = True
            self._out.clear()
            pipe.pause_reading()
            return
        self.cut_because = how
        if how == "fin":
            self._flush()
            self._transport.disconnect()
            return
        sock: socket.socket = pipe.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.disconnect(graceful=False)

    def _flush(self) -> None:
        if self._out:
            self.write(b"")
            self._out.clear()

    def _control(self, raw: bytes) -> None:
        reply = self.subscriptions.answer(raw)
        if self.subscriptions.over and self._settings.over_streams == "disconnect":
            self.cut(WSCloseCode.POLICY_VIOLATION, "too many streams")
            return
        self.push(framed(reply))
        self._owner.changed(self)

    def _ping(self) -> None:
        self._later("ping", self._settings.ping_every_s, self._ping)
        if self.stalled:
            return
        if self._ping_payload is None:
            self._ping_payload = str(int(self._loop.time() * 1000)).encode()
            self._later("pong", self._settings.pong_timeout_s, self._no_pong)
        self.push(header(len(self._ping_payload), WSMsgType.PING.value) + self._ping_payload)

    def _pong(self, payload: bytes) -> None:
        """An empty pong counts: the official connector answers so. One nobody asked for changes nothing."""
        self.pongs.append(payload)
        del self.pongs[:-16]
        if self._ping_payload is not None and payload in (b"", self._ping_payload):
            self._ping_payload = None
            self._timers.pop("pong").cancel()
        self._owner.changed(self)

    def _no_pong(self) -> None:
        self.cut(WSCloseCode.POLICY_VIOLATION, "Pong timeout")

    def _end_of_life(self) -> None:
        self.cut(WSCloseCode.GOING_AWAY, "24 hour limit")

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._timers[name] = self._loop.call_later(seconds, call)
