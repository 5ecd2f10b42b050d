"""What users could pick instead, doing the same work in the same run. Never needed to run ticktape.

Peers have no types and may not be installed, so they come in as Any, here and nowhere else.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def load(module: str) -> Any:
    """Return a peer's module. Raises ImportError."""
    return import_module(module)


def named(package: str) -> str:
    """Return a package with its version."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package
