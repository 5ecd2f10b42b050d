"""Faults that can be ordered, as typed JSON.

`{"fault": "drop", "symbol": "BTCUSDT", "channel": "trade", "count": 3}` skips three trades. The list is the
issue's plus the troubles in Binance clients' trackers: silent sockets, book drift, real holes.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

Corruption = Literal[
    "truncated",
    "nan",
    "infinity",
    "zero_price",
    "negative_price",
    "huge_string",
    "wrong_types",
    "invalid_utf8",
    "unknown_symbol",
    "size_2_63",
]


class FrameFault(Struct, tag_field="fault", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Does something to frames before they fan out; an empty selector matches everything."""

    symbol: str = ""
    channel: str = ""  # trade aggTrade bookTicker depth partial kline miniTicker
    after: int = 0  # matching frames that pass untouched first
    count: int = 1  # matching frames it acts on; 0 until cleared
    chance: float = 1.0  # of acting on a matching frame; from the seed


class Drop(FrameFault, tag="drop", frozen=True):
    """Never sent, but REST has it: a skipped t, or a depth event whose U..u is missing."""


class Duplicate(FrameFault, tag="duplicate", frozen=True):
    """Collect `batch` frames, let `distance` more pass, then send the batch again; `count` batches."""

    batch: int = 1
    distance: int = 0


class Reorder(FrameFault, tag="reorder", frozen=True):
    """Hold a frame until `distance` later matching frames went out."""

    distance: int = 1


class Corrupt(FrameFault, tag="corrupt", frozen=True):
    """Send something that is not what the contract says; the intact one stays in REST."""

    how: Corruption = "truncated"


class Mute(FrameFault, tag="mute", frozen=True):
    """The socket lives and answers pings, but matching frames do not come."""

    count: int = 0
    seconds: float = 0.0  # 0 until cleared


class Omit(Struct, tag_field="fault", tag="omit", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SUBSCRIBE is accepted, the symbol never flows."""

    symbol: str


class VenueFault(Struct, tag_field="fault", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Does something to connections, to the market or to REST."""


class Disconnect(VenueFault, tag="disconnect", frozen=True):
    """End every connection: WebSocket close, bare FIN, RST, or a peer that stops reading and writing."""

    how: Literal["close", "fin", "rst", "stall"] = "close"


class Shutdown(VenueFault, tag="shutdown", frozen=True):
    """Send serverShutdown; close the connections after `seconds`, never when negative."""

    seconds: float = 0.0


class Burst(VenueFault, tag="burst", frozen=True):
    """Multiply the rate for a while."""

    factor: float = 40.0
    seconds: float = 5.0


class Skew(VenueFault, tag="skew", frozen=True):
    """The venue's clock runs this far ahead (negative: behind) of ours."""

    offset_ms: int


class Hole(VenueFault, tag="hole", frozen=True):
    """Trade ids that never existed: REST confirms them as empty."""

    symbol: str
    count: int = 1


class Reset(VenueFault, tag="reset", frozen=True):
    """Trade and update ids start again from 1."""

    symbol: str


class StaleDepth(VenueFault, tag="stale_depth", frozen=True):
    """The next `count` REST snapshots are the book as it is now: older than what streams by then."""

    symbol: str
    count: int = 1


class Refuse(VenueFault, tag="refuse", frozen=True):
    """The next `count` REST requests under `path` fail with this status."""

    status: int = 429
    count: int = 1
    path: str = "/api/v3/"
    retry_after_s: int = 1


Order = (
    Drop
    | Duplicate
    | Reorder
    | Corrupt
    | Mute
    | Omit
    | Disconnect
    | Shutdown
    | Burst
    | Skew
    | Hole
    | Reset
    | StaleDepth
    | Refuse
)
DECODER: msgspec.json.Decoder[Order] = msgspec.json.Decoder(Order)
