"""What the REST door refuses, in one shape, and what it never lets out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from serve_support import House, serving, until

from ticktape.control import Client
from ticktape.serve.control import Control
from ticktape.serve.doors import rest
from ticktape.serve.process import ServeSettings, serve

SHAPE = {"code", "message", "hint", "request_id"}
HOSTILE = [
    "../x",
    "..%2Fx",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..\\",
    "..%5C",
    "BTC%00USDT",
    "%00",
    "%0d%0aX-Evil:%201",
    "A" * 300,
    "%D0%92TCUSDT",  # Cyrillic
    "BTCUSDT%E2%80%AE",  # right-to-left override
    "%ff%fe",
    "BTC USDT".replace(" ", "%20"),
    "a//b",
    "%25",
    "<script>",
    "%27%3B--",
]
ON_SYMBOLS = ["quotes/latest/", "quotes/history/", "ohlc/", "ohlc/latest/", "gaps?symbol=", "ticks/realtime?symbols="]


def files_of(data: Path) -> list[Path]:
    """Return every file of a data folder but the audit's, whose names are days, and the server's own."""
    found = (path.relative_to(data) for path in data.rglob("*"))
    return sorted(path for path in found if "audit" not in path.parts and not path.name.startswith("alerts.sqlite"))


def held(body: Any) -> Any:
    """Return the error after holding it to the one shape."""
    assert set(body) == {"error"}
    assert set(body["error"]) == SHAPE
    assert all(isinstance(value, str) for value in body["error"].values())
    assert re.fullmatch("[0-9a-f]{16}", body["error"]["request_id"])
    assert body["error"]["message"].isprintable()
    return body["error"]


@pytest.mark.asyncio
async def test_x10_hostile_symbols_are_refused_on_every_route(house: House) -> None:
    house.enrol("BTCUSDT")
    async with serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        before = files_of(house.data)
        for path, symbol in product(ON_SYMBOLS, HOSTILE):
            status, body = await client.exactly(f"/api/v1/{path}{symbol}")
            assert status in {404, 422}, (path, symbol, body)
            # A line break matches no route at all.
            assert held(msgspec.json.decode(body))["code"] in {"bad_symbol", "unknown_symbol", "not_found"}
        for symbol in HOSTILE:
            status, body = await client.exactly(f"/api/v1/sources/{symbol}/start", "POST")
            assert status in {404, 422}, (symbol, body)
            held(msgspec.json.decode(body))
        assert files_of(house.data) == before


REFUSED = [
    ("GET", "/api/v1/nothing", 404, "not_found"),
    ("GET", "/api", 404, "not_found"),
    ("GET", "/api/v1/status/", 404, "not_found"),
    ("POST", "/api/v1/status", 405, "method_not_allowed"),
    ("DELETE", "/api/v1/ohlc/BTCUSDT", 405, "method_not_allowed"),
    ("GET", "/api/v1/quotes/latest/ETHUSDT", 404, "unknown_symbol"),
    ("GET", "/api/v1/quotes/latest/", 422, "bad_symbol"),
    ("GET", "/api/v1/ticks/realtime", 422, "bad_input"),
    ("GET", "/api/v1/ticks/realtime?symbols=", 422, "bad_symbol"),
    ("GET", "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=0", 422, "bad_input"),
    ("GET", "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=-1", 422, "bad_input"),
    ("GET", "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=5001", 422, "bad_input"),
    ("GET", "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=many", 422, "bad_input"),
    ("GET", "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=1e3", 422, "bad_input"),
    ("GET", "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=99999999999999999999", 422, "bad_input"),
    ("GET", "/api/v1/ticks/realtime?symbols=" + ",".join(f"S{n}" for n in range(51)), 422, "bad_symbol"),
    ("GET", "/api/v1/ohlc/BTCUSDT?timeframe=7m", 422, "bad_input"),
    ("GET", "/api/v1/ohlc/BTCUSDT?timeframe=1m%0a", 422, "bad_input"),
    ("GET", "/api/v1/ohlc/BTCUSDT?basis=mid", 422, "bad_input"),
    ("GET", "/api/v1/gaps?state=lost%0d%0a", 422, "bad_input"),
    ("GET", "/api/v1/status?x=" + "x" * 9000, 400, "too_long"),
    ("POST", "/api/v1/sources/no%20name/start", 422, "bad_input"),
    ("POST", "/api/v1/sources/binance/start", 503, "unavailable"),
]


@pytest.mark.asyncio
async def test_every_refusal_has_the_one_shape(house: House) -> None:
    house.enrol("BTCUSDT")
    async with serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        for method, target, status, code in REFUSED:
            answer = await client.request(method, target)
            error = held(answer.json())
            assert (answer.status_code, error["code"]) == (status, code), (method, target, error)
            assert error["message"], target
            assert error["hint"], target
            assert answer.headers["x-request-id"] == error["request_id"]


@pytest.mark.asyncio
async def test_a_body_that_is_not_as_agreed_is_refused(house: House) -> None:
    bodies = [b"", b"[]", b"{", b'{"add": "BTCUSDT"}', b'{"ad": []}', b'{"add": ["../x"]}', b"\xff\xfe"]
    async with serving(house) as client:
        for body in bodies:
            answer = await client.post("/api/v1/sources/binance/symbols", content=body)
            assert answer.status_code == 422, body
            assert held(answer.json())["code"] in {"bad_input", "bad_symbol"}, body


@pytest.mark.asyncio
async def test_a_body_without_end_is_cut_off(house: House) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    async with serving(house) as client:
        answer = await client.post("/api/v1/sources/binance/symbols", content=endless())
    assert (answer.status_code, held(answer.json())["code"]) == (413, "too_large")


@pytest.mark.asyncio
async def test_only_our_own_name_is_answered(house: House) -> None:
    async with serving(house) as client:
        foreign = ["evil.example", "127.0.0.1.evil.example", "", "["]
        ours = ["localhost", "127.0.0.1:1", "[::1]:8877", "LOCALHOST"]
        for host, status in [*((name, 400) for name in foreign), *((name, 200) for name in ours)]:
            answer = await client.get("/healthz", headers={"Host": host})
            assert answer.status_code == status, host
        assert held((await client.get("/healthz", headers={"Host": "evil.example"})).json())["code"] == "bad_host"


@pytest.mark.asyncio
async def test_every_answer_carries_the_security_headers(house: House) -> None:
    async with serving(house) as client:
        for path in ("/healthz", "/docs", "/api/v1/nothing", "/api/v1/status"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers


@pytest.mark.asyncio
async def test_x27_our_own_fault_tells_the_outside_an_id_and_the_log_the_rest(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken_control(*_: object) -> msgspec.Raw:
        raise RuntimeError("password=hunter2 in /home/someone")

    def broken_ask(_: object) -> None:
        raise RuntimeError("password=hunter2 in /home/someone")

    monkeypatch.setattr(rest.Parts, "ask", broken_ask)
    monkeypatch.setattr("ticktape.serve.doors.keys._for_all", broken_ask)
    monkeypatch.setattr(Client, "ask", broken_control)
    async with serving(house) as client:
        for route in rest.routes(rest.Rest(None)):  # type: ignore[arg-type]
            # Two stand on the hub and not on the queries, one on nothing but the key.
            if route.path in {"/quotes/stream", "/sse", "/keys/self"}:
                continue
            path = "/api/v1" + route.path.replace("{symbol:path}", "X").replace("{name}", "binance")
            path = path.replace("{date}", "2025-11-20").replace("{prefix}", "nobody00")
            body = b'{"query": "SELECT 1"}' if path.endswith("/sql") else b"{}"
            asked = "?symbols=X&symbol=X&start_time=2025-11-20&end_time=2025-11-21"
            with structlog.testing.capture_logs() as logs:
                answer = await client.request(route.method, path + asked, content=body)
            error = held(answer.json())
            assert (answer.status_code, error["code"]) == (500, "internal"), path
            assert "hunter2" not in answer.text
            (line,) = [entry for entry in logs if entry["event"] == "serve.request_failed"]
            assert line["request_id"] == error["request_id"]
            assert line["exc_info"]


@pytest.mark.asyncio
async def test_x24_what_a_caller_sends_cannot_forge_a_line_of_the_log(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("no")

    def note(_: str, **pairs: object) -> None:
        lines.append(repr(pairs))

    lines: list[str] = []
    monkeypatch.setattr(rest.Parts, "ask", broken)
    monkeypatch.setattr("ticktape.serve.doors.gate.log.exception", note)
    async with serving(house) as client:
        status, _ = await client.exactly("/api/v1/ticks/realtime?symbols=X&x=%0d%0aforged", "GET")
        assert status == 500
        monkeypatch.setattr("ticktape.serve.doors.gate.Gate._check_host", broken)  # fails on any path at all
        status, _ = await client.exactly("/%0d%0a2025-11-20T00:00:00Z%20info%20forged=1")
        assert status == 500
    assert len(lines) == 2
    assert "\\\\r\\\\n2025" in lines[1]  # escaped once by us, once more by repr
    assert all(line.isprintable() for line in lines)


# -- the recorder --------------------------------------------------------------------------------

Answer = Callable[[Any], bytes]


async def recorder(path: Path, answer: Answer) -> tuple[asyncio.Server, list[Any]]:
    """Stand in for the recorder's socket."""
    asked: list[Any] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(msgspec.json.decode(await reader.readline()))
        writer.write(answer(asked[-1]))
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(talk, path), asked


