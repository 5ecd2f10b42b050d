"""The ledger of gaps (model/gaps.py), by instrument and time.

Bounded: beyond `most`, the gaps that ended first are forgotten here (the tape still has them), and `forgotten`
counts them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ticktape.model.gaps import FOREVER_NS, Gap, read_gap
from ticktape.model.records import Channel, GapCause, GapState


@dataclass(slots=True)
class _Shelf:
    # An instrument's gaps: open ones apart, ended ones by their end, so that "since t" is a slice.
    opened: dict[int, Gap] = field(default_factory=dict[int, Gap])
    ended: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # (end_ns, gap_id)


class GapLedger:
    """Every gap the tape tells of, newest last, up to `most`."""

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._gaps: dict[int, Gap] = {}
        self._shelves: dict[int, _Shelf] = {}
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._gaps)

    def absorb(self, record: Any, position: int) -> None:
        """Take in one GAP record of the tape."""
        word = read_gap(record, position)
        known = self._gaps.get(word.gap_id)
        if known is None:
            self._gaps[word.gap_id] = word
            self._shelve(word)
            self._forget()
            return
        was_open = known.end_ns == FOREVER_NS
        if known.move_on(word) and was_open and known.end_ns != FOREVER_NS:
            self._shelves[known.instrument_id].opened.pop(known.gap_id, None)
            self._shelve(known)

    def _shelve(self, gap: Gap) -> None:
        shelf = self._shelves.setdefault(gap.instrument_id, _Shelf())
        if gap.end_ns == FOREVER_NS:
            shelf.opened[gap.gap_id] = gap
        else:
            insort(shelf.ended, (gap.end_ns, gap.gap_id))

    def _forget(self) -> None:
        while len(self._gaps) > self._most:
            # An ended one before an open one: what is still missing matters more than what once was.
            ended = next((g for g in self._gaps.values() if g.end_ns != FOREVER_NS), None)
            gap = ended or next(iter(self._gaps.values()))
            shelf = self._shelves[gap.instrument_id]
            if ended is None:
                shelf.opened.pop(gap.gap_id)
            else:
                del shelf.ended[bisect_left(shelf.ended, (gap.end_ns, gap.gap_id))]
            del self._gaps[gap.gap_id]
            self.forgotten += 1

    def within(
        self,
        instrument_id: int,
        start_ns: int,
        end_ns: int,
        channels: Iterable[Channel],
        source_ids: Iterable[int] = (),
    ) -> list[Gap]:
        """Return the gaps that touch [start_ns, end_ns] of an instrument's channels, in order of their start.

        Gaps of a whole source count when it is one of `source_ids`; those of the recorder itself always.
        """
        wanted, sources = {Channel.ALL, *channels}, {0, *source_ids}
        hits = [g for g in self._since(instrument_id, start_ns) if g.start_ns <= end_ns and g.channel in wanted]
        whole = (g for g in self._since(0, start_ns) if g.source_id in sources)
        hits += [g for g in whole if g.start_ns <= end_ns and g.channel in wanted]
        return sorted(hits, key=lambda g: (g.start_ns, g.gap_id))

    def _since(self, instrument_id: int, start_ns: int) -> Iterator[Gap]:
        shelf = self._shelves.get(instrument_id)
        if shelf is None:
            return
        yield from shelf.opened.values()
        for _, gap_id in shelf.ended[bisect_left(shelf.ended, (start_ns, -1)) :]:
            yield self._gaps[gap_id]

    def latest(self, n: int, instrument_id: int | None = None, state: GapState | None = None) -> list[Gap]:
        """Return the last n gaps in the order they were first told of, newest last."""
        found: list[Gap] = []
        for gap in reversed(self._gaps.values()):
            if instrument_id not in (None, gap.instrument_id) or state not in (None, gap.state):
                continue
            found.append(gap)
            if len(found) == n:
                break
        return found[::-1]

    def open_by_source(self) -> dict[int, int]:
        """Return how many gaps are open now, by source; what an operator stopped is no fault and not counted."""
        found: dict[int, int] = {}
        for shelf in self._shelves.values():
            for gap in shelf.opened.values():
                if gap.cause is not GapCause.STOPPED:
                    found[gap.source_id] = found.get(gap.source_id, 0) + 1
        return found

    def open_count(self) -> int:
        """Return how many gaps are open now."""
        return sum(len(shelf.opened) for shelf in self._shelves.values())
