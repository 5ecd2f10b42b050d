"""The tables of the lake and for how many days each is kept by default. Plain data: loads nothing."""

from __future__ import annotations

YEAR_DAYS, MONTH_DAYS = 366, 30
RETAIN_DAYS = {  # 0 keeps everything
    "trades": YEAR_DAYS,
    "quotes": YEAR_DAYS,
    "book": MONTH_DAYS,
    "bars": YEAR_DAYS,
    "gaps": 0,
    "quality": 0,
}
