"""Bars as announcements: one when a bar closes, one more for each revision, at a position of the tape.

A bar is announced at the record that closed it. What changes it afterwards is announced at the next CLOCK record,
which comes once a second: several changes until then are one revision. So the announcements depend on the tape
alone: the same live, after a reconnect and in a replay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import numpy as np

from ticktape.model.bars import TIMEFRAMES, BarFlag, Bars, Basis
from ticktape.model.gaps import FOREVER_NS, Gap
from ticktape.model.instruments import Instrument
from ticktape.model.records import Channel, Ints, Records
from ticktape.serve import encode
from ticktape.serve.readers.bar_kernel import GRACE_NS, VENUE_NOW
from ticktape.serve.readers.bars import BarReader
from ticktape.serve.readers.gaps import GapLedger
from ticktape.serve.stream import stream_kernel as kernel
from ticktape.serve.stream.pieces import Piece
from ticktape.serve.stream.rows import quoted
from ticktape.tape.reader import Found

WARM = 1 << 17  # records absorbed at a time
LATE_ROOM = 4096
_CHANNELS = {Basis.TRADES: (Channel.TRADE, Channel.AGG_TRADE), Basis.QUOTES: (Channel.QUOTE,)}


class Names(Protocol):
    """What gives an instrument its name and scales."""

    def by_id(self, number: int) -> Instrument:
        """Return an instrument. Raises UnknownSymbol."""
        ...


class Tape(Protocol):
    """What bars are built from."""

    @property
    def records(self) -> Records:
        """All of it as one array."""
        ...

    @property
    def base(self) -> int:
        """Which place records[0] is."""
        ...

    def latest(self, instrument: int, chain: int, n: int) -> Found:
        """Return the last n records of a chain."""
        ...


class BarEvent(NamedTuple):
    """An announcement: where on the tape, of what, and the row as JSON text."""

    position: int
    ts_event: int  # of the record that closed it
    instrument_id: int
    timeframe: str
    start: int
    text: str


class At(NamedTuple):
    """Where on the tape, and when."""

    position: int
    ts_event: int


class BarFeed:
    """Builds bars from piece after piece and says which closed. Pieces must follow each other without a hole."""

    kept = False

    def __init__(self, names: Names) -> None:
        self.bars = BarReader()
        self.gaps = GapLedger()
        self._names = names
        self._keys: list[int] = []
        self._wanted = np.zeros(0, dtype=np.uint8)
        self._marks: Ints = np.zeros(0, dtype=np.int64)
        self._kinds = np.zeros(0, dtype=np.uint8)
        self._clock: Ints = np.zeros(4, dtype=np.int64)
        self._late: Ints = np.zeros((LATE_ROOM, 3), dtype=np.int64)
        self._state: Ints = np.zeros(2, dtype=np.int64)
        self._touched: set[tuple[int, int, int]] = set()  # key, frame, start: revised since the last CLOCK

    # -- what is watched ---------------------------------------------------------------------------

    def watch(self, keys: Iterable[tuple[int, Basis]]) -> None:
        """Announce the bars of these instruments and bases too."""
        for instrument_id, basis in keys:
            key = instrument_id * 2 + basis
            self._room(instrument_id)
            if not self._wanted[key]:
                self._wanted[key] = 1
                self._keys.append(key)

    def watches(self, instrument_id: int, basis: Basis) -> bool:
        """Say whether bars of an instrument and basis are announced."""
        key = instrument_id * 2 + basis
        return key < len(self._wanted) and bool(self._wanted[key])

    def _room(self, instrument_id: int) -> None:
        have, need = len(self._kinds), instrument_id + 1
        if need > have:
            need = max(need, 2 * have, 16)
            self._kinds = _grown(self._kinds, need)
            self._wanted, self._marks = _grown(self._wanted, 2 * need), _grown(self._marks, 2 * need)

    # -- following ---------------------------------------------------------------------------------

    def advance(self, piece: Piece, tape: Tape, most_instrument: int) -> list[BarEvent]:
        """Absorb a piece and return what it announces, in order. `most_instrument` is the highest id in it."""
        self._room(most_instrument)
        events: list[BarEvent] = []
        at = piece.start
        while at < piece.stop:
            place, why, which = kernel.watch(
                piece.records, piece.base, at, piece.stop, self._wanted, self._marks, self._kinds, self._clock,
                self._late, self._state,
            )  # fmt: skip
            self.bars.absorb(tape, at, place)  # pyright: ignore[reportArgumentType] - all it needs
            self._drain()
            if why == kernel.CLOSED:
                events += self._closed(which, _at(piece, place - 1))
            elif why == kernel.CLOCK:
                events += self._on_clock(_at(piece, place - 1))
            elif why == kernel.GAP:
                self.gaps.absorb(piece.records[which - piece.base], piece.position_of(which))
            elif why == kernel.REVISED:
                self._revised(piece, tape, which)
                place = which + 1
            at = place
        return events

    def _drain(self) -> None:
        for key, ts, mark in self._late[: self._state[0]].tolist():
            for frame, width in enumerate(TIMEFRAMES.values()):
                start = ts - ts % width
                if start + width <= mark:
                    self._touched.add((key, frame, start))
        self._state[0] = 0

    def _revised(self, piece: Piece, tape: Tape, place: int) -> None:
        # Corrections are rare: compare every bar of the instrument before and after.
        key = int(piece.records[place - piece.base]["instrument"]) * 2
        before = [self._all(key, name) for name in TIMEFRAMES]
        self.bars.absorb(tape, place, place + 1)  # pyright: ignore[reportArgumentType]
        mark = self.bars.watermark_ns(key // 2, Basis.TRADES)
        for frame, (name, width) in enumerate(TIMEFRAMES.items()):
            after = self._all(key, name)
            known = dict(zip(before[frame]["start"].tolist(), before[frame]["revision"].tolist(), strict=True))
            for start, revision in zip(after["start"].tolist(), after["revision"].tolist(), strict=True):
                if known.get(start) != revision and start + width <= mark:
                    self._touched.add((key, frame, start))

    def _all(self, key: int, timeframe: str) -> Bars:
        return self.bars.latest(key >> 1, timeframe, Basis(key & 1), 1 << 12)

    # -- announcing --------------------------------------------------------------------------------

    def _closed(self, key: int, at: At) -> list[BarEvent]:
        before, now = int(self._state[1]), self.bars.watermark_ns(key >> 1, Basis(key & 1))
        events: list[BarEvent] = []
        for name, width in TIMEFRAMES.items():
            if before // width == now // width:
                continue
            bars = self._since(key, name, before - width)
            ends = bars["start"] + width
            events += self._events(key, name, bars[(ends > before) & (ends <= now)], at)
        return events

    def _since(self, key: int, timeframe: str, start: int) -> Bars:
        n = 4
        while True:
            bars = self.bars.latest(key >> 1, timeframe, Basis(key & 1), n)
            if len(bars) < n or int(bars["start"][0]) <= start:
                return bars
            n *= 4

    def _on_clock(self, at: At) -> list[BarEvent]:
        before = int(self._state[1])
        now = int(self._clock[VENUE_NOW]) - GRACE_NS
        events: list[BarEvent] = []
        for key in sorted(self._keys):
            mark = int(self._marks[key])
            self._state[1] = max(before, mark)
            if now > max(before, mark):
                events += self._closed(key, at)
        touched, self._touched = sorted(self._touched), set()
        names = list(TIMEFRAMES)
        for key, frame, start in touched:
            bars = self._all(key, names[frame])
            events += self._events(key, names[frame], bars[bars["start"] == start], at)
        return events

    def _events(self, key: int, timeframe: str, bars: Bars, at: At) -> list[BarEvent]:
        if not len(bars):
            return []
        instrument_id, basis = key >> 1, Basis(key & 1)
        rows = self.rows(instrument_id, timeframe, basis, bars)
        about = self._names.by_id(instrument_id)
        head = bar_head(about, timeframe, basis, at.position)
        starts: list[int] = bars["start"].tolist()
        return [
            BarEvent(*at, instrument_id, timeframe, start, head + row[1:])
            for start, row in zip(starts, rows, strict=True)
        ]

    def rows(self, instrument_id: int, timeframe: str, basis: Basis, bars: Bars) -> Iterable[str]:
        """Return bars as the JSON text of an `answers.Bar`."""
        width, about = TIMEFRAMES[timeframe], self._names.by_id(instrument_id)
        starts: list[int] = bars["start"].tolist()
        mark = self.bars.watermark_ns(instrument_id, basis)
        sources = range(1, 1 << 8)  # bars do not say who wrote their ticks
        gaps = self.gaps.within(instrument_id, min(starts), FOREVER_NS, _CHANNELS[basis], sources) if starts else []
        flags = [BarFlag.GAP if _spans(start, width, gaps) else 0 for start in starts]
        return encode.bar_rows(bars, width, basis, about, mark, flags)


def bar_head(about: Instrument, timeframe: str, basis: Basis, position: int) -> str:
    """Return how the JSON text of a bar's announcement begins."""
    return (
        f'{{"position":{position},"kind":"bar","instrument_id":{about.id},'
        f'"symbol":{quoted(about.symbol)},"timeframe":"{timeframe}","basis":"{basis.name.lower()}",'
    )


def _at(piece: Piece, place: int) -> At:
    return At(piece.position_of(place), int(piece.records[place - piece.base]["ts_event"]))


def _spans(start: int, width: int, gaps: list[Gap]) -> bool:
    return any(gap.start_ns < start + width and gap.end_ns >= start for gap in gaps)


def _grown(array: Any, size: int) -> Any:
    bigger = np.zeros(size, dtype=array.dtype)
    bigger[: len(array)] = array
    return bigger
