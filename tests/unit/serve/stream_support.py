"""What the tests of the stream share: the hub over a tape written by hand, and a client that is not ours."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import websockets
from serve_support import SECOND, T0, House
from websockets.asyncio.client import ClientConnection

from ticktape.clock import SystemClock
from ticktape.model.instruments import Instrument
from ticktape.model.records import Flag, Kind, empty
from ticktape.serve.stream.process import StreamProcess, stream
from ticktape.serve.stream.settings import StreamSettings

ORIGIN = "http://127.0.0.1:8877"
HOSTS = frozenset({"127.0.0.1", "localhost"})


class Client:
    """A WebSocket client with what it has heard."""

    def __init__(self, ws: ClientConnection) -> None:
        self.ws = ws
        self.said: list[dict[str, Any]] = []
        self.position = -1

    async def say(self, **what: Any) -> None:
        """Send a message."""
        await self.ws.send(msgspec.json.encode({name.rstrip("_"): value for name, value in what.items()}).decode())

    async def hear(self, kind: str | None = None) -> dict[str, Any]:
        """Return the next message of a kind; what comes before it is kept in `said` too."""
        while True:
            data = await self.ws.recv()
            packed = isinstance(data, bytes)
            message = msgspec.msgpack.decode(data) if packed else msgspec.json.decode(data)
            self.said.append(message)
            self.position = message.get("position") if message["type"] in ("update", "snapshot") else self.position
            if kind in (None, message["type"]):
                return message

    async def until(self, position: int) -> list[dict[str, Any]]:
        """Return the events that come up to a position of the tape."""
        events: list[dict[str, Any]] = []
        while self.position < position:
            message = await self.hear()
            events += message["events"] if message["type"] == "update" else []
        return events

    async def closed(self) -> tuple[int, str]:
        """Read to the end. Returns code and reason."""
        with suppress(websockets.ConnectionClosed):
            while True:
                await self.hear()
        return self.ws.close_code or 0, self.ws.close_reason or ""


class Served:
    """A hub that runs."""

    def __init__(self, port: int, key: str) -> None:
        self.port, self.key = port, key

    @asynccontextmanager
    async def client(self, *, key: str | None = None, query: str = "", **more: Any) -> AsyncGenerator[Client]:
        """Connect with a key; the welcome is heard."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        url = f"ws://127.0.0.1:{self.port}/api/v1/stream{query}"
        async with websockets.connect(url, additional_headers=headers, **more) as ws:
            client = Client(ws)
            await client.hear("welcome")
            yield client


@asynccontextmanager
async def streaming(house: House, **limits: Any) -> AsyncGenerator[Served]:
    """Run the hub on a free port."""
    sock, stop = socket.socket(), asyncio.Event()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # accepted sockets inherit it: slow readers show soon
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)  # clients that come before it is ready wait
    given: dict[str, Any] = {"rate": 1000.0} | limits
    settings = StreamSettings(**given)
    told = StreamProcess(data=house.data, hosts=HOSTS, origins=frozenset({ORIGIN}), limits=settings)
    task = asyncio.create_task(stream(told, stop, sock=sock, clock=Pace(house)))
    try:
        yield Served(int(sock.getsockname()[1]), house.key())
    finally:
        stop.set()
        await task


class Pace(SystemClock):
    """Real intervals; the time of day is the test's, because keys expire by it."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self._house = house

    def now_ns(self) -> int:
        """Return the test's time."""
        return self._house.clock.now_ns()


def clock_tick(house: House, ts: int, monotonic: int) -> None:
    """Append a CLOCK record, as the recorder does once a second."""
    rows = empty(1)
    rows["kind"], rows["ts_event"], rows["ts_recv"] = Kind.CLOCK, ts, ts
    rows["a"], rows["b"] = ts, monotonic
    house.tape.append(rows)


def market(house: House, instruments: list[Instrument], seconds: int, start: int = 0, per_second: int = 6) -> None:
    """Append a market: trades and quotes in every second, some late and some from history, and the clock."""
    for second in range(start, start + seconds):
        now = T0 + second * SECOND
        for about in instruments:
            house.trades(about, per_second, now, 1 + second * per_second, price=6543210000000 + second * 10**6)
            house.quotes(about, 2, now + SECOND // 2)
            if second % 3 == 2:
                rows = house.rows(Kind.TRADE, about.id, 2, now - 2 * SECOND + 7)
                rows["ts_recv"] = now
                rows["a"], rows["b"], rows["c"] = 6543219000000, 10**6, 10**6 + second
                rows["flags"][1] = Flag.BACKFILLED
                house.tape.append(rows)
        clock_tick(house, now + SECOND, (second + 1) * SECOND)
