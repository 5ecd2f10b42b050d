"""`ticktape bench`: measure this machine."""

from __future__ import annotations


def bench() -> None:
    """Measure this machine."""
