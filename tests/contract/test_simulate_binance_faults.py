"""Every fault that can be ordered, seen from a client's side and through the control endpoint."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from ticktape.errors import BadInput
from ticktape.simulate.binance import (
    BinanceVenue,
    Burst,
    Corrupt,
    Disconnect,
    Drop,
    Duplicate,
    Hole,
    Mute,
    Omit,
    Order,
    Reorder,
    Reset,
    Skew,
    VenueSettings,
)
from ticktape.simulate.binance.corrupt import corrupted
from ticktape.simulate.binance.orders import Corruption

pytestmark = pytest.mark.timeout(30)

START = 1_763_640_000_000_000_000
SECOND = 1_000_000_000
STREAMS = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/ethusdt@trade"


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


def still(**fields: Any) -> VenueSettings:
    return VenueSettings(autorun=False, preroll_s=1, messages_per_s=1000, **fields)


async def until_now(ws: ClientConnection) -> list[str | bytes]:
    """Everything sent so far, undecoded: what arrives before the reply to a request."""
    await ws.send('{"method":"LIST_SUBSCRIPTIONS","id":"mark"}')
    seen: list[str | bytes] = []
    while True:
        message = await ws.recv()
        if str(message).endswith('"id":"mark"}'):
            return seen
        seen.append(message)


async def streamed(*orders: Order, seed: int = 1, seconds: int = 2) -> tuple[list[Any], BinanceVenue]:
    """Frames of two seconds with faults ordered beforehand; the venue is closed but its ledger lives on."""
    async with BinanceVenue(still(seed=seed), Hand()) as venue, connect(venue.ws_url + STREAMS) as ws:
        await until_now(ws)
        for order in orders:
            venue.order(order)
        venue.advance(START + seconds * SECOND)
        return [json.loads(frame) for frame in await until_now(ws)], venue


def trades(frames: list[Any], symbol: str = "BTCUSDT") -> list[int]:
    return [f["data"]["t"] for f in frames if f["data"]["e"] == "trade" and f["data"]["s"] == symbol]


def made(venue: BinanceVenue, since: int, symbol: str = "BTCUSDT") -> list[int]:
    return [row.trade_id for row in venue.ledger(symbol, since)]


@pytest.mark.asyncio
async def test_dropped_trades_are_missing_on_the_wire_and_in_the_ledger() -> None:
    clean, _ = await streamed()
    faulty, venue = await streamed(Drop(symbol="BTCUSDT", channel="trade", after=2, count=3))
    ids = trades(clean)

    assert trades(faulty) == ids[:2] + ids[5:]
    assert made(venue, ids[0]) == ids
    assert trades(faulty, "ETHUSDT") == trades(clean, "ETHUSDT")


@pytest.mark.asyncio
async def test_a_dropped_diff_breaks_the_chain_of_update_ids() -> None:
    frames, _ = await streamed(Drop(channel="depth", after=3))
    diffs = [f["data"] for f in frames if f["data"]["e"] == "depthUpdate"]
    jumps = [b["U"] - a["u"] - 1 for a, b in pairwise(diffs)]

    assert [jump > 0 for jump in jumps].count(True) == 1
    assert jumps[2] > 0


@pytest.mark.asyncio
async def test_duplicates_come_at_once_at_a_distance_and_in_batches() -> None:
    ids = trades((await streamed())[0])
    at_once, _ = await streamed(Duplicate(symbol="BTCUSDT", channel="trade"))
    later, _ = await streamed(Duplicate(symbol="BTCUSDT", channel="trade", distance=4))
    batch, _ = await streamed(Duplicate(symbol="BTCUSDT", channel="trade", batch=3, distance=2))

    assert trades(at_once) == ids[:1] + ids
    assert trades(later) == ids[:5] + ids[:1] + ids[5:]
    assert trades(batch) == ids[:5] + ids[:3] + ids[5:]


@pytest.mark.asyncio
async def test_a_reordered_trade_comes_k_trades_later() -> None:
    ids = trades((await streamed())[0])
    frames, _ = await streamed(Reorder(symbol="BTCUSDT", channel="trade", after=1, distance=3))

    assert trades(frames) == [ids[0], *ids[2:5], ids[1], *ids[5:]]


@pytest.mark.asyncio
async def test_chance_is_decided_by_the_seed() -> None:
    def order() -> Drop:
        return Drop(channel="trade", count=0, chance=0.3)

    one, again = [trades((await streamed(order()))[0]) for _ in range(2)]
    everything = trades((await streamed())[0])

    assert one == again
    assert 0 < len(one) < len(everything)


def parses(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


SHOWS: dict[Corruption, Callable[[bytes], bool]] = {
    "truncated": lambda raw: not parses(raw),
    "nan": lambda raw: b'"p":NaN' in raw,
    "infinity": lambda raw: b'"p":Infinity' in raw,
    "zero_price": lambda raw: b'"p":"0.00000000"' in raw,
    "negative_price": lambda raw: b'"p":"-' in raw,
    "huge_string": lambda raw: len(raw) > 10 * 1024 * 1024,
    "wrong_types": lambda raw: b'"p":{"was"' in raw and b'"m":"' in raw,
    "unknown_symbol": lambda raw: b'"s":"NOSUCHUSDT"' in raw,
    "size_2_63": lambda raw: b'"q":"9223372036854775808.00000000"' in raw,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("how", SHOWS)
async def test_a_corrupt_frame_is_sent_once_and_the_feed_goes_on(how: Corruption) -> None:
    async with (
        BinanceVenue(still(), Hand()) as venue,
        connect(f"{venue.ws_url}/ws/btcusdt@trade", max_size=None) as ws,
    ):
        await until_now(ws)
        venue.order(Corrupt(symbol="BTCUSDT", after=1, how=how))
        venue.advance(START + SECOND)
        frames = [str(frame).encode() for frame in await until_now(ws)]

    assert [SHOWS[how](frame) for frame in frames[:4]] == [False, True, False, False]
    assert all(parses(frame) for frame in (frames[0], *frames[2:]))


@pytest.mark.asyncio
async def test_invalid_utf8_goes_out_as_a_text_frame() -> None:
    async with (
        BinanceVenue(still(), Hand()) as venue,
        connect(f"{venue.ws_url}/ws/btcusdt@trade", max_queue=None) as ws,
    ):
        await until_now(ws)
        venue.order(Corrupt(how="invalid_utf8"))
        venue.advance(START + SECOND)
        with pytest.raises(websockets.ConnectionClosedError) as closed:  # the library insists on UTF-8
            await ws.recv()
    assert closed.value.sent is not None
    assert closed.value.sent.code == 1007


def test_books_and_quotes_can_be_corrupted_too() -> None:
    book = b'{"e":"depthUpdate","s":"X","U":1,"u":2,"b":[["1.0","2.0"]],"a":[]}'
    quote = b'{"u":1,"s":"X","b":"1.0","B":"2.0","a":"3.0","A":"4.0"}'
    bar = b'{"e":"kline","k":{"c":"1.0","v":"2.0"}}'

    assert json.loads(corrupted(book, "negative_price"))["b"] == [["-1.00000000", "2.0"]]
    assert json.loads(corrupted(book, "size_2_63"))["b"][0][1].startswith("92233720")
    assert json.loads(corrupted(quote, "zero_price"))["b"] == "0.00000000"
    assert json.loads(corrupted(bar, "zero_price"))["k"]["c"] == "0.00000000"


@pytest.mark.asyncio
async def test_mute_keeps_the_socket_alive_and_ends_when_cleared() -> None:
    async with BinanceVenue(still(), Hand()) as venue, connect(venue.ws_url + STREAMS) as ws:
        await until_now(ws)
        everything = venue.order(Mute())
        venue.advance(START + SECOND)
        assert await until_now(ws) == []
        await (await ws.ping())  # a mute venue still answers
        venue.clear(everything)
        venue.order(Mute(symbol="BTCUSDT", channel="trade"))
        venue.advance(START + 3 * SECOND)
        frames = [json.loads(frame) for frame in await until_now(ws)]

    assert not trades(frames)
    assert trades(frames, "ETHUSDT")
    assert any(f["data"]["e"] == "depthUpdate" for f in frames)


@pytest.mark.asyncio
async def test_a_timed_mute_ends_by_itself() -> None:
    seconds = 0.0
    async with BinanceVenue(still(), Hand(), lambda: seconds) as venue, connect(venue.ws_url + STREAMS) as ws:
        await until_now(ws)
        venue.order(Mute(seconds=5))
        venue.advance(START + SECOND)
        assert await until_now(ws) == []
        seconds = 5.0
        venue.advance(START + 2 * SECOND)
        assert await until_now(ws) != []


@pytest.mark.asyncio
async def test_an_omitted_symbol_is_accepted_and_never_flows() -> None:
    frames, venue = await streamed(Omit(symbol="BTCUSDT"))

    assert {f["data"]["s"] for f in frames} == {"ETHUSDT"}
    assert venue.ledger("BTCUSDT")


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["close", "fin", "rst"])
async def test_connections_end_the_way_that_was_ordered(how: Any) -> None:
    async with BinanceVenue(still()) as venue, connect(venue.ws_url + STREAMS) as ws:
        await until_now(ws)
        venue.order(Disconnect(how=how))
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await ws.recv()
        assert (closed.value.rcvd is not None) == (how == "close")
        if how == "rst":
            assert isinstance(closed.value.__cause__, ConnectionResetError)


@pytest.mark.asyncio
async def test_a_stalled_peer_neither_reads_nor_writes() -> None:
    async with (
        BinanceVenue(still(), Hand()) as venue,
        connect(venue.ws_url + STREAMS, close_timeout=0.1) as ws,
    ):
        await until_now(ws)
        venue.order(Disconnect(how="stall"))
        pong = asyncio.ensure_future(await ws.ping())
        venue.advance(START + SECOND)
        async with connect(venue.ws_url + "/ws") as other:  # a full exchange with somebody else
            await until_now(other)
        assert not pong.done()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.recv(), 0.05)
        pong.cancel()


@pytest.mark.asyncio
async def test_a_burst_multiplies_the_rate() -> None:
    async with BinanceVenue(still(), Hand()) as venue:
        venue.advance(START + 2 * SECOND)
        calm = len(venue.ledger("BTCUSDT"))
        venue.order(Burst(factor=40, seconds=60))
        venue.advance(START + 4 * SECOND)
        assert len(venue.ledger("BTCUSDT")) - calm > 15 * calm


@pytest.mark.asyncio
async def test_skew_moves_every_time_of_the_venue() -> None:
    clean, _ = await streamed()
    skewed, _ = await streamed(Skew(offset_ms=1250))

    assert [f["data"]["E"] - 1250 for f in skewed] == [f["data"]["E"] for f in clean]


@pytest.mark.asyncio
async def test_a_hole_is_on_the_wire_and_confirmed_by_the_ledger() -> None:
    frames, venue = await streamed(Hole(symbol="BTCUSDT", count=5))
    ids = trades(frames)

    assert made(venue, ids[0]) == ids
    assert made(venue, 0)[-len(ids) - 1] == ids[0] - 6


@pytest.mark.asyncio
async def test_a_sequence_reset_starts_ids_at_one_again() -> None:
    async with BinanceVenue(still(), Hand()) as venue, connect(venue.ws_url + STREAMS) as ws:
        await until_now(ws)
        venue.advance(START + SECOND)
        venue.order(Reset(symbol="BTCUSDT"))
        venue.order(Reset(symbol="BTCUSDT"))
        venue.advance(START + 2 * SECOND)
        ids = trades([json.loads(frame) for frame in await until_now(ws)])

    start = ids.index(1)
    assert ids[start:] == list(range(1, len(ids) - start + 1))
    assert [row.trade_id for row in venue.history.since("BTCUSDT", 1, 10_000)] == ids[start:]
    assert [row.trade_id for row in venue.ledger("BTCUSDT")][-len(ids) :] == ids


@pytest.mark.asyncio
async def test_faults_are_ordered_listed_and_cleared_over_http() -> None:
    async with BinanceVenue(still(), Hand()) as venue, connect(venue.ws_url + STREAMS) as ws:
        await until_now(ws)
        orders = [
            {"fault": "reorder", "channel": "trade", "distance": 10**6},
            {"fault": "burst", "seconds": 0},
        ]
        assert await http(venue, "POST", orders) == (200, {"ids": [1, None]})
        venue.advance(START + SECOND)
        ids = trades([json.loads(f) for f in await until_now(ws)])
        status, listed = await http(venue, "GET")
        assert (status, listed[0]["acted"], listed[0]["spec"]["fault"]) == (200, 1, "reorder")
        assert (await http(venue, "DELETE"))[0] == 200
        late = [json.loads(f) for f in await until_now(ws)]
        assert len(late) == 1  # what was held is not lost
        assert not set(trades(late)) & set(ids)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "body",
    [
        {"fault": "nosuch"},
        {"fault": "drop", "cuont": 3},
        {"fault": "omit"},
        {"fault": "drop", "symbol": "NOSUCH"},
    ],
)
async def test_a_fault_that_cannot_be_is_refused(body: dict[str, Any]) -> None:
    async with BinanceVenue(still()) as venue:
        assert (await http(venue, "POST", body))[0] == 422


@pytest.mark.asyncio
async def test_faults_that_need_a_market_are_refused_elsewhere() -> None:
    async with BinanceVenue(VenueSettings(paced_per_s=10)) as venue:
        with pytest.raises(BadInput, match="reset"):
            venue.order(Reset(symbol="BTCUSDT"))


async def http(venue: BinanceVenue, method: str, body: object = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{venue.rest_url}/sim/faults", data, method=method)

    def call() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    return await asyncio.to_thread(call)


def test_every_fault_has_a_test_here() -> None:
    """A fault nobody tries is a fault that does not work."""
    import ticktape.simulate.binance as package

    here = "".join(Path(__file__.replace("_faults", name)).read_text() for name in ("_faults", "_rest", "_streams"))
    names = [name for name in package.__all__ if name not in ("BinanceVenue", "VenueSettings", "Order")]
    assert [name for name in names if f"{name}(" not in here] == []
