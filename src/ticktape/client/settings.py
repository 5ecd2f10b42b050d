"""Where the server is and with which key: given, or from the environment."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import urlsplit

from ticktape.errors import Misconfigured

DEFAULT_ADDRESS = "http://127.0.0.1:8877"


class Settings(NamedTuple):
    """Where and with what. `stream` is the address of the WebSocket."""

    key: str
    address: str
    stream: str

    def __repr__(self) -> str:
        """Leave the key out: tracebacks and logs are read by many."""
        return f"Settings({self.key[:11]}..., {self.address})"


def settings_of(key: str | None, address: str | None, stream: str | None) -> Settings:
    """Return the settings. Raises Misconfigured when there is no key, or an address is none."""
    key = key or os.environ.get("TICKTAPE_API_KEY", "")
    address = (address or os.environ.get("TICKTAPE_ADDRESS") or DEFAULT_ADDRESS).rstrip("/")
    if not key:
        raise Misconfigured("no API key", hint="export TICKTAPE_API_KEY=$(ticktape key create)")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise Misconfigured("that is no API key", hint="ticktape key create")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured(f"not an address: '{address[:100]}'", hint=f"TICKTAPE_ADDRESS={DEFAULT_ADDRESS}")
    stream = stream or os.environ.get("TICKTAPE_STREAM") or f"ws{address.removeprefix('http')}"
    return Settings(key, address, stream.rstrip("/"))
