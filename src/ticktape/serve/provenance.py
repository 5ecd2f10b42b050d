"""Where an answer comes from and what it lacks: positions, sources, flags, gaps in range, freshness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from ticktape.clock import Clock
from ticktape.errors import UnknownSymbol
from ticktape.model.gaps import FOREVER_NS, Gap
from ticktape.model.instruments import Instrument
from ticktape.model.records import MARKET_KINDS, Channel, Records
from ticktape.serve import answers as a
from ticktape.serve.encode import flag_names
from ticktape.serve.live import Live
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.kernels import CHAIN_OTHER, CHAINS
from ticktape.tape.reader import Found

_MARKET = frozenset(int(kind) for kind in MARKET_KINDS)


class Common(TypedDict):
    """What every answer says, the whole system's too."""

    as_of_position: int
    sample: bool


class Base(Common):
    """The fields of `answers.Provenance`, to be spread into an answer."""

    positions: a.Positions
    source: list[str]
    flags: list[str]
    gaps: list[a.GapRow]
    freshness: a.Freshness
    missing: list[str]


class Part(NamedTuple):
    """What one instrument brings to an answer."""

    instrument: Instrument
    found: Found


class Provenance:
    """Says of records where they come from, by the live state and the directory."""

    def __init__(self, live: Live, directory: TapeDirectory, clock: Clock) -> None:
        self._live = live
        self._directory = directory
        self._clock = clock
        self._sources: dict[int, str] = {0: "ticktape"}
        self._newest: dict[int, tuple[int, int] | None] = {}  # of the tape as it was read up to `_read_at`
        self._read_at = (-1, -1)

    def common(self) -> Common:
        """Return what every answer says."""
        return {"as_of_position": self._live.reader.end, "sample": self._live.reader.meta.sample}

    def of(self, parts: Sequence[Part], channels: Sequence[Channel], what: str, wanted: int = 1) -> Base:
        """Return the provenance of rows that were found as they stand on the tape; `what` names a row.

        `wanted` rows of each were asked for; a tape that was trimmed may have had more.
        """
        filled = [part for part in parts if len(part.found.records)]
        flags = 0
        for part in filled:
            flags |= int(np.bitwise_or.reduce(part.found.records["flags"]))
        return {
            **self.common(),
            "positions": positions_of([part.found for part in filled]),
            "source": self.source_names(part.found.records for part in filled),
            "flags": list(flag_names(flags)),
            "gaps": [self.gap_row(g) for part in parts for g in self._gaps_of(part, channels)],
            "freshness": self.stalest([part.instrument for part in parts]),
            "missing": [self._fewer(part, what) for part in parts if self._lacks(part, wanted)] + self.unread(),
        }

    def _lacks(self, part: Part, wanted: int) -> bool:
        count = len(part.found.records)
        return count == 0 or (count < wanted and self._live.reader.first > 0)

    def _fewer(self, part: Part, what: str) -> str:
        count, symbol = len(part.found.records), part.instrument.symbol
        if self._live.reader.first == 0:
            return f"no {what} of {symbol} on the tape"
        held = f"no {what} of {symbol}" if count == 0 else f"only {count} {what}s of {symbol}"
        return f"{held} in the hot window; older ones: /api/v1/ticks/historical?kind={what}s"

    def unread(self) -> list[str]:
        """Return what answers lack for now: while a long tape is still being read after a start, and what is older."""
        behind, unsettled = self._live.behind, self._live.bars.unsettled
        found = [f"bars and gaps are being read from the tape: {behind} records to go"] if behind else []
        if unsettled:
            found.append(f"{unsettled} bars lack a correction of ticks that left the tape: /api/v1/bars has it")
        return found + self._live.lacking

    # -- sources -----------------------------------------------------------------------------------

    def names(self, records: Records) -> dict[int, str]:
        """Return the names of the sources that wrote these records, by id."""
        ids = set(records["source"].tolist())
        return {number: self.source_name(number) for number in ids}

    def source_names(self, several: Iterable[Records]) -> list[str]:
        """Return the names of the sources that wrote any of these records, sorted."""
        ids = {number for records in several for number in records["source"].tolist()}
        return sorted(self.source_name(number) for number in ids)

    def source_name(self, number: int) -> str:
        """Return a source's name; 0 is ticktape itself."""
        if number not in self._sources:
            self.read_sources()
        return self._sources.get(number, f"source-{number}")

    def read_sources(self) -> dict[int, str]:
        """Read the names of the sources again and return them by id."""
        self._sources |= {row.id: row.name for row in self._directory.sources()}
        return self._sources

    # -- freshness ---------------------------------------------------------------------------------

    def freshness(self, instrument_id: int) -> a.Freshness:
        """Return how old the newest market record of an instrument is, of any kind."""
        last = self._newest_of(instrument_id)
        return a.Freshness(None, None, None) if last is None else a.Freshness(*last, self.age_s(last[1]))

    def _newest_of(self, instrument_id: int) -> tuple[int, int] | None:
        """Return the newest (ts_event, ts_recv) of an instrument; asked several times for one answer, read once."""
        reader = self._live.reader
        if self._read_at != (reader.end, reader.first):
            self._read_at = (reader.end, reader.first)
            self._newest.clear()
        if instrument_id not in self._newest:
            self._newest[instrument_id] = self._read_newest(instrument_id)
        return self._newest[instrument_id]

    def _read_newest(self, instrument_id: int) -> tuple[int, int] | None:
        reader, key = self._live.reader, instrument_id * CHAINS
        places = [p - reader.base for p in reader.heads[key : key + CHAIN_OTHER].tolist() if p >= reader.first]
        kinds, events, received = (reader.records[name] for name in ("kind", "ts_event", "ts_recv"))
        places = [place for place in places if int(kinds[place]) in _MARKET]  # a damaged place was voided
        if not places:
            return None
        return max(int(events[place]) for place in places), max(int(received[place]) for place in places)

    def stalest(self, instruments: Iterable[Instrument]) -> a.Freshness:
        """Return the freshness of the instrument that has been silent longest: an answer is as fresh as that."""
        return min((self.freshness(i.id) for i in instruments), key=lambda f: f.last_ts_recv or 0)

    def newest(self) -> a.Freshness:
        """Return how old the newest market record of any source is."""
        tallies = self._live.board.tallies
        ts_recv = int(tallies["last_ts_recv"].max())
        if not ts_recv:
            return a.Freshness(None, None, None)
        return a.Freshness(int(tallies["last_ts_event"].max()), ts_recv, self.age_s(ts_recv))

    def age_s(self, ts_recv: int) -> float:
        """Return seconds since a time of our clock, never below zero."""
        return round(max(self._clock.now_ns() - ts_recv, 0) / 1e9, 3)

    # -- gaps --------------------------------------------------------------------------------------

    def _gaps_of(self, part: Part, channels: Sequence[Channel]) -> list[Gap]:
        records = part.found.records
        start = int(records["ts_event"].min()) if len(records) else 0
        return self.gaps_since(part.instrument.id, start, channels, set(records["source"].tolist()))

    def gaps_since(
        self, instrument_id: int, start_ns: int, channels: Sequence[Channel], source_ids: Iterable[int]
    ) -> list[Gap]:
        """Return the gaps of an instrument's channels from a time until now."""
        return self._live.gaps.within(instrument_id, start_ns, FOREVER_NS, channels, source_ids)

    def gap_row(self, gap: Gap) -> a.GapRow:
        """Return a gap as it is answered."""
        return a.GapRow(
            gap_id=gap.gap_id,
            state=gap.state.name.lower(),
            cause=gap.cause.name.lower(),
            channel=gap.channel.name.lower(),
            instrument_id=gap.instrument_id,
            symbol=self._symbol(gap.instrument_id),
            source=self.source_name(gap.source_id),
            start=gap.start_ns,
            end=None if gap.end_ns == FOREVER_NS else gap.end_ns,
            first_missing=gap.first_missing,
            last_missing=gap.last_missing,
            rows=gap.rows,
            ts_recv=gap.ts_recv,
            position=gap.position,
        )

    def _symbol(self, instrument_id: int) -> str | None:
        if instrument_id == 0:
            return None
        try:
            return self._directory.by_id(instrument_id).symbol
        except UnknownSymbol:
            return f"instrument-{instrument_id}"


def positions_of(found: Iterable[Found]) -> a.Positions:
    """Return the first and last place of records that were found."""
    ends = [(int(f.positions[0]), int(f.positions[-1])) for f in found if len(f.positions)]
    return a.Positions(min(e[0] for e in ends), max(e[1] for e in ends)) if ends else a.Positions(None, None)
