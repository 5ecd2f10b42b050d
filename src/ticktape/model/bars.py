"""What a bar is: the seven timeframes, the fields, and how exact sums are kept.

Volume and notional are 128-bit integers in two words (high signed, low unsigned), so that a bar is exact, and the
same whatever the order its ticks came in. A bar of quotes holds bid + ask, twice the mid: halve it on the way out.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np
import numpy.typing as npt

SECOND_NS = 1_000_000_000

TIMEFRAMES: dict[str, int] = {
    "1s": SECOND_NS,
    "1m": 60 * SECOND_NS,
    "5m": 300 * SECOND_NS,
    "15m": 900 * SECOND_NS,
    "1h": 3600 * SECOND_NS,
    "4h": 4 * 3600 * SECOND_NS,
    "1d": 24 * 3600 * SECOND_NS,
}
WIDTHS = np.array(list(TIMEFRAMES.values()), dtype=np.int64)


class Basis(IntEnum):
    """What a bar is built from."""

    TRADES = 0
    QUOTES = 1


class BarFlag(IntFlag):
    """What to know before using a bar."""

    GAP = 1  # something is missing inside its window
    FILLED = 2  # a gap inside its window was filled from history
    LATE = 4  # revised by a trade that came after it closed
    CORRECTED = 8  # revised by a correction or cancel
    PARTIAL = 16  # recording began inside its window
    KLINES = 32  # some of it is the venue's own bars: nobody recorded the ticks


BAR = np.dtype(
    [
        ("start", "<i8"),  # ns UTC, aligned to the width
        ("open_ts", "<i8"),
        ("open_id", "<i8"),
        ("close_ts", "<i8"),
        ("close_id", "<i8"),
        ("open", "<i8"),
        ("high", "<i8"),
        ("low", "<i8"),
        ("close", "<i8"),
        ("volume_high", "<i8"),
        ("volume_low", "<u8"),
        ("notional_high", "<i8"),
        ("notional_low", "<u8"),
        ("count", "<i8"),
        ("revision", "<u4"),  # how often it changed after it closed
        ("flags", "<u4"),  # BarFlag
    ],
    align=True,
)
assert BAR.itemsize == 120

Bars = npt.NDArray[Any]  # a one-dimensional array of BAR


def wide(high: int, low: int) -> int:
    """Return the 128-bit integer that two words hold."""
    return (int(high) << 64) + int(low)
