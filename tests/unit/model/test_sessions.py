"""Sessions against the venues' published holidays 2024-2027, the library, and their own rules.

The tables below are written by hand. Sources: NYSE Group's holiday releases (2025-2027 in the one of 2024-11-08; 2024
in the one before), CME Group and Cboe on 2024-12-30 about 2025-01-09, and for the rest of CME the
rules of its holiday pages. Not verified against a notice, and marked so in the data: Good Friday 2024, 2026 and 2027 at
CME (2025 by the press of the day), all of CME 2027, Cboe's early closes on 24 December, all extended hours of Cboe, the
two days off in FX.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticktape.errors import BadInput
from ticktape.model.sessions import (
    DAY_NS,
    MINUTE_NS,
    Calendar,
    Session,
    SessionKind,
    calendar,
    names,
    open_ns,
    quiet_allowed,
)

CME, NYSE, CBOE, FX = "CME Globex Equity", "NYSE", "CBOE Index Options", "FX"
TABLED = (CME, NYSE, CBOE, FX)
HOUR_NS = 60 * MINUTE_NS
ZONES = {CME: ZoneInfo("America/Chicago"), CBOE: ZoneInfo("America/Chicago"), NYSE: ZoneInfo("America/New_York")}
ZONES[FX] = ZONES[NYSE]


def days(text: str) -> list[str]:
    return text.split()


NYSE_CLOSED = days("""
2024-01-01 2024-01-15 2024-02-19 2024-03-29 2024-05-27 2024-06-19 2024-07-04 2024-09-02 2024-11-28 2024-12-25
2025-01-01 2025-01-09 2025-01-20 2025-02-17 2025-04-18 2025-05-26 2025-06-19 2025-07-04 2025-09-01 2025-11-27 2025-12-25
2026-01-01 2026-01-19 2026-02-16 2026-04-03 2026-05-25 2026-06-19 2026-07-03 2026-09-07 2026-11-26 2026-12-25
2027-01-01 2027-01-18 2027-02-15 2027-03-26 2027-05-31 2027-06-18 2027-07-05 2027-09-06 2027-11-25 2027-12-24
""")
NYSE_EARLY = days("""
2024-07-03 2024-11-29 2024-12-24 2025-07-03 2025-11-28 2025-12-24 2026-11-27 2026-12-24 2027-11-26
""")

CME_CLOSED = days("""
2024-01-01 2024-03-29 2024-12-25 2025-01-01 2025-04-18 2025-12-25 2026-01-01 2026-12-25 2027-01-01 2027-03-26 2027-12-24
""")
CME_EARLY = {
    "08:15": ["2026-04-03"],
    "08:30": ["2025-01-09"],
    "12:00": days("""
        2024-01-15 2024-02-19 2024-05-27 2024-06-19 2024-07-04 2024-09-02 2024-11-28
        2025-01-20 2025-02-17 2025-05-26 2025-06-19 2025-07-04 2025-09-01 2025-11-27
        2026-01-19 2026-02-16 2026-05-25 2026-06-19 2026-07-03 2026-09-07 2026-11-26
        2027-01-18 2027-02-15 2027-05-31 2027-06-18 2027-07-05 2027-09-06 2027-11-25
        """),
    "12:15": days("""
        2024-07-03 2024-11-29 2024-12-24 2025-07-03 2025-11-28 2025-12-24 2026-11-27 2026-12-24 2027-11-26
        """),
}


def ns(text: str, zone: ZoneInfo) -> int:
    """Return a time at a venue, `2025-01-09 08:30`, as ns UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1_000_000_000


def weekdays(first: date, last: date) -> list[date]:
    every = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return [day for day in every if day.weekday() < 5]


def main_sessions(name: str, first: date, last: date) -> list[Session]:
    found = calendar(name).sessions(midnight(first), midnight(last) + DAY_NS)
    return [s for s in found if s.kind != SessionKind.EXTENDED]


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000


