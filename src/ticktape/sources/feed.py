"""A WebSocket as a source sees it: the frames of one socket read, together, as bytes. picows underneath.

picows hands over frames one by one and says which is the last of a read; they are collected here, so that
one read is one batch, one receive time and one append. TLS and proxies (http, socks4, socks5) are picows'.
RFC 6455: a ping is answered with its payload; a message may come in fragments.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import NamedTuple, Protocol, cast

from picows import (
    WSCloseCode,
    WSError,
    WSFrame,
    WSInvalidURL,
    WSListener,
    WSMsgType,
    WSProtocolError,
    WSTransport,
    ws_connect,  # pyright: ignore[reportUnknownVariableType]  # it takes **kwargs
)
from picows.picows import WSCloseHandshake

from ticktape.errors import Misconfigured, Unavailable
from ticktape.model.symbols import shown

READ_BUFFER_BYTES = 256 << 10
CLOSE_TIMEOUT_S = 1.0
_GOOD_ORDER = (WSCloseCode.OK, WSCloseCode.GOING_AWAY, WSCloseCode.SERVICE_RESTART)


class Ended(NamedTuple):
    """How a socket ended: the venue's close code (0 when it sent none) and its words."""

    code: int
    reason: str
    in_good_order: bool


class Listening(Protocol):
    """Who is told what comes in. An exception from here closes the socket and comes out of `ended`."""

    def on_frames(self, frames: list[bytes]) -> None:
        """Take the messages of one socket read, in order, at least one."""
        ...

    def on_ping(self) -> None:
        """Take note of a ping; it was answered already."""
        ...


class _Listener(WSListener):
    def __init__(self, listening: Listening, max_message_bytes: int) -> None:
        self._listening = listening
        self._max_message_bytes = max_message_bytes
        self._frames: list[bytes] = []
        self._fragments: list[bytes] = []
        self._fragment_bytes = 0
        self._stopped = False

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY or kind is WSMsgType.CONTINUATION:
            if frame.fin and kind is not WSMsgType.CONTINUATION:
                self._frames.append(frame.get_payload_as_bytes())
            else:
                self._fragment(frame)
        elif kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            self._listening.on_ping()
        elif kind is WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        if frame.last_in_buffer:
            self._deliver()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._deliver()  # a protocol error in the middle of a read leaves what came before it

    def stop(self) -> None:
        """Deliver nothing more."""
        self._stopped = True

    def _fragment(self, frame: WSFrame) -> None:
        self._fragment_bytes += frame.payload_size
        if self._fragment_bytes > self._max_message_bytes:
            raise WSProtocolError(WSCloseCode.MESSAGE_TOO_BIG, f"a message above {self._max_message_bytes} bytes")
        self._fragments.append(frame.get_payload_as_bytes())
        if frame.fin:
            self._frames.append(b"".join(self._fragments))
            self._fragments, self._fragment_bytes = [], 0

    def _deliver(self) -> None:
        if not self._frames or self._stopped:
            return
        frames, self._frames = self._frames, []
        try:
            self._listening.on_frames(frames)
        except BaseException:
            self._stopped = True
            raise


class FeedSocket:
    """One open socket. Made by `open_feed`."""

    def __init__(self, transport: WSTransport, listener: _Listener, url: str) -> None:
        self._transport = transport
        self._listener = listener
        self._url = url

    def send(self, text: bytes) -> None:
        """Send one text message."""
        self._transport.send(WSMsgType.TEXT, text)

    async def ended(self) -> Ended:
        """Wait for the end and return how it came.

        Raises what the listener raised, or Unavailable for a breach of the protocol.
        """
        try:
            await self._transport.wait_disconnected()
        except WSProtocolError as fault:
            raise Unavailable(f"{self._url}: breach of the WebSocket protocol: {fault}") from fault
        except OSError as fault:
            raise Unavailable(f"{self._url}: {fault}") from fault
        # The stub says always; the code says None until a close frame was seen.
        handshake = cast("WSCloseHandshake | None", self._transport.close_handshake)
        if handshake is None or handshake.recv is None:
            return Ended(0, "the connection broke without a close frame", in_good_order=False)
        code, reason = cast("WSCloseCode | int", handshake.recv.code), shown(handshake.recv.reason, 200)
        number = code.value if isinstance(code, Enum) else code  # from 3000 on a plain number
        return Ended(number, reason, in_good_order=code in _GOOD_ORDER)

    async def close(self) -> None:
        """Say goodbye and close; nothing is delivered afterwards."""
        self._listener.stop()
        if self._transport.is_disconnected:
            return
        if not self._transport.is_close_frame_sent:
            self._transport.send_close(WSCloseCode.OK)
        self._transport.disconnect()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._transport.wait_disconnected()
        except (TimeoutError, OSError, WSError):
            # A peer that reads nothing must not hold up our stop.
            self._transport.disconnect(graceful=False)


async def open_feed(
    url: str, listening: Listening, *, max_message_bytes: int, proxy: str = "", timeout_s: float = 10.0
) -> FeedSocket:
    """Connect and return the open socket.

    Raises Unavailable when nobody answers or the answer is not a WebSocket, Misconfigured for a bad address.
    """
    listener = _Listener(listening, max_message_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            transport, _ = await ws_connect(
                lambda: listener,
                url,
                websocket_handshake_timeout=timeout_s,
                enable_auto_pong=False,  # done here: a ping is a sign of life
                max_frame_size=max_message_bytes,
                proxy=proxy or None,
                read_buffer_init_size=READ_BUFFER_BYTES,
            )
    except WSInvalidURL as fault:
        raise Misconfigured(f"not a WebSocket address: '{shown(url)}'") from fault
    except (OSError, WSError, TimeoutError) as fault:
        raise Unavailable(f"{url}: cannot connect: {fault or type(fault).__name__}") from fault
    return FeedSocket(transport, listener, url)
