"""What is answered without the framework is what the framework answers, to the byte."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from serve_support import T0, House
from starlette.types import Message

from ticktape.serve.audit import Audit
from ticktape.serve.control import Control
from ticktape.serve.doors import rest
from ticktape.serve.doors.hot import HotRoute
from ticktape.serve.keys import KeyStore, Scope
from ticktape.serve.limits import Limits
from ticktape.serve.live import Live
from ticktape.serve.queries import Queries
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

PLAIN = [
    "/api/v1/ticks/realtime?symbols=BTCUSDT",
    "/api/v1/ticks/realtime?symbols=BTCUSDT,ETHUSDT&limit=2",
    "/api/v1/ticks/realtime?limit=3&symbols=ETHUSDT%2CBTCUSDT",
    "/api/ticks/realtime?symbols=BTCUSDT&limit=5000",
    "/api/v1/quotes/latest/BTCUSDT",
    "/api/quotes/history/BTCUSDT?limit=7",
    "/api/v1/ohlc/BTCUSDT?timeframe=1s&limit=2&basis=trades",
    "/api/v1/ohlc/latest/BTCUSDT?basis=quotes",
    # refused by what is behind, the same by both ways
    "/api/v1/ticks/realtime?symbols=NOSUCH",
    "/api/v1/ticks/realtime?symbols=a%20b",
    "/api/v1/ohlc/BTCUSDT?timeframe=3m",
    "/api/v1/quotes/latest/BRK//B",
]
ODD = [
    "/api/v1/ticks/realtime",
    "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=0",
    "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=5001",
    "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=+7",
    "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=%D9%A3",
    "/api/v1/ticks/realtime?symbols=BTCUSDT&limit=1&limit=2",
    "/api/v1/ticks/realtime?symbols=BTCUSDT&more=1",
    "/api/v1/ohlc/BTCUSDT?basis=books",
    "/api/v1/ohlc/",
    "/api/v1/quotes/latest/BTC\nUSDT",
    "/api/v1/ticks/realtime/",
]


class Two:
    """One house with both doors."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        live, store = Live(Reader(house.data / "tape"), house.clock), KeyStore(house.data, house.clock)
        self.audit = Audit(house.data, store.pepper, house.clock)
        self.directory = TapeDirectory(house.data / "tape")
        self.store = store
        parts = rest.Parts(
            store, Limits(house.clock), Control(house.data / "none"), audit=self.audit,
            queries=Queries(live, self.directory, house.clock),
        )  # fmt: skip
        self.hot = rest.build(parts)
        with monkeypatch.context() as without:
            without.setattr(rest, "hot_routes", nothing)
            self.plain = rest.build(parts)

    def close(self) -> None:
        """Close the files."""
        self.store.close()
        self.directory.close()


def nothing(_: rest.Rest) -> list[HotRoute]:
    """Leave everything to the framework."""
    return []


async def ask(app: Any, target: str, key: str, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes, Any]:
    """Return status, headers, body and the route that answered."""
    path, _, query = target.partition("?")
    sent: list[Message] = []
    scope: dict[str, Any] = {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "client": ("127.0.0.1", 1),
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {key}".encode())],
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = dict(sent[0]["headers"])
    headers.pop(b"x-request-id")
    body = re.sub(rb'"request_id":"[0-9a-f]{16}"', b"", b"".join(m.get("body", b"") for m in sent[1:]))
    return sent[0]["status"], headers, body, scope.get("route")


@pytest.fixture
def two(house: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both doors of a house with two symbols."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        who = house.enrol(symbol)
        house.trades(who, 20)
        house.quotes(who, 20)
    doors = Two(house, monkeypatch)
    yield doors
    doors.close()


@pytest.mark.parametrize("target", [*PLAIN, *ODD])
def test_both_doors_answer_the_same(house: House, two: Two, target: str) -> None:
    keys = [house.key(), house.key([Scope.STREAM]), house.key([Scope.REALTIME], symbols=["ETHUSDT"])]
    for key, method in [(key, "GET") for key in keys] + [(keys[0], "POST"), (keys[0], "HEAD")]:
        *one, route = asyncio.run(ask(two.hot, target, key, method))
        *other, _ = asyncio.run(ask(two.plain, target, key, method))
        assert one == other
        if method == "GET":
            assert isinstance(route, HotRoute) == (target in PLAIN)
    waiting = two.audit._waiting  # pyright: ignore[reportPrivateUsage]
    entries = [(e.route, e.said, e.unsaid, e.status, e.code, e.rows, e.key, e.bytes) for e in waiting]
    assert entries[::2] == entries[1::2]
    assert all(entry.ts == T0 for entry in waiting)
