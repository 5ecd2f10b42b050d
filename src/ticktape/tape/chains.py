"""The ends of all chains, as a reader knows them: the last record of each, and marks along the way back.

Walking a chain of a tape that is larger than the cache waits for memory at every link, because only a record tells
where the one before it is: 45 ns a hop in a bad minute. So each eighth record of a chain leaves a mark, and the
stretches between marks are walked side by side: their waits overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel
from ticktape.model.records import BACK_FAR, Ints, Kind, Records
from ticktape.tape.kernels import CHAIN_OF, CHAINS, walk_back

STRETCH = 8  # records from one mark to the next
MARKS = 32  # kept for each chain: the last 256 records

_COMMIT, _EMPTY, _VOID = int(Kind.COMMIT), int(Kind.EMPTY), int(Kind.VOID)
_FAR = int(BACK_FAR)


class Chains:
    """The last position of every chain in `heads` (CHAINS an instrument, -1 none), up to `followed`."""

    def __init__(self) -> None:
        self.heads: Ints = np.empty(0, dtype=np.int64)
        self._counts: Ints = np.empty(0, dtype=np.int64)
        self._marks: Ints = np.empty((0, MARKS), dtype=np.int64)
        self._grow(64 * CHAINS)

    def follow(self, records: Records, base: int, start: int, stop: int) -> None:
        """Take in positions [start, stop). Each position once, in order."""
        while True:
            start = follow_marked(records, base, start, stop, self.heads, self._counts, self._marks)
            if start == stop:
                return
            self._grow(2 * (int(records[start - base]["instrument"]) + 1) * CHAINS)

    def walk(self, records: Records, base: int, floor: int, key: int, out: Records, positions: Ints) -> int:
        """Copy the last records of chain `key` to the end of `out`, oldest first, down to `floor`. Returns how many."""
        if walk_marked(records, base, floor, key, self.heads, self._counts, self._marks, out, positions):
            return len(positions)
        return walk_back(records, base, floor, self.heads[key], out, positions)

    def _grow(self, keys: int) -> None:
        before = len(self.heads)
        heads: Ints = np.full(keys, -1, dtype=np.int64)
        counts: Ints = np.zeros(keys, dtype=np.int64)
        marks: Ints = np.zeros((keys, MARKS), dtype=np.int64)  # no memory until a chain has its first mark
        heads[:before], counts[:before], marks[:before] = self.heads, self._counts, self._marks
        self.heads, self._counts, self._marks = heads, counts, marks


@kernel
def follow_marked(records: Any, base: int, start: int, stop: int, heads: Any, counts: Any, marks: Any) -> int:
    """Bring heads, counts (keys,) and marks (keys, MARKS) from `start` to `stop`. Returns how far it came.

    That is `stop`, or the position of an instrument that has no place in `heads`.
    """
    keys = heads.shape[0]
    for position in range(start, stop):
        r = records[position - base]
        if r.kind == _COMMIT or r.kind == _EMPTY or r.kind == _VOID:
            continue
        key = np.int64(r.instrument) * CHAINS + CHAIN_OF[r.kind]
        if key >= keys:
            return position
        heads[key] = position
        count = counts[key] + 1
        counts[key] = count
        if count % STRETCH == 0:
            marks[key, count // STRETCH % MARKS] = position
    return stop


@kernel
def walk_marked(
    records: Any, base: int, floor: int, key: int, heads: Any, counts: Any, marks: Any, out: Any, positions: Any
) -> bool:
    """Fill `out` and `positions` (n,) with the last n records of chain `key`, oldest first, stretch beside stretch.

    Returns False, with nothing promised of `out`, where that cannot be done: fewer than n followed, more than the
    marks reach back, a link that leads astray (damaged places were voided), or a record before `floor`.
    """
    n = positions.shape[0]
    count = counts[key]
    loose = count % STRETCH  # records after the last mark
    whole = (n - loose + STRETCH - 1) // STRETCH  # stretches to walk
    if n > count or whole > MARKS or whole * STRETCH > count or n <= loose:
        return False
    if not _walk_loose(records, base, floor, heads[key], loose, n, out, positions):
        return False
    mark = count // STRETCH
    top = n - loose - 1
    if loose > 0 and positions[top] != marks[key, mark % MARKS]:
        return False
    for k in range(whole):
        positions[top - k * STRETCH] = marks[key, (mark - k) % MARKS]
    return _walk_stretches(records, base, floor, top, out, positions)


@kernel
def _walk_loose(
    records: Any, base: int, floor: int, position: int, loose: int, n: int, out: Any, positions: Any
) -> bool:
    # The records after the last mark; the place below them gets where their last link leads: the mark.
    for k in range(loose):
        if position < floor:
            return False
        r = records[position - base]
        back = np.int64(r.back)
        if back == 0 or back == _FAR:
            return False
        out[n - 1 - k] = r
        positions[n - 1 - k] = position
        position -= back
        positions[n - 2 - k] = position
    return True


@kernel
def _walk_stretches(records: Any, base: int, floor: int, top: int, out: Any, positions: Any) -> bool:
    # Step by step through all stretches at once. positions[] holds where each one stands.
    for step in range(STRETCH):
        for i in range(top - step, -1, -STRETCH):
            position = positions[i]
            if position < floor:
                return False
            r = records[position - base]
            if r.kind == _EMPTY or r.kind >= _VOID:
                return False
            out[i] = r
            back = np.int64(r.back)
            if i == 0:
                continue
            if back == 0 or back == _FAR:
                return False
            if step < STRETCH - 1:
                positions[i - 1] = position - back
            elif positions[i - 1] != position - back:
                return False
    return True
