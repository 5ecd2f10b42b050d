"""What the doors ask about the past: checks what was said, adds what the live state knows, and asks a worker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from ticktape.errors import BadInput, TicktapeError
from ticktape.model.symbols import shown
from ticktape.serve.control import Control
from ticktape.serve.control import Request as Call
from ticktape.serve.keys import Forbidden, Key
from ticktape.serve.past import asks, cursors, when
from ticktape.serve.past.asks import Allowance, Format, Kind
from ticktape.serve.past.pool import Body, Pool
from ticktape.serve.queries import Queries

MOST_TEXT_ROWS = 100_000
MOST_ROWS = 250_000  # of Arrow and Parquet
MOST_SQL_SECONDS = 10.0


class Said(NamedTuple):
    """A range as it was asked for, not yet looked at."""

    symbols: Sequence[str]
    start_time: str
    end_time: str | None = None
    limit: int = 1000
    cursor: str | None = None
    as_known_at: str | None = None
    format: Format = "json"


class Desk:
    """Answers about the past for one data folder."""

    def __init__(
        self, data: Path, pool: Pool, control: Control, *, allowance: Allowance | None = None,
        retain_days: dict[str, int] | None = None,
    ) -> None:  # fmt: skip
        self._pool = pool
        self._classes = Classes(data, control)
        self._allowance = allowance or Allowance()
        self._retain_days = retain_days or {}

    @property
    def pool(self) -> Pool:
        """The workers."""
        return self._pool

    # -- ranges ------------------------------------------------------------------------------------

    async def ticks(self, key: Key, queries: Queries, said: Said, kind: Kind) -> Body:
        """Return raw rows."""
        return await self._pool.ask(
            key.prefix, asks.AskTicks(**self._ranged(queries, said, "ticks", kind), kind=kind)
        )  # fmt: skip

    async def bars(
        self, key: Key, queries: Queries, said: Said, interval: str, *, quotes: bool = False, one: bool = False
    ) -> Body:  # fmt: skip
        """Return bars of any width."""
        width = when.parse_width(interval)
        rest = self._ranged(queries, said, "bars", interval, quotes)
        return await self._pool.ask(
            key.prefix, asks.AskBars(**rest, interval=interval, width_ns=width, quotes=quotes, one=one)
        )

    async def asof(self, key: Key, queries: Queries, said: Said) -> Body:
        """Return trades with the quote in force."""
        return await self._pool.ask(key.prefix, asks.AskAsof(**self._ranged(queries, said, "asof")))

    async def estimate(self, key: Key, queries: Queries, said: Said, kind: Kind, interval: str | None) -> Body:
        """Return what a question would read."""
        width = when.parse_width(interval) if interval is not None else 0
        ask = asks.AskEstimate(**self._ranged(queries, said, "estimate"), kind=kind, width_ns=width)
        return await self._pool.ask(key.prefix, ask)

    def _ranged(self, queries: Queries, said: Said, *what: object) -> dict[str, Any]:
        now = queries.now_ns()
        known = when.parse_known(said.as_known_at)
        start, end = when.parse_range(said.start_time, said.end_time, now)
        most = MOST_ROWS if said.format in ("arrow", "parquet") else MOST_TEXT_ROWS
        if not 1 <= said.limit <= most:
            raise BadInput(f"limit: {said.limit} rows, 1 to {most} as {said.format}", hint="pages: next_cursor")
        facts = queries.facts(said.symbols)
        binding = cursors.binding_of(
            *what, *sorted(said.symbols), said.start_time, said.end_time, said.as_known_at
        )  # fmt: skip
        after = cursors.decode(said.cursor, binding) if said.cursor is not None else None
        if after is not None:
            start, end = after.start_ns, after.end_ns  # now was another then
        return {
            **self._common(queries, now),
            "facts": facts,
            "start_ns": start,
            "end_ns": end,
            "limit": said.limit,
            "format": said.format,
            "binding": binding,
            "after": after,
            "known_ns": known.ns,
            "known_position": known.position,
        }

    def _common(self, queries: Queries, now_ns: int) -> dict[str, Any]:
        return {
            "now_ns": now_ns,
            "allowance": self._allowance,
            "sources": queries.source_names(),
            "retain_days": self._retain_days,
        }

    # -- days and statements -----------------------------------------------------------------------

    async def day(
        self, key: Key, queries: Queries, symbol: str, day: str, basis: Literal["utc", "trade_date"]
    ) -> Body:  # fmt: skip
        """Return the certificate of a day. Raises BadInput for what is no date."""
        if not _is_date(day):
            raise BadInput(f"not a date: '{shown(day)}'", hint="/api/v1/completeness/BTCUSDT/2025-11-20")
        fact = queries.facts([symbol])[0]
        ask = asks.AskDay(
            **self._common(queries, queries.now_ns()), fact=fact, date=day, basis=basis,
            classes=await self._classes.known(), sample=queries.common()[1],
        )  # fmt: skip
        return await self._pool.ask(key.prefix, ask)

    async def sql(self, key: Key, queries: Queries, query: str, limit: int, form: Format) -> Body:
        """Return the rows of a statement. Raises Forbidden for a key that may not read all symbols."""
        if key.symbols is not None:
            raise Forbidden("a key for some symbols cannot ask in SQL, which reads all", hint="ticktape key create")
        if not 1 <= limit <= MOST_TEXT_ROWS:
            raise BadInput(f"limit: 1 to {MOST_TEXT_ROWS} rows", hint='{"query": "...", "limit": 1000}')
        common = self._common(queries, queries.now_ns())
        common["allowance"] = msgspec.structs.replace(
            self._allowance, seconds=min(self._allowance.seconds, MOST_SQL_SECONDS)
        )  # fmt: skip
        ask = asks.AskSql(**common, query=query, limit=limit, format=form, instruments=queries.listed())
        return await self._pool.ask(key.prefix, ask)


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and date.fromisoformat(text).year >= 1970
    except ValueError:
        return False


class Classes:
    """How far each source can prove its channels: asked of the recorder, and remembered in a file for when it is away.

    Only the running source knows. What it said last is kept in `<data>/completeness.json`, so that a certificate
    does not depend on whether the recorder happens to run.
    """

    def __init__(self, data: Path, control: Control) -> None:
        self._path = data / "completeness.json"
        self._control = control

    async def known(self) -> dict[str, dict[str, str]]:
        """Return source -> channel -> class."""
        kept = self._kept()
        try:
            told = msgspec.json.decode(await self._control.ask(Call("sources")), type=list[_Told])
        except (TicktapeError, msgspec.DecodeError):
            return kept
        found = {**kept, **{one.name: one.completeness for one in told if one.completeness}}
        if found != kept:
            beside = self._path.with_suffix(f".{os.getpid()}.new")
            beside.write_bytes(msgspec.json.encode(found))
            beside.rename(self._path)
        return found

    def _kept(self) -> dict[str, dict[str, str]]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, dict[str, str]])
        except (OSError, msgspec.DecodeError):
            return {}


class _Told(msgspec.Struct, frozen=True):
    name: str
    completeness: dict[str, str] = {}
