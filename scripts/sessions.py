"""Write src/ticktape/model/sessions.json: trading sessions of 2020-2028, from pandas-market-calendars and overrides.

    pip install pandas-market-calendars && python scripts/sessions.py [--check]

The library knows most days; what it has wrong or leaves out stands below, each with where it was found. What nobody
published, or what could not be checked, is written as `verified: false`. Run it again when a venue announces a change,
and review the diff. At run time neither the library nor pandas is needed, and no time zone is converted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas_market_calendars as library

FIRST, LAST = date(2020, 1, 1), date(2028, 12, 31)
TARGET = Path(__file__).parent.parent / "src" / "ticktape" / "model" / "sessions.json"
REGULAR, EXTENDED, EARLY = "regular", "extended", "early_close"

Local = tuple[int, str, int, str, str]  # open: days before, HH:MM; close: days before, HH:MM; kind
PUBLISHED_TO = date(2027, 12, 31)  # NYSE Group, 2024-11-08; CME and Cboe publish about a year ahead


@dataclass
class Day:
    """What is special about one date."""

    sessions: list[Local]
    note: str
    verified: bool
    trade_date: date | None = None


@dataclass
class Venue:
    """One calendar before it is written."""

    name: str
    zone: str
    about: str
    regular: Callable[[date], list[Local]]
    extended_verified: bool = True
    days: dict[date, Day] = field(default_factory=dict)


def weekdays() -> Iterator[date]:
    """Yield Mondays to Fridays of the years shipped."""
    for n in range((LAST - FIRST).days + 1):
        day = FIRST + timedelta(days=n)
        if day.weekday() < 5:
            yield day


def of_library(name: str) -> dict[date, tuple[str, str]]:
    """Return open and close of each date as the library has them, as HH:MM where the venue is."""
    calendar = library.get_calendar(name)
    table = calendar.schedule(FIRST.isoformat(), LAST.isoformat())
    rows: dict[date, tuple[str, str]] = {}
    for label, row in table.iterrows():
        opened, closed = (row[k].tz_convert(calendar.tz) for k in ("market_open", "market_close"))
        rows[label.date()] = (opened.strftime("%H:%M"), closed.strftime("%H:%M"))
    return rows


# -- NYSE -------------------------------------------------------------------------------------------


def nyse() -> Venue:
    """US equities: 09:30-16:00 New York, 04:00-20:00 with pre- and post-market."""

    def day(close: str, after: str, kind: str) -> list[Local]:
        pre, post = (0, "04:00", 0, "09:30", EXTENDED), (0, close, 0, after, EXTENDED)
        return [pre, (0, "09:30", 0, close, kind), post]

    venue = Venue(
        "NYSE",
        "America/New_York",
        "US equities. Regular 09:30-16:00, early close 13:00. Extended: 04:00-09:30 and the close to 20:00, to 17:00 "
        "on early closes (NYSE Arca and Nasdaq; other venues differ). Holidays of 2025-2027: NYSE Group, 2024-11-08.",
        lambda _: day("16:00", "20:00", REGULAR),
    )
    known = of_library("NYSE")
    for each in weekdays():
        verified = each <= PUBLISHED_TO
        if each not in known:
            venue.days[each] = Day([], "closed: holiday", verified)
        elif known[each] != ("09:30", "16:00"):
            venue.days[each] = Day(day(known[each][1], "17:00", EARLY), f"early close {known[each][1]}", verified)
    venue.days[date(2025, 1, 9)] = Day([], "closed: National Day of Mourning (NYSE Group, 2024-12-30)", verified=True)
    return venue


# -- CME --------------------------------------------------------------------------------------------

# Until this trade date trading paused 15:15-15:30 (CME Globex notice 20210621, effective 2021-06-28).
NO_PAUSE_FROM = date(2021, 6, 28)
GOOD_FRIDAYS = {
    date(2021, 4, 2): ("08:15", "payrolls print this Good Friday: halt 08:15", True),
    date(2022, 4, 15): ("", "closed: Good Friday without payrolls", True),
    date(2023, 4, 7): ("08:15", "payrolls print this Good Friday: halt 08:15 (CME trading hours page)", True),
    date(2024, 3, 29): ("", "closed: Good Friday without payrolls; the library has 08:15", False),
    date(2025, 4, 18): ("", "closed: Good Friday without payrolls (press, 2025-04-18); the library has 08:15", True),
    date(2026, 4, 3): ("08:15", "payrolls print this Good Friday: halt 08:15", False),
    date(2027, 3, 26): ("", "closed: Good Friday without payrolls, by rule; the library has 08:15", False),
    date(2028, 4, 14): ("", "closed: Good Friday without payrolls, by rule; the library has 08:15", False),
}


def cme() -> Venue:
    """E-mini and micro equity index futures on Globex: the day before 17:00 to 16:00 Chicago."""

    def whole(day: date) -> list[Local]:
        if day >= NO_PAUSE_FROM:
            return [(1, "17:00", 0, "16:00", REGULAR)]
        return [(1, "17:00", 0, "15:15", REGULAR), (0, "15:30", 0, "16:00", REGULAR)]

    venue = Venue(
        "CME Globex Equity",
        "America/Chicago",
        "Equity index futures (ES, NQ, MES, MNQ) on Globex. 17:00 to 16:00 next day, Sunday to Friday; 15:15-15:30 was "
        "a pause until 2021-06-25. A holiday's shortened session belongs to the next trade date. Unplanned halts "
        "(limits, the outage of 2025-11-27/28) are not in here.",
        whole,
    )
    known, dated = of_library("CME Globex Equity"), of_library("CME_TradeDate")
    for each in weekdays():
        follows = next(d for d in (each + timedelta(days=n) for n in range(9)) if d in dated or d > LAST)
        moved = follows if follows != each else None
        verified = each.year <= 2026
        if each in GOOD_FRIDAYS:
            close, note, verified = GOOD_FRIDAYS[each]
        elif each not in known:
            close, note = "", "closed: holiday"
        elif known[each][1] == "16:00":
            continue
        else:
            close, note = known[each][1], f"halt {known[each][1]}"
        sessions = [(1, "17:00", 0, close, EARLY)] if close else []
        venue.days[each] = Day(sessions, note, verified, moved if close else None)
    venue.days[date(2025, 1, 9)] = Day(
        [(1, "17:00", 0, "08:30", EARLY)],
        "halt 08:30, National Day of Mourning (CME Group, 2024-12-30); the library has a full day",
        verified=True,
        trade_date=date(2025, 1, 10),
    )
    return venue


# -- Cboe -------------------------------------------------------------------------------------------

ROUND_THE_CLOCK_FROM = date(2021, 11, 22)  # GTH from the evening before; until then 02:00-08:15
CURB_FROM = date(2022, 4, 25)  # go.cboe.com/24x5


def cboe() -> Venue:
    """SPX and VIX options: regular hours, and global trading hours and curb as extended sessions."""

    def day(each: date, close: str, kind: str) -> list[Local]:
        night: Local = (0, "02:00", 0, "08:15", EXTENDED)
        if each >= ROUND_THE_CLOCK_FROM:
            night = (1, "19:15", 0, "08:25", EXTENDED)
        curb: list[Local] = [(0, "15:15", 0, "16:00", EXTENDED)] if each >= CURB_FROM and kind == REGULAR else []
        return [night, (0, "08:30", 0, close, kind), *curb]

    venue = Venue(
        "CBOE Index Options",
        "America/Chicago",
        "SPX, VIX. Regular 08:30-15:15, early close 12:15 on NYSE's early closes. Extended: global trading hours "
        "(02:00-08:15 until 2021-11-19, then 19:15-08:25) and, from 2022-04-25, the curb session 15:15-16:00. Extended "
        "hours are unverified throughout, and those of holidays are left out.",
        lambda each: day(each, "15:15", REGULAR),
        extended_verified=False,
    )
    known, equities = of_library("CBOE_Index_Options"), of_library("NYSE")
    for each in weekdays():
        verified = each <= PUBLISHED_TO
        if each not in known:
            venue.days[each] = Day([], "closed: holiday", verified)
        elif equities[each][1] != "16:00":
            missing = known[each][1] == "15:15"
            note = "early close 12:15" + ("; not in the library, as NYSE closes early" if missing else "")
            venue.days[each] = Day(day(each, "12:15", EARLY), note, verified and not missing)
    venue.days[date(2025, 1, 9)] = Day(
        [(1, "19:15", 0, "08:25", EXTENDED)],
        "closed in regular hours, National Day of Mourning; global trading hours open (Cboe, 2024-12-30)",
        verified=True,
    )
    return venue


# -- FX ---------------------------------------------------------------------------------------------


def fx() -> Venue:
    """Spot currencies: Sunday 17:00 to Friday 17:00 New York. No exchange publishes this."""
    venue = Venue(
        "FX",
        "America/New_York",
        "Spot currencies. Sunday 17:00 to Friday 17:00, trade dates turn at 17:00. A convention, not a published "
        "calendar: 25 December and 1 January are left out, since most dealers close 17:00 to 17:00; dealers differ.",
        lambda _: [(1, "17:00", 0, "17:00", REGULAR)],
    )
    for each in weekdays():
        if (each.month, each.day) in {(12, 25), (1, 1)}:
            venue.days[each] = Day([], "closed by convention; dealers differ", verified=False)
    return venue


# -- writing ----------------------------------------------------------------------------------------


def in_utc(venue: Venue, day: date, sessions: list[Local]) -> list[list[Any]]:
    """Return sessions as [minutes from the date's midnight UTC to open, to close, kind], `false` when unverified."""
    midnight = datetime.combine(day, time(), UTC)

    def minutes(before: int, clock: str) -> int:
        local = datetime.combine(day - timedelta(days=before), time.fromisoformat(clock), ZoneInfo(venue.zone))
        return int((local - midnight).total_seconds()) // 60

    return [
        [minutes(a, b), minutes(c, d), kind, *([False] if kind == EXTENDED and not venue.extended_verified else [])]
        for a, b, c, d, kind in sessions
    ]


def written(venue: Venue) -> dict[str, Any]:
    """Return a calendar as runs of weekdays with the same hours in UTC, and the days that differ."""
    runs: list[dict[str, Any]] = []
    for day in weekdays():
        sessions = in_utc(venue, day, venue.regular(day))
        if not runs or runs[-1]["sessions"] != sessions:
            runs.append({"from": day.isoformat(), "to": "", "sessions": sessions})
        runs[-1]["to"] = day.isoformat()
    days = [
        {
            "date": day.isoformat(),
            "sessions": in_utc(venue, day, special.sessions),
            "trade_date": (special.trade_date or day).isoformat(),
            "verified": special.verified,
            "note": special.note,
        }
        for day, special in sorted(venue.days.items())
    ]
    return {"name": venue.name, "zone": venue.zone, "about": venue.about, "runs": runs, "days": days}


def text() -> str:
    """Return the whole file, one run or day a line."""
    calendars: list[str] = []
    for venue in (cme(), nyse(), cboe(), fx()):
        table = written(venue)
        parts = [f"{json.dumps(k)}: {json.dumps(table[k])}" for k in ("name", "zone", "about")]
        for k in ("runs", "days"):
            rows = ",\n".join(f"  {json.dumps(row)}" for row in table[k])
            parts.append(f"{json.dumps(k)}: [\n{rows}\n]")
        calendars.append("{\n" + ",\n".join(parts) + "\n}")
    head = {
        "format": 1,
        "made_by": f"scripts/sessions.py, pandas-market-calendars {library.__version__}",
        "first": FIRST.isoformat(),
        "last": LAST.isoformat(),
    }
    top = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in head.items())
    return "{\n" + top + ',\n"calendars": [\n' + ",\n".join(calendars) + "\n]}\n"


def main() -> int:
    """Write the file, or with --check say whether it is as it would be written."""
    new = text()
    if "--check" in sys.argv[1:]:
        same = TARGET.exists() and TARGET.read_text() == new
        sys.stdout.write("as generated\n" if same else "differs from what would be generated\n")
        return 0 if same else 1
    TARGET.write_text(new)
    sys.stdout.write(f"{TARGET}: {len(new)} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
