"""The shipped table of sessions, `sessions.json`: how it is read and unfolded into sessions.

It holds 2020-2028 in UTC as runs of weekdays with the same hours, and the days that differ with a note.
scripts/sessions.py writes it from pandas-market-calendars and overrides; what nobody published or could not be checked
is unverified there.
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from ticktape.errors import Damaged

MINUTE_NS = 60_000_000_000
DAY_NS = 1440 * MINUTE_NS
EPOCH = date(1970, 1, 1)


class SessionKind(StrEnum):
    """What kind of trading a session is."""

    REGULAR = "regular"
    EARLY_CLOSE = "early_close"  # the regular session, ended early
    EXTENDED = "extended"  # pre- and post-market, global trading hours, curb


class Session(Struct, frozen=True):
    """One stretch of trading without a break, [open_ns, close_ns)."""

    open_ns: int
    close_ns: int
    trade_date: date  # the venue's business date: a futures session of Sunday evening is Monday's
    kind: SessionKind
    verified: bool  # found in the library or in the venue's notice


class Note(Struct, frozen=True):
    """What is special about one calendar date at a venue: a holiday, an early close."""

    date: date
    text: str
    verified: bool


class Span(Struct, frozen=True, array_like=True):
    """One session, in minutes from a date's midnight UTC."""

    open_min: int  # from the date's midnight UTC
    close_min: int
    kind: SessionKind
    verified: bool = True


class Run(Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """Weekdays with the same hours in UTC."""

    first: date
    last: date
    sessions: list[Span]  # of each weekday in between


class Day(Struct, frozen=True):
    """A date that differs: other hours, or none."""

    date: date
    sessions: list[Span]
    trade_date: date
    verified: bool
    note: str


class Table(Struct, frozen=True):
    """One calendar."""

    name: str
    zone: str
    about: str
    runs: list[Run]
    days: list[Day]


class File(Struct, frozen=True):
    """The whole of sessions.json."""

    format: int
    made_by: str
    first: date
    last: date
    calendars: list[Table]


@cache
def shipped() -> File:
    """Return the table this version ships. Raises Damaged when it is not one this version reads."""
    file = msgspec.json.decode(files("ticktape.model").joinpath("sessions.json").read_bytes(), type=File)
    if file.format != 1:
        raise Damaged(f"sessions.json: format {file.format}, this version reads 1", hint="reinstall ticktape")
    return file


def expand(table: Table) -> list[Session]:
    """Return every session of a calendar, ascending."""
    special = {day.date: day for day in table.days}
    rows: list[Session] = []
    for run in table.runs:
        day = run.first
        while day <= run.last:
            midnight = day_number(day) * DAY_NS
            if (known := special.get(day)) is not None:
                rows += [_session(midnight, span, known.trade_date, known.verified) for span in known.sessions]
            elif day.weekday() < 5:
                rows += [_session(midnight, span, day, span.verified) for span in run.sessions]
            day += timedelta(days=1)
    return rows


def _session(midnight_ns: int, span: Span, trade_date: date, verified: bool) -> Session:
    opens, closes = midnight_ns + span.open_min * MINUTE_NS, midnight_ns + span.close_min * MINUTE_NS
    return Session(opens, closes, trade_date, span.kind, verified and span.verified)


def date_of(ts_ns: int) -> date:
    """Return the date of a time in UTC."""
    return date.fromordinal(ts_ns // DAY_NS + EPOCH.toordinal())


def day_number(day: date) -> int:
    """Return days since 1970."""
    return day.toordinal() - EPOCH.toordinal()
