"""What the tests of serve share: a data folder with a real tape, and a real server over it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from ticktape.clock import ManualClock
from ticktape.model.instruments import AssetClass, Instrument, Listing
from ticktape.model.records import Channel, GapCause, GapState, Kind, Records, Status, empty, pack_gap
from ticktape.serve.keys import KeyStore, Scope
from ticktape.serve.live import Live
from ticktape.serve.process import ServeSettings, serve
from ticktape.serve.queries import Queries
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

T0 = 1_763_640_000_000_000_000  # 2025-11-20T12:00:00Z
MS = 1_000_000
SECOND = 1_000_000_000


class House:
    """A data folder whose tape tests write by hand."""

    def __init__(self, data: Path, *, sample: bool = False) -> None:
        self.data = data
        self.clock = ManualClock(T0)
        self.tape = Writer(data / "tape", sample=sample, capacity=1 << 14, clock=self.clock)
        self.tape.head.needed = 1 << 60  # no recorder will start on it, so it may be trimmed
        self.directory = TapeDirectory(data / "tape")
        self.keys = KeyStore(data, self.clock)
        self.source = self.directory.source_id("binance")

    def close(self) -> None:
        """Close everything."""
        self.keys.close()
        self.directory.close()
        self.tape.close()

    def key(self, scopes: Sequence[str] = tuple(Scope), **more: Any) -> str:
        """Return a new key."""
        return self.keys.create("test", scopes, **more).key

    def enrol(self, symbol: str, price_scale: int = 8, size_scale: int = 8) -> Instrument:
        """Enrol an instrument."""
        listing = Listing(
            symbol=symbol,
            venue="binance",
            asset_class=AssetClass.CRYPTO,
            tick_size=Decimal("0.01"),
            size_step=Decimal("0.00001"),
            price_scale=price_scale,
            size_scale=size_scale,
        )
        return self.directory.enrol("binance", symbol, listing)

    def rows(self, kind: Kind, instrument: int, n: int, ts: int, step_ns: int = MS) -> Records:
        """Return n records, `step_ns` apart, received 1 ms after they happened."""
        rows = empty(n)
        rows["kind"], rows["instrument"], rows["source"] = kind, instrument, self.source
        rows["ts_event"] = ts + np.arange(n) * step_ns
        rows["ts_recv"] = rows["ts_event"] + MS
        return rows

    def trades(
        self, instrument: Instrument, n: int, ts: int = T0, first_id: int = 1, price: int = 6543210000000
    ) -> None:
        """Append n trades."""
        rows = self.rows(Kind.TRADE, instrument.id, n, ts)
        rows["a"], rows["b"] = price + np.arange(n) * MS, 12345000
        rows["c"], rows["side"] = first_id + np.arange(n), 1 + np.arange(n) % 2
        self.tape.append(rows)

    def quotes(self, instrument: Instrument, n: int, ts: int = T0) -> None:
        """Append n quotes."""
        rows = self.rows(Kind.QUOTE, instrument.id, n, ts)
        rows["a"], rows["b"] = 6543210000000 + np.arange(n) * MS, 6543211000000 + np.arange(n) * MS
        rows["c"], rows["d"] = 100000000, 250000000
        self.tape.append(rows)

    def gap(
        self, instrument_id: int, state: GapState, *, start: int, duration_ns: int = 0, gap_id: int | None = None,
        cause: GapCause = GapCause.SEQUENCE, channel: Channel = Channel.TRADE, ids: tuple[int, int] = (0, -1),
    ) -> int:  # fmt: skip
        """Append a GAP record. Returns its gap id."""
        rows = self.rows(Kind.GAP, instrument_id, 1, start)
        number = self.tape.position if gap_id is None else gap_id
        rows["a"], rows["b"], rows["c"] = number, *ids
        rows["d"], rows["side"] = pack_gap(cause, channel, duration_ns), state
        self.tape.append(rows)
        return number

    def status(self, status: Status, detail: int = 0, *, source: int | None = None, ts: int = T0) -> None:
        """Append a STATUS record."""
        rows = self.rows(Kind.STATUS, 0, 1, ts)
        rows["a"], rows["b"] = status, detail
        rows["source"] = self.source if source is None else source
        self.tape.append(rows)

    def live(self) -> Live:
        """Return a live state over the tape."""
        return Live(Reader(self.data / "tape"), self.clock)

    def queries(self) -> Queries:
        """Return queries over the tape."""
        return Queries(self.live(), self.directory, self.clock)


class Client(httpx2.AsyncClient):
    """An HTTP client that also says paths exactly as they are given."""

    port: int
    bearer: str

    async def exactly(self, target: str, method: str = "GET") -> tuple[int, bytes]:
        """Send a request target byte for byte. Returns (status, body)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lines = [
                f"{method} {target} HTTP/1.1",
                "Host: 127.0.0.1",
                f"Authorization: {self.bearer}",
                "Connection: close",
            ]
            writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
            answer = await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()
        head_bytes, _, body = answer.partition(b"\r\n\r\n")
        return int(head_bytes.split(b" ", 2)[1]), body


@asynccontextmanager
async def serving(house: House, key: str | None = None, **settings: Any) -> AsyncGenerator[Client]:
    """Run the real process on a free port and yield a client with a key for everything."""
    stop, listen = asyncio.Event(), socket.socket()
    listen.bind(("127.0.0.1", 0))
    port = int(listen.getsockname()[1])
    task = asyncio.create_task(
        serve(ServeSettings(data=house.data, **settings), stop, listen=listen, clock=house.clock)
    )
    bearer = f"Bearer {key or house.key()}"
    # The first question about the past waits for a worker to start: the test's own time-out is the bound.
    client = Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": bearer}, timeout=None)
    client.port, client.bearer = port, bearer
    try:
        async with client:
            await _ready(port, task)
            yield client
    finally:
        stop.set()
        await task


async def _ready(port: int, task: asyncio.Task[None]) -> None:
    # The socket refuses until the server listens; and the first answer comes when the tape is open.
    while True:
        if task.done():
            task.result()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0)
            continue
        writer.close()
        await writer.wait_closed()
        return


async def until(ask: Any, status: int) -> Any:
    """Ask again until the answer has this status; the test's own time-out is the bound."""
    while (answer := await ask()).status_code != status:  # noqa: ASYNC110 - another part's state
        await asyncio.sleep(0.01)
    return answer
