"""The way in from the other processes: `record.sock` in the data folder. See control.py for the lines.

{"call": "sources"}                                          -> {"ok": [{"name": ...}, ...]}
{"call": "fill"}                                             -> {"ok": {"waiting": 3}}: gaps tried again now
{"call": "start" | "stop" | "restart", "name": "binance"}    -> {"ok": {...}}
{"call": "symbols", "name": ..., "add": [...], "remove": [...]}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from ticktape.control import Server


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """A request."""

    call: str
    name: str = ""
    add: list[str] = []
    remove: list[str] = []


Handler = Callable[[Call], Awaitable[Any]]


class Control(Server[Call]):
    """Serves calls until closed."""

    def __init__(self, path: Path, handler: Handler) -> None:
        super().__init__(path, Call, handler)
