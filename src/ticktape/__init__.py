"""ticktape records, proves, queries and replays the market."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Loaded when they are asked for: every command imports this package, and `--help` must not wait for a client.
_LAZY = {"Client": "ticktape.client", "download": "ticktape.client.download", "open": "ticktape.local"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'ticktape' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)
