"""Who is let in, and how a stream ends for those who take too much or read too little."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from typing import Any

import pytest
import websockets
from serve_support import SECOND, T0, House
from stream_support import ORIGIN, Client, Served, streaming
from structlog.testing import capture_logs

from ticktape.model.records import Status
from ticktape.serve.keys import Scope


async def refused(served: Served, **headers: str) -> int:
    """Return the status of a handshake that is refused."""
    url = f"ws://127.0.0.1:{served.port}/api/v1/stream"
    with pytest.raises(websockets.InvalidStatus) as caught:
        await websockets.connect(url, additional_headers={name.replace("_", "-"): v for name, v in headers.items()})
    return caught.value.response.status_code


@pytest.mark.asyncio
async def test_x13_only_pages_of_ours_may_open_a_stream(house: House) -> None:
    async with streaming(house) as served:
        good = {"Authorization": f"Bearer {served.key}"}
        for evil in (
            "https://evil.example",
            "null",
            f"{ORIGIN}.evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:88",
        ):
            assert await refused(served, Origin=evil, **good) == 403, evil
        async with served.client(origin=ORIGIN) as client:
            await client.say(op="ping")
            assert (await client.hear())["type"] == "pong"


@pytest.mark.asyncio
async def test_x16_only_our_own_name_is_answered(house: House) -> None:
    async with streaming(house) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(
            b"GET /api/v1/stream HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await reader.readline()).split()[1] == b"400"
        writer.close()


@pytest.mark.asyncio
async def test_a_key_is_needed_and_its_scope(house: House) -> None:
    async with streaming(house) as served:
        assert await refused(served, Authorization="Bearer tt_nobody00_" + 43 * "x") == 401
        async with websockets.connect(f"ws://127.0.0.1:{served.port}/api/v1/stream") as ws:
            client = Client(ws)
            await client.say(op="subscribe", channels=["trades"], symbols=["*"])
            assert (await client.hear("error"))["error"]["code"] == "bad_key"
            assert (await client.closed())[0] == 1008
        async with websockets.connect(f"ws://127.0.0.1:{served.port}/api/v1/stream") as ws:
            client = Client(ws)
            await client.say(op="auth", key=house.key([Scope.HISTORY]))
            assert (await client.hear("error"))["error"]["code"] == "forbidden"
            assert (await client.closed())[0] == 1008
        async with websockets.connect(f"ws://127.0.0.1:{served.port}/api/v1/stream") as ws:
            client = Client(ws)
            await client.say(op="auth", key=served.key)
            await client.hear("welcome")


@pytest.mark.asyncio
async def test_a_key_for_some_symbols_streams_no_others(house: House) -> None:
    btc, eth = house.enrol("BTCUSDT"), house.enrol("ETHUSDT")
    async with streaming(house) as served, served.client(key=house.key(symbols=["ETHUSDT"])) as client:
        await client.say(op="subscribe", channels=["trades"], symbols=["BTCUSDT"])
        assert (await client.hear("error"))["error"]["code"] == "forbidden"
        await client.say(op="subscribe", channels=["trades", "bars.1s", "gaps"], symbols=["*"])
        await client.hear("snapshot")
        house.trades(btc, 2)
        house.trades(eth, 1, T0 + SECOND)
        house.trades(btc, 2, T0 + 2 * SECOND, 3)
        house.trades(eth, 1, T0 + 2 * SECOND, 2)
        assert {e["symbol"] for e in await client.until(house.tape.position - 1)} == {"ETHUSDT"}


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_x04_a_key_that_ends_closes_its_streams(house: House, how: str) -> None:
    # Looked at once a second; the requirement is five.
    async with streaming(house) as served:
        created = house.keys.create("short", [Scope.STREAM], expires_s=60.0)
        async with served.client(key=created.key) as client, served.client() as other:
            await client.say(op="subscribe", channels=["status"])
            await client.hear("snapshot")
            if how == "revoked":
                house.keys.revoke(created.info.prefix)
            else:
                house.clock.advance(61 * SECOND)
            assert await client.closed() == (1008, "the key was revoked or has expired")
            await other.say(op="ping")
            await other.hear("pong")


@pytest.mark.asyncio
async def test_x19_who_says_nothing_is_closed(house: House) -> None:
    async with streaming(house, auth_within_s=0.0, idle_after_s=0.0, keys_every_s=0.05) as served:
        async with websockets.connect(f"ws://127.0.0.1:{served.port}/api/v1/stream") as ws:
            assert await Client(ws).closed() == (1008, "no key came")
        async with served.client() as client:
            assert await client.closed() == (1008, "nothing was subscribed")


BAD: list[Any] = [
    "{", "[]", "1", '"x"', "{}", '{"op": "nope"}', '{"op": "subscribe"}', '{"op": "subscribe", "channels": "trades"}',
    '{"op": "subscribe", "channels": ["trades"], "symbols": [1]}', '{"op": "ping", "more": 1}',
    '{"op": "ping", "id": {}}', '{"op": "subscribe", "channels": ["trades"]}',
    '{"op": "subscribe", "channels": ["nothing"], "symbols": ["BTCUSDT"]}',
    '{"op": "subscribe", "channels": ["trades"], "symbols": ["../etc"]}', '{"op": "pause"}', "[" * 50_000,
    '{"op": "subscribe", "channels": ["trades"], "symbols": ["NOBODY"]}',
    '{"op": "subscribe", "channels": ["trades"], "symbols": ["*"], "rate": 0}',
    '{"op": "subscribe", "channels": ["trades"], "symbols": ["*"], "throttle": 2}',
    '{"op": "subscribe", "channels": ["trades"], "symbols": ["*"], "from_position": 99999}',
    '{"op": "subscribe", "channels": ["trades"], "symbols": ["*"], "from": "yesterday"}',
    '{"op": "subscribe", "channels": ["trades"], "symbols": ["*"], "from": "position:5", "to": "position:5"}',
    '{"op": "subscribe", "channels": ["trades"], "symbols": ["*"], "from": "position:0", "speed": 0}',
    '{"op": "unsubscribe", "channels": ["trades"], "symbols": ["BTCUSDT"]}', '{"op": "seek", "to": 5}',
    b"\x81\xa2op\xa4ping!",
]  # fmt: skip


@pytest.mark.asyncio
async def test_r24_what_makes_no_sense_is_answered_with_an_error(house: House) -> None:
    house.trades(house.enrol("BTCUSDT"), 1)
    async with streaming(house, most_errors=len(BAD), most_messages_per_s=1000) as served, served.client() as client:
        for text in BAD:
            await client.ws.send(text)
            answer = await client.hear()
            assert answer["type"] == "error", text
            assert answer["error"]["code"] in {"bad_input", "bad_symbol", "unknown_symbol"}, text
            assert answer["error"]["hint"], text
        await client.ws.send("{")
        await client.hear("error")
        assert (await client.closed())[0] == 1008


@pytest.mark.asyncio
async def test_r24_floods_long_messages_and_too_many_subscriptions_end_it(house: House) -> None:
    house.enrol("BTCUSDT")
    async with streaming(house, most_subscriptions=3) as served:
        async with served.client() as client:
            for _ in range(200):
                await client.ws.send('{"op":"ping"}')
            assert (await client.closed())[0] == 1008
        async with served.client() as client:
            await client.ws.send("x" * 70_000)
            assert (await client.closed())[0] == 1009
        async with served.client() as client:
            await client.ws.send(["x" * 40_000, "x" * 40_000])
            assert (await client.closed())[0] == 1009
        async with served.client() as client:
            await client.say(op="subscribe", channels=["trades", "quotes", "book", "gaps"], symbols=["BTCUSDT"])
            assert (await client.closed())[0] == 1008
        async with served.client() as client:
            for _ in range(200):
                await client.ws.ping()
            assert (await client.closed())[0] == 1008


@pytest.mark.asyncio
async def test_r39_clients_are_told_to_come_back_when_it_stops(house: House) -> None:
    async with AsyncExitStack() as clients:
        async with streaming(house) as served:
            client = await clients.enter_async_context(served.client())
            await client.say(op="subscribe", channels=["status"])
            await client.hear("snapshot")
        assert await client.closed() == (1012, "the server stops: come back")


class Deaf:
    """A client that subscribes and then reads nothing, with little room in its socket."""

    def __init__(self, served: Served, **terms: Any) -> None:
        self._served, self._terms = served, terms

    async def __aenter__(self) -> Client:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", self._served.port))
        self._ws = await websockets.connect(
            f"ws://127.0.0.1:{self._served.port}/api/v1/stream", sock=sock, max_queue=1, ping_interval=None,
            additional_headers={"Authorization": f"Bearer {self._served.key}"}, compression=None,
        )  # fmt: skip
        client = Client(self._ws)
        await client.say(op="subscribe", symbols=["*"], **self._terms)
        await client.hear("snapshot")
        self._ws.transport.pause_reading()
        return client

    async def __aexit__(self, *_: object) -> None:
        self._ws.transport.abort()


async def busy(house: House, served: Served, rounds: int, first: int = 0) -> None:
    """Write a lot, with one client that reads all of it."""
    async with served.client() as quick:
        await quick.say(op="subscribe", channels=["trades"], symbols=["*"])
        await quick.hear("snapshot")
        btc = house.directory.by_symbol("BTCUSDT")
        for k in range(first, first + rounds):
            house.trades(btc, 500, T0 + k * SECOND, 1 + 500 * k)
            await quick.until(house.tape.position - 1)


@pytest.mark.asyncio
async def test_r23_a_slow_reader_is_conflated_with_the_right_count(house: House) -> None:
    house.trades(house.enrol("BTCUSDT"), 1, T0 - SECOND, 10**9)
    limits: dict[str, Any] = {"buffer_bytes": 4096, "slow_after_s": 60.0}
    async with (
        streaming(house, **limits) as served,
        Deaf(served, channels=["trades", "status"], policy="conflate") as client,
    ):
        for _ in range(3000):  # statuses are never left out: they fill the buffer
            house.status(Status.SOURCE_STARTING)
        await busy(house, served, 16)
        house.status(Status.SOURCE_UP)
        client.ws.transport.resume_reading()
        await client.until(house.tape.position - 1)
    updates = [m for m in client.said if m["type"] == "update"]
    trades = [e for m in updates for e in m["events"] if e["kind"] == "trade"]
    assert len(trades) + sum(m["missed"] for m in updates) == 16 * 500
    assert sum(m["missed"] for m in updates) > 1000
    assert trades[-1]["venue_id"] == 16 * 500
    assert len([e for m in updates for e in m["events"] if e["kind"] == "status"]) == 3001


@pytest.mark.asyncio
async def test_r23_a_slow_reader_that_wants_every_event_gets_every_event(house: House) -> None:
    house.trades(house.enrol("BTCUSDT"), 1, T0 - SECOND, 10**9)
    limits: dict[str, Any] = {"buffer_bytes": 4096, "slow_after_s": 60.0}
    async with streaming(house, **limits) as served, Deaf(served, channels=["trades"], policy="every") as client:
        await busy(house, served, 40)
        client.ws.transport.resume_reading()
        events = await client.until(house.tape.position - 1)
        await busy(house, served, 2, 40)  # it is with the others again
        events += await client.until(house.tape.position - 1)
    assert [e["venue_id"] for e in events] == list(range(1, 42 * 500 + 1))


@pytest.mark.asyncio
@pytest.mark.parametrize("policy", ["every", "conflate", "disconnect"])
async def test_r23_a_reader_that_stays_slow_is_cut_and_told_how_much_it_lacks(house: House, policy: str) -> None:
    house.trades(house.enrol("BTCUSDT"), 1, T0 - SECOND, 10**9)
    limits: dict[str, Any] = {"buffer_bytes": 4096, "slow_after_s": 1.0}
    with capture_logs() as logs:
        async with (
            streaming(house, **limits) as served,
            Deaf(served, channels=["trades", "status"], policy=policy) as client,
        ):
            for _ in range(3000):
                house.status(Status.SOURCE_STARTING)
            await busy(house, served, 12)
            while not any(entry["event"] == "stream.slow_client_cut" for entry in logs):  # noqa: ASYNC110 - the hub logs it in its own time
                await asyncio.sleep(0.01)
            client.ws.transport.resume_reading()
            code, reason = await client.closed()
    assert code == 1013
    assert reason == f"slow reader: missed {next(e['missed'] for e in logs if 'missed' in e)}"
    assert policy == "disconnect" or int(reason.split()[-1]) > 1000
