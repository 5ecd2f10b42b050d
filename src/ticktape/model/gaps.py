"""A gap as GAP records tell of it: what is missing, since when, why, and whether it came back.

A gap's id is the position of the record that first told of it; later records of the same id move its state on. An
end (filled, unfillable) is never undone by an older word, and ids once named stay named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ticktape.model.records import Channel, GapCause, GapState, unpack_gap

FOREVER_NS = 2**63 - 1


@dataclass(slots=True, kw_only=True)
class Gap:
    """One gap. What is missing lies in [start_ns, end_ns] of venue time; end_ns is FOREVER_NS while it is open."""

    gap_id: int
    instrument_id: int  # 0: everything the source carries
    source_id: int  # 0: the recorder itself, so everything
    channel: Channel
    cause: GapCause
    state: GapState
    start_ns: int
    end_ns: int
    first_missing: int | None = None
    last_missing: int | None = None
    proven: bool = False  # dense ids went on where they ended: nothing was missed
    ts_recv: int = 0  # our clock when the state last changed
    position: int = 0  # of the record that said so

    @property
    def has_ids(self) -> bool:
        """Whether the missing ids are known."""
        return self.first_missing is not None

    @property
    def may_renumber(self) -> bool:
        """Whether the venue may have begun to number anew: the gap is over, and no ids are known of it."""
        return self.state != GapState.OPENED and not self.has_ids and not self.proven

    @property
    def rows(self) -> int | None:
        """How many of the missing came back: all when it was filled; None where nobody knows."""
        if self.state != GapState.FILLED:
            return None
        if self.first_missing is None or self.last_missing is None:
            return 0
        return self.last_missing - self.first_missing + 1

    def move_on(self, word: Gap) -> bool:
        """Take in a later record of the same gap. Returns False when it is an older word, said again."""
        if self.state >= GapState.FILLED and word.state < GapState.FILLED:
            return False
        if not self.has_ids:
            self.first_missing, self.last_missing = word.first_missing, word.last_missing
        if self.end_ns == FOREVER_NS:
            self.end_ns = word.end_ns
        self.state, self.proven = word.state, word.proven
        self.ts_recv, self.position = word.ts_recv, word.position
        return True


def read_gap(record: Any, position: int = 0) -> Gap:
    """Return what one GAP record says; its end is told in whole microseconds."""
    shape, state = unpack_gap(int(record["d"])), GapState(int(record["side"]))
    start, first, last = int(record["ts_event"]), int(record["b"]), int(record["c"])
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
        proven=last == first - 1 and last >= 0,
        ts_recv=int(record["ts_recv"]),
        position=position,
    )