async def with_recorder(house: House, answer: Answer, ask: Callable[[Any], Awaitable[Any]]) -> tuple[Any, list[Any]]:
    server, asked = await recorder(house.data / "record.sock", answer)
    async with server, serving(house) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        return await ask(client), asked


@pytest.mark.asyncio
async def test_the_recorder_is_asked_what_the_caller_asked(house: House) -> None:
    async def ask(client: Any) -> list[Any]:
        body = {"add": ["SOLUSDT"], "remove": ["BRK/B"]}
        return [
            await client.post("/api/v1/sources/binance/start"),
            await client.post("/api/v1/sources/binance/stop"),
            await client.post("/api/v1/sources/binance/restart"),
            await client.post("/api/v1/sources/binance/symbols", json=body),
            await client.get("/api/v1/sources"),
            await client.post("/api/v1/gaps/fill"),
        ]

    answers, asked = await with_recorder(house, lambda _: b'{"ok":{"state":"done"}}\n', ask)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert answers[0].json() == {"ok": {"state": "done"}}
    assert answers[4].json()["record"] == {"state": "done"}
    assert asked == [
        {"call": "start", "name": "binance"},
        {"call": "stop", "name": "binance"},
        {"call": "restart", "name": "binance"},
        {"call": "symbols", "name": "binance", "add": ["SOLUSDT"], "remove": ["BRK/B"]},
        {"call": "sources"},
        {"call": "fill"},
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (b'{"error":{"code":"unknown_source","message":"no source x","hint":"binance"}}\n', 404, "unknown_source"),
        (b'{"error":{"code":"busy","message":"restarting","hint":"wait"}}\n', 409, "busy"),
        (b'{"error":{"code":"odd","message":"no","hint":""}}\n', 422, "odd"),
        (b"", 503, "unavailable"),
        (b"{garbage\n", 503, "unavailable"),
        (b"x" * (2 << 20), 503, "unavailable"),
    ],
)
async def test_what_the_recorder_refuses_reaches_the_caller(house: House, said: bytes, status: int, code: str) -> None:
    async def ask(client: Any) -> Any:
        return await client.post("/api/v1/sources/x/start")

    answer, _ = await with_recorder(house, lambda _: said, ask)
    assert (answer.status_code, held(answer.json())["code"]) == (status, code)


