"""`ticktape.Client`: every question the API answers, the stream, and replays."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import msgspec

from ticktape.client.callbacks import Callback, Callbacks
from ticktape.client.http import Http
from ticktape.client.live import Feed, Speed, Subscription
from ticktape.client.records import Bar, Gap, Quote, Trade
from ticktape.client.settings import settings_of
from ticktape.client.table import Table
from ticktape.client.timeseries import Timeseries

TIMEOUT_S = 60.0
Plain = dict[str, Any]


class Latest(msgspec.Struct, frozen=True):
    """The newest quote and trade of a symbol; None where there is none."""

    symbol: str
    quote: Quote | None
    trade: Trade | None


class _Found(msgspec.Struct):
    bars: list[Bar] = []
    gaps: list[Gap] = []
    instruments: list[Plain] = []


class Client:
    """Asks a ticktape. Key and address are given, or TICKTAPE_API_KEY and TICKTAPE_ADDRESS.

    Questions wait for their answer; `live` and `replay` are for asyncio, `add_callback` for programs without it.
    """

    def __init__(
        self, key: str | None = None, address: str | None = None, *, stream: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:  # fmt: skip
        self._settings = settings_of(key, address, stream)
        self._http = Http(self._settings, timeout_s)
        self._callbacks = Callbacks()
        self.timeseries = Timeseries(self._http)

    def __repr__(self) -> str:
        return f"Client({self._settings.address})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what runs and close the connections."""
        try:
            self._callbacks.stop()
        finally:
            self._http.close()

    # -- questions ---------------------------------------------------------------------------------

    def latest(self, symbol: str) -> Latest:
        """Return the newest quote and trade of a symbol. Raises ApiError."""
        return self._http.get(f"/quotes/latest/{symbol}", Latest)

    def bars(
        self, symbol: str, interval: str = "1m", *, start: str | int | None = None, end: str | int | None = None,
        limit: int | None = None,
    ) -> Table | list[Bar]:  # fmt: skip
        """Return the latest bars of a symbol as records, or with `start` those of a range in columns."""
        if start is not None:
            return self.timeseries.get_range(
                symbols=symbol, schema=f"bars-{interval}", start=start, end=end, limit=limit
            )
        found = self._http.get(f"/ohlc/{symbol}", _Found, timeframe=interval, limit=limit or 100)
        return [msgspec.structs.replace(bar, symbol=symbol, timeframe=interval) for bar in found.bars]

    def gaps(self, symbol: str | None = None, *, state: str | None = None, limit: int = 100) -> list[Gap]:
        """Return what is missing on the tape, oldest first."""
        return self._http.get("/gaps", _Found, symbol=symbol, state=state, limit=limit).gaps

    def certificate(self, symbol: str, date: str, *, basis: str = "utc") -> Plain:
        """Return what a day was expected to hold, what it holds, and a verdict."""
        return self._http.get(f"/completeness/{symbol}/{date}", Plain, basis=basis)

    def status(self) -> Plain:
        """Return how the system is doing, with what is wrong in words."""
        return self._http.get("/status", Plain)

    def instruments(self) -> list[Plain]:
        """Return what is recorded."""
        return self._http.get("/instruments", _Found).instruments

    def sql(self, query: str, *, limit: int = 1000) -> list[Plain]:
        """Return the rows of one SELECT over the lake, each by column name."""
        found = self._http.post("/sql", {"query": query, "limit": limit}, Plain)
        return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]

    # -- the stream --------------------------------------------------------------------------------

    def live(
        self, symbols: Sequence[str], channels: Sequence[str] = ("trades",), from_position: int | None = None, *,
        gaps: bool = True, snapshot: bool = False, policy: str | None = None, rate: float | None = None,
        throttle: float | None = None,
    ) -> Feed:  # fmt: skip
        """Return events as they come: `async for event in client.live(["BTCUSDT"], ["trades", "bars.1m"])`.

        Symbols may be patterns (`BTC*`). With `from_position` everything from there on first. Goes on by itself where
        a connection was cut; `gaps` adds what the tape itself lacks. Raises ApiError while iterating.
        """
        wanted = [*channels, *(["gaps"] if gaps and "gaps" not in channels else [])]
        more: dict[str, Any] = {"policy": policy, "rate": rate, "throttle": throttle, "snapshot": snapshot}
        return Feed(self._settings, Subscription(symbols, wanted, from_position=from_position, **more))

    def replay(
        self, symbols: Sequence[str], channels: Sequence[str] = ("trades",), *, start: str | int,
        end: str | int | None = None, speed: Speed = "max", loop: bool = False, throttle: float | None = None,
    ) -> Feed:  # fmt: skip
        """Return the events of [start, end) as `live` would have: at `speed` times their own, or as fast as read."""
        more: dict[str, Any] = {"loop": loop, "throttle": throttle}
        return Feed(
            self._settings, Subscription(symbols, channels, start=start, end=end, speed=speed, **more)
        )  # fmt: skip

    def add_callback(self, callback: Callback, feed: Feed) -> None:
        """Have a function called with each event of `live(...)` or `replay(...)`, once `start` was called."""
        self._callbacks.add(feed, callback)

    def start(self) -> None:
        """Run the callbacks, on a thread of their own."""
        self._callbacks.start()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until every feed of a callback ended, as replays do. Raises what a callback raised."""
        self._callbacks.join(timeout_s)

    def stop(self) -> None:
        """End the callbacks; none is called after this returns. Raises what a callback raised."""
        self._callbacks.stop()
