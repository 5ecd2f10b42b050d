"""What can be configured of a Binance source."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from ticktape.model.records import Channel

StreamName = Literal["trade", "aggTrade", "bookTicker", "depth", "depth@100ms"]

CHANNEL: dict[StreamName, Channel] = {
    "trade": Channel.TRADE,
    "aggTrade": Channel.AGG_TRADE,
    "bookTicker": Channel.QUOTE,
    "depth": Channel.BOOK,
    "depth@100ms": Channel.BOOK,
}


class BinanceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[sources.binance]`. Hosts without keys; `data-stream` / `data-api.binance.vision` are alternatives."""

    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    channels: tuple[StreamName, ...] = ("trade", "bookTicker", "depth@100ms")
    ws_url: str = "wss://stream.binance.com:9443"
    rest_url: str = "https://api.binance.com"
    proxy: str = ""  # http://, socks4:// or socks5://
    venue: str = "binance"  # whose names and instruments these are; a simulated venue is another one
    synthetic: bool = False  # flag every record SYNTHETIC: the other side is a simulator
    time_unit: Literal["ms", "us"] = "us"  # asked of the venue for every time it sends
    depth_limit: int = 1000  # levels a side of a snapshot: weight 5 to 100, 25 to 500, 50 to 1000, 250 to 5000
    weight_share: float = 0.5  # of the venue's request weight per minute that we allow ourselves
    max_frame_bytes: int = 32 << 20  # a longer WebSocket message ends the connection
    answer_timeout_s: float = 10.0  # to connect, for a SUBSCRIBE and for a request
    reconnect_after_s: float = 85_800.0  # 23 h 50 min, before the venue's 24 h: the next socket is opened beside it
    overlap_s: float = 2.0  # that both sockets live; then the old one is closed
    quiet_book_s: float = 5.0  # a book without any diff for so long after the start gets its snapshot too
