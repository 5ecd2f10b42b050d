"""What a simulated market says: trades, quotes and book diffs. Prices and sizes are integers at 1e-8."""

from __future__ import annotations

from typing import NamedTuple


class Trade(NamedTuple):
    """One fill; fills of one order at one price share `order` and price."""

    symbol: str
    trade_id: int
    price: int  # 1e-8
    size: int  # 1e-8
    ts_ns: int
    buyer_is_maker: bool
    order: int


class Quote(NamedTuple):
    """The top of the book after a change of it."""

    symbol: str
    update_id: int
    bid_price: int
    bid_size: int
    ask_price: int
    ask_size: int
    ts_ns: int


class Depth(NamedTuple):
    """Levels changed by updates first_id..last_id; size 0 removes a level."""

    symbol: str
    first_id: int
    last_id: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    ts_ns: int


Event = Trade | Quote | Depth
