"""Examples of the answers on alerts and health: a feed that fell silent."""

from __future__ import annotations

from typing import Any

_SILENT = "no tick from binance for more than 10 s, and its market is open"

ALARMS: dict[str, Any] = {
    "/pipeline/health": {
        "as_of_position": 9132503,
        "sample": False,
        "ok": False,
        "state": "failing",
        "parts": [
            {"name": "record", "ok": True, "alerts": []},
            {"name": "feeds", "ok": False, "alerts": [_SILENT]},
            {"name": "serve", "ok": True, "alerts": []},
            {"name": "keep", "ok": True, "alerts": []},
            {"name": "disk", "ok": True, "alerts": []},
            {"name": "credentials", "ok": True, "alerts": []},
        ],
    },
    "/pipeline/feed-health": {
        "as_of_position": 9132503,
        "sample": False,
        "stale_after_s": 10.0,
        "feeds": [
            {
                "name": "binance",
                "status": "up",
                "healthy": False,
                "expected": True,
                "age_s": 12.4,
                "lag_s": 0.021,
                "per_s": 0.0,
                "open_gaps": 0,
                "doubtful": 3,
                "quarantined": 0,
                "alerts": ["feed_stale"],
            }
        ],
    },
    "/pipeline/alerts": {
        "as_of_position": 9132503,
        "sample": False,
        "standing": 1,
        "alerts": [
            {
                "id": 7,
                "kind": "feed_stale",
                "subject": "binance",
                "severity": "critical",
                "message": _SILENT,
                "detail": {"last_ts_recv": 1763640001002000000},
                "raised": 1763640013402000000,
                "cleared": None,
                "change": 13,
            }
        ],
    },
}
