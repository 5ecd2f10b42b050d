"""A certificate: what of an instrument's day is stored, how far that can be proven, and why. Same data, same hash.

`certify` judges one day from `DaySummary`s, without reading ticks; `certify_days` a whole range; `certify_deep` makes
the summaries anew from raw data first. The overall verdict is the worst of the channels that can prove anything
(classes sequence and count), for a quote stream without ids must not hide that every trade is there; where no channel
can, it is the worst of all. `recorded` is the same for the part of the day that was recorded: it leaves out that
recording began late, that the day is not over, and what lies beyond the first and the last record. Times are ns UTC.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from hashlib import blake2b

import msgspec
from msgspec import Struct

from ticktape.errors import BadInput
from ticktape.lake.certificate_day import Basis, DaySummary, Past, day_window, summarise, summary_of
from ticktape.lake.certificate_form import (
    PROVABLE,
    WORST,
    ChannelProof,
    Evidence,
    Finding,
    VenueTotal,
    Verdict,
)
from ticktape.lake.certificate_gaps import GapTimes
from ticktape.lake.certificate_hash import VERSION, combined
from ticktape.lake.certificate_proof import prove
from ticktape.model.gaps import FOREVER_NS, Gap
from ticktape.model.records import Channel, Completeness, empty
from ticktape.model.sessions import Calendar, Window, calendar

FORMAT = 1


class Subject(Struct, frozen=True, kw_only=True):
    """Whose days are certified."""

    instrument_id: int
    symbol: str
    venue: str
    calendar: str = "24/7"
    sample: bool = False
    sources: dict[int, str] = {}  # names by id


class Series(Struct, frozen=True, kw_only=True):
    """All that is known of one channel over a range of days."""

    channel: Channel
    completeness: Completeness
    summaries: Sequence[DaySummary]  # by day; a day without one is read as a day without records
    gaps: Sequence[Gap] = ()  # of this channel: certificate_gaps.concerning
    has_history: bool = False
    since_ns: int | None = None
    until_ns: int = FOREVER_NS
    totals: dict[date, VenueTotal] = {}


class SessionPart(Struct, frozen=True):
    """One session of the day."""

    open: int
    close: int
    kind: str
    verified: bool


class DayNote(Struct, frozen=True):
    """What is special about a date at the venue."""

    date: str
    text: str
    verified: bool


class SessionProof(Struct, frozen=True, kw_only=True):
    """What the session calendar expects of the day; covered is the least of the channels that can prove."""

    calendar: str
    expected_open_ns: int
    covered_open_ns: int
    sessions: list[SessionPart]
    notes: list[DayNote]
    verified: bool  # every session and note of the day


class SpotChecks(Struct, frozen=True, kw_only=True):
    """How many of the day's random comparisons passed; certificate_spot.py."""

    checked: int
    passed: int
    pass_rate: float | None
    misses: list[str]


class Certificate(Struct, frozen=True, kw_only=True):
    """The certificate of one instrument and day. Fields are only ever added; `format` rises when one changes."""

    format: int = FORMAT
    symbol: str
    venue: str
    instrument_id: int
    date: str  # of UTC, or the venue's business date
    basis: Basis
    trade_dates: list[str]  # business dates that the day has a part of
    start: int
    end: int
    sample: bool
    verdict: Verdict
    recorded: Verdict  # of the part of the day that was recorded
    reasons: list[str]
    session: SessionProof
    channels: list[ChannelProof]
    spot_checks: SpotChecks | None
    quality: list[Finding] | None = None  # what the daily job found unusual; null: it has not looked at the day
    hash_version: str = VERSION
    hash: str  # of all channels' market hashes
    certificate: str = ""  # BLAKE2b-256 of this JSON with this field empty

    def json(self) -> bytes:
        """Return the certificate as JSON, byte for byte the same for the same data."""
        return msgspec.json.encode(self)


def certify(
    subject: Subject, day: date, series: Sequence[Series], *, basis: Basis = "utc", spots: SpotChecks | None = None,
    quality: list[Finding] | None = None,
) -> Certificate:  # fmt: skip
    """Return the certificate of one day. Raises BadInput for a day that the calendar does not know."""
    spots_of = {day: spots} if spots else None
    quality_of = None if quality is None else {day: quality}
    return next(certify_days(subject, [day], series, basis=basis, spots=spots_of, quality=quality_of))


def certify_days(
    subject: Subject, days: Sequence[date], series: Sequence[Series], *, basis: Basis = "utc",
    spots: dict[date, SpotChecks] | None = None, quality: dict[date, list[Finding]] | None = None,
) -> Iterator[Certificate]:  # fmt: skip
    """Yield the certificate of each day, from summaries alone: about 0.1 ms a day and channel."""
    sessions = calendar(subject.calendar)
    shelves = [_Shelf(one, subject.instrument_id) for one in series]
    for day in days:
        window = day_window(sessions, day, basis)
        proofs = [
            prove(shelf.evidence(day, basis, window, sessions), sessions, subject.sources) for shelf in shelves
        ]  # fmt: skip
        made = _assembled(subject, day, basis, window, sessions, proofs, (spots or {}).get(day))
        yield _sealed(msgspec.structs.replace(made, quality=(quality or {}).get(day)))


