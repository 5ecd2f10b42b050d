"""Events -> the bytes Binance sends, and WebSocket framing in bulk.

binance-spot-api-docs, web-socket-streams.md, "Detailed Stream information"; RFC 6455 section 5.2 (server
frames are not masked). Field order is that of the documentation, because clients in the wild depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ticktape.simulate.events import Quote
from ticktape.simulate.sample import SCALE

Levels = Iterable[tuple[int, int]]


class Message(NamedTuple):
    """One payload for one stream; `micro` is the same with times in microseconds where they differ."""

    stream: str
    symbol: str
    channel: str  # trade aggTrade bookTicker depth partial kline miniTicker
    data: bytes
    micro: bytes | None = None


class Aggregate(NamedTuple):
    """Trades of one order at one price: what aggTrade reports."""

    aggregate_id: int
    price: int
    size: int
    first_id: int
    last_id: int
    time_us: int
    buyer_is_maker: bool


def decimal(value: int) -> str:
    """An integer at 1e-8 as the venue prints it: always eight decimals."""
    whole, part = divmod(abs(value), SCALE)
    return f"{'-' if value < 0 else ''}{whole}.{part:08d}"


def clock_unit(time_us: int, micro: bool) -> int:
    """A time in the unit the client asked for."""
    return time_us if micro else time_us // 1000


def boolean(value: bool) -> str:
    """JSON's spelling."""
    return "true" if value else "false"


def trade(symbol: str, trade_id: int, price: int, size: int, time_us: int, maker: bool, micro: bool) -> bytes:
    """`<symbol>@trade`."""
    time = clock_unit(time_us, micro)
    return (
        f'{{"e":"trade","E":{time},"s":"{symbol}","t":{trade_id},"p":"{decimal(price)}","q":"{decimal(size)}",'
        f'"T":{time},"m":{boolean(maker)},"M":true}}'
    ).encode()


def aggregate(symbol: str, agg: Aggregate, micro: bool) -> bytes:
    """`<symbol>@aggTrade`."""
    time = clock_unit(agg.time_us, micro)
    return (
        f'{{"e":"aggTrade","E":{time},"s":"{symbol}","a":{agg.aggregate_id},"p":"{decimal(agg.price)}",'
        f'"q":"{decimal(agg.size)}","f":{agg.first_id},"l":{agg.last_id},"T":{time},'
        f'"m":{boolean(agg.buyer_is_maker)},"M":true}}'
    ).encode()


def book_ticker(quote: Quote) -> bytes:
    """`<symbol>@bookTicker`: no event type and no time, as on the real venue."""
    return (
        f'{{"u":{quote.update_id},"s":"{quote.symbol}","b":"{decimal(quote.bid_price)}",'
        f'"B":"{decimal(quote.bid_size)}","a":"{decimal(quote.ask_price)}","A":"{decimal(quote.ask_size)}"}}'
    ).encode()


def levels(pairs: Levels) -> str:
    """Levels as the venue writes them: a list of ["price","size"]."""
    return "[" + ",".join(f'["{decimal(price)}","{decimal(size)}"]' for price, size in pairs) + "]"


def depth_update(
    symbol: str, first_id: int, last_id: int, bids: Levels, asks: Levels, time_us: int, micro: bool
) -> bytes:
    """`<symbol>@depth`."""
    return (
        f'{{"e":"depthUpdate","E":{clock_unit(time_us, micro)},"s":"{symbol}","U":{first_id},"u":{last_id},'
        f'"b":{levels(bids)},"a":{levels(asks)}}}'
    ).encode()


def partial_book(last_id: int, bids: Levels, asks: Levels) -> bytes:
    """`<symbol>@depth<levels>` and REST /depth: no symbol inside."""
    return f'{{"lastUpdateId":{last_id},"bids":{levels(bids)},"asks":{levels(asks)}}}'.encode()


def combined(stream: str, data: bytes) -> bytes:
    """The wrapper of /stream connections; the payload stays byte for byte."""
    return b'{"stream":"' + stream.encode() + b'","data":' + data + b"}"


def header(length: int, opcode: int = 1) -> bytes:
    """Header of one final, unmasked frame."""
    first = bytes((0x80 | opcode,))
    if length < 126:
        return first + bytes((length,))
    if length < 65_536:
        return first + b"\x7e" + length.to_bytes(2, "big")
    return first + b"\x7f" + length.to_bytes(8, "big")


def framed(payload: bytes) -> bytes:
    """A text frame."""
    return header(len(payload)) + payload
