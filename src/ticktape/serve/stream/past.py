"""What was, in tape order: from the lake as far as the tape was trimmed, from the tape after that.

Rows in the lake are sorted by instrument and time. They are brought back into the order of the tape row group by
row group: what lies below the first position of the next group is complete. Commits and voids are not in the lake,
and nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ticktape.errors import BadInput
from ticktape.model.records import Ints, Records, empty
from ticktape.serve.stream import stream_kernel as kernel
from ticktape.serve.stream.pieces import Piece, of_tape
from ticktape.serve.stream.protocol import Place, parse_place
from ticktape.tape.reader import Reader

EVER = 2**63 - 1
STRETCH = 1 << 16  # records of the tape in a piece


class Span(NamedTuple):
    """Which records: positions [first, stop) that happened in [since, until) of venue time."""

    first: int = 0
    stop: int = EVER
    since: int = -EVER
    until: int = EVER

    @property
    def timed(self) -> bool:
        """Whether times bound it."""
        return self.since != -EVER or self.until != EVER


class Past:
    """Reads tape and lake of a data folder. `reader` is the caller's, and moves on as the caller refreshes it."""

    def __init__(self, data: Path, reader: Reader) -> None:
        self._data = data
        self.reader = reader
        self._spans: dict[int, tuple[int, int]] = {}  # by segment that is full: its times

    def needs_lake(self, span: Span) -> bool:
        """Say whether the tape was trimmed past the beginning of a span, and a lake may have it."""
        return span.first < self.reader.first and (self._data / "lake").exists()

    def pieces(self, span: Span, mask: Any, *, whole: bool) -> Iterator[Piece]:
        """Yield the span piece by piece. `whole`: bars are built from it, so nothing between may be left out.

        Blocks while it reads the lake. Ends at the end of the tape as it is then. Raises Damaged.
        """
        if self.needs_lake(span):
            yield from self._lake(span, mask, whole=whole)
        at = max(span.first, self.reader.first)
        while at < (stop := min(span.stop, self.reader.end)):
            if not whole and span.timed:
                at = self._skipped(at, stop, span)
            if at < stop:
                piece = of_tape(self.reader, at, min(at + STRETCH, stop))
                yield piece
                at = piece.stop

    def _skipped(self, at: int, stop: int, span: Span) -> int:
        """Return the next position that is not in a full segment whose times lie wholly outside."""
        capacity = self.reader.meta.capacity
        while at < stop:
            number = at // capacity
            end = (number + 1) * capacity
            if end > self.reader.end:
                return at
            if number not in self._spans:
                begin = max(number * capacity, self.reader.first)
                least, greatest = kernel.span(self.reader.records, self.reader.base, begin, end)
                self._spans[number] = int(least), int(greatest)
            least, greatest = self._spans[number]
            if least < span.until and greatest >= span.since:
                return at
            at = end
        return at

    # -- lake --------------------------------------------------------------------------------------

    def _lake(self, span: Span, mask: Any, *, whole: bool) -> Iterator[Piece]:
        from ticktape.serve.stream.past_lake import LakeGroups  # noqa: PLC0415 - loads Arrow and Delta

        stop = min(span.stop, self.reader.first)
        groups = LakeGroups(self._data / "lake", Span(span.first, stop, span.since, span.until), mask, whole=whole)
        held: list[tuple[Ints, Records]] = []
        for bound, found in groups.swept():
            held += found
            ready, held = _cut(held, bound)
            if len(ready[0]):
                yield Piece(ready[1], 0, 0, len(ready[0]), ready[0])


def _cut(held: list[tuple[Ints, Records]], bound: int) -> tuple[tuple[Ints, Records], list[tuple[Ints, Records]]]:
    """Return the rows below `bound` in order, and what is left."""
    ready: list[tuple[Ints, Records]] = []
    left: list[tuple[Ints, Records]] = []
    for positions, records in held:
        k = int(np.searchsorted(positions, bound))
        ready.append((positions[:k], records[:k]))
        if k < len(positions):
            left.append((positions[k:], records[k:]))
    if not ready:
        return (np.empty(0, dtype=np.int64), empty(0)), left
    positions = np.concatenate([p for p, _ in ready])
    order = np.argsort(positions, kind="stable")
    return (positions[order], np.concatenate([r for _, r in ready])[order]), left


def span_of(start: Place | None, end: Place | None) -> Span:
    """Return the span that was asked for. Raises BadInput."""
    first, stop, since, until = 0, EVER, -EVER, EVER
    if start is not None:
        ns, position = parse_place(start, "from")
        since, first = (since if ns is None else ns), (position or 0)
    if end is not None:
        ns, position = parse_place(end, "to")
        until, stop = (until if ns is None else ns), (stop if position is None else position)
    if since >= until or first >= stop:
        raise BadInput("to is not after from; the range is [from, to)", hint='"from": "...", "to": "..."')
    return Span(first, stop, since, until)