def closes(name: str) -> dict[str, list[str]]:
    """Return, by the venue's date of the close, at what times each main session of 2024-2027 ended."""
    out: dict[str, list[str]] = {}
    for session in main_sessions(name, date(2024, 1, 1), date(2027, 12, 31)):
        at = datetime.fromtimestamp(session.close_ns // 10**9, ZONES[name])
        out.setdefault(f"{at:%Y-%m-%d}", []).append(f"{at:%H:%M}")
    return out


@pytest.mark.parametrize(
    ("name", "usual", "closed", "early"),
    [
        (NYSE, "16:00", NYSE_CLOSED, {"13:00": NYSE_EARLY}),
        (CBOE, "15:15", NYSE_CLOSED, {"12:15": NYSE_EARLY}),
        (CME, "16:00", CME_CLOSED, CME_EARLY),
    ],
)
def test_r33_published_holidays_and_early_closes_2024_to_2027(
    name: str, usual: str, closed: list[str], early: dict[str, list[str]]
) -> None:
    expected = {f"{day}": [usual] for day in weekdays(date(2024, 1, 1), date(2027, 12, 31))}
    expected |= {day: [at] for at, dates in early.items() for day in dates}
    for day in closed:
        del expected[day]

    assert closes(name) == expected


@pytest.mark.parametrize("name", [CME, NYSE, CBOE])
def test_a_shortened_session_says_so(name: str) -> None:
    usual = {CME: "16:00", NYSE: "16:00", CBOE: "15:15"}[name]
    for session in main_sessions(name, date(2024, 1, 1), date(2027, 12, 31)):
        at = f"{datetime.fromtimestamp(session.close_ns // 10**9, ZONES[name]):%H:%M}"
        assert (session.kind == SessionKind.EARLY_CLOSE) == (at != usual)


@pytest.mark.parametrize(
    ("at", "trade_date"),
    [
        ("2026-01-18 17:00", date(2026, 1, 20)),  # Martin Luther King Day is traded for Tuesday
        ("2026-01-19 11:59", date(2026, 1, 20)),
        ("2026-01-19 12:00", date(2026, 1, 20)),  # closed: what comes belongs to the session to come
        ("2025-01-08 17:00", date(2025, 1, 10)),
        ("2025-01-09 17:00", date(2025, 1, 10)),
        ("2025-03-09 17:00", date(2025, 3, 10)),  # the evening after the clocks went forward
        ("2025-07-03 17:00", date(2025, 7, 7)),
        ("2025-11-28 12:14", date(2025, 11, 28)),  # Friday after Thanksgiving is a trade date of its own
    ],
)
def test_the_business_date_of_futures(at: str, trade_date: date) -> None:
    ts = ns(at, ZONES[CME])

    assert calendar(CME).trade_date(ts) == trade_date
    assert calendar(CME).trade_days(np.array([ts]))[0] == (trade_date - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("name", "at", "opened"),
    [
        (CME, "2025-03-07 15:59", True),
        (CME, "2025-03-07 16:00", False),
        (CME, "2025-03-09 16:59", False),
        (CME, "2025-03-09 17:00", True),
        (CME, "2025-03-10 16:30", False),  # the hour's halt
        (CME, "2021-06-25 15:20", False),  # the pause that ended that day
        (CME, "2021-06-28 15:20", True),
        (NYSE, "2025-03-10 09:30", True),
        (NYSE, "2025-03-10 09:29", False),
        (CBOE, "2025-03-10 15:14", True),
        (FX, "2025-03-07 16:59", True),
        (FX, "2025-03-07 17:00", False),
        (FX, "2025-03-09 17:00", True),
        (FX, "2025-12-25 12:00", False),
    ],
)
def test_open_and_closed_minutes(name: str, at: str, opened: bool) -> None:
    assert calendar(name).is_open(ns(at, ZONES[name])) == opened


def test_pre_and_post_market_are_extended_sessions() -> None:
    nyse, zone = calendar(NYSE), ZONES[NYSE]
    kinds = {
        at: session.kind if (session := nyse.session_of(ns(f"2025-11-28 {at}", zone))) else None
        for at in ("03:59", "04:00", "09:30", "13:00", "16:59", "17:00")
    }

    assert kinds == {
        "03:59": None,
        "04:00": SessionKind.EXTENDED,
        "09:30": SessionKind.EARLY_CLOSE,
        "13:00": SessionKind.EXTENDED,
        "16:59": SessionKind.EXTENDED,
        "17:00": None,
    }
    assert not nyse.is_open(ns("2025-11-28 14:00", zone))
    assert nyse.is_open(ns("2025-11-28 14:00", zone), extended=True)


@pytest.mark.parametrize("name", TABLED)
def test_sessions_are_disjoint_and_ordered(name: str) -> None:
    shipped = calendar(name)
    rows = shipped.sessions(shipped.start_ns, shipped.end_ns)
    opens, ends = np.array([r.open_ns for r in rows]), np.array([r.close_ns for r in rows])

    assert (opens < ends).all()
    assert (ends[:-1] <= opens[1:]).all()
    assert all(a.trade_date <= b.trade_date for a, b in pairwise(rows))


def usual_length_ns(name: str) -> int:
    return {CME: 23 * HOUR_NS, NYSE: 390 * MINUTE_NS, CBOE: 405 * MINUTE_NS, FX: 24 * HOUR_NS}[name]


@pytest.mark.parametrize("name", TABLED)
def test_the_days_around_a_clock_change_have_their_usual_length(name: str) -> None:
    """Clocks change on a Sunday at 02:00, while all of these are closed."""
    tabled = calendar(name)
    for year in range(2022, 2029):
        for month, nth in ((3, 1), (11, 0)):
            first = date(year, month, 1)
            sunday = first + timedelta(days=(6 - first.weekday()) % 7 + 7 * nth)
            for day in (sunday - timedelta(days=2), sunday + timedelta(days=1)):
                assert tabled.expected_open_ns(*tabled.window(day)) == usual_length_ns(name), day


@pytest.mark.parametrize("name", TABLED)
def test_r33_sessions_open_at_the_venues_own_hour_all_year(name: str) -> None:
    hours = {CME: "17:00", NYSE: "09:30", CBOE: "08:30", FX: "17:00"}
    rows = main_sessions(name, date(2022, 1, 1), date(2028, 12, 30))

    assert {f"{datetime.fromtimestamp(r.open_ns // 10**9, ZONES[name]):%H:%M}" for r in rows} == {hours[name]}


tabled_times = st.integers(midnight(date(2020, 1, 1)), midnight(date(2028, 12, 20)))


@given(st.sampled_from(TABLED), tabled_times, st.booleans())
def test_is_open_says_what_the_sessions_say(name: str, ts: int, extended: bool) -> None:
    asked = calendar(name)
    session = asked.session_of(ts)
    wanted = session is not None and (extended or session.kind != SessionKind.EXTENDED)

    assert asked.is_open(ts, extended=extended) == wanted
    assert bool(asked.open_mask(np.array([ts]), extended=extended)[0]) == wanted
    assert (asked.next_open(ts, extended=extended) == ts) == wanted
    assert asked.is_open(asked.next_open(ts, extended=extended), extended=extended)
    if session:
        assert session.open_ns <= ts < session.close_ns
        assert asked.trade_date(ts) == session.trade_date
        assert asked.sessions(ts, ts + 1) == [session]


@given(st.sampled_from(TABLED), tabled_times, st.integers(0, 30 * DAY_NS), st.integers(0, 30 * DAY_NS), st.booleans())
def test_open_time_adds_up(name: str, start: int, first: int, second: int, extended: bool) -> None:
    asked = calendar(name)
    middle, end = start + first, min(start + first + second, asked.end_ns)
    middle = min(middle, end)
    whole = asked.expected_open_ns(start, end, extended=extended)
    intervals = asked.open_intervals(start, end, extended=extended)

    assert whole == int((intervals[:, 1] - intervals[:, 0]).sum())
    assert whole == sum(asked.expected_open_ns(*w, extended=extended) for w in ((start, middle), (middle, end)))


@given(st.sampled_from((*TABLED, "24/7")), tabled_times)
def test_the_windows_of_trade_dates_cover_all_time_once(name: str, ts: int) -> None:
    asked = calendar(name)
    window = asked.window(asked.trade_date(ts))

    assert window.start_ns <= ts < window.end_ns
    assert asked.window(asked.trade_date(window.end_ns)).start_ns == window.end_ns


def test_round_the_clock_is_a_utc_day_in_any_year() -> None:
    crypto = calendar("24/7")
    ts = midnight(date(2049, 5, 4)) + 7
    session = crypto.session_of(ts)

    assert session is not None
    assert (session.open_ns, session.close_ns) == (ts - 7, ts - 7 + DAY_NS)
    assert crypto.expected_open_ns(ts, ts + 3 * DAY_NS) == 3 * DAY_NS
    assert [s.trade_date.day for s in crypto.sessions(ts, ts + DAY_NS)] == [4, 5]


@pytest.mark.parametrize("name", TABLED)
def test_outside_the_table_nothing_is_guessed(name: str) -> None:
    asked: Calendar = calendar(name)
    for ts in (midnight(date(2019, 12, 31)), midnight(date(2029, 1, 1))):
        with pytest.raises(BadInput, match="only from 2020-01-01 to 2028-12-31"):
            asked.is_open(ts)
        assert not quiet_allowed(name, ts + HOUR_NS)


def test_an_unknown_calendar_names_those_there_are() -> None:
    with pytest.raises(BadInput, match="CME Globex Equity"):
        calendar("CMES")
    assert set(names()) == {"24/7", *TABLED}
    assert not quiet_allowed("CMES", midnight(date(2025, 1, 1)))


@pytest.mark.parametrize(
    ("at", "quiet"),
    [
        ("2025-03-07 15:59", False),
        ("2025-03-07 16:10", True),  # the week is over
        ("2025-03-08 12:00", True),
        ("2025-03-09 17:00", True),  # just opened: silence counts from here
        ("2025-03-09 17:02", False),
        ("2025-01-09 12:00", True),  # a day of mourning
        ("2025-12-25 12:00", True),
    ],
)
def test_silence_is_no_fault_while_the_market_is_closed(at: str, quiet: bool) -> None:
    assert quiet_allowed(CME, ns(at, ZONES[CME])) == quiet


def test_only_open_time_counts_as_silence() -> None:
    friday, sunday = ns("2025-03-07 15:59", ZONES[CME]), ns("2025-03-09 17:03", ZONES[CME])

    assert open_ns(CME, friday, sunday) == 4 * MINUTE_NS
    assert not quiet_allowed("24/7", friday)


def test_what_could_not_be_checked_is_marked() -> None:
    notes = {n.date: n for n in calendar(CME).notes(midnight(date(2024, 1, 1)), midnight(date(2027, 12, 31)))}

    assert notes[date(2025, 1, 9)].verified
    assert not notes[date(2024, 3, 29)].verified
    assert not notes[date(2027, 1, 18)].verified
    early = calendar(CBOE).session_of(ns("2025-12-24 09:00", ZONES[CBOE]))
    assert early is not None
    assert not early.verified


def test_the_table_is_what_the_library_and_the_overrides_give() -> None:
    pytest.importorskip("pandas_market_calendars")
    script = Path(__file__).parents[3] / "scripts" / "sessions.py"

    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), "--check"], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
