"""The hub's own port: WebSocket by picows."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Any

import msgspec
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,  # pyright: ignore[reportUnknownVariableType] - its host and port are untyped
)

from ticktape.errors import TicktapeError
from ticktape.serve.rights import BadKey, Key
from ticktape.serve.stream.handshake import PATH, Handshake, Refused, refusal_of
from ticktape.serve.stream.hub import Hub
from ticktape.serve.stream.protocol import Encoding
from ticktape.serve.stream.session import Session
from ticktape.serve.stream.settings import Close
from ticktape.serve.stream.trail import Trail

GIVE_UP_S = 5.0  # to read what is left and answer the close
READ_BYTES = 2048  # at first; it grows with what comes


class Socket(WSListener):
    """One connection."""

    def __init__(self, hub: Hub, encoding: Encoding, key: Key | None) -> None:
        self._hub, self._encoding, self._key = hub, encoding, key
        self._session: Session | None = None
        self._transport: WSTransport | None = None
        self._partial = bytearray()
        self._partial_binary = False

    # -- picows ------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Let the hub know."""
        self._transport = transport
        pipe = transport.underlying_transport
        limit = self._hub.settings.buffer_bytes
        pipe.set_write_buffer_limits(high=limit, low=limit // 4)
        peer: Any = pipe.get_extra_info("peername")
        session = self._session = Session(self._hub, self, self._encoding, str(peer[0]) if peer else "")
        self._hub.joined(session)
        if self._key is not None and not session.over:
            try:
                session.admit(self._key)
            except TicktapeError as error:
                session.complain(error, None)
                return
            self._hub.welcome(session)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Put messages together and hand them on."""
        session, kind = self._session, frame.msg_type
        if session is None:
            return
        session.alive_s = self._hub.now_s()
        if kind == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif kind == WSMsgType.PING:
            # Pings count as messages do: a flood of them is one.
            if session.may_speak():
                transport.send_pong(frame.get_payload_as_bytes())
        elif kind != WSMsgType.PONG:
            self._message(session, kind, frame.get_payload_as_bytes(), frame.fin)

    def _message(self, session: Session, kind: WSMsgType, data: bytes, fin: bool) -> None:
        if kind != WSMsgType.CONTINUATION:
            self._partial_binary = kind == WSMsgType.BINARY
            if fin:
                session.heard(data, binary=self._partial_binary)
                return
            self._partial.clear()
        self._partial += data
        if len(self._partial) > self._hub.settings.most_message_bytes:
            session.close(Close.TOO_BIG, "a message too long")
        elif fin:
            session.heard(bytes(self._partial), binary=self._partial_binary)
            self._partial.clear()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Let the hub know."""
        if self._session is not None:
            self._session.gone()

    def pause_writing(self) -> None:
        """The client does not read."""
        if self._session is not None:
            self._session.paused()

    def resume_writing(self) -> None:
        """It reads again."""
        if self._session is not None:
            self._session.resumed()

    # -- Wire --------------------------------------------------------------------------------------

    def send(self, data: bytes, *, binary: bool) -> None:
        """Send one message."""
        if self._transport is not None:
            self._transport.send(WSMsgType.BINARY if binary else WSMsgType.TEXT, data)

    def ping(self) -> None:
        """Ask whether the client is there."""
        if self._transport is not None:
            self._transport.send_ping(b"")

    def close(self, code: Close, reason: str) -> None:
        """Say why and end."""
        transport = self._transport
        if transport is None:
            return
        transport.send_close(WSCloseCode(code), reason.encode())
        transport.disconnect()
        asyncio.get_running_loop().call_later(GIVE_UP_S, _drop, transport)


def _drop(transport: WSTransport) -> None:
    if not transport.is_disconnected:
        transport.disconnect(graceful=False)


def _refusal(status: int, code: str, message: str, hint: str) -> WSUpgradeResponseWithListener:
    body = msgspec.json.encode({"error": {"code": code, "message": message, "hint": hint, "request_id": ""}})
    headers = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
    return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(status, body, headers), None)


async def listen(
    hub: Hub, handshake: Handshake, sock: socket.socket, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Accept clients on a bound socket."""
    # What a client does wrong is told to the client, not to our log.
    logging.getLogger("picows").setLevel(logging.CRITICAL)

    def accept(request: WSUpgradeRequest) -> Socket | WSUpgradeResponseWithListener:
        headers = request.headers
        try:
            encoding, key = handshake.check(
                request.path.decode("latin-1"), headers.get("Host", ""), headers.get("Origin"),
                headers.get("Authorization"),
            )  # fmt: skip
        except (Refused, BadKey) as error:
            status, code = refusal_of(error)
            Trail(hub.audit, "", "stream", PATH).refused(status, code)  # picows does not say yet from where
            return _refusal(status, code, error.message, error.hint)
        return Socket(hub, encoding, key)

    settings = hub.settings
    return await ws_create_server(
        accept,
        sock=sock,
        ssl=tls,
        backlog=4096,
        enable_auto_pong=False,
        max_frame_size=settings.most_message_bytes,
        read_buffer_init_size=READ_BYTES,
    )
