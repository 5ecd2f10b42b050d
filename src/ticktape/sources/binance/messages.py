"""What Binance sends, as types: decoding checks it. web-socket-streams.md, rest-api.md ("Order book").

Prices and sizes are JSON strings and stay text until `decimals` reads them exactly. Times are in the unit
the connection asked for. Unknown extra fields are allowed: Binance adds and removes some (`b` and `a` of
a trade went in June 2024).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Level = tuple[str, str]  # price, quantity


class Trade(Struct, tag_field="e", tag="trade", gc=False):
    """`<symbol>@trade`."""

    E: Time
    s: str
    t: Id
    p: str
    q: str
    T: Time
    m: bool  # the buyer is the maker: the seller crossed the spread


class AggTrade(Struct, tag_field="e", tag="aggTrade", gc=False):
    """`<symbol>@aggTrade`: fills of one taker order at one price."""

    E: Time
    s: str
    a: Id
    p: str
    q: str
    first: Id = field(name="f")  # trade id
    last: Id = field(name="l")  # trade id
    T: Time
    m: bool


class BookTicker(Struct, gc=False):
    """`<symbol>@bookTicker`: no event type and no time inside."""

    u: Id
    s: str
    b: str
    B: str
    a: str
    A: str


class DepthUpdate(Struct, tag_field="e", tag="depthUpdate"):
    """`<symbol>@depth`: absolute quantities of changed levels, 0 removes."""

    E: Time
    s: str
    U: Id
    u: Id
    b: list[Level]
    a: list[Level]


class DepthSnapshot(Struct, rename="camel"):
    """GET /api/v3/depth. It names no symbol; best level first."""

    last_update_id: Id
    bids: list[Level]
    asks: list[Level]


class Shutdown(Struct, tag_field="e", tag="serverShutdown"):
    """The server restarts soon: reconnect now."""

    E: Time


class Answer(Struct):
    """The answer to a control message: a result, or code and msg."""

    id: int | str | None = None
    result: Raw | UnsetType = UNSET
    code: int | UnsetType = UNSET
    msg: str = ""


class Wrapper(Struct):
    """A combined-stream frame, in whatever spelling."""

    stream: str
    data: Raw


class Peek(Struct):
    """Enough of any message to tell what it is."""

    e: str | UnsetType = UNSET
    u: Raw | UnsetType = UNSET
    stream: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    code: Raw | UnsetType = UNSET
    last_update_id: Raw | UnsetType = field(name="lastUpdateId", default=UNSET)


decode_trade = Decoder(Trade).decode
decode_agg_trade = Decoder(AggTrade).decode
decode_book_ticker = Decoder(BookTicker).decode
decode_depth_update = Decoder(DepthUpdate).decode
decode_trades = Decoder(list[Trade]).decode
decode_agg_trades = Decoder(list[AggTrade]).decode
decode_book_tickers = Decoder(list[BookTicker]).decode
decode_depth_updates = Decoder(list[DepthUpdate]).decode
decode_depth_snapshot = Decoder(DepthSnapshot).decode
decode_shutdown = Decoder(Shutdown).decode
decode_answer = Decoder(Answer).decode
decode_wrapper = Decoder(Wrapper).decode
decode_peek = Decoder(Peek).decode
