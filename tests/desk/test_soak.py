"""Half an hour with the market open: the page's memory stays flat. By hand: pytest -m soak tests/desk."""

from __future__ import annotations

import time
from typing import Any

import pytest
from desk_support import Open
from playwright.sync_api import CDPSession

SOAK_S = 1800.0
EVERY_S = 60.0
GROWTH = 1.2  # of the heap after the first minute; bars and trails are bounded

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SOAK_S * 2)]


def heap(wire: CDPSession) -> float:
    """Return the bytes in use after a full collection."""
    send: Any = wire.send  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # half typed
    send("HeapProfiler.collectGarbage")
    return float(send("Runtime.getHeapUsage")["usedSize"])


def test_the_heap_is_flat_over_half_an_hour(show: Open) -> None:
    page = show("#/market/BTCUSDT?tf=1s")
    wire = page.context.new_cdp_session(page)
    page.wait_for_selector(".print:not([hidden])")
    time.sleep(EVERY_S)
    first = heap(wire)
    found: list[float] = []
    ends = time.monotonic() + SOAK_S
    while time.monotonic() < ends:
        time.sleep(EVERY_S)
        found.append(heap(wire))
    assert max(found[-3:]) < first * GROWTH, [round(each / 1e6, 2) for each in [first, *found]]
