"""Examples of orders and of what keys answer. Keys here are made up, and of nobody."""

from __future__ import annotations

from typing import Any

_KEY: dict[str, Any] = {
    "prefix": "3kQ9xTbA",
    "name": "bot",
    "scopes": ["history", "realtime"],
    "symbols": None,
    "per_s": 2000.0,
    "created_ns": 1763640000000000000,
    "expires_ns": None,
    "revoked_ns": None,
    "last_used_ns": 1763640001002000000,
    "addresses": None,
    "model": "alpha",
    "at_once": 256,
}
_MADE = {"key": "tt_3kQ9xTbA_...", "info": _KEY}

KEYS: dict[str, Any] = {
    "GET /keys": {"keys": [_KEY]},
    "POST /keys": _MADE,
    "POST /keys/{prefix}/rotate": _MADE,
    "DELETE /keys/{prefix}": {"revoked": "3kQ9xTbA"},
    "GET /keys/{prefix}/history": {
        "prefix": "3kQ9xTbA",
        "name": "bot",
        "whole": True,
        "entries": [
            {
                "n": 41,
                "ts": 1763640001002000000,
                "request_id": "9f2c0d1e5a6b7c88",
                "address": "127.0.0.1",
                "door": "rest",
                "route": "GET /api/v1/ticks/realtime",
                "key": "3kQ9xTbA",
                "name": "bot",
                "model": "alpha",
                "said": {"symbols": "BTCUSDT", "limit": "5"},
                "unsaid": 0,
                "status": 200,
                "code": "",
                "rows": 5,
                "bytes": 1630,
                "us": 412,
                "prev": "5d41402abc4b2a76b9719d911017c592ae2cc2b1d0f4e3c85f6a7b8c9d0e1f20",
                "hash": "7d793037a0760186574b0282f2f435e7c0ffee5d2b6f4a1988e7d6c5b4a39281",
            }
        ],
    },
}
_SOURCE: dict[str, Any] = {"name": "binance", "status": "up", "symbols": ["BTCUSDT", "ETHUSDT"]}
ORDERS: dict[str, Any] = {
    "POST /gaps/fill": {"ok": {"waiting": 3}},
    "POST /admin/pipeline/cleanup": {"ok": {"done": True, "result": None}},
    "POST /sources/{name}/start": {"ok": _SOURCE},
    "POST /sources/{name}/stop": {"ok": _SOURCE},
    "POST /sources/{name}/restart": {"ok": _SOURCE},
    "POST /sources/{name}/symbols": {"ok": _SOURCE},
}

# Request bodies.
BODIES: dict[str, Any] = {
    "POST /sources/{name}/symbols": {"add": ["SOLUSDT"], "remove": []},
    "POST /sql": {"query": "SELECT instrument_id, count(*) AS trades FROM trades GROUP BY 1", "limit": 1000},
    "POST /keys": {"name": "bot", "scopes": ["realtime", "history"], "expires_days": 90, "model": "alpha"},
    "POST /keys/{prefix}/rotate": {"overlap_s": 86400},
}
