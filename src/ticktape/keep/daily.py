"""Settles days: when one is over and flushed, its summaries, its quality report and the note that it is settled.

All of a day's notes are one commit, so a crash leaves a day settled or not. A day is settled once; again only when
rows came or went since (its prints in the log differ), and the last word counts. Oldest days go first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import structlog

from ticktape.keep.process import SETTLE_NS, Keeper
from ticktape.lake import notes
from ticktape.lake.arrow import numpy_of
from ticktape.lake.certificate import Certificate, Series, Subject, certify
from ticktape.lake.certificate_day import DaySummary, encode, resets_of, summarise
from ticktape.lake.certificate_gaps import concerning
from ticktape.lake.certificate_kept import Kept, mark_of
from ticktape.lake.certificate_past import TABLE, LakePast, weakest
from ticktape.lake.certificate_quality import QualityReport, check_day
from ticktape.lake.files import read, stored
from ticktape.lake.history import Lake, Snapshot
from ticktape.lake.notes import TICK_TABLES, Note, Noted, Print
from ticktape.model.instruments import Instrument
from ticktape.model.records import Channel, GapState, Kind
from ticktape.model.sessions import DAY_NS, calendar, day_number
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

log = structlog.get_logger("keep")

TRAILING_DAYS = 28
READ_NS = 6 * 3600 * 10**9  # of a day in memory at once
_CHANNEL_OF = {
    Kind.TRADE: Channel.TRADE,
    Kind.CORRECT: Channel.TRADE,
    Kind.CANCEL: Channel.TRADE,
    Kind.AGG_TRADE: Channel.AGG_TRADE,
    Kind.QUOTE: Channel.QUOTE,
    Kind.BOOK: Channel.BOOK,
}

Who = tuple[int, Channel]  # an instrument's channel


class Settled(NamedTuple):
    """What was noted of a day."""

    report: QualityReport
    summaries: list[DaySummary]


class Stopped(Exception):  # no error: whoever calls said so
    """Settling was told to stop; nothing was written."""


class Daily:
    """Settles one day after the other. Raises Damaged, Trimmed; then the day's turn comes again."""

    def __init__(self, keeper: Keeper, tape: Reader, directory: TapeDirectory) -> None:
        self._keeper, self._tape, self._directory = keeper, tape, directory
        self._world = keeper.settings.data
        self._lake = Lake(self._world / "lake")
        self._settled: dict[date, tuple[int, int, int]] | None = None

    def due(self) -> list[date]:
        """Return the days that are over and not settled as they are now, oldest first."""
        snapshot = self._lake.snapshot()
        found = {name: notes.prints(snapshot.versions[name]) for name in TICK_TABLES}
        named = sorted({day for prints in found.values() for day in prints})
        if not named:
            return []
        first = date.fromisoformat(named[0])
        last = _day_of(min(self._keeper.now_ns() - SETTLE_NS, _flushed_ns(snapshot)))
        settled = self._known(snapshot, first)
        days = (first + timedelta(days=k) for k in range((last - first).days))
        return [day for day in days if _differs(settled.get(day), _marks(found, day))]

    def _known(self, snapshot: Snapshot, first: date) -> dict[date, tuple[int, int, int]]:
        if self._settled is None:
            start, end = day_number(first) * DAY_NS, self._keeper.now_ns() + DAY_NS
            told = notes.read(snapshot, [Noted.SETTLED], [0], start, end, bodies=False)
            self._settled = {_day_of(note.ts_event): (note.a, note.b, note.c) for note in told}
        return self._settled

    def settle(self, day: date, told_to_stop: Callable[[], bool] = lambda: False) -> Settled:
        """Summarise a day, look whether it is as usual, and note both in one commit. Raises Stopped."""
        snapshot = self._lake.snapshot()
        self._tape.release()
        self._tape.refresh()
        known = {i.id: i for i in self._instruments()}
        start = day_number(day) * DAY_NS
        past = LakePast(snapshot, self._tape, known)
        kept = Kept(snapshot, None, list(known), start - TRAILING_DAYS * DAY_NS, start)
        trailing = {
            (number, channel): kept.summaries(past, number, channel) for number in known for channel in TABLE
        }  # fmt: skip
        traded = {w for w, days in trailing.items() if any(s.records for s in days)}
        who = sorted({w for w in wrote(snapshot, day) if w[0] in known} | traded)
        summaries: list[DaySummary] = []
        for number, channel in who:
            if told_to_stop():
                raise Stopped
            sessions = calendar(known[number].calendar)
            summaries.append(summarise(past, number, channel, sessions, day, read_ns=READ_NS))
        report = self._report(day, summaries, trailing, known, past)
        self._note(day, snapshot, past, summaries, report)
        return Settled(report, summaries)

    def _instruments(self) -> list[Instrument]:
        self._directory.refresh()
        return self._directory.all()

    # -- the report --------------------------------------------------------------------------------

    def _report(
        self, day: date, summaries: list[DaySummary], trailing: Mapping[Who, Sequence[DaySummary]],
        known: Mapping[int, Instrument], past: LakePast,
    ) -> QualityReport:  # fmt: skip
        by_name = {(number, channel.name.lower()): days for (number, channel), days in trailing.items()}
        calendars = {number: calendar(instrument.calendar) for number, instrument in known.items()}
        start = day_number(day) * DAY_NS
        gaps = {number: past.gaps(number, start, start + DAY_NS) for number in known}
        certificates = list(self._certificates(day, summaries, trailing, known, past))
        return check_day(day, summaries, by_name, calendars, gaps, certificates)

    def _certificates(
        self, day: date, summaries: list[DaySummary], trailing: Mapping[Who, Sequence[DaySummary]],
        known: Mapping[int, Instrument], past: LakePast,
    ) -> Iterator[Certificate]:  # fmt: skip
        """Yield a certificate of each instrument that has records: for how much of the day each source covered."""
        classes, names = _classes(self._world), {source.id: source.name for source in self._directory.sources()}
        for number in sorted({summary.instrument_id for summary in summaries if summary.records}):
            instrument, series = known[number], list[Series]()
            for summary in (s for s in summaries if s.instrument_id == number and s.records):
                channel = Channel[summary.channel.upper()]
                wrote_it = [names.get(source, f"source-{source}") for source in summary.sources]
                series.append(
                    Series(
                        channel=channel,
                        completeness=weakest(channel, wrote_it, classes)[0],
                        summaries=[*trailing.get((number, channel), ()), summary],
                        gaps=concerning(past.rows, number, channel, summary.sources),
                        has_history=any(gap.state == GapState.FILLED and gap.has_ids for gap in past.rows),
                    )
                )
            subject = Subject(
                instrument_id=number,
                symbol=instrument.symbol,
                venue=instrument.venue,
                calendar=instrument.calendar,
                sources={0: "ticktape", **names},
            )
            yield certify(subject, day, series)

    # -- noting ------------------------------------------------------------------------------------

    def _note(
        self, day: date, snapshot: Snapshot, past: LakePast, summaries: list[DaySummary], report: QualityReport
    ) -> None:
        start, now = day_number(day) * DAY_NS, self._keeper.now_ns()
        found = {name: notes.prints(snapshot.versions[name]) for name in TICK_TABLES}
        rows = [_summary_note(s, found, past, now) for s in summaries]
        for finding in report.findings:
            side = int(Channel[finding.channel.upper()])
            body = msgspec.json.encode(finding)
            rows.append(Note(Noted.FINDING, finding.instrument_id, start, now, side, body=body))
        marks = _marks(found, day)
        rows.append(
            Note(Noted.SETTLED, 0, start, now, 0, *marks, len(report.findings), msgspec.json.encode(report))
        )  # fmt: skip
        self._keeper.note(rows, "settle")
        if self._settled is not None:
            self._settled[day] = marks
        figures = self._keeper.figures
        figures.quality_days += 1
        figures.quality_findings += len(report.findings)
        log.info("quality.settled", day=str(day), summaries=len(summaries), findings=len(report.findings))
        for finding in report.findings:
            log.warning(
                "quality.found", day=str(day), check=finding.check, instrument_id=finding.instrument_id,
                channel=finding.channel, message=finding.message,
            )  # fmt: skip


