"""The venue: two listening ports, one feed, and the faults that concern more than a frame.

WebSocket and REST have a port each, as the real venue has a host each. `async with BinanceVenue(settings)`
runs it inside a test; `python -m ticktape.simulate.binance` as a process of its own.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import msgspec
import uvicorn
from picows import (
    WSCloseCode,
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,  # pyright: ignore[reportUnknownVariableType] - its host and port are untyped
)
from starlette.applications import Starlette

from ticktape.errors import BadInput
from ticktape.simulate.binance import control, orders, rest, streams
from ticktape.simulate.binance.bulk_feed import BulkFeed
from ticktape.simulate.binance.capture_feed import CaptureFeed
from ticktape.simulate.binance.connection import CONTROL_BYTES, Connection
from ticktape.simulate.binance.faults import Faults
from ticktape.simulate.binance.feed import Snapshot
from ticktape.simulate.binance.history import History, Row
from ticktape.simulate.binance.hub import Hub
from ticktape.simulate.binance.market_feed import MarketFeed
from ticktape.simulate.binance.settings import VenueSettings
from ticktape.simulate.binance.weights import RestError, Weights
from ticktape.simulate.binance.wire import Message

FIVE_MINUTES_S = 300.0
DEEP = 5000


class Http(uvicorn.Server):
    """uvicorn without its signal handlers: the process belongs to whoever runs the venue."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield


