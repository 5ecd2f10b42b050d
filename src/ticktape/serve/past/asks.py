"""What the door asks of a worker, and what comes back: plain data on a socket, one frame each way and then the body.

Nothing here imports Arrow, Delta or DuckDB: `serve` itself never loads them.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec
from msgspec import Struct

from ticktape.model.instruments import Instrument
from ticktape.serve.answers import Freshness
from ticktape.serve.past.cursors import Mark

Kind = Literal["trades", "quotes", "book"]
Format = Literal["json", "ndjson", "csv", "arrow", "parquet", "msgpack"]
LENGTH = struct.Struct("<I")
MOST_FRAME = 64 << 20


class Allowance(Struct, frozen=True, kw_only=True):
    """What one question may take."""

    seconds: float = 30.0
    memory_mb: int = 1024
    rows_read: int = 50_000_000
    answer_mb: int = 48


class Fact(Struct, frozen=True, kw_only=True):
    """What the live state says of an instrument."""

    instrument: Instrument
    freshness: Freshness
    trades_until: int  # venue time up to which bars are closed
    quotes_until: int
    sources: list[int]  # who wrote its newest records


class Ask(Struct, frozen=True, kw_only=True, tag_field="ask"):
    """What every question carries."""

    now_ns: int
    allowance: Allowance
    sources: dict[int, str]  # names by id
    retain_days: dict[str, int] = {}


class Ranged(Ask, frozen=True, kw_only=True):
    """A question about instruments in [start_ns, end_ns)."""

    facts: list[Fact]
    start_ns: int
    end_ns: int
    limit: int = 1000
    format: Format = "json"
    binding: bytes = b""
    after: Mark | None = None
    known_ns: int | None = None
    known_position: int | None = None


class AskTicks(Ranged, frozen=True, kw_only=True, tag="ticks"):
    """Raw rows."""

    kind: Kind


class AskBars(Ranged, frozen=True, kw_only=True, tag="bars"):
    """Bars of any width."""

    interval: str
    width_ns: int
    quotes: bool = False
    one: bool = False  # of one symbol: rows do not name it


class AskAsof(Ranged, frozen=True, kw_only=True, tag="asof"):
    """Trades, each with the quote that was in force."""


class AskEstimate(Ranged, frozen=True, kw_only=True, tag="estimate"):
    """What a question would read."""

    kind: Kind
    width_ns: int = 0


class AskDay(Ask, frozen=True, kw_only=True, tag="day"):
    """The certificate of one instrument's day."""

    fact: Fact
    date: str
    basis: Literal["utc", "trade_date"]
    classes: dict[str, dict[str, str]]  # source name -> channel -> completeness class
    sample: bool
    deep: bool = False  # from the rows, whatever keep noted; what differs from its notes is told


class AskSql(Ask, frozen=True, kw_only=True, tag="sql"):
    """A statement over the lake's tables."""

    query: str
    limit: int
    format: Format
    instruments: list[Instrument] = []


class AskOlder(Ask, frozen=True, kw_only=True, tag="older"):
    """What `serve` held in memory of the time before the tape begins; see older.py."""

    tape_first: int  # where the tape began when it was asked
    instruments: list[int]
    room: list[int]  # bars kept of each timeframe


AnyAsk = AskTicks | AskBars | AskAsof | AskEstimate | AskDay | AskSql | AskOlder


class Trouble(Struct, frozen=True):
    """Why there is no answer."""

    kind: Literal["bad_input", "too_costly", "unavailable", "damaged", "internal"]
    message: str
    hint: str = ""


class Reply(Struct, frozen=True, kw_only=True):
    """The head of an answer; `size` bytes of body follow."""

    size: int = 0
    rows: int | None = None  # given; None where rows are not what it gives
    media_type: str = "application/json"
    headers: list[tuple[str, str]] = []
    trouble: Trouble | None = None
    held_bytes: int = 0  # memory that the worker keeps


_asks = msgspec.msgpack.Decoder(AnyAsk)
_replies = msgspec.msgpack.Decoder(Reply)


def frame(message: Ask | Reply) -> bytes:
    """Return a message with its length before it."""
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body


def read_ask(body: bytes) -> AnyAsk:
    """Return a question."""
    return _asks.decode(body)


def read_reply(body: bytes) -> Reply:
    """Return the head of an answer."""
    return _replies.decode(body)
