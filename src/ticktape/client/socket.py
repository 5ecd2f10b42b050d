"""A WebSocket as the stream needs it: messages one after the other, read ahead a little and no further.

When as many messages wait as may, the socket is left unread: the server sees a slow reader and does what the
subscription's policy says. picows underneath; its own layer with this shape fails when a peer goes in the handshake.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum
from typing import cast

from picows import (
    WSError,
    WSFrame,
    WSInvalidStatusError,
    WSInvalidURL,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,  # pyright: ignore[reportUnknownVariableType]  # it takes **kwargs
)
from picows.picows import WSCloseHandshake

from ticktape.client.errors import Away, of_answer
from ticktape.errors import Misconfigured

WAITING = 64  # messages
MOST_BYTES = 64 << 20  # of one message
OPEN_S, CLOSE_S = 10.0, 1.0
READ_BYTES = 256 << 10


class Closed(Exception):  # a state, told to whoever reads on
    """The connection is over. `code` is the server's, 0 when it said none."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Socket(WSListener):
    """One open connection. Made by `opened`."""

    def __init__(self) -> None:
        self._transport: WSTransport | None = None
        self._messages: deque[bytes] = deque()
        self._partial = bytearray()
        self._come = asyncio.Event()
        self._over = False
        self._unread = False

    # -- what picows tells -------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Remember the transport."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Keep a message; answer a ping, and a goodbye."""
        kind = frame.msg_type
        if kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            transport.send_close()
            transport.disconnect()
        elif kind is not WSMsgType.PONG:
            self._kept(transport, frame)

    def _kept(self, transport: WSTransport, frame: WSFrame) -> None:
        if not frame.fin or self._partial:
            self._partial += frame.get_payload_as_memoryview()
            if len(self._partial) > MOST_BYTES:
                transport.disconnect(graceful=False)
            if not frame.fin:
                return
        self._messages.append(bytes(self._partial) or frame.get_payload_as_bytes())
        self._partial.clear()
        self._come.set()
        if len(self._messages) >= WAITING and not self._unread:
            self._unread = True
            transport.underlying_transport.pause_reading()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Wake whoever waits."""
        self._over = True
        self._come.set()

    # -- for the stream ----------------------------------------------------------------------------

    async def recv(self) -> bytes:
        """Return the next message. Raises Closed after the last one."""
        while not self._messages:
            if self._over or self._transport is None:
                raise self._closed()
            self._come.clear()
            await self._come.wait()
        message = self._messages.popleft()
        if self._unread and len(self._messages) < WAITING // 2 and not self._over and self._transport is not None:
            self._unread = False
            self._transport.underlying_transport.resume_reading()
        return message

    def _closed(self) -> Closed:
        seen: WSCloseHandshake | None = self._transport.close_handshake if self._transport else None
        if seen is None or seen.recv is None:
            return Closed(0, "the connection broke")
        code = cast("Enum | int", seen.recv.code)
        return Closed(code.value if isinstance(code, Enum) else code, str(seen.recv.reason or ""))

    def send(self, text: bytes) -> None:
        """Send one message. Raises Closed."""
        if self._transport is None or self._over:
            raise self._closed()
        self._transport.send(WSMsgType.TEXT, text)

    async def close(self) -> None:
        """Say goodbye; whoever does not answer is dropped a moment later."""
        transport = self._transport
        if transport is None or transport.is_disconnected:
            return
        if self._unread:
            transport.underlying_transport.resume_reading()  # the answer to the goodbye stands behind what waits
        if not transport.is_close_frame_sent:
            transport.send_close()
        transport.disconnect()
        try:
            async with asyncio.timeout(CLOSE_S):
                await transport.wait_disconnected()
        except (TimeoutError, OSError, WSError):
            transport.disconnect(graceful=False)


async def opened(url: str, key: str) -> Socket:
    """Return an open connection. Raises Denied, Refused, Away, Misconfigured."""
    socket = Socket()
    try:
        async with asyncio.timeout(OPEN_S):
            await ws_connect(
                lambda: socket, url, websocket_handshake_timeout=OPEN_S, enable_auto_pong=False,
                max_frame_size=MOST_BYTES, read_buffer_init_size=READ_BYTES,
                extra_headers={"Authorization": f"Bearer {key}"}, max_redirects=0, logger_name="ticktape",
            )  # fmt: skip
    except WSInvalidStatusError as error:
        response = error.response
        raise of_answer(int(response.status) if response else 0, error.raw_body or b"") from error
    except WSInvalidURL as error:
        raise Misconfigured(f"not a WebSocket address: {url}", hint="TICKTAPE_STREAM=ws://127.0.0.1:8878") from error
    except (OSError, WSError, TimeoutError) as error:
        raise Away(f"no stream at {url}: {error or type(error).__name__}", hint="ticktape up") from error
    return socket
