"""The ways to the other processes: `record.sock` and `keep.sock` in the data folder. See control.py for the lines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from ticktape.control import TIMEOUT_S, Client

KEEP_TIMEOUT_S = 15.0  # keep answers an order after ten seconds at the latest, done or not

Call = Literal["sources", "fill", "start", "stop", "restart", "symbols"]


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of the recorder."""

    call: Call
    name: str = ""
    add: list[str] = []
    remove: list[str] = []


class KeepRequest(msgspec.Struct, frozen=True):
    """What is asked of keep."""

    call: Literal["stat", "flush", "cleanup", "spot", "quality", "backup"]


class Control(Client):
    """Asks the recorder."""

    def __init__(self, socket_path: Path, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(socket_path, "the recorder", "ticktape record", timeout_s)


class KeepControl(Client):
    """Asks keep."""

    def __init__(self, socket_path: Path, timeout_s: float = KEEP_TIMEOUT_S) -> None:
        super().__init__(socket_path, "keep", "ticktape keep", timeout_s)
