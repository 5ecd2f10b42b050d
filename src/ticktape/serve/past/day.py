"""The certificate of one instrument's day, from raw rows of lake and tape and the ledger of gaps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import msgspec
import numpy as np

from ticktape.errors import BadInput
from ticktape.lake.certificate import Series, Subject, certify
from ticktape.lake.certificate_day import KINDS, Basis, DaySummary, day_window, summarise
from ticktape.lake.certificate_gaps import concerning, ledger
from ticktape.lake.certificate_hash import HOUR_NS
from ticktape.model.gaps import FOREVER_NS, Gap
from ticktape.model.records import Channel, Completeness, GapState, Records
from ticktape.model.sessions import Calendar, calendar
from ticktape.serve import answers as a
from ticktape.serve.past.asks import AskDay, Reply
from ticktape.serve.past.view import BEGIN_NS, EVER_NS, View

TABLE = {Channel.TRADE: "trades", Channel.AGG_TRADE: "trades", Channel.QUOTE: "quotes", Channel.BOOK: "book"}
REACH_DAYS = 7  # how far a neighbour with ids is looked for
READ_NS = 6 * HOUR_NS  # in memory at once
_CLASSES = tuple(Completeness)  # strongest first


class LakePast:
    """What a certificate reads: lake and tape as one."""

    def __init__(self, view: View, instrument_id: int) -> None:
        self._view = view
        positions, records = view.snapshot.records("gaps", [0, instrument_id], BEGIN_NS, EVER_NS, tape=view.tape)
        self.rows = ledger(records, positions)

    def records(self, instrument_id: int, channel: Channel, start_ns: int, end_ns: int) -> Records:
        """Return all records of a channel in [start, end)."""
        table = TABLE[channel]
        _, found = self._view.snapshot.records(table, [instrument_id], start_ns, end_ns, tape=self._view.tape)
        return found[np.isin(found["kind"], KINDS[channel])]

    def gaps(self, instrument_id: int, start_ns: int, end_ns: int) -> Sequence[Gap]:
        """Return the gaps that touch a window."""
        ids = (0, instrument_id)
        return [r for r in self.rows if r.instrument_id in ids and r.start_ns < end_ns and r.end_ns >= start_ns]


def answer_day(ask: AskDay, view: View) -> tuple[Reply, bytes]:
    """Return the certificate, and in one word what it says of what was recorded while the day still runs."""
    who, day = ask.fact.instrument, date.fromisoformat(ask.date)
    sessions = calendar(who.calendar)
    window = day_window(sessions, day, ask.basis)
    if window.start_ns > ask.now_ns:
        raise BadInput(f"{day} has not begun", hint="a day that was recorded")
    past = LakePast(view, who.id)
    until = _until(ask, view)
    notes: list[str] = []
    series = [s for channel in TABLE if (s := _series(ask, view, past, channel, sessions, day, until, notes))]
    subject = Subject(
        instrument_id=who.id,
        symbol=who.symbol,
        venue=who.venue,
        calendar=who.calendar,
        sample=ask.sample,
        sources={0: "ticktape", **ask.sources},
    )
    certificate = certify(subject, day, series, basis=ask.basis)
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


def _series(
    ask: AskDay, view: View, past: LakePast, channel: Channel, sessions: Calendar, day: date, until: int,
    notes: list[str],
) -> Series | None:  # fmt: skip
    who = ask.fact.instrument.id
    since = view.begin(TABLE[channel], who, KINDS[channel])
    if since is None:
        return None
    summary = summarise(past, who, channel, sessions, day, basis=ask.basis, read_ns=READ_NS)
    completeness = _class(ask, channel, summary, notes)
    summaries = [summary]
    if completeness == Completeness.SEQUENCE:  # the days beside it prove its ends
        summaries += _beside(past, who, channel, sessions, day, ask.basis, since)
    sources = [number for number in ask.sources if number]
    gaps = concerning(past.rows, who, channel, summary.sources or sources)
    return Series(
        channel=channel,
        completeness=completeness,
        summaries=sorted(summaries, key=lambda s: s.start_ns),
        gaps=gaps,
        has_history=any(gap.state == GapState.FILLED and gap.has_ids for gap in past.rows),
        since_ns=since,
        until_ns=until if until < day_window(sessions, day, ask.basis).end_ns else FOREVER_NS,
    )


def _class(ask: AskDay, channel: Channel, summary: DaySummary, notes: list[str]) -> Completeness:
    """Return how far this channel's day can be proven: by the weakest of those who wrote it."""
    name = channel.name.lower()
    wrote = [ask.sources.get(number, f"source-{number}") for number in summary.sources] or list(ask.classes)
    found: list[Completeness] = []
    for source in wrote:
        told = ask.classes.get(source, {}).get(name)
        if told in _CLASSES:
            found.append(Completeness(told))
        elif summary.sources:
            notes.append(f"nobody told yet how far {source} can prove its {name}s: start the recorder once")
            return Completeness.NONE
    return max(found, key=_CLASSES.index, default=Completeness.NONE)


def _beside(
    past: LakePast, who: int, channel: Channel, sessions: Calendar, day: date, basis: Basis, since: int
) -> list[DaySummary]:  # fmt: skip
    found: list[DaySummary] = []
    for step in (-1, 1):
        for distance in range(1, REACH_DAYS + 1):
            other = day + timedelta(days=step * distance)
            try:
                if day_window(sessions, other, basis).end_ns <= since:
                    break
                summary = summarise(past, who, channel, sessions, other, basis=basis, read_ns=READ_NS)
            except BadInput:  # no trade date, or no year the calendar knows
                continue
            if summary.numberings:
                found.append(summary)
                break
    return found
