"""What a file of `ticktape export` says of itself, in the metadata of Parquet and Arrow; and its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ticktape.errors import Misconfigured
from ticktape.model.instruments import Instrument

FORMAT = 1
KEY = b"ticktape.export"
Table = Literal["trades", "quotes", "book"]

# Columns with a price or a size, and which of the two; and the integers beside them.
MONEY: dict[Table, dict[str, str]] = {
    "trades": {"price": "price", "size": "size"},
    "quotes": {"bid_price": "price", "ask_price": "price", "bid_size": "size", "ask_size": "size"},
    "book": {"price": "price", "size": "size"},
}
REST: dict[Table, tuple[str, ...]] = {
    "trades": ("venue_id", "detail"),
    "quotes": (),
    "book": ("update_id", "order_count"),
}
SIDES: dict[Table, dict[int, str | None]] = {
    "trades": {0: None, 1: "buy", 2: "sell"},
    "quotes": {0: None},
    "book": {0: None, 1: "bid", 2: "ask"},
}


class About(msgspec.Struct, frozen=True):
    """What an exported file holds."""

    format: int
    table: Table
    sample: bool
    instrument: Instrument
    start_ns: int
    end_ns: int


def about_of(metadata: Mapping[bytes, bytes] | None, where: str) -> About:
    """Return what a Parquet or Arrow file of ours says of itself. Raises Misconfigured when it is none."""
    try:
        about = msgspec.json.decode((metadata or {})[KEY], type=About)
    except (KeyError, msgspec.MsgspecError):
        raise Misconfigured(f"{where}: not a file of `ticktape export`", hint="ticktape import --help") from None
    if about.format > FORMAT:
        raise Misconfigured(f"{where}: export format {about.format}, {FORMAT} is read", hint="pip install -U ticktape")
    return about