def _summary_note(summary: DaySummary, found: Mapping[str, Mapping[str, Print]], past: LakePast, now_ns: int) -> Note:
    channel = Channel[summary.channel.upper()]
    made_of = found[TABLE[channel]].get(summary.date.isoformat(), Print(0, 0))
    resets = resets_of(past.gaps(summary.instrument_id, summary.start_ns, summary.end_ns), channel)
    return Note(
        Noted.SUMMARY, summary.instrument_id, summary.start_ns, now_ns, int(channel),
        made_of.rows, made_of.end, summary.records, mark_of(resets), encode(summary),
    )  # fmt: skip


def _marks(found: Mapping[str, Mapping[str, Print]], day: date) -> tuple[int, int, int]:
    trades, quotes, book = (found[name].get(day.isoformat(), Print(0, 0)).mark for name in TICK_TABLES)
    return trades, quotes, book


def _differs(noted: tuple[int, int, int] | None, now: tuple[int, int, int]) -> bool:
    # What expired since is gone from the lake, and no reason to settle a day without it.
    return noted is None or any(mark not in (0, before) for before, mark in zip(noted, now, strict=True))


def _day_of(ns: int) -> date:
    return datetime.fromtimestamp(ns // 10**9, UTC).date()


def _flushed_ns(snapshot: Snapshot) -> int:
    """Return the newest time that the lake has: a day is not settled while its flush is still to come."""
    return max(
        (entry.high["ts_event"] for name in (*TICK_TABLES, "quality") for entry in snapshot.versions[name].files
         if not notes.holds_notes(entry)),
        default=0,
    )  # fmt: skip


def wrote(snapshot: Snapshot, day: date) -> set[Who]:
    """Return the channels that have rows in a day's partitions. Reads two narrow columns. Raises Damaged."""
    found: set[Who] = set()
    for name in TICK_TABLES:
        for entry in snapshot.versions[name].files:
            if entry.partition != day.isoformat():
                continue
            file = stored(snapshot.folder / name / entry.path, entry.size)
            for group in range(len(file.rows)):
                rows = read(file, [group], ["instrument_id", "kind"])
                both = numpy_of(rows.column("instrument_id")).astype(np.int64) << 8 | numpy_of(rows.column("kind"))
                found |= {(key >> 8, _CHANNEL_OF[Kind(key & 255)]) for key in np.unique(both).tolist()}
    return found


def _classes(world: Path) -> dict[str, dict[str, str]]:
    """Return what sources said of their channels, as `serve` remembers it; nothing where nobody asked yet."""
    try:
        return msgspec.json.decode((world / "completeness.json").read_bytes(), type=dict[str, dict[str, str]])
    except FileNotFoundError:
        return {}
    except msgspec.MsgspecError as error:
        log.warning("quality.classes_unreadable", error=str(error))
        return {}