class BinanceVenue:
    """A simulated Binance on loopback."""

    def __init__(
        self,
        settings: VenueSettings | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings or VenueSettings()
        self._clock = clock
        self._monotonic = monotonic
        self.history = History(self.settings.ledger_limit, self.settings.ledger_path)
        self.faults = Faults(self.settings.seed, monotonic)
        self.weights = Weights(self.settings, clock)
        self._connects: deque[float] = deque(maxlen=self.settings.connections_per_5m)
        self._refusals: list[tuple[orders.Refuse, int]] = []
        self._stale: dict[str, tuple[Snapshot, int]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._timers: list[asyncio.TimerHandle] = []

    async def __aenter__(self) -> Self:
        self._socket = socket.create_server((self.settings.host, self.settings.rest_port), backlog=2048)
        try:
            await self._listen()
        except BaseException:
            self._socket.close()
            raise
        return self

    async def _listen(self) -> None:
        self.hub = Hub(self.faults)
        self.feed = self._make_feed()
        self.listings = {listing.symbol: listing for listing in self.feed.listings()}
        self._server = await ws_create_server(
            self._accept,
            self.settings.host,
            self.settings.port,
            enable_auto_pong=False,
            max_frame_size=CONTROL_BYTES,
        )
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.rest_port: int = self._socket.getsockname()[1]
        app = Starlette(routes=[*rest.routes(self), *control.routes(self)])
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._http = Http(config)
        serving = asyncio.create_task(self._http.serve([self._socket]), name="binance:rest")
        self.playing = asyncio.create_task(self.feed.run(), name="binance:feed")
        self._tasks = [serving, self.playing]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for timer in self._timers:
            timer.cancel()
        self._server.close()
        for connection in list(self.hub.connections):
            connection.cut(WSCloseCode.GOING_AWAY, "venue stops")
            if connection.stalled:
                connection.drop("rst")
        self._http.should_exit = True
        self.playing.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._socket.close()
        self.history.close()
        for result in results:
            if isinstance(result, Exception) and error is None:
                raise result

    @property
    def ws_url(self) -> str:
        """Base address of the streams: append /ws or /stream."""
        return f"ws://{self.settings.host}:{self.port}"

    @property
    def rest_url(self) -> str:
        """Base address of REST: append /api/v3/..."""
        return f"http://{self.settings.host}:{self.rest_port}"

    def now_us(self) -> int:
        """The venue's clock, skew included."""
        return (self._clock() + self.feed.skew_ns) // 1000

    def advance(self, now_ns: int) -> None:
        """Move the seeded market by hand (settings.autorun is False)."""
        if not isinstance(self.feed, MarketFeed):
            raise BadInput("only the seeded market can be moved by hand")
        self.feed.advance(now_ns)

    def start(self) -> None:
        """Start what waits for a client."""
        self.feed.start()

    def ledger(self, symbol: str, from_id: int = 0, limit: int = control.LEDGER_ROWS) -> list[Row]:
        """Every trade the venue made, sent or not: what a recorder is compared with."""
        return [row for row in self.history.trades(symbol) if row.trade_id >= from_id][:limit]

    async def book(self, symbol: str, limit: int = DEEP) -> Snapshot | None:
        """The venue's own book now, without weight or faults."""
        return await self.feed.snapshot(symbol, limit)

    def status(self) -> dict[str, object]:
        """Counters for tests in another process."""
        return {
            "connections": len(self.hub.connections),
            "frames_sent": self.hub.sent,
            "trades": {symbol: self.history.count(symbol) for symbol in self.history.symbols()},
            "finished": self.playing.done(),
            "weight_used": self.weights.used,
        }

    def faults_listing(self) -> list[dict[str, object]]:
        """The active frame faults."""
        return self.faults.listing()

    def clear(self, fault_id: int | None = None) -> None:
        """End one frame fault or all, and send what they held."""
        self.hub.release(self.faults.clear(fault_id))

    def order(self, fault: orders.Order) -> int | None:
        """Order a fault; frame faults return the id that clears them. Raises BadInput if impossible."""
        symbol = getattr(fault, "symbol", "")
        if symbol and symbol not in self.listings:
            raise BadInput(f"{symbol}: not listed here", hint=f"one of {' '.join(self.listings)}")
        if isinstance(fault, orders.FrameFault | orders.Omit):
            return self.faults.order(fault)
        self._carry_out(fault)
        return None

    def _carry_out(self, fault: orders.VenueFault) -> None:
        done = True
        match fault:
            case orders.Disconnect():
                self._disconnect(fault)
            case orders.Shutdown():
                self._shutdown(fault)
            case orders.Burst():
                done = self.feed.burst(fault.factor)
                self._after(fault.seconds, lambda: self.feed.burst(1.0))
            case orders.Skew():
                self.feed.skew_ns = fault.offset_ms * 1_000_000
            case orders.Hole():
                done = self.feed.skip(fault.symbol, fault.count)
            case orders.Reset():
                done = self.feed.reset(fault.symbol)
            case orders.Refuse():
                self._refusals.append((fault, fault.count))
            case orders.StaleDepth():
                self._freeze(fault)
            case _:
                raise AssertionError(fault)
        if not done:
            raise BadInput(f"{type(fault).__name__.lower()}: not possible with what this venue plays")

    def _disconnect(self, fault: orders.Disconnect) -> None:
        for connection in list(self.hub.connections):
            if fault.how == "close":
                connection.cut(WSCloseCode.GOING_AWAY, "ordered")
            else:
                connection.drop(fault.how)

    def _shutdown(self, fault: orders.Shutdown) -> None:
        body = [msgspec.json.encode({"e": "serverShutdown", "E": self.now_us() // unit}) for unit in (1000, 1)]
        self.hub.announce(Message("!serverShutdown", "", "serverShutdown", *body))
        if fault.seconds >= 0:
            self._after(fault.seconds, lambda: self._disconnect(orders.Disconnect()))

    def _freeze(self, fault: orders.StaleDepth) -> None:
        if not isinstance(self.feed, MarketFeed):
            raise BadInput("stale_depth: only the seeded market has a book to freeze")
        self._stale[fault.symbol] = (self.feed.book(fault.symbol, DEEP), fault.count)

    def stale_depth(self, symbol: str, limit: int) -> Snapshot | None:
        """The frozen book while the fault lasts."""
        book, left = self._stale.pop(symbol, (None, 0))
        if book is None:
            return None
        if left > 1:
            self._stale[symbol] = (book, left - 1)
        return Snapshot(book.last_id, book.bids[:limit], book.asks[:limit])

    def refusal(self, path: str) -> RestError | None:
        """The answer to a request that is to fail."""
        for index, (fault, left) in enumerate(self._refusals):
            if path.startswith(fault.path):
                if left > 1:
                    self._refusals[index] = (fault, left - 1)
                else:
                    del self._refusals[index]
                code = -1003 if fault.status in (418, 429) else -1000
                retry = fault.retry_after_s if fault.status in (418, 429) else None
                return RestError(fault.status, code, "An error ordered from the simulator.", retry)
        return None

    def _after(self, seconds: float, call: Callable[[], object]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, call))

    def _make_feed(self) -> MarketFeed | CaptureFeed | BulkFeed:
        if self.settings.capture is not None:
            return CaptureFeed(self.settings.capture, self.settings, self.hub, self.history)
        if self.settings.flat_out or self.settings.paced_per_s:
            return BulkFeed(self.settings, self.hub, self.history, self._clock)
        return MarketFeed(self.settings, self.hub, self.history, self._clock)

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener | None:
        now = self._monotonic()
        if len(self._connects) == self._connects.maxlen and now - self._connects[0] < FIVE_MINUTES_S:
            answer = WSUpgradeResponse.create_error_response(429, b"too many connection attempts")
            return WSUpgradeResponseWithListener(answer, None)
        self._connects.append(now)
        target = streams.target(request.path.decode("latin-1"))
        if target is None:
            return None
        return Connection(self.hub, self.settings, target)
