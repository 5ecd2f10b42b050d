"""What answers of the REST API become, from a local HTTP server that says what a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from ticktape.errors import BadInput, Misconfigured, Throttled, TicktapeError, Unavailable, UnknownSymbol
from ticktape.sources.binance.rest import BinanceRest
from ticktape.sources.binance.weights import Weights


class Server:
    """Answers every request with `answer`, and keeps what was asked."""

    def __init__(self) -> None:
        self.answer = b""
        self.asked: list[bytes] = []

    def says(self, status: int, body: bytes, *headers: bytes) -> None:
        head = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
        self.answer = b"\r\n".join(head) + b"\r\n\r\n" + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def serving(timeout_s: float = 5.0) -> AsyncGenerator[tuple[Server, BinanceRest, Weights]]:
    server, weights = Server(), Weights()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, BinanceRest(f"http://127.0.0.1:{port}", weights, timeout_s=timeout_s) as rest:
        yield server, rest, weights


@pytest.mark.asyncio
async def test_what_is_asked_is_what_the_documentation_says() -> None:
    async with serving() as (server, rest, weights):
        server.says(200, b"[]", b"X-MBX-USED-WEIGHT-1M: 123")
        await rest.historical_trades("BTCUSDT", 17)
        assert server.asked[0].startswith(b"GET /api/v3/historicalTrades?symbol=BTCUSDT&fromId=17&limit=1000 ")
        assert b"x-mbx-time-unit: microsecond" in server.asked[0].lower()
        assert weights.used == 123
        await rest.agg_trades("BTCUSDT", 17)
        assert server.asked[1].startswith(b"GET /api/v3/aggTrades?symbol=BTCUSDT&fromId=17&limit=1000 ")
        server.says(200, b'{"lastUpdateId":1,"bids":[],"asks":[]}')
        assert await rest.depth("BTCUSDT", 1000) == b'{"lastUpdateId":1,"bids":[],"asks":[]}'
        assert weights.used == 123 + 4 + 50
        server.says(200, b'{"serverTime":1735689600121456}')
        assert await rest.time() == 1735689600121456


@pytest.mark.asyncio
async def test_typed_answers_are_read() -> None:
    async with serving() as (server, rest, weights):
        server.says(
            200,
            b'{"rateLimits":[{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":1200}],'
            b'"symbols":[{"symbol":"BTCUSDT","quoteAsset":"USDT","filters":[{"filterType":"PRICE_FILTER",'
            b'"tickSize":"0.01000000"},{"filterType":"LOT_SIZE","stepSize":"0.00001000"},{"filterType":"X"}]}]}',
        )
        info = await rest.exchange_info(["BTCUSDT"])
        assert b"symbols=%5B%22BTCUSDT%22%5D" in server.asked[0]
        assert weights.limit == 1200
        assert [rule.tick_size for rule in info.symbols[0].filters] == ["0.01000000", "", ""]
        server.says(200, b'[[1,"1","2","0.5","1.5","10",2,"15",3,"4","5","0"]]')
        assert (await rest.klines("BTCUSDT", "1m", 1, 2))[0][8] == 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, b'{"code":-1121,"msg":"Invalid symbol."}', UnknownSymbol, "BTCUSDT"),
        (400, b'{"code":-1102,"msg":"Mandatory parameter"}', BadInput, "-1102"),
        (400, b"<html>", BadInput, "400"),
        (403, b"", Unavailable, "403"),
        (404, b"", Misconfigured, "404"),
        (451, b"", Unavailable, "451"),
        (500, b'{"code":-1000,"msg":"x\\r\\ny"}', Unavailable, r"x\\r\\ny"),
        (504, b"", Unavailable, "504"),
        (200, b"[1", Unavailable, "not the answer"),
        (200, b'[{"id":-1}]', Unavailable, "not the answer"),
        (200, b"\xff", Unavailable, "not the answer"),
    ],
)
async def test_each_refusal_says_what_the_catcher_should_do(
    status: int, body: bytes, error: type[TicktapeError], words: str
) -> None:
    async with serving() as (server, rest, _):
        server.says(status, body)
        with pytest.raises(error, match=words) as raised:
            await rest.historical_trades("BTCUSDT", 1)
        assert type(raised.value) is error


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "headers", "pause_s"),
    [(429, [b"Retry-After: 7"], 7), (418, [b"Retry-After: 259200"], 259_200), (429, [], 60), (418, [], 120)],
)
async def test_r27_r30_after_429_or_418_nothing_is_sent_until_the_venue_said(
    status: int, headers: list[bytes], pause_s: float
) -> None:
    async with serving() as (server, rest, _):
        server.says(status, b'{"code":-1003,"msg":"Too much request weight used"}', *headers)
        for _ in range(2):
            with pytest.raises(Throttled) as raised:
                await rest.time()
            assert pause_s - 5 < raised.value.retry_after_s <= pause_s
        assert len(server.asked) == 1


@pytest.mark.asyncio
async def test_silence_and_a_closed_port_are_unavailable() -> None:
    async with serving(timeout_s=0.05) as (server, rest, _):
        server.says(200, b"")
        server.answer = b""
        with pytest.raises(Unavailable):
            await rest.time()
    async with BinanceRest("http://127.0.0.1:1", Weights()) as rest:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
            await rest.time()