@pytest.mark.asyncio
async def test_a_recorder_that_does_not_answer_is_not_waited_for_forever(tmp_path: Path) -> None:
    from ticktape.errors import Unavailable
    from ticktape.serve.control import Request

    ended = asyncio.Event()

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_unix_server(mute, tmp_path / "record.sock"):
        with pytest.raises(Unavailable, match="did not answer"):
            await Control(tmp_path / "record.sock", timeout_s=0.05).ask(Request("sources"))
        ended.set()


# -- before there is a tape ----------------------------------------------------------------------


@pytest.mark.asyncio
async def test_without_a_tape_it_says_so_and_answers_when_there_is_one(tmp_path: Path) -> None:
    empty = tmp_path / "data"
    with structlog.testing.capture_logs() as logs:
        first = await _ask_without_tape(empty)
    assert (first.status_code, held(first.json())["hint"]) == (503, "ticktape up")
    assert [entry["event"] for entry in logs].count("serve.waiting_for_tape") == 1


async def _ask_without_tape(data: Path) -> Any:
    # House makes a tape, so the server is started on a folder of its own, and the tape appears under it.
    import socket

    import httpx2

    from ticktape.serve.keys import KeyStore

    stop, listen = asyncio.Event(), socket.socket()
    listen.bind(("127.0.0.1", 0))
    listen.listen()
    store = KeyStore(data)
    key = store.create("k", ["realtime"]).key
    store.close()
    task = asyncio.create_task(serve(ServeSettings(data=data), stop, listen=listen))
    address, headers = f"http://127.0.0.1:{listen.getsockname()[1]}", {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=address, headers=headers) as client:
        assert (await client.get("/healthz")).json() == {"ok": True}
        answer = await client.get("/api/v1/status")
        house = House(data)
        await until(lambda: client.get("/api/v1/status"), 200)
        house.close()
    stop.set()
    await task
    return answer
