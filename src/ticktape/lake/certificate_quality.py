"""Daily quality checks from summaries: does the day look like its weeks, is anything silent, who covered what. Pure.

These find what no ledger tells of: a feed that lived and delivered half. A finding is a reason to look, not a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date
from statistics import median

from msgspec import Struct

from ticktape.lake.certificate import Certificate
from ticktape.lake.certificate_day import DaySummary
from ticktape.lake.certificate_form import Check, Finding
from ticktape.model.gaps import Gap
from ticktape.model.sessions import MINUTE_NS, Calendar

LEAST_DAYS = 5  # a usual day is not known from fewer
CERTAIN = 30.0  # expected arrivals in a silence that make it a fault, as in record/watchdog.py
LEAST_FACTOR = 4.0  # no volume within this factor of the usual is remarkable, however steady the instrument
DEVIATIONS = 6.0
LEAST_SHARE = 0.8  # of the trailing days an instrument has to have traded on for a silent day to be remarkable
ALWAYS = 0.999


class SourceCoverage(Struct, frozen=True):
    """What one source delivered on a day, over all certificates."""

    source: str
    instruments: int
    records: int
    backfilled: int
    expected_open_ns: int
    covered_open_ns: int
    covered: float | None  # share of the open time; None when the market was closed


class QualityReport(Struct, frozen=True):
    """The daily report."""

    date: date
    checked: int  # summaries
    findings: list[Finding]
    coverage: list[SourceCoverage]


def check_day(
    day: date, summaries: Sequence[DaySummary], trailing: Mapping[tuple[int, str], Sequence[DaySummary]],
    calendars: Mapping[int, Calendar], gaps: Mapping[int, Sequence[Gap]], certificates: Sequence[Certificate] = (),
) -> QualityReport:  # fmt: skip
    """Check each summary of a day against its trailing weeks, by (instrument id, channel)."""
    findings: list[Finding] = []
    for summary in summaries:
        past = trailing.get((summary.instrument_id, summary.channel), ())
        calendar = calendars[summary.instrument_id]
        findings += check_summary(summary, past, calendar, gaps.get(summary.instrument_id, ()))
    return QualityReport(day, len(summaries), findings, coverage(certificates))


def check_summary(
    summary: DaySummary, trailing: Sequence[DaySummary], calendar: Calendar, gaps: Sequence[Gap] = ()
) -> list[Finding]:
    """Check one channel's day against its own trailing days (three or four weeks of them)."""
    usual = [s for s in trailing if _open_ns(s, calendar) > 0]
    if _open_ns(summary, calendar) == 0:
        return _outside(summary)
    if summary.records == 0:
        return _silent(summary, usual)
    found = _outside(summary) + _level(summary, usual, calendar) + _intervals(summary, usual, calendar, gaps)
    if summary.duplicates:
        message = f"{summary.duplicates} records of an id that was stored before"
        found.append(_finding(summary, Check.DUPLICATES, message, summary.duplicates, 0.0))
    return found


def _finding(
    summary: DaySummary, check: Check, message: str, seen: float, usual: float | None = None,
    start: int | None = None, end: int | None = None, *, known: bool = False,
) -> Finding:  # fmt: skip
    return Finding(
        check=check,
        instrument_id=summary.instrument_id,
        channel=summary.channel,
        message=message,
        seen=seen,
        usual=usual,
        start=start,
        end=end,
        known_gap=known,
    )


def _open_ns(summary: DaySummary, calendar: Calendar) -> int:
    return calendar.expected_open_ns(summary.start_ns, summary.end_ns)


def _outside(summary: DaySummary) -> list[Finding]:
    if not summary.outside:
        return []
    message = f"{summary.outside} records while the market was closed: the calendar or the clock is wrong"
    return [_finding(summary, Check.OUTSIDE, message, summary.outside, 0.0)]


def _silent(summary: DaySummary, usual: Sequence[DaySummary]) -> list[Finding]:
    traded = [s.records for s in usual if s.records]
    if len(usual) < LEAST_DAYS or len(traded) < LEAST_SHARE * len(usual):
        return []
    message = f"not one record; {len(traded)} of the last {len(usual)} days had some"
    return [_finding(summary, Check.SILENT, message, 0.0, median(traded), summary.start_ns, summary.end_ns)]


def _level(summary: DaySummary, usual: Sequence[DaySummary], calendar: Calendar) -> list[Finding]:
    found: list[Finding] = []
    for check, of in ((Check.VOLUME, _volume), (Check.RECORDS, _records)):
        rates = [math.log(of(s) / _open_ns(s, calendar)) for s in usual if of(s) > 0]
        if len(rates) < LEAST_DAYS or of(summary) <= 0:
            continue
        middle = median(rates)
        spread = 1.4826 * median(abs(rate - middle) for rate in rates)  # of a normal law, by the median deviation
        away = math.log(of(summary) / _open_ns(summary, calendar)) - middle
        if abs(away) > max(math.log(LEAST_FACTOR), DEVIATIONS * spread):
            expected = math.exp(middle) * _open_ns(summary, calendar)
            message = f"{check} is {math.exp(away):.3g} times the usual for that much open time"
            found.append(_finding(summary, check, message, of(summary), expected))
    return found


def _volume(summary: DaySummary) -> float:
    return float(int(summary.volume))


def _records(summary: DaySummary) -> float:
    return float(summary.records)


def _intervals(
    summary: DaySummary, usual: Sequence[DaySummary], calendar: Calendar, gaps: Sequence[Gap]
) -> list[Finding]:
    longest = max((s.silences[0].open_ns for s in usual if s.silences), default=0)
    days = [*usual, summary]
    share = sum(s.minutes for s in days) * MINUTE_NS / sum(_open_ns(s, calendar) for s in days)
    rate = -math.log1p(-min(share, ALWAYS)) / MINUTE_NS  # arrivals per ns, looked at by the minute
    if rate <= 0:
        return []
    allowed = max(CERTAIN / rate, 1.5 * longest)
    found: list[Finding] = []
    for silence in summary.silences:
        if silence.open_ns > allowed:
            known = any(gap.start_ns <= silence.end_ns and gap.end_ns >= silence.start_ns for gap in gaps)
            told = "a known gap" if known else "no gap tells of it"
            silent_s, allowed_s = silence.open_ns / 1e9, allowed / 1e9
            message = f"{silent_s:.0f} s of open time without a record, {allowed_s:.0f} s would be usual; {told}"
            seen = _finding(
                summary, Check.MISSING_INTERVAL, message, silent_s, allowed_s,
                silence.start_ns, silence.end_ns, known=known,
            )  # fmt: skip
            found.append(seen)
    return found


def coverage(certificates: Sequence[Certificate]) -> list[SourceCoverage]:
    """Return what each source delivered, over the channels it has records of."""
    rows: dict[str, list[int]] = {}
    instruments: dict[str, set[int]] = {}
    for certificate in certificates:
        for proof in certificate.channels:
            for source, count in proof.sources.items():
                row = rows.setdefault(source, [0, 0, 0, 0])
                row[0] += count
                row[1] += proof.backfilled * count // max(proof.records, 1)
                row[2] += proof.expected_open_ns
                row[3] += proof.covered_open_ns
                instruments.setdefault(source, set()).add(certificate.instrument_id)
    return [
        SourceCoverage(source, len(instruments[source]), *row, covered=row[3] / row[2] if row[2] else None)
        for source, row in sorted(rows.items())
    ]
