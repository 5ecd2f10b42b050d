"""The ledger of gaps, read from GAP records: what is missing, since when, why, and whether it came back.

A gap's id is the position of the record that first told of it; later records of the same id move its state on.
Bounded: beyond `most`, the gaps that ended first are forgotten here (the tape still has them), and `forgotten`
counts them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ticktape.model.records import Channel, GapCause, GapState, unpack_gap

FOREVER_NS = 2**63 - 1


@dataclass(slots=True, eq=False)
class Gap:
    """One gap. The window is [start_ns, end_ns] in venue time; end_ns is FOREVER_NS while it is open."""

    gap_id: int
    instrument_id: int  # 0: everything the source carries
    source_id: int
    channel: Channel
    cause: GapCause
    state: GapState
    start_ns: int
    end_ns: int
    first_missing: int | None
    last_missing: int | None
    ts_recv: int  # our clock when the state last changed
    position: int  # of the record that said so

    @property
    def rows(self) -> int | None:
        """How many of the missing came back: all when it was filled; None where nobody knows."""
        if self.state != GapState.FILLED:
            return None
        return (
            0 if self.first_missing is None or self.last_missing is None else self.last_missing - self.first_missing + 1
        )


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
        gap_id, state = int(record["a"]), GapState(int(record["side"]))
        known = self._gaps.get(gap_id)
        if known is None:
            gap = _read(record, position, state)
            self._gaps[gap_id] = gap
            self._shelve(gap)
            self._forget()
            return
        if state in (GapState.OPENED, GapState.CLOSED) and known.state >= GapState.FILLED:
            return  # an older word, said again
        if known.end_ns == FOREVER_NS and state != GapState.OPENED:
            self._shelves[known.instrument_id].opened.pop(gap_id, None)
            known.end_ns = known.start_ns + unpack_gap(int(record["d"])).duration_ns
            self._shelve(known)
        if int(record["c"]) >= int(record["b"]) and known.first_missing is None:
            known.first_missing, known.last_missing = int(record["b"]), int(record["c"])
        known.state, known.ts_recv, known.position = state, int(record["ts_recv"]), position

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

    def open_count(self) -> int:
        """Return how many gaps are open now."""
        return sum(len(shelf.opened) for shelf in self._shelves.values())


def _read(record: Any, position: int, state: GapState) -> Gap:
    shape = unpack_gap(int(record["d"]))
    first, last, start = int(record["b"]), int(record["c"]), int(record["ts_event"])
    return Gap(
        gap_id=int(record["a"]),
        instrument_id=int(record["instrument"]),
        source_id=int(record["source"]),
        channel=shape.channel,
        cause=shape.cause,
        state=state,
        start_ns=start,
        end_ns=FOREVER_NS if state == GapState.OPENED else start + shape.duration_ns,
        first_missing=first if last >= first else None,
        last_missing=last if last >= first else None,
        ts_recv=int(record["ts_recv"]),
        position=position,
    )
