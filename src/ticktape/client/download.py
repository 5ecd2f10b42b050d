"""`ticktape.download("BTCUSDT", period="1d", interval="1m")`: bars as a pandas frame, in one line."""

from __future__ import annotations

import re
import time
from typing import Any

from ticktape.client.api import Client
from ticktape.errors import BadInput

_UNITS_S = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 366 * 86_400}
_NAMES = {"open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"}


def download(
    symbol: str, *, period: str = "1d", interval: str = "1m", start: str | int | None = None,
    end: str | int | None = None, key: str | None = None, address: str | None = None,
) -> Any:  # fmt: skip
    """Return Open, High, Low, Close, Volume by time, as floats: the last `period` (90m, 5d, 1y), or [start, end).

    Exact prices, and what is missing: `Client().timeseries.get_range`. Raises ApiError, and Misconfigured
    without pandas.
    """
    since = time.time_ns() - _period_s(period) * 10**9 if start is None else start
    with Client(key, address) as client:
        bars = client.timeseries.get_range(symbols=symbol, schema=f"bars-{interval}", start=since, end=end)
    return bars.to_pandas(floats=True, index="start")[list(_NAMES)].rename(columns=_NAMES)


def _period_s(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,4})([mhdwy])", text, re.ASCII)
    if match is None:
        raise BadInput(f"no period '{text[:20]}'", hint='period="90m", "5d", "1y"')
    return int(match[1]) * _UNITS_S[match[2]]
