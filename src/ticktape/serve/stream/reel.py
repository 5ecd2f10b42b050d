"""A stretch of the past as events, batch by batch: what a resumed client gets, a slow one, a replay, a command."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from ticktape.model.bars import TIMEFRAMES, Basis
from ticktape.model.records import Ints, Kind, Records
from ticktape.serve.stream import stream_kernel as kernel
from ticktape.serve.stream.bar_feed import BarEvent, Tape
from ticktape.serve.stream.past import EVER, Past, Span
from ticktape.serve.stream.pieces import Piece, of_tape
from ticktape.serve.stream.rows import Rows
from ticktape.serve.stream.wants import Wants
from ticktape.tape.reader import Reader

BLOCK = 1 << 16
LOOK_BACK = 1 << 21  # positions of the lake from which bars are built before the first that is asked for
CLOSE_WITHIN_NS = 600 * 10**9  # how long after the end of a span a bar of it may be announced


class Batch(NamedTuple):
    """Events in order, when each happened, and up to which position (included) all is said."""

    texts: list[str]
    times: list[int]
    positions: list[int]
    covered: int


class Chosen(NamedTuple):
    """Records in order, as they are, with their positions."""

    positions: Ints
    records: Records
    covered: int
    bars: list[BarEvent]


class Bars(Protocol):
    """What says which bars closed in a piece: built anew, or kept from when they were announced."""

    kept: bool

    def watch(self, keys: Iterable[tuple[int, Basis]]) -> None:
        """Announce these too."""
        ...

    def advance(self, piece: Piece, tape: Tape, most_instrument: int) -> list[BarEvent]:
        """Return what a piece announces."""
        ...


class Reel:
    """Plays a span for a set of wants. Blocking: it may read the lake and build bars from the tape's beginning."""

    def __init__(self, past: Past, span: Span, wants: Wants, rows: Rows, feed: Bars, throttle: float = 0.0) -> None:
        self._past, self._span, self._wants, self._rows = past, span, wants, rows
        self._feed = feed if wants.bars else None
        self._throttle = throttle
        self._quoted: Ints = np.zeros((len(wants.mask), 2), dtype=np.int64)

    def batches(self, most: int) -> Iterator[Batch]:
        """Yield batches of at most `most` records; some are empty and only say how far it is. Ends with the span."""
        for chosen in self.chosen(most):
            texts = self._rows.texts(chosen.records, chosen.positions)
            positions: list[int] = chosen.positions.tolist()
            times: list[int] = chosen.records["ts_event"].tolist()
            for event in chosen.bars:  # at one position the record comes first
                at = bisect_left(positions, event.position + 1)
                texts.insert(at, event.text)
                positions.insert(at, event.position)
                times.insert(at, event.ts_event)
            yield Batch(texts, times, positions, chosen.covered)

    def chosen(self, most: int) -> Iterator[Chosen]:
        """Yield the records themselves, and the bars that were announced among them."""
        out: Ints = np.empty(most, dtype=np.int64)
        for piece in self._pieces():
            at = piece.start
            while at < piece.stop:
                place, count, _ = kernel.choose(
                    piece.records, piece.base, at, piece.stop, self._wants.mask, self._span.since, self._span.until,
                    self._quoted, self._throttle, out,
                )  # fmt: skip
                places = out[:count].copy()
                bars = self._bars(piece._replace(start=at, stop=place))
                covered = piece.position_of(place - 1)
                if covered >= self._span.first:
                    yield self._after_first(Chosen(piece.positions_of(places), piece.of(places), covered, bars))
                at = place

    def _after_first(self, chosen: Chosen) -> Chosen:
        k = int(np.searchsorted(chosen.positions, self._span.first))
        if k == 0:
            return chosen
        return chosen._replace(positions=chosen.positions[k:], records=chosen.records[k:])

    # -- bars --------------------------------------------------------------------------------------

    def _pieces(self) -> Iterator[Piece]:
        past, span = self._past, self._span
        if self._feed is None or self._feed.kept:
            yield from past.pieces(span, self._wants.mask, whole=False)
            return
        if past.needs_lake(span):
            self._feed.watch(self._wants.bar_keys)
        else:
            self._warm(past.reader, self._feed)
        yield from past.pieces(self._whole(span), self._mask_of_bars(), whole=True)

    def _whole(self, span: Span) -> Span:
        widest = max(TIMEFRAMES[name] for names in self._wants.bars.values() for name in names)
        if self._past.needs_lake(span):
            first = max(0, span.first - LOOK_BACK) if not span.timed else 0
            since = span.since - span.since % widest - widest if span.since != -EVER else span.since
            until = span.until + CLOSE_WITHIN_NS if span.until != EVER else EVER
            return Span(first, span.stop, since, until)
        return Span(self._start, span.stop)

    def _mask_of_bars(self) -> Any:
        mask = np.zeros(max(len(self._wants.mask), max(self._wants.bars) + 1), dtype=np.uint8)
        mask[: len(self._wants.mask)] = self._wants.mask
        mask[list(self._wants.bars)] |= kernel.TRADES | kernel.AGG
        return mask

    def _warm(self, reader: Reader, feed: Bars) -> None:
        """Build bars up to the last CLOCK before the span: what came late until then was announced there."""
        self._start = last_clock(reader, first_place(reader, self._span))
        warm(feed, reader, reader.first, self._start)
        feed.watch(self._wants.bar_keys)

    def _bars(self, piece: Piece) -> list[BarEvent]:
        if self._feed is None:
            return []
        tape = self._past.reader if piece.positions is None else piece
        found = self._feed.advance(piece, tape, highest(piece))
        return [event for event in found if self._is_wanted(event)]

    def _is_wanted(self, event: BarEvent) -> bool:
        span, end = self._span, event.start + TIMEFRAMES[event.timeframe]
        if event.position < span.first or not span.since < end <= span.until:
            return False
        return event.timeframe in self._wants.bars.get(event.instrument_id, ())


def highest(piece: Piece) -> int:
    """Return the highest instrument id in a piece."""
    mine = piece.records[piece.start - piece.base : piece.stop - piece.base]["instrument"]
    return int(mine.max(initial=0))


def warm(feed: Bars, reader: Reader, start: int, stop: int) -> None:
    """Let a feed build bars of a stretch of the tape."""
    while start < stop:
        piece = of_tape(reader, start, min(start + BLOCK, stop))
        feed.advance(piece, reader, highest(piece))
        start = piece.stop


def last_clock(reader: Reader, position: int) -> int:
    """Return the position of the last CLOCK record before a position, or the first of the tape."""
    stop = position
    while stop > reader.first:
        start = max(reader.first, stop - BLOCK)
        found = np.flatnonzero(reader.view(start, stop)["kind"] == Kind.CLOCK)
        if len(found):
            return start + int(found[-1])
        stop = start
    return reader.first


def first_place(reader: Reader, span: Span) -> int:
    """Return the first position of a span that lies on the tape."""
    at = max(span.first, reader.first)
    if span.since == -EVER:
        return at
    while at < reader.end:
        stop = min(at + BLOCK, reader.end)
        ts = reader.view(at, stop)
        hits = np.flatnonzero((ts["ts_event"] >= span.since) & (kernel.BIT_OF[ts["kind"]] != 0))
        if len(hits):
            return at + int(hits[0])
        at = stop
    return reader.end
