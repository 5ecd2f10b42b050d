"""What a simulated Binance venue can be told. Defaults are the documented rules of the real one.

binance-spot-api-docs: web-socket-streams.md ("General WSS information", "WebSocket Limits"), rest-api.md
("IP Limits"), enums.md (rate limits).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from msgspec import Struct


class VenueSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One source of data plays: `capture`, else `flat_out`, else `paced_per_s`, else the seeded market."""

    host: str = "127.0.0.1"
    port: int = 0  # WebSocket; 0 picks a free one
    rest_port: int = 0

    seed: int = 1
    rate: float = 200.0  # market actions a second, all symbols together
    preroll_s: float = 60.0  # history the seeded market has before the first client comes
    autorun: bool = True  # False: nothing moves until venue.advance(ns) is called, for tests

    capture: Path | None = None
    speed: float | None = 1.0  # 1.0 original spacing, None or 0 flat out
    capture_start: Literal["first", "all", "command"] = "first"  # subscription that starts it, or POST /sim/start
    depth_wait_s: float = 2.0  # how long playback waits at the recorded snapshot for somebody to fetch it

    flat_out: int = 0  # symbols; frames as fast as the sockets take them
    paced_per_s: int = 0  # exactly this many trade frames a second ...
    paced_symbols: int = 4  # ... over this many symbols
    bulk_frames: int = 0  # stop after this many frames; 0 never

    ledger_limit: int = 5_000_000  # trades kept in memory per symbol; the oldest are forgotten
    ledger_path: Path | None = None  # every trade, one CSV line, flushed before its frame is sent

    ping_every_s: float = 20.0
    pong_timeout_s: float = 60.0
    life_s: float = 86_400.0
    messages_per_s: int = 5
    streams_per_connection: int = 1024
    over_streams: Literal["error", "disconnect"] = "error"  # which one the real venue does is not documented
    connections_per_5m: int = 300
    max_buffer_bytes: int = 64 * 1024 * 1024  # a client this far behind is disconnected

    weight_per_m: int = 6000
    ban_after: int = 10  # refused requests in one minute that turn 429 into 418
    ban_s: float = 120.0
