"""The simulated Binance over its WebSocket port, seen by the plain `websockets` client."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Opcode

from ticktape.simulate.binance import BinanceVenue, Shutdown, VenueSettings

pytestmark = pytest.mark.timeout(30)

START = 1_763_640_000_000_000_000
SECOND = 1_000_000_000
ALL = ["trade", "aggTrade", "bookTicker", "depth", "depth@100ms", "depth5", "depth10@100ms", "depth20"]
TIMED = ["kline_1s", "kline_1m", "kline_1h@+08:00", "kline_1w", "kline_1M", "miniTicker"]


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


def still(**fields: Any) -> VenueSettings:
    """A venue that moves only when told."""
    return VenueSettings(autorun=False, preroll_s=5, **fields)


async def ask(ws: ClientConnection, request: object) -> Any:
    """Send one control message and return its reply, past whatever streams."""
    await ws.send(request if isinstance(request, str) else json.dumps(request))
    while True:
        reply = json.loads(await ws.recv())
        if isinstance(reply, dict) and ("result" in reply or "code" in reply):
            return reply  # pyright: ignore[reportUnknownVariableType] - it is JSON


async def until_now(ws: ClientConnection) -> list[Any]:
    """Everything sent so far: what arrives before the reply to a request."""
    await ws.send('{"method":"LIST_SUBSCRIPTIONS","id":"mark"}')
    seen: list[Any] = []
    while True:
        message = json.loads(await ws.recv())
        if isinstance(message, dict) and message.get("id") == "mark":  # pyright: ignore[reportUnknownMemberType]
            return seen
        seen.append(message)


@pytest.mark.asyncio
async def test_combined_wraps_and_raw_does_not() -> None:
    async with (
        BinanceVenue(still(), Hand()) as venue,
        connect(f"{venue.ws_url}/stream?streams=btcusdt@trade/ethusdt@trade") as combined,
        connect(f"{venue.ws_url}/ws/btcusdt@trade/ethusdt@trade") as raw,
    ):
        await ask(combined, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        await ask(raw, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        venue.advance(START + SECOND)
        wrapped, bare = await until_now(combined), await until_now(raw)

    assert bare == [message["data"] for message in wrapped]
    assert {message["stream"] for message in wrapped} == {"btcusdt@trade", "ethusdt@trade"}
    first = bare[0]
    assert list(first) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
    assert len(first["p"].split(".")[1]) == 8


@pytest.mark.asyncio
async def test_every_documented_stream_flows_and_agrees_with_the_ledger() -> None:
    wanted = [f"btcusdt@{name}" for name in ALL + TIMED]
    async with (
        BinanceVenue(still(), Hand()) as venue,
        connect(f"{venue.ws_url}/stream?streams={'/'.join(wanted)}") as ws,
    ):
        await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        before = venue.ledger("BTCUSDT")[-1].trade_id
        venue.advance(START + 4 * SECOND)
        seen = await until_now(ws)
        ledger = venue.ledger("BTCUSDT", before + 1)
        book = await venue.book("BTCUSDT", 5)

    by_stream = {name: [m["data"] for m in seen if m["stream"] == name] for name in wanted}
    assert all(by_stream.values()), [name for name, got in by_stream.items() if not got]
    assert [t["t"] for t in by_stream["btcusdt@trade"]] == [row.trade_id for row in ledger]
    aggregates = by_stream["btcusdt@aggTrade"]
    assert aggregates[0]["f"] == ledger[0].trade_id
    assert aggregates[-1]["l"] == ledger[-1].trade_id
    for one, other in pairwise(aggregates):
        assert other["a"] == one["a"] + 1
        assert other["f"] == one["l"] + 1
    for name in ("btcusdt@depth", "btcusdt@depth@100ms"):
        diffs = by_stream[name]
        assert all(b["U"] == a["u"] + 1 for a, b in pairwise(diffs))
    assert len(by_stream["btcusdt@depth@100ms"]) > 5 * len(by_stream["btcusdt@depth"])
    ids = [quote["u"] for quote in by_stream["btcusdt@bookTicker"]]
    assert ids == sorted(set(ids))
    assert book is not None
    assert float(by_stream["btcusdt@bookTicker"][-1]["b"]) == book.bids[0][0] / 1e8
    assert sum(k["k"]["n"] for k in by_stream["btcusdt@kline_1s"] if k["k"]["x"]) == len(ledger)
    assert {k["k"]["i"] for k in by_stream["btcusdt@kline_1h@+08:00"]} == {"1h"}


@pytest.mark.asyncio
async def test_time_unit_microsecond_changes_times_and_nothing_else() -> None:
    async with (
        BinanceVenue(still(), Hand()) as venue,
        connect(f"{venue.ws_url}/ws/btcusdt@trade") as milli,
        connect(f"{venue.ws_url}/ws/btcusdt@trade?timeUnit=microsecond") as micro,
    ):
        await ask(milli, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        await ask(micro, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        venue.advance(START + SECOND)
        slow, fast = await until_now(milli), await until_now(micro)

    assert slow
    assert [{**m, "E": m["E"] // 1000, "T": m["T"] // 1000} for m in fast] == slow


@pytest.mark.asyncio
async def test_subscribe_list_unsubscribe_and_properties_answer_exactly() -> None:
    async with BinanceVenue(still(messages_per_s=100)) as venue, connect(f"{venue.ws_url}/ws") as ws:
        names = ["btcusdt@aggTrade", "btcusdt@depth"]
        assert await ask(ws, {"method": "SUBSCRIBE", "params": names, "id": 1}) == {"result": None, "id": 1}
        assert await ask(ws, {"method": "UNSUBSCRIBE", "params": names[1:], "id": None}) == {
            "result": None,
            "id": None,
        }
        assert (await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": "x"}))["result"] == names[:1]
        assert (await ask(ws, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}))["result"] is False
        await ask(ws, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5})
        assert (await ask(ws, {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}))["result"] is True


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("request_text", "code", "text"),
    [
        ("{nonsense", 3, "Invalid JSON"),
        ("[1]", 2, "Invalid request"),
        (
            '{"method":"SUBSCRIB","params":[],"id":1}',
            2,
            "unknown variant `SUBSCRIB`, expected one of `SUBSCRIBE`",
        ),
        ('{"params":[],"id":1}', 2, "missing field `method`"),
        ('{"method":"LIST_SUBSCRIPTIONS"}', 2, "request ID must be"),
        ('{"method":"LIST_SUBSCRIPTIONS","id":9223372036854775808}', 2, "request ID must be"),
        ('{"method":"LIST_SUBSCRIPTIONS","id":"' + "x" * 37 + '"}', 2, "request ID must be"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "Invalid request"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "expected Boolean"),
        ('{"method":"SET_PROPERTY","params":["other",true],"id":1}', 0, "Unknown property"),
        ('{"method":"GET_PROPERTY","params":[3],"id":1}', 2, "property name must be a string"),
        ('{"method":"GET_PROPERTY","params":["combined",1],"id":1}', 2, "too many parameters"),
    ],
)
async def test_a_bad_request_is_answered_with_its_code(request_text: str, code: int, text: str) -> None:
    async with BinanceVenue(still()) as venue, connect(f"{venue.ws_url}/ws") as ws:
        reply = await ask(ws, request_text)

    assert reply["code"] == code
    assert text in reply["msg"]


@pytest.mark.asyncio
async def test_an_unknown_stream_is_accepted_and_silent() -> None:
    async with BinanceVenue(still(), Hand()) as venue, connect(f"{venue.ws_url}/ws") as ws:
        params = ["nosuch@trade", "BTCUSDT@trade", "btcusdt@nothing"]
        assert (await ask(ws, {"method": "SUBSCRIBE", "params": params, "id": 1}))["result"] is None
        venue.advance(START + SECOND)
        assert await until_now(ws) == []


@pytest.mark.asyncio
async def test_an_unknown_path_is_refused() -> None:
    async with BinanceVenue(still()) as venue:
        with pytest.raises(websockets.InvalidStatus):
            await connect(f"{venue.ws_url}/other")


@pytest.mark.asyncio
async def test_the_sixth_message_in_a_second_disconnects() -> None:
    async with BinanceVenue(still()) as venue, connect(f"{venue.ws_url}/ws") as ws:
        for number in range(6):
            await ws.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        replies: list[int] = []
        with suppress(websockets.ConnectionClosedError):
            while True:
                replies.append(json.loads(await ws.recv())["id"])

    assert replies == [0, 1, 2, 3, 4]
    assert ws.close_code == 1008


@pytest.mark.asyncio
async def test_1024_streams_are_allowed_and_1025_are_not() -> None:
    names = [f"s{number}@trade" for number in range(1025)]
    async with BinanceVenue(still()) as venue, connect(f"{venue.ws_url}/ws", max_size=None) as ws:
        assert (await ask(ws, {"method": "SUBSCRIBE", "params": names[:1024], "id": 1}))["result"] is None
        assert (await ask(ws, {"method": "SUBSCRIBE", "params": names, "id": 2}))["code"] == 2
        listed = (await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 3}))["result"]
    assert listed == names[:1024]

    async with BinanceVenue(still(over_streams="disconnect")) as venue, connect(f"{venue.ws_url}/ws") as ws:
        await ws.send(json.dumps({"method": "SUBSCRIBE", "params": names, "id": 1}))
        await ws.wait_closed()
    assert ws.close_code == 1008


@pytest.mark.asyncio
async def test_too_many_connections_are_refused() -> None:
    async with (
        BinanceVenue(still(connections_per_5m=2)) as venue,
        connect(f"{venue.ws_url}/ws"),
        connect(f"{venue.ws_url}/ws"),
    ):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(f"{venue.ws_url}/ws")
    assert refused.value.response.status_code == 429


@pytest.mark.asyncio
async def test_pings_come_and_answered_ones_keep_the_link() -> None:
    quick = still(ping_every_s=0.02, pong_timeout_s=30, messages_per_s=10_000)
    async with BinanceVenue(quick) as venue, connect(f"{venue.ws_url}/ws") as ws:
        await ask(ws, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        (connection,) = venue.hub.connections
        await venue.hub.until(lambda: len(connection.pongs) >= 3)
        assert all(connection.pongs)  # websockets echoes the payload
        assert connection.open


@pytest.mark.asyncio
@pytest.mark.parametrize("empty", [True, False])
async def test_an_empty_pong_counts_and_silence_is_cut(empty: bool) -> None:
    """A bare socket, because every library answers pings by itself.

    The payload of an unanswered ping is sent again, that of an answered one is not.
    """
    quick = still(ping_every_s=0.02, pong_timeout_s=60 if empty else 0.2, messages_per_s=10_000)
    async with BinanceVenue(quick) as venue:
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        opcodes: list[int] = []
        payloads: list[bytes] = []
        while len(opcodes) < 100:
            try:
                head = await reader.readexactly(2)
            except asyncio.IncompleteReadError:
                break
            opcodes.append(head[0] & 0x0F)
            payloads.append(await reader.readexactly(head[1]))
            if empty:
                writer.write(bytes((0x80 | Opcode.PONG, 0x80, 0, 0, 0, 0)))
                if len(set(payloads)) == 5:
                    break
        writer.close()

    assert opcodes[0] == Opcode.PING
    if empty:
        assert len(set(payloads)) == 5
    else:
        assert opcodes[-1] == Opcode.CLOSE
        assert len(set(payloads[:-1])) == 1


@pytest.mark.asyncio
async def test_the_connection_ends_after_its_life() -> None:
    async with BinanceVenue(still(life_s=0.05)) as venue, connect(f"{venue.ws_url}/ws") as ws:
        await ws.wait_closed()

    assert (ws.close_code, ws.close_reason) == (1001, "24 hour limit")


@pytest.mark.asyncio
async def test_server_shutdown_is_announced_in_both_shapes_then_closed() -> None:
    async with (
        BinanceVenue(still(), Hand()) as venue,
        connect(f"{venue.ws_url}/ws/btcusdt@trade") as raw,
        connect(f"{venue.ws_url}/stream") as combined,
    ):
        await ask(raw, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        await ask(combined, {"method": "LIST_SUBSCRIPTIONS", "id": 1})
        venue.order(Shutdown(seconds=0.0))
        bare, wrapped = json.loads(await raw.recv()), json.loads(await combined.recv())
        await raw.wait_closed()
        await combined.wait_closed()

    assert bare == {"e": "serverShutdown", "E": START // 1_000_000}
    assert wrapped == {"stream": "!serverShutdown", "data": bare}
    assert raw.close_code == 1001


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_is_cut() -> None:
    async with BinanceVenue(still(max_buffer_bytes=100_000), Hand()) as venue:
        reader, writer = await asyncio.open_connection("127.0.0.1", venue.port, limit=1024)
        writer.write(
            b"GET /ws/btcusdt@depth20@100ms/btcusdt@trade HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        (connection,) = venue.hub.connections
        moment = START
        while connection.open:
            moment += 20 * SECOND
            venue.advance(moment)
            await asyncio.sleep(0)
        writer.close()

    assert connection.cut_because == "slow client"
