"""What the tests of the past share: a house with a lake, and questions answered without a process between."""

from __future__ import annotations

from typing import Any

import msgspec
from serve_support import House

from ticktape.keep.flush import Flusher
from ticktape.serve.control import Control
from ticktape.serve.keys import Key, Scope
from ticktape.serve.past import asks, pool, worker
from ticktape.serve.past.asks import Allowance, Ask
from ticktape.serve.past.desk import Desk, Said
from ticktape.serve.past.pool import Body, Pool, PoolSettings
from ticktape.tape.reader import Reader

EVERY = "2025-01-01"
END = "2026-01-01"
KEY = Key(
    prefix="test", name="test", scopes=frozenset(Scope), symbols=None, per_s=1.0, created_ns=0, expires_ns=None,
    revoked_ns=None, last_used_ns=None,
)  # fmt: skip


class Direct(Pool):
    """Answers in this process, by the same frames."""

    def __init__(self, house: House) -> None:
        super().__init__(house.data, PoolSettings())
        self._desk = worker.Desk(house.data)

    async def ask(self, key: str, ask: Ask) -> Body:
        """Return the answer."""
        del key
        reply, body = self._desk.answer(asks.read_ask(asks.frame(ask)[asks.LENGTH.size :]))
        reply = asks.read_reply(asks.frame(reply)[asks.LENGTH.size :])
        if reply.trouble is not None:
            raise pool._error(reply.trouble)  # pyright: ignore[reportPrivateUsage]
        assert reply.size == len(body)
        return Body(reply, [body])


class Past:
    """Asks a desk and decodes what comes back."""

    def __init__(self, house: House, **settings: Any) -> None:
        self.house = house
        allowance = Allowance(**{k: settings.pop(k) for k in list(settings) if k in Allowance.__struct_fields__})
        self.desk = Desk(
            house.data, Direct(house), Control(house.data / "record.sock"), allowance=allowance, **settings
        )  # fmt: skip
        self._flusher: Flusher | None = None

    def flush(self, stop: int | None = None) -> None:
        """Move the tape into the lake."""
        self._flusher = self._flusher or Flusher(self.house.data / "lake", Reader(self.house.data / "tape"))
        self._flusher.flush(stop)

    async def body(self, what: str, symbols: str = "BTCUSDT", *args: Any, **more: Any) -> Body:
        """Return the body of an answer of `ticks`, `bars` or `asof`."""
        rest = {name: more.pop(name) for name in ("quotes", "one") if name in more}
        asked: dict[str, Any] = {"start_time": EVERY, "end_time": END, **more}
        said = Said(symbols.split(","), **asked)
        return await getattr(self.desk, what)(KEY, self.house.queries(), said, *args, **rest)

    async def ask(self, what: str, symbols: str = "BTCUSDT", *args: Any, **more: Any) -> dict[str, Any]:
        """Return the JSON answer."""
        return msgspec.json.decode((await self.body(what, symbols, *args, **more)).pieces[0])

    async def pages(self, what: str, symbols: str, *args: Any, **more: Any) -> list[dict[str, Any]]:
        """Return every page of an answer."""
        found = [await self.ask(what, symbols, *args, **more)]
        while (cursor := found[-1]["next_cursor"]) is not None:
            found.append(await self.ask(what, symbols, *args, cursor=cursor, **more))
        return found


def rows_of(pages: list[dict[str, Any]], name: str = "ticks") -> list[dict[str, Any]]:
    """Return the rows of all pages."""
    return [row for page in pages for row in page[name]]
