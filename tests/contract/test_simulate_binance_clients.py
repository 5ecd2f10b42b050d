"""Binance's own Python client, unmodified, against the simulated venue: the server is held to its contract.

binance-sdk-spot decodes every REST answer into its typed models and answers pings with an empty pong.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from ticktape.simulate.binance import BinanceVenue, VenueSettings

spot = pytest.importorskip("binance_sdk_spot.spot", reason="binance-sdk-spot is a test extra")
configuration = pytest.importorskip("binance_common.configuration")

# Its models are pydantic v1 style and warn; that is theirs.
pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore")]


def rest_client(venue: BinanceVenue) -> Any:
    return spot.Spot(config_rest_api=configuration.ConfigurationRestAPI(base_path=venue.rest_url)).rest_api


@asynccontextmanager
async def stream_client(venue: BinanceVenue) -> AsyncGenerator[Any]:
    streams = configuration.ConfigurationWebSocketStreams(stream_url=venue.ws_url)
    client = spot.Spot(config_ws_streams=streams).websocket_streams
    connection = await client.create_connection()
    try:
        yield connection
    finally:
        await connection.close_connection(close_session=True)


async def collected(subscribe: Callable[..., Any], count: int, **arguments: Any) -> list[Any]:
    """The first `count` messages of a stream, as the client's own models."""
    stream = await subscribe(**arguments)
    found: list[Any] = []
    full = asyncio.Event()

    def on_message(data: Any) -> None:
        found.append(data)
        if len(found) >= count:
            full.set()

    stream.on("message", on_message)
    await full.wait()
    await stream.unsubscribe()
    return found[:count]


@pytest.mark.asyncio
async def test_rest_answers_decode_into_the_clients_models() -> None:
    async with BinanceVenue(VenueSettings(autorun=False, preroll_s=90)) as venue:
        client = rest_client(venue)

        async def call(method: str, **arguments: Any) -> Any:
            return await asyncio.to_thread(lambda: getattr(client, method)(**arguments).data())

        ledger = venue.ledger("BTCUSDT")
        aggregates = await call("agg_trades", symbol="BTCUSDT", from_id=0, limit=1000)
        older = await call("historical_trades", symbol="BTCUSDT", from_id=ledger[5].trade_id, limit=10)
        newest = await call("get_trades", symbol="BTCUSDT", limit=5)
        depth = await call("depth", symbol="BTCUSDT", limit=50)
        bars = await call("klines", symbol="BTCUSDT", interval="1m")
        info = await call("exchange_info", symbols=["BTCUSDT", "MNQ"])
        book = await venue.book("BTCUSDT", 50)
        clock = await call("time")

    assert aggregates[0].f == ledger[0].trade_id
    assert [row.id for row in older] == [row.trade_id for row in ledger[5:15]]
    assert [row.id for row in newest] == [row.trade_id for row in ledger[-5:]]
    assert book is not None
    assert depth.last_update_id == book.last_id
    assert [round(float(level[0]) * 1e8) for level in depth.bids] == [price for price, _ in book.bids]
    assert len(bars[0]) == 12
    assert [symbol.symbol for symbol in info.symbols] == ["BTCUSDT", "MNQ"]
    assert clock.server_time > 0


@pytest.mark.asyncio
async def test_a_venue_error_becomes_the_clients_error() -> None:
    from binance_common.errors import BadRequestError

    async with BinanceVenue(VenueSettings(autorun=False)) as venue:
        client = rest_client(venue)
        with pytest.raises(BadRequestError, match="Invalid symbol"):
            await asyncio.to_thread(lambda: client.depth(symbol="NOSUCH"))


@pytest.mark.asyncio
async def test_streams_decode_into_the_clients_models_and_match_the_ledger() -> None:
    async with BinanceVenue(VenueSettings(rate=2000, preroll_s=5)) as venue, stream_client(venue) as client:
        trades = await collected(client.trade, 50, symbol="btcusdt")
        aggregates = await collected(client.agg_trade, 30, symbol="ethusdt")
        quotes = await collected(client.book_ticker, 30, symbol="btcusdt")
        diffs = await collected(client.diff_book_depth, 10, symbol="btcusdt", update_speed="100ms")
        ledger = {row.trade_id: row for row in venue.ledger("BTCUSDT")}

    assert [t.t for t in trades] == list(range(trades[0].t, trades[0].t + 50))
    for t in trades:
        row = ledger[t.t]
        assert (round(float(t.p) * 1e8), round(float(t.q) * 1e8), t.m) == (
            row.price,
            row.size,
            row.buyer_is_maker,
        )
    assert all(b.a == a.a + 1 and b.f == a.l + 1 for a, b in pairwise(aggregates))
    assert [q.u for q in quotes] == sorted({q.u for q in quotes})
    assert all(float(q.b) < float(q.a) for q in quotes)
    chain = [(d.U, d.u) for d in diffs]
    assert all(b[0] == a[1] + 1 for a, b in pairwise(chain))


@pytest.mark.asyncio
async def test_the_clients_empty_pongs_keep_its_link() -> None:
    settings = VenueSettings(rate=2000, ping_every_s=0.02, pong_timeout_s=30, messages_per_s=10_000)
    async with BinanceVenue(settings) as venue, stream_client(venue) as client:
        await collected(client.trade, 1, symbol="btcusdt")
        (connection,) = venue.hub.connections
        await venue.hub.until(lambda: len(connection.pongs) >= 5)
        assert connection.open