def certify_deep(
    past: Past, subject: Subject, day: date, series: Sequence[Series], *, basis: Basis = "utc", reach_days: int = 7
) -> Certificate:
    """Certify one day from raw records; neighbours are looked for up to `reach_days` away. Ignores kept summaries."""
    sessions = calendar(subject.calendar)
    fresh: list[Series] = []
    for one in series:
        made = [_read(past, subject, one.channel, sessions, day, basis)]
        for step in (-1, 1):
            made += _nearest(past, subject, one, sessions, day, basis, step, reach_days)
        made.sort(key=lambda summary: summary.start_ns)
        fresh.append(msgspec.structs.replace(one, summaries=made))
    return certify(subject, day, fresh, basis=basis)


def _read(
    past: Past, subject: Subject, channel: Channel, sessions: Calendar, day: date, basis: Basis
) -> DaySummary:  # fmt: skip
    return summarise(past, subject.instrument_id, channel, sessions, day, basis=basis)


def _nearest(
    past: Past, subject: Subject, one: Series, sessions: Calendar, day: date, basis: Basis, step: int, reach: int
) -> list[DaySummary]:
    for distance in range(1, reach + 1):
        other = day + timedelta(days=step * distance)
        try:
            summary = _read(past, subject, one.channel, sessions, other, basis)
        except BadInput:  # no trade date, or no year the calendar knows
            continue
        if summary.numberings:
            return [summary]
    return []


def encode_digest(certificate: Certificate) -> str:
    """Return the hash of a certificate: what its own field `certificate` must say."""
    bare = msgspec.structs.replace(certificate, certificate="")
    return blake2b(bare.json(), digest_size=32).hexdigest()


class _Shelf:
    # A series by time: each day's summary, and its nearest neighbours that have ids.
    def __init__(self, series: Series, instrument_id: int) -> None:
        self._s, self._instrument_id = series, instrument_id
        self._summaries = sorted(series.summaries, key=lambda s: s.start_ns)
        self._by_day = {(s.date, s.basis): s for s in self._summaries}
        self._gaps = GapTimes(series.gaps)
        self._named: dict[Basis, list[DaySummary]] = {}
        self._starts: dict[Basis, list[int]] = {}
        for basis in ("utc", "trade_date"):
            named = [s for s in self._summaries if s.numberings and s.basis == basis]
            self._named[basis], self._starts[basis] = named, [s.start_ns for s in named]

    def evidence(self, day: date, basis: Basis, window: Window, sessions: Calendar) -> Evidence:
        named, i = self._named[basis], bisect_left(self._starts[basis], window.start_ns)
        before = named[i - 1] if i else None
        if i < len(named) and named[i].date == day:
            i += 1
        after = named[i] if i < len(named) else None
        summary = self._by_day.get((day, basis))
        if summary is None:
            summary = summary_of(empty(0), self._instrument_id, self._s.channel, sessions, day, basis=basis)
        low = min(window.start_ns, before.last_ts or before.start_ns) if before else window.start_ns
        high = max(window.end_ns, after.first_ts or after.end_ns) if after else window.end_ns
        return Evidence(
            completeness=self._s.completeness,
            summary=summary,
            before=before,
            after=after,
            gaps=self._gaps.touching(low, high),
            has_history=self._s.has_history,
            since_ns=self._s.since_ns,
            until_ns=self._s.until_ns,
            total=self._s.totals.get(day),
        )


def _assembled(
    subject: Subject, day: date, basis: Basis, window: Window, sessions: Calendar, proofs: list[ChannelProof],
    spots: SpotChecks | None,
) -> Certificate:  # fmt: skip
    judged = [proof for proof in proofs if proof.completeness in PROVABLE] or proofs
    verdict = max((proof.verdict for proof in judged), key=WORST.index, default=Verdict.NOT_PROVABLE)
    recorded = max((proof.recorded for proof in judged), key=WORST.index, default=Verdict.NOT_PROVABLE)
    held = sessions.sessions(*window)
    session = _session(sessions, window, judged)
    reasons = [f"{proof.channel}: {reason}" for proof in proofs for reason in proof.reasons]
    if not proofs:
        reasons.append("nothing was recorded of this instrument")
    if not session.verified:
        reasons.append("the day's sessions or holidays could not be checked against a notice of the venue")
    if spots is not None and spots.misses:
        reasons.append(f"{len(spots.misses)} spot check(s) missed")
        verdict = recorded = Verdict.INCOMPLETE
    return Certificate(
        symbol=subject.symbol,
        venue=subject.venue,
        instrument_id=subject.instrument_id,
        date=day.isoformat(),
        basis=basis,
        trade_dates=[day.isoformat()]
        if basis == "trade_date"
        else list(dict.fromkeys(s.trade_date.isoformat() for s in held)),
        start=window.start_ns,
        end=window.end_ns,
        sample=subject.sample,
        verdict=verdict,
        recorded=recorded,
        reasons=reasons,
        session=session,
        channels=proofs,
        spot_checks=spots,
        hash=combined([(proof.channel, proof.hash) for proof in proofs]),
    )


def _session(sessions: Calendar, window: Window, judged: Sequence[ChannelProof]) -> SessionProof:
    expected = sessions.expected_open_ns(*window)
    parts = [SessionPart(s.open_ns, s.close_ns, str(s.kind), s.verified) for s in sessions.sessions(*window)]
    notes = [DayNote(n.date.isoformat(), n.text, n.verified) for n in sessions.notes(*window)]
    return SessionProof(
        calendar=sessions.name,
        expected_open_ns=expected,
        covered_open_ns=min((proof.covered_open_ns for proof in judged), default=0),
        sessions=parts,
        notes=notes,
        verified=all(part.verified for part in parts if part.kind != "extended") and all(n.verified for n in notes),
    )


def _sealed(certificate: Certificate) -> Certificate:
    return msgspec.structs.replace(certificate, certificate=encode_digest(certificate))
