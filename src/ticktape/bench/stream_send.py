"""One message to a thousand clients: the hub, picows alone, and `websockets.broadcast`. Server's processor time."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import uvloop
from picows import (
    WSListener,
    WSMsgType,
    WSTransport,
    ws_create_server,  # pyright: ignore[reportUnknownVariableType]
)

from ticktape.bench.child import Child
from ticktape.bench.feed import enrol
from ticktape.bench.place import Place
from ticktape.bench.result import Measured, Wrong, of_runs
from ticktape.bench.scratch import appender
from ticktape.bench.stream import subscribed
from ticktape.bench.stream_clients import Crowd
from ticktape.bench.ticks import Rounds
from ticktape.clock import SystemClock
from ticktape.model.records import Records
from ticktape.serve.keys import KeyStore, Scope
from ticktape.serve.limits import Limits
from ticktape.serve.stream.feed import warm_kernels
from ticktape.serve.stream.handshake import Handshake
from ticktape.serve.stream.hub import Hub
from ticktape.serve.stream.listen import listen
from ticktape.serve.stream.settings import StreamSettings
from ticktape.tape.directory import TapeDirectory

ROUNDS, WARM = 60, 10
PAUSE_S = 0.02  # for the clients to read
UPDATE = (
    b'{"type":"update","position":1000,"missed":0,"events":[{"position":999,"kind":"trade","instrument_id":1,'
    b'"symbol":"BENCH0001","ts_event":1763640000000000000,"ts_recv":1763640000001000000,"price":100.0,"size":0.5,'
    b'"venue_id":1,"side":"buy","source":"source-1","flags":[]}]}'
)


def send(place: Place) -> Measured:
    """Microseconds of processor time of one send: a tick to 1,000 clients, divided by 1,000.

    Ours includes looking at the tape, encoding the tick and finding who wants it. 60 ticks, 20 ms apart; the clients
    are another process. Left out: the system's part of the network, which is not charged to the server.
    """
    return of_runs(uvloop.run(_hub(place)))


async def _hub(place: Place) -> list[float]:
    with place.scratch("send") as folder:
        directory = TapeDirectory(folder / "tape")
        symbol = enrol(directory, 1)[0]
        directory.close()
        with appender(folder / "tape", quick=place.quick) as made:
            rounds = iter(_one_by_one())
            made.append(next(rounds))
            keys = KeyStore(folder)
            key = keys.create("bench", [Scope.STREAM]).key
            warm_kernels(folder / "tape")
            hub = Hub(folder, keys, Limits(SystemClock()), SystemClock(), StreamSettings(rate=1000.0))
            sock = bound()
            server = await listen(hub, Handshake(keys, None, ()), sock)
            try:
                async with crowd(place, folder, sock, key, subscribed([symbol])) as count:
                    await until(lambda: bool(hub.step()) or hub.listening == count)
                    return await timed(place, count, hub.step, lambda: made.append(next(rounds)))
            finally:
                server.close()
                await hub.close()
                keys.close()


def _one_by_one() -> Iterator[Records]:
    market = Rounds(instruments=1, batches=1)
    while True:
        yield market.advance()[0]


async def picows_alone(place: Place) -> list[float]:
    """Return the same of a plain loop over picows transports."""
    there: list[WSTransport] = []

    class Plain(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            there.append(transport)

    def all_of_them() -> None:
        for transport in there:
            transport.send(WSMsgType.TEXT, UPDATE)

    with place.scratch("send-picows") as folder:
        sock = bound()
        server = await ws_create_server(lambda _: Plain(), sock=sock, backlog=4096)
        try:
            async with crowd(place, folder, sock, "", "{}") as count:
                await until(lambda: len(there) == count)
                return await timed(place, count, all_of_them, lambda: None)
        finally:
            server.close()


def bound() -> socket.socket:
    """Return a listening socket."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(4096)
    return sock


@asynccontextmanager
async def crowd(place: Place, folder: Path, sock: socket.socket, key: str, line: str) -> AsyncGenerator[int]:
    """Let clients connect from another process, and give their number."""
    count = place.size(1_000, 20)
    url = f"ws://127.0.0.1:{sock.getsockname()[1]}/api/v1/stream"
    told = msgspec.json.encode(Crowd(url, key, [line], count, seconds=3600.0)).decode()
    with Child([sys.executable, "-m", "ticktape.bench.stream_clients", told], folder / "clients.log") as clients:
        connected = await asyncio.to_thread(clients.said, 60.0)
        if connected["connected"] != count:
            raise Wrong(f"{connected['connected']} of {count} clients are in")
        yield count


async def until(there: Callable[[], bool]) -> None:
    """Wait for what others do."""
    while not there():  # noqa: ASYNC110 - clients of another process have no event to set here
        await asyncio.sleep(0.01)


async def timed(place: Place, count: int, work: Callable[[], object], before: Callable[[], object]) -> list[float]:
    """Return microseconds of processor time a send, round by round."""
    took: list[float] = []
    for _ in range(place.size(ROUNDS, 12)):
        before()
        began = time.process_time_ns()
        work()
        took.append((time.process_time_ns() - began) / 1e3 / count)
        await asyncio.sleep(PAUSE_S)
    return took[WARM:]
