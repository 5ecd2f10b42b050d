"""Examples of the answers around the market: sessions, the machine, whose key this is."""

from __future__ import annotations

from typing import Any

AROUND: dict[str, Any] = {
    "/sessions/{symbol:path}": {
        "symbol": "MNQ",
        "calendar": "CME Globex Equity",
        "start": 1763596800000000000,
        "end": 1763683200000000000,
        "sessions": [
            {
                "open": 1763593200000000000,
                "close": 1763676000000000000,
                "trade_date": "2025-11-20",
                "kind": "regular",
                "verified": True,
            }
        ],
        "missing": [],
    },
    "/pipeline/host": {
        "as_of_position": 9132503,
        "sample": False,
        "disk_free": 81604378624,
        "disk_total": 105089261568,
        "memory_available": 6871947674,
        "memory_total": 8589934592,
        "memory_used": 322961408,
        "tape_bytes": 1073741824,
        "tables": [{"table": "trades", "files": 41, "bytes": 913203712, "retain_days": 0}],
        "credentials": [{"name": "API key 3kQ9xTbA (bot)", "expires_ns": 1764244800000000000, "days_left": 6.98}],
    },
    "/keys/self": {
        "prefix": "3kQ9xTbA",
        "name": "bot",
        "scopes": ["history", "realtime", "stream"],
        "symbols": None,
        "expires_ns": None,
    },
}
