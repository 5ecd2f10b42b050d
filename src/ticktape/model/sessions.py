"""When a market is open: sessions by calendar name, from a shipped table, by binary search over int64 ns.

The table holds 2020-2028 (`sessions_table.py`); what could not be checked is marked unverified. No time zone is
converted at run time. Outside those years a calendar raises BadInput rather than guess; "24/7" knows every day.

`is_open` and `expected_open_ns` mean the regular session, also a shortened one; pre- and post-market, global trading
hours and the like are `extended` and count when asked for. Times are half-open: [open_ns, close_ns).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import NamedTuple

import numpy as np

from ticktape.errors import BadInput
from ticktape.model.records import Ints
from ticktape.model.sessions_table import (
    DAY_NS,
    MINUTE_NS,
    Note,
    Session,
    SessionKind,
    date_of,
    day_number,
    expand,
    shipped,
)

__all__ = [
    "DAY_NS",
    "MINUTE_NS",
    "ROUND_THE_CLOCK",
    "Calendar",
    "Note",
    "Session",
    "SessionKind",
    "Window",
    "calendar",
    "date_of",
    "day_number",
    "names",
    "open_ns",
    "quiet_allowed",
]

ROUND_THE_CLOCK = "24/7"


class Window(NamedTuple):
    """A stretch of time, [start_ns, end_ns)."""

    start_ns: int
    end_ns: int


class _Spans:
    # Disjoint, ascending stretches with the open time before each: what is asked most often.
    def __init__(self, opens: Ints, closes: Ints) -> None:
        self.opens, self.closes = opens, closes
        self._open: list[int] = opens.tolist()  # bisect is four times faster on these than on the array
        self._close: list[int] = closes.tolist()
        self._before: list[int] = np.concatenate(([0], np.cumsum(closes - opens))).tolist()

    def find(self, ts_ns: int) -> int:
        """Return the place of the stretch that holds a time, or -1."""
        i = bisect_right(self._open, ts_ns) - 1
        return i if i >= 0 and ts_ns < self._close[i] else -1

    def ended(self, ts_ns: int) -> int:
        """Return how many stretches are over at a time."""
        return bisect_right(self._close, ts_ns)

    def begun(self, ts_ns: int) -> int:
        """Return how many stretches opened before a time."""
        return bisect_left(self._open, ts_ns)

    def open_before(self, ts_ns: int) -> int:
        """Return the open time before a time, ns."""
        i = bisect_right(self._open, ts_ns) - 1
        return self._before[i] + min(ts_ns, self._close[i]) - self._open[i] if i >= 0 else 0


class Calendar:
    """The sessions of one venue. All methods raise BadInput outside [start_ns, end_ns)."""

    def __init__(self, name: str, about: str, window: Window, rows: Sequence[Session], notes: Sequence[Note]) -> None:
        self.name, self.about = name, about
        self.start_ns, self.end_ns = window
        self._rows = list(rows)
        self._notes = list(notes)
        main = [row for row in rows if row.kind != SessionKind.EXTENDED]
        self._all, self._main = _spans(self._rows), _spans(main)
        self._days = np.array([day_number(row.trade_date) for row in rows], dtype=np.int64)

    def is_open(self, ts_ns: int, *, extended: bool = False) -> bool:
        """Say whether the market trades at a time."""
        self._check(ts_ns)
        return self._spans(extended).find(ts_ns) >= 0

    def session_of(self, ts_ns: int) -> Session | None:
        """Return the session, of any kind, that holds a time, or None while the market is closed."""
        self._check(ts_ns)
        i = self._all.find(ts_ns)
        return self._rows[i] if i >= 0 else None

    def sessions(self, start_ns: int, end_ns: int) -> list[Session]:
        """Return the sessions, of any kind, that overlap [start_ns, end_ns), whole and in order."""
        self._check_range(start_ns, end_ns)
        return self._rows[self._all.ended(start_ns) : self._all.begun(end_ns)]

    def next_open(self, ts_ns: int, *, extended: bool = False) -> int:
        """Return when the market opens next: the time itself while it is open."""
        self._check(ts_ns)
        spans = self._spans(extended)
        i = spans.ended(ts_ns)
        if i == len(spans.opens):
            raise self._outside(ts_ns)
        return max(int(spans.opens[i]), ts_ns)

    def trade_date(self, ts_ns: int) -> date:
        """Return the business date a time belongs to: while closed, that of the session to come."""
        self._check(ts_ns)
        i = self._all.ended(ts_ns)
        if i == len(self._rows):
            raise self._outside(ts_ns)
        return self._rows[i].trade_date

    def trade_days(self, ts_ns: Ints) -> Ints:
        """Return `trade_date` of each time, as days since 1970."""
        if len(ts_ns):
            self._check_range(int(ts_ns.min()), int(ts_ns.max()) + 1)
        places = np.searchsorted(self._all.closes, ts_ns, side="right")
        if len(places) and int(places.max()) == len(self._rows):
            raise self._outside(int(ts_ns.max()))
        return self._days[places]

    def window(self, trade_date: date) -> Window:
        """Return the time that belongs to a business date: from the last close before it to its own last close.

        These windows follow each other without a gap. Raises BadInput for a day without a session of its own.
        """
        number = day_number(trade_date)
        first, last = (int(np.searchsorted(self._days, number, side=s)) for s in ("left", "right"))
        if first == last:
            raise BadInput(f"{trade_date} is no trade date of {self.name}")
        start = self.start_ns if first == 0 else int(self._all.closes[first - 1])
        return Window(start, int(self._all.closes[last - 1]))

    def expected_open_ns(self, start_ns: int, end_ns: int, *, extended: bool = False) -> int:
        """Return how long the market trades within [start_ns, end_ns), ns."""
        self._check_range(start_ns, end_ns)
        spans = self._spans(extended)
        return max(spans.open_before(end_ns) - spans.open_before(start_ns), 0)

    def open_intervals(self, start_ns: int, end_ns: int, *, extended: bool = False) -> Ints:
        """Return when the market trades within [start_ns, end_ns), as an array (n, 2) cut to it."""
        self._check_range(start_ns, end_ns)
        spans = self._spans(extended)
        chosen = slice(spans.ended(start_ns), spans.begun(end_ns))
        return np.stack([np.maximum(spans.opens[chosen], start_ns), np.minimum(spans.closes[chosen], end_ns)], axis=1)

    def open_mask(self, ts_ns: Ints, *, extended: bool = False) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Say of each time whether the market trades."""
        if len(ts_ns):
            self._check_range(int(ts_ns.min()), int(ts_ns.max()) + 1)
        spans = self._spans(extended)
        if not len(spans.opens):
            return np.zeros(len(ts_ns), dtype=np.bool_)
        places = np.searchsorted(spans.opens, ts_ns, side="right") - 1
        return (places >= 0) & (ts_ns < spans.closes[places])

    def notes(self, start_ns: int, end_ns: int) -> list[Note]:
        """Return what is special about the dates that [start_ns, end_ns) touches."""
        self._check_range(start_ns, end_ns)
        first, last = date_of(start_ns), date_of(max(end_ns - 1, start_ns))
        low = bisect_left(self._notes, first, key=lambda note: note.date)
        high = bisect_right(self._notes, last, key=lambda note: note.date)
        return self._notes[low:high]

    def _spans(self, extended: bool) -> _Spans:
        return self._all if extended else self._main

    def _check(self, ts_ns: int) -> None:
        if not self.start_ns <= ts_ns < self.end_ns:
            raise self._outside(ts_ns)

    def _check_range(self, start_ns: int, end_ns: int) -> None:
        if start_ns < self.start_ns or end_ns > self.end_ns:
            raise self._outside(start_ns if start_ns < self.start_ns else end_ns)

    def _outside(self, ts_ns: int) -> BadInput:
        years = f"{date_of(self.start_ns)} to {date_of(self.end_ns - 1)}"
        return BadInput(
            f"{self.name}: no sessions are known for {date_of(ts_ns)}, only from {years}",
            hint="python scripts/sessions.py",
        )


