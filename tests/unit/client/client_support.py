"""A stream of a real hub, and a wire to it that can be cut and muted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from serve_support import House

from ticktape.serve.stream.process import StreamProcess, stream


@asynccontextmanager
async def streaming(house: House) -> AsyncGenerator[int]:
    """Run the hub over a house and give its port."""
    stop, sock = asyncio.Event(), socket.socket()
    sock.bind(("127.0.0.1", 0))
    port = int(sock.getsockname()[1])
    task = asyncio.create_task(stream(StreamProcess(data=house.data, port=port), stop, sock=sock, clock=house.clock))
    try:
        yield port
    finally:
        stop.set()
        await task


class Wire:
    """A proxy in front of a port. `cut` ends what is open; while `mute`, nothing comes through."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._writers: list[asyncio.StreamWriter] = []
        self.opened = 0
        self.mute = False
        self.cut_after: int | None = None  # bytes to the client, after which each connection ends

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        self._writers += [writer, ours]
        await asyncio.gather(self._pipe(reader, ours, None), self._pipe(theirs, writer, self.cut_after))

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
        with suppress(OSError):
            while data := await reader.read(2048):
                if self.mute:
                    continue
                writer.write(data)
                await writer.drain()
                if most is not None and (most := most - len(data)) < 0:
                    self.cut()
        writer.close()

    def cut(self) -> None:
        """End all connections, without a goodbye."""
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[int]:
        """Listen and give the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            self.cut()
