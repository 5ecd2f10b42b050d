"""What an answer about a range says of itself, and why it has less than was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from ticktape.errors import BadInput
from ticktape.lake.history import Missing
from ticktape.lake.schema import TABLES
from ticktape.model.gaps import FOREVER_NS, Gap
from ticktape.model.instruments import Instrument
from ticktape.model.records import Channel, GapState, Kind
from ticktape.model.sessions import calendar
from ticktape.serve import answers as a
from ticktape.serve.past.asks import Fact, Ranged
from ticktape.serve.past.view import View, touching
from ticktape.serve.past.when import iso
from ticktape.serve.readers.gaps import GapLedger

DAY_NS = 86_400 * 10**9
MOST_GAPS = 500  # in one answer; GET /api/v1/gaps has them all
CHANNELS: dict[str, tuple[Channel, ...]] = {
    "trades": (Channel.TRADE, Channel.AGG_TRADE),
    "quotes": (Channel.QUOTE,),
    "book": (Channel.BOOK,),
}
PLAIN = (Kind.TRADE, Kind.CORRECT, Kind.CANCEL)


class Facts(TypedDict):
    """The fields of `answers.Past` but for what the rows themselves say."""

    as_of_position: int
    sample: bool
    gaps: list[a.GapRow]
    freshness: a.Freshness
    missing: list[str]
    start: int
    end: int
    lake: a.LakeState
    notes: list[a.Note]
    more_gaps: int


class About:
    """Says what is to be said of one question."""

    def __init__(self, ask: Ranged, view: View, table: str) -> None:
        self.ask, self.view, self.table = ask, view, table
        self._ledger: GapLedger | None = None

    @property
    def ledger(self) -> GapLedger:
        """The gaps, read when first asked for."""
        if self._ledger is None:
            self._ledger = self.view.gaps([fact.instrument.id for fact in self.ask.facts], self.ask.end_ns)
        return self._ledger

    def gaps(self, instrument_id: int, start_ns: int, end_ns: int) -> list[Gap]:
        """Return the gaps of an instrument that touch a range, whole sources' too."""
        return touching(self.ledger, instrument_id, start_ns, end_ns, CHANNELS[self.table], self.ask.sources)

    def facts(
        self, start_ns: int, end_ns: int, empty: Iterable[Fact], damaged: Sequence[Missing], *, last: bool
    ) -> Facts:
        """Return what is said of a page that holds [start_ns, end_ns); `empty` are the instruments without a row."""
        ask, view = self.ask, self.view
        found = {gap.gap_id: gap for fact in ask.facts for gap in self.gaps(fact.instrument.id, start_ns, end_ns)}
        listed = sorted(found.values(), key=lambda gap: (gap.start_ns, gap.gap_id))
        notes = self._limits() + [_damage(piece) for piece in damaged]
        told = notes and notes[0].code in {"future", "before_retention"} and notes[0].end == ask.end_ns
        notes += [self._why(fact) for fact in empty] if last and not told else []
        symbols = {fact.instrument.id: fact.instrument.symbol for fact in ask.facts}
        return {
            "as_of_position": view.tape.end,
            "sample": view.sample,
            "gaps": [self._row(gap, symbols) for gap in listed[:MOST_GAPS]],
            "freshness": min((fact.freshness for fact in ask.facts), key=lambda f: f.last_ts_recv or 0),
            "missing": [note.text for note in notes if note.code != "only_tape"],
            "start": ask.start_ns,
            "end": ask.end_ns,
            "lake": view.state(self.table),
            "notes": notes,
            "more_gaps": max(len(listed) - MOST_GAPS, 0),
        }

    def _row(self, gap: Gap, symbols: dict[int, str]) -> a.GapRow:
        return a.GapRow(
            gap_id=gap.gap_id,
            state=gap.state.name.lower(),
            cause=gap.cause.name.lower(),
            channel=gap.channel.name.lower(),
            instrument_id=gap.instrument_id,
            symbol=symbols.get(gap.instrument_id),
            source="ticktape" if gap.source_id == 0 else self.source(gap.source_id),
            start=gap.start_ns,
            end=None if gap.end_ns == FOREVER_NS else gap.end_ns,
            first_missing=gap.first_missing,
            last_missing=gap.last_missing,
            rows=gap.rows,
            ts_recv=gap.ts_recv,
            position=gap.position,
        )

    def source(self, number: int) -> str:
        """Return a source's name."""
        return self.ask.sources.get(number, f"source-{number}")

    # -- why there is less -------------------------------------------------------------------------

    def _limits(self) -> list[a.Note]:
        """Return what is true of the range whatever was recorded."""
        ask, notes = self.ask, list[a.Note]()
        if ask.start_ns >= ask.now_ns:
            text = f"{iso(ask.start_ns)} is in the future: it is {iso(ask.now_ns)}"
            notes.append(a.Note(code="future", text=text, start=ask.start_ns, end=ask.end_ns))
        days = ask.retain_days.get(self.table, TABLES[self.table].retain_days)
        oldest = ask.now_ns - days * DAY_NS
        if days and ask.start_ns < oldest:
            until = min(oldest, ask.end_ns)
            text = f"{self.table} are kept for {days} days: what was before {iso(oldest)} may be gone"
            notes.append(a.Note(code="before_retention", text=text, start=ask.start_ns, end=until))
        if self.view.state(self.table).position < 0:
            text = "nothing was moved to the lake yet: the tape alone answers"
            notes.append(a.Note(code="only_tape", text=text))
        return notes

    def _why(self, fact: Fact) -> a.Note:
        """Return why an instrument has no row in the range."""
        ask, who = self.ask, fact.instrument
        start, end = ask.start_ns, min(ask.end_ns, max(ask.now_ns, ask.start_ns + 1))

        what = "book levels" if self.table == "book" else self.table

        def note(code: str, text: str) -> a.Note:
            return a.Note(code=code, text=text, symbol=who.symbol, start=ask.start_ns, end=ask.end_ns)

        span = self.view.recorded(self.table, who.id)
        then = " as known then" if self.view.known else ""
        if span is None:
            return note("never_recorded", f"no {what} of {who.symbol} were ever recorded{then}")
        if end <= span[0]:
            return note("not_recorded_yet", f"{what} of {who.symbol} begin at {iso(span[0])}{then}")
        if (closed := _closed(who, start, end)) is not None:
            return note("market_closed", closed)
        gap = next((g for g in self.gaps(who.id, start, end) if g.state != GapState.FILLED), None)
        if gap is not None:
            return note("gap", f"no {what} of {who.symbol}: gap {gap.gap_id} lies in the range")
        return note("no_rows", f"no {what} of {who.symbol} in the range, and no gap is known there")


def _closed(who: Instrument, start_ns: int, end_ns: int) -> str | None:
    """Return that the market was closed all the time, and when it opens; None where it was open or nobody knows."""
    try:
        sessions = calendar(who.calendar)
        if sessions.expected_open_ns(start_ns, end_ns, extended=True) > 0:
            return None
        opens = iso(sessions.next_open(end_ns, extended=True))
    except BadInput:  # outside of the years that the table knows
        return None
    said = "; ".join(f"{note.date}: {note.text}" for note in sessions.notes(start_ns, end_ns))
    return f"the market of {who.symbol} was closed ({who.calendar}{', ' + said if said else ''}); next open {opens}"


def _damage(piece: Missing) -> a.Note:
    text = f"{piece.rows} rows of {piece.table} of {piece.partition} cannot be read: their file is damaged"
    return a.Note(code="damaged", text=text, start=piece.start_ns, end=piece.end_ns)
