"""The socket adapter against a raw RFC 6455 server: batching, fragments, pings, limits, ends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from ticktape.errors import Misconfigured, Unavailable
from ticktape.sources.feed import FeedSocket, open_feed

TEXT, CONTINUED, CLOSE, PING, PONG, FIN = 1, 0, 8, 9, 10, 0x80


def frame(kind: int, payload: bytes, *, fin: bool = True) -> bytes:
    """An unmasked frame, as servers send them."""
    size = len(payload)
    if size < 126:
        length = bytes([size])
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes([kind | (FIN if fin else 0)]) + length + payload


class Peer:
    """The server's side of one connection."""

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        accept = base64.b64encode(digest)
        writer.write(
            b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept
        )
        self.reader, self.writer = reader, writer
        self.connected.set()

    async def received(self) -> tuple[int, bytes]:
        """One masked frame of the client, up to 125 bytes."""
        head = await self.reader.readexactly(6)
        mask = head[2:6]
        payload = await self.reader.readexactly(head[1] & 0x7F)
        return head[0] & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class Heard:
    """Who listens."""

    def __init__(self) -> None:
        self.reads: list[list[bytes]] = []
        self.pings = 0
        self.fault: Exception | None = None

    def on_frames(self, frames: list[bytes]) -> None:
        self.reads.append(frames)
        if self.fault is not None:
            raise self.fault

    def on_ping(self) -> None:
        self.pings += 1


@asynccontextmanager
async def talking(max_message_bytes: int = 1000) -> AsyncGenerator[tuple[Peer, Heard, FeedSocket]]:
    peer, heard = Peer(), Heard()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        feed = await open_feed(f"ws://127.0.0.1:{port}/ws", heard, max_message_bytes=max_message_bytes)
        await peer.connected.wait()
        try:
            yield peer, heard, feed
        finally:
            await feed.close()
            peer.writer.close()


@pytest.mark.asyncio
async def test_the_frames_of_one_read_come_together_and_a_ping_among_them_is_answered() -> None:
    async with talking() as (peer, heard, feed):
        peer.writer.write(frame(TEXT, b"a") + frame(TEXT, b"b") + frame(PING, b"echo me") + frame(TEXT, b"c"))
        assert await peer.received() == (PONG, b"echo me")
        assert heard.reads == [[b"a", b"b", b"c"]]
        peer.writer.write(frame(TEXT, b"d") + frame(PING, b""))
        assert await peer.received() == (PONG, b"")
        assert heard.reads[1:] == [[b"d"]]
        assert heard.pings == 2
        feed.send(b"hello")
        assert await peer.received() == (TEXT, b"hello")


@pytest.mark.asyncio
async def test_fragments_are_one_message_even_around_a_ping() -> None:
    async with talking() as (peer, heard, _):
        parts = frame(TEXT, b"one ", fin=False) + frame(PING, b"") + frame(CONTINUED, b"mess", fin=False)
        peer.writer.write(parts + frame(CONTINUED, b"age") + frame(PING, b""))
        await peer.received()
        await peer.received()
        assert heard.reads == [[b"one message"]]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "in_good_order"),
    [(1000, True), (1001, True), (1012, True), (1008, False), (1011, False), (4000, False)],
)
async def test_a_close_frame_says_how_it_ended(code: int, *, in_good_order: bool) -> None:
    async with talking() as (peer, heard, feed):
        peer.writer.write(frame(TEXT, b"last") + frame(CLOSE, code.to_bytes(2, "big") + b"bye\r\n"))
        ended = await feed.ended()
        assert (ended.code, ended.reason, ended.in_good_order) == (code, "bye\\r\\n", in_good_order)
        assert heard.reads == [[b"last"]]


@pytest.mark.asyncio
async def test_an_end_without_a_close_frame_is_not_in_good_order() -> None:
    async with talking() as (peer, _, feed):
        peer.writer.close()
        assert (await feed.ended()).in_good_order is False


@pytest.mark.asyncio
@pytest.mark.parametrize("fragments", [1, 3])
async def test_a_message_above_the_limit_ends_the_connection_and_what_came_before_is_kept(
    fragments: int,
) -> None:
    async with talking() as (peer, heard, feed):
        peer.writer.write(frame(TEXT, b"good"))
        await asyncio.sleep(0.05)
        part = b"x" * (1200 // fragments)
        for i in range(fragments):
            peer.writer.write(frame(CONTINUED if i else TEXT, part, fin=i == fragments - 1))
        with pytest.raises(Unavailable, match="breach"):
            await feed.ended()
        assert heard.reads == [[b"good"]]


@pytest.mark.asyncio
async def test_what_the_listener_raises_comes_out_of_ended_and_nothing_more_is_delivered() -> None:
    async with talking() as (peer, heard, feed):
        heard.fault = KeyError("disk full")
        peer.writer.write(frame(TEXT, b"a"))
        await asyncio.sleep(0.05)
        peer.writer.write(frame(TEXT, b"b"))
        with pytest.raises(KeyError, match="disk full"):
            await feed.ended()
        assert heard.reads == [[b"a"]]


@pytest.mark.asyncio
async def test_nothing_is_delivered_after_close() -> None:
    async with talking() as (peer, heard, feed):
        closing = asyncio.create_task(feed.close())
        await asyncio.sleep(0)
        peer.writer.write(frame(TEXT, b"late"))
        assert (await peer.received())[0] == CLOSE
        peer.writer.close()
        await closing
        assert heard.reads == []


@pytest.mark.asyncio
async def test_a_bad_address_and_a_peer_that_is_no_websocket_are_told_apart() -> None:
    with pytest.raises(Misconfigured, match="not a WebSocket address"):
        await open_feed("http://127.0.0.1/", Heard(), max_message_bytes=10)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 451 Unavailable\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match="451"):
            await open_feed(f"ws://127.0.0.1:{port}/ws", Heard(), max_message_bytes=10)
