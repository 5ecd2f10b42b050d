"""The example of `GET /api/v1/pipeline/stats`: keep as it says of itself after a quiet day."""

from __future__ import annotations

from typing import Any

KEEP: dict[str, Any] = {
    "started_ns": 1763553600000000000,
    "flush_every_s": 600.0,
    "seconds_since_flush": 212.4,
    "figures": {
        "flushes": 144,
        "failures": 0,
        "failures_in_a_row": 0,
        "rows": 9120455,
        "bytes": 104885233,
        "seconds": 31.7,
        "position": 9120470,
        "lag_records": 12033,
        "last_flush_ns": 1763639788618000000,
        "last_error": "",
        "compactions": 5,
        "expiries": 0,
        "deleted_files": 288,
        "tidy_failures": 0,
        "spots": {
            "tape": {"checked": 182210, "passed": 182210, "samples": 1440},
            "venue": {"checked": 35010, "passed": 35010, "samples": 702},
            "bars": {"checked": 718, "passed": 718, "samples": 718},
        },
        "spot_failures": 0,
        "venue_away": 16,
        "quality_days": 1,
        "quality_findings": 0,
        "quality_failures": 0,
        "backup": {
            "made": 1,
            "failures": 0,
            "failures_in_a_row": 0,
            "last_name": "20251120T000012.345Z",
            "last_ns": 1763596812345000000,
            "last_error": "",
            "drills": 0,
            "drill_failures": 0,
            "last_drill_ns": 1763337612345000000,
            "last_drill_ok": True,
            "running": False,
        },
    },
    "spot_pass_rate": 1.0,
    "alerts": [],
}

PIPELINE: dict[str, Any] = {
    "/pipeline/stats": {
        "as_of_position": 15,
        "sample": False,
        "recorder": {
            "status": "up",
            "since": "2025-11-20T12:00:00.001000000Z",
            "pid": 4711,
            "disk_full": False,
            "low_space": False,
            "sync_failures": 0,
            "clock_steps": 0,
        },
        "tape": {"tape_id": "f9909fbefbdb27549515a27f731f236b", "first": 0, "end": 15, "durable": 15, "behind": 0},
        "sources": [],
        "keep": KEEP,
        "missing": [],
    },
    "/admin/pipeline/cleanup": {
        "ok": {
            "done": True,
            "result": [
                {"table": "trades", "compacted": 1, "expired": 0, "deleted_files": 48, "error": ""},
                {"table": "quotes", "compacted": 1, "expired": 0, "deleted_files": 51, "error": ""},
            ],
        }
    },
}
