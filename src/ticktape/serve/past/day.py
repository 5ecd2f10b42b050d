"""The certificate of one instrument's day, from raw rows of lake and tape and the ledger of gaps."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import msgspec

from ticktape.errors import BadInput
from ticktape.lake.certificate import Series, Subject, certify
from ticktape.lake.certificate_day import KINDS, DaySummary, day_window, differences, summarise
from ticktape.lake.certificate_gaps import concerning
from ticktape.lake.certificate_hash import HOUR_NS
from ticktape.lake.certificate_kept import Kept
from ticktape.lake.certificate_past import TABLE, LakePast, weakest
from ticktape.model.gaps import FOREVER_NS
from ticktape.model.records import Channel, Completeness, GapState
from ticktape.model.sessions import DAY_NS, Calendar, calendar
from ticktape.serve import answers as a
from ticktape.serve.past.asks import AskDay, Reply
from ticktape.serve.past.view import View

REACH_DAYS = 7  # how far a neighbour with ids is looked for
READ_NS = 6 * HOUR_NS  # in memory at once


def answer_day(ask: AskDay, view: View) -> tuple[Reply, bytes]:
    """Return the certificate, and in one word what it says of what was recorded while the day still runs."""
    who, day = ask.fact.instrument, date.fromisoformat(ask.date)
    sessions = calendar(who.calendar)
    window = day_window(sessions, day, ask.basis)
    if window.start_ns > ask.now_ns:
        raise BadInput(f"{day} has not begun", hint="a day that was recorded")
    past = LakePast(view.snapshot, view.tape, [who.id])
    reach = REACH_DAYS * DAY_NS
    kept = Kept(view.snapshot, view.tape, [who.id], window.start_ns - reach, window.end_ns + reach)
    notes: list[str] = [f"spot checks and quality could not be read: {why}" for why in kept.damaged]
    until = _until(ask, view)
    about = _About(ask, view, past, kept, sessions)
    series = [s for channel in TABLE if (s := _series(about, channel, day, until, notes))]
    subject = Subject(
        instrument_id=who.id,
        symbol=who.symbol,
        venue=who.venue,
        calendar=who.calendar,
        sample=ask.sample,
        sources={0: "ticktape", **ask.sources},
    )
    spots = kept.spots(who.id, *window)
    quality = kept.findings(who.id, day) if ask.basis == "utc" else None
    certificate = certify(subject, day, series, basis=ask.basis, spots=spots, quality=quality)
    running = until < window.end_ns
    answer = a.CompletenessAnswer(
        as_of_position=view.tape.end,
        sample=view.sample,
        symbol=who.symbol,
        instrument_id=who.id,
        date=ask.date,
        running=running,
        verdict=(certificate.recorded if running else certificate.verdict).value,
        notes=notes,
        lake=[view.state(name) for name in ("trades", "quotes", "book", "gaps")],
        certificate=msgspec.Raw(certificate.json()),
    )
    body = msgspec.json.encode(answer)
    return Reply(size=len(body)), body


def _until(ask: AskDay, view: View) -> int:
    """Return the venue time up to which the data are in."""
    if ask.fact.trades_until > 0:
        return ask.fact.trades_until
    last = view.tape.view(view.tape.end - 1, view.tape.end)
    return int(last["ts_recv"][0]) if len(last) else ask.now_ns


class _About(NamedTuple):
    # What every channel of a day is told from.
    ask: AskDay
    view: View
    past: LakePast
    kept: Kept
    sessions: Calendar

    def summary(self, channel: Channel, day: date) -> DaySummary:
        """Return what keep noted when that is still true, else what the rows say."""
        noted = self.noted(channel, day)
        return self.fresh(channel, day) if noted is None or self.ask.deep else noted

    def noted(self, channel: Channel, day: date) -> DaySummary | None:
        """Return what keep noted of a day of UTC, when that is still true."""
        utc = self.ask.basis == "utc"
        return self.kept.summary(self.past, self.ask.fact.instrument.id, channel, day) if utc else None

    def fresh(self, channel: Channel, day: date) -> DaySummary:
        """Return what the rows say."""
        who, basis = self.ask.fact.instrument.id, self.ask.basis
        return summarise(self.past, who, channel, self.sessions, day, basis=basis, read_ns=READ_NS)

    def deviations(self, channel: Channel, day: date, summary: DaySummary) -> list[str]:
        """Say, in deep mode, where the rows are not what keep noted."""
        noted = self.noted(channel, day) if self.ask.deep else None
        found = [] if noted is None else differences(noted, summary)
        return [f"{summary.channel}: not what keep noted when the day was settled: {each}" for each in found]


def _series(about: _About, channel: Channel, day: date, until: int, notes: list[str]) -> Series | None:
    ask, past = about.ask, about.past
    who = ask.fact.instrument.id
    since = about.view.begin(TABLE[channel], who, KINDS[channel])
    if since is None:
        return None
    summary = about.summary(channel, day)
    notes += about.deviations(channel, day, summary)
    completeness = _class(ask, channel, summary, notes)
    summaries = [summary]
    if completeness == Completeness.SEQUENCE:  # the days beside it prove its ends
        summaries += _beside(about, channel, day, since)
    sources = [number for number in ask.sources if number]
    gaps = concerning(past.rows, who, channel, summary.sources or sources)
    return Series(
        channel=channel,
        completeness=completeness,
        summaries=sorted(summaries, key=lambda s: s.start_ns),
        gaps=gaps,
        has_history=any(gap.state == GapState.FILLED and gap.has_ids for gap in past.rows),
        since_ns=since,
        until_ns=until if until < day_window(about.sessions, day, ask.basis).end_ns else FOREVER_NS,
    )


def _class(ask: AskDay, channel: Channel, summary: DaySummary, notes: list[str]) -> Completeness:
    """Return how far this channel's day can be proven: by the weakest of those who wrote it."""
    wrote = [ask.sources.get(number, f"source-{number}") for number in summary.sources] or list(ask.classes)
    found, silent = weakest(channel, wrote, ask.classes)
    if silent and summary.sources:
        name = channel.name.lower()
        notes.append(f"nobody told yet how far {silent[0]} can prove its {name}s: start the recorder once")
        return Completeness.NONE
    return found


def _beside(about: _About, channel: Channel, day: date, since: int) -> list[DaySummary]:
    found: list[DaySummary] = []
    for step in (-1, 1):
        for distance in range(1, REACH_DAYS + 1):
            other = day + timedelta(days=step * distance)
            try:
                if day_window(about.sessions, other, about.ask.basis).end_ns <= since:
                    break
                summary = about.summary(channel, other)
            except BadInput:  # no trade date, or no year the calendar knows
                continue
            if summary.numberings:
                found.append(summary)
                break
    return found
