"""Order book synchronisation. web-socket-streams.md, "How to manage a local order book correctly".

The rule of the tape, so that a forward reader is exact and a crash loses nothing that was received:

- Every diff is recorded at once, as it came. None is held back.
- A snapshot is recorded *rolled forward*: when the REST book (id S) arrives, the diffs recorded since the
  stream opened with u > S are applied to it, and the result is written as the snapshot, its update id the
  last u applied (S itself when there was none). So whatever stands before the snapshot is in it, and
  whatever comes after it applies to it. `model/book.py` is the reader.
- The first diff of a connection, and one whose U jumps or whose ids start anew, carries AFTER_GAP: a
  reader knows at the exact record that its book is out of sync until the next snapshot.

Pure: what goes in are parsed frames in order, what comes out is decided by them alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from ticktape.model.records import Flag, Kind, Records, Side, empty
from ticktape.sources.binance.columns import Diff, Snapshot
from ticktape.sources.binance.normalise import Parsed

MOST_HELD_ROWS = 20_000  # per symbol: 1.3 MB, some 40 s of BTCUSDT; then the oldest go and S must be newer


@dataclass(slots=True)
class _State:
    """One symbol: `last_id` when in sync, else the diffs seen so far, without a hole between them."""

    last_id: int | None = None
    diffed_id: int | None = None  # the last update id of the latest diff
    time: int = 0  # of the latest diff
    held: deque[tuple[Diff, Records]] = field(default_factory=deque[tuple[Diff, Records]])
    held_rows: int = 0
    wanted: bool = False  # a snapshot was asked for
    unmarked: bool = False  # the next diff recorded is the first after a hole

    def hold(self, diff: Diff, rows: Records) -> None:
        self.held.append((diff, rows.copy()))
        self.held_rows += len(rows)
        while self.held_rows > MOST_HELD_ROWS and len(self.held) > 1:
            self.held_rows -= len(self.held.popleft()[1])

    def restart(self) -> None:
        self.last_id = None
        self.held.clear()
        self.held_rows = 0


class BookSync:
    """The books of one connection."""

    def __init__(self) -> None:
        self.doubled = False  # two sockets overlap: what one of them says later may be older
        self._states: dict[int, _State] = {}
        self._wanted: list[int] = []
        self._lost: list[tuple[int, str]] = []

    def follow(self, parsed: Parsed) -> Records:
        """Return the records with AFTER_GAP set and each accepted snapshot in its place."""
        records, pieces, done = parsed.records, list[Records](), 0
        diffs = iter(parsed.diffs)
        diff = next(diffs, None)
        for snapshot in parsed.snapshots:
            while diff is not None and diff.start < snapshot.start:
                self._diff(diff, records)
                diff = next(diffs, None)
            pieces += [records[done : snapshot.start], self._snapshot(snapshot)]
            done = snapshot.start
        while diff is not None:
            self._diff(diff, records)
            diff = next(diffs, None)
        return np.concatenate([*pieces, records[done:]]) if pieces else records

    def take_wanted(self) -> list[int]:
        """Return the instruments that need a snapshot now; each is named once until one was offered."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def take_lost(self) -> list[tuple[int, str]]:
        """Return the instruments whose book broke since the last call, and how."""
        lost, self._lost = self._lost, []
        return lost

    def in_sync(self, instrument_id: int) -> bool:
        """Return whether the book has its snapshot and no hole since."""
        state = self._states.get(instrument_id)
        return state is not None and state.last_id is not None

    def want(self, instrument_id: int) -> None:
        """Ask for a snapshot without waiting for a first diff: a quiet symbol has a book too."""
        state = self._states.setdefault(instrument_id, _State())
        if not state.wanted and state.last_id is None:
            state.wanted = True
            self._wanted.append(instrument_id)

    def want_again(self) -> None:
        """Ask once more for every snapshot that was asked for and did not come: who was asked is gone."""
        for instrument_id, state in self._states.items():
            if state.wanted:
                state.wanted = False
                self.want(instrument_id)

    def forget(self, instrument_id: int) -> None:
        """Drop the book of a symbol that is no longer subscribed."""
        self._states.pop(instrument_id, None)

    def _diff(self, diff: Diff, records: Records) -> None:
        state = self._states.setdefault(diff.instrument_id, _State())
        last_id = state.held[-1][0].last_id if state.held else state.last_id
        newer, state.time = diff.time > state.time, max(diff.time, state.time)
        anew = newer and not self.doubled and state.diffed_id is not None and diff.last_id <= state.diffed_id
        repeats = last_id is not None and diff.last_id <= last_id
        state.diffed_id = diff.last_id if anew else max(diff.last_id, state.diffed_id or 0)
        if repeats and not anew:
            return  # sent before, or in the snapshot, which may be ahead of the diffs
        # Ids below those of a diff before, at a later time, are no repeat: the venue began to count anew.
        if last_id is None or repeats or diff.first_id > last_id + 1:
            state.unmarked = True
            if state.last_id is not None:
                jump = f"update ids go from {last_id} to {diff.first_id}"
                self._lost.append((diff.instrument_id, jump))
            state.restart()
        if state.unmarked and diff.stop > diff.start:  # one without levels leaves the mark to the next
            records["flags"][diff.start] |= np.uint32(Flag.AFTER_GAP)
            state.unmarked = False
        if state.last_id is not None:
            state.last_id = diff.last_id
            return
        state.hold(diff, records[diff.start : diff.stop])
        self.want(diff.instrument_id)

    def _snapshot(self, snapshot: Snapshot) -> Records:
        """Return the snapshot's records rolled forward, or none when it is of no use."""
        state = self._states.setdefault(snapshot.instrument_id, _State())
        state.wanted = False
        if state.last_id is not None and snapshot.last_id <= state.last_id:
            return empty(0)  # in sync already
        if state.held and snapshot.last_id < state.held[0][0].first_id:
            self.want(snapshot.instrument_id)  # step 4: older than the first diff, fetch again
            return empty(0)
        state.unmarked = False
        later = [(diff, rows) for diff, rows in state.held if diff.last_id > snapshot.last_id]
        state.restart()
        state.last_id = later[-1][0].last_id if later else snapshot.last_id
        return _as_snapshot(snapshot, [rows for _, rows in later], state.last_id)


def _as_snapshot(snapshot: Snapshot, diffs: list[Records], update_id: int) -> Records:
    """Return the snapshot's rows after the diffs, bids best first, then asks best first."""
    sides: dict[int, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
    for rows in (snapshot.rows, *diffs):
        for side, price, size in zip(*(rows[name].tolist() for name in ("side", "a", "b")), strict=True):
            sides[side][price] = size
    levels = [(Side.BUY, *level) for level in sorted(sides[Side.BUY].items(), reverse=True) if level[1]]
    levels += [(Side.SELL, *level) for level in sorted(sides[Side.SELL].items()) if level[1]]
    # An empty book is said too: one level of nothing at price 0 clears the reader's.
    levels = levels or [(Side.BUY, 0, 0)]
    out = empty(len(levels))
    out["kind"], out["instrument"], out["c"] = (Kind.BOOK, snapshot.instrument_id, update_id)
    out["ts_event"] = out["ts_recv"] = snapshot.ts_recv
    out["side"], out["a"], out["b"] = zip(*levels, strict=True)
    out["flags"] = Flag.SNAPSHOT | Flag.NO_VENUE_TIME
    out["flags"][0] |= np.uint32(Flag.FIRST)
    out["flags"][-1] |= np.uint32(Flag.LAST)
    return out
