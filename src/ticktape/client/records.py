"""The records, live and past the same: what happened, in the API's own names.

Times are ns since 1970 UTC. Prices and sizes are exact `Decimal`s; 65432.1 and 65432.10 are equal.
Equal fields are held to those of the server by a test.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct


class Record(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every record says of itself; `position` is its place on the tape: unique, total order."""

    position: int

    @property
    def kind(self) -> str:
        """The API's name of this kind of record."""
        return str(self.__struct_config__.tag)


class _Market(Record, frozen=True, kw_only=True):
    instrument_id: int
    symbol: str
    ts_event: int  # the venue's clock
    ts_recv: int  # ours
    source: str
    flags: list[str]


class Trade(_Market, frozen=True, kw_only=True, tag="trade"):
    """A trade; `side` is the aggressor. The price and size of a `Cancel` are None."""

    price: Decimal | None
    size: Decimal | None
    venue_id: int
    side: Literal["buy", "sell"] | None


class AggregatedTrade(Trade, frozen=True, kw_only=True, tag="agg_trade"):
    """What one order traded at one price, from venues that send that instead."""


class Correction(Trade, frozen=True, kw_only=True, tag="correct"):
    """The venue changed the trade with this `venue_id`."""


class Cancel(Trade, frozen=True, kw_only=True, tag="cancel"):
    """The venue took the trade with this `venue_id` back."""


class Quote(_Market, frozen=True, kw_only=True, tag="quote"):
    """Best bid and ask."""

    bid_price: Decimal
    ask_price: Decimal
    bid_size: Decimal
    ask_size: Decimal


class BookLevel(_Market, frozen=True, kw_only=True, tag="book"):
    """What one level of the book became; size 0: it is gone."""

    side: Literal["bid", "ask"] | None
    price: Decimal
    size: Decimal
    update_id: int
    order_count: int


class Bar(Record, frozen=True, kw_only=True, tag="bar"):
    """A bar of [start, start + timeframe). Of the past it has no position: -1."""

    position: int = -1
    symbol: str = ""
    instrument_id: int = 0
    timeframe: str = ""
    basis: str = "trades"
    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal | None
    vwap: Decimal | None
    count: int
    open_ts: int
    close_ts: int
    closed: bool
    revision: int
    flags: list[str]


class Gap(Record, frozen=True, kw_only=True, tag="gap"):
    """Something is missing on the tape in [start, end]; `end` is None while it is open."""

    gap_id: int
    state: str
    cause: str
    channel: str
    instrument_id: int
    symbol: str | None  # None: everything the source carries
    source: str
    start: int
    end: int | None
    first_missing: int | None
    last_missing: int | None
    rows: int | None
    ts_recv: int


class Status(Record, frozen=True, kw_only=True, tag="status"):
    """Something happened to a source or to the recorder."""

    ts_event: int
    ts_recv: int
    status: str
    detail: int
    source: str


class Missed(Record, frozen=True, kw_only=True, tag="missed"):
    """The server left out `count` events of this subscription, as its policy says (`conflate`)."""

    count: int


class Lost(Record, frozen=True, kw_only=True, tag="lost"):
    """[position, to_position] cannot be had any more: the tape was trimmed, and no lake has it."""

    to_position: int
    why: str


class Other(Record, frozen=True, kw_only=True, tag="other"):
    """An event of a kind that this version does not know: `name` is its kind, `fields` all it said."""

    name: str
    fields: dict[str, Any]


Tape = Trade | AggregatedTrade | Correction | Cancel | Quote | BookLevel | Gap | Status | Bar
Event = Tape | Missed | Lost | Other