class RoundTheClock(Calendar):
    """A market that never closes: each UTC day is a session, in any year."""

    def __init__(self) -> None:
        whole = Window(-106_751 * DAY_NS, 106_751 * DAY_NS)  # what int64 holds: 1677 to 2262
        super().__init__(ROUND_THE_CLOCK, "Crypto: always open; a trade date is a day in UTC.", whole, [], [])

    def is_open(self, ts_ns: int, *, extended: bool = False) -> bool:
        """Say yes."""
        self._check(ts_ns)
        return True

    def session_of(self, ts_ns: int) -> Session:
        """Return the UTC day."""
        self._check(ts_ns)
        start = ts_ns - ts_ns % DAY_NS
        return Session(start, start + DAY_NS, date_of(ts_ns), SessionKind.REGULAR, True)

    def sessions(self, start_ns: int, end_ns: int) -> list[Session]:
        """Return the UTC days that overlap [start_ns, end_ns)."""
        self._check_range(start_ns, end_ns)
        return [self.session_of(ts) for ts in range(start_ns - start_ns % DAY_NS, end_ns, DAY_NS)]

    def next_open(self, ts_ns: int, *, extended: bool = False) -> int:
        """Return the time itself."""
        self._check(ts_ns)
        return ts_ns

    def trade_date(self, ts_ns: int) -> date:
        """Return the date in UTC."""
        self._check(ts_ns)
        return date_of(ts_ns)

    def trade_days(self, ts_ns: Ints) -> Ints:
        """Return the date of each time in UTC, as days since 1970."""
        return ts_ns // DAY_NS

    def window(self, trade_date: date) -> Window:
        """Return the UTC day."""
        start = day_number(trade_date) * DAY_NS
        return Window(start, start + DAY_NS)

    def expected_open_ns(self, start_ns: int, end_ns: int, *, extended: bool = False) -> int:
        """Return the length of [start_ns, end_ns)."""
        self._check_range(start_ns, end_ns)
        return max(end_ns - start_ns, 0)

    def open_intervals(self, start_ns: int, end_ns: int, *, extended: bool = False) -> Ints:
        """Return [start_ns, end_ns) as one row."""
        self._check_range(start_ns, end_ns)
        return np.array([[start_ns, end_ns]] if end_ns > start_ns else [], dtype=np.int64).reshape(-1, 2)

    def open_mask(
        self,
        ts_ns: Ints,
        *,
        extended: bool = False,
    ) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Say yes of each time."""
        return np.ones(len(ts_ns), dtype=np.bool_)


def calendar(name: str) -> Calendar:
    """Return the calendar an instrument carries by name. Raises BadInput for one that is not shipped."""
    if name not in names():
        raise BadInput(f"no calendar is called '{name}'; there are {', '.join(names())}")
    return _calendar(name)


@cache
def names() -> tuple[str, ...]:
    """Return the names of all calendars."""
    return (ROUND_THE_CLOCK, *(table.name for table in shipped().calendars))


def quiet_allowed(name: str, ts_ns: int, *, grace_ns: int = MINUTE_NS, extended: bool = False) -> bool:
    """Say whether silence is no fault: the market is closed, or opened less than `grace_ns` ago.

    Where the table ends, or the name is unknown, it is not: then silence is judged as if always open, as it would be
    without a calendar. Never raises, so that a watchdog can ask.
    """
    try:
        return open_ns(name, ts_ns - grace_ns, ts_ns, extended=extended) < grace_ns
    except BadInput:
        return False


def open_ns(name: str, since_ns: int, until_ns: int, *, extended: bool = False) -> int:
    """Return how much of a silence counts: the time the market was open in [since_ns, until_ns). Raises BadInput."""
    return calendar(name).expected_open_ns(since_ns, until_ns, extended=extended)


@cache
def _calendar(name: str) -> Calendar:
    if name == ROUND_THE_CLOCK:
        return RoundTheClock()
    file = shipped()
    table = next(table for table in file.calendars if table.name == name)
    window = Window(day_number(file.first) * DAY_NS, (day_number(file.last) + 1) * DAY_NS)
    notes = [Note(day.date, day.note, day.verified) for day in table.days]
    return Calendar(name, table.about, window, expand(table), notes)


def _spans(rows: Sequence[Session]) -> _Spans:
    bounds = np.array([(row.open_ns, row.close_ns) for row in rows], dtype=np.int64).reshape(-1, 2)
    return _Spans(np.ascontiguousarray(bounds[:, 0]), np.ascontiguousarray(bounds[:, 1]))
