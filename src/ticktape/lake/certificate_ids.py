"""Ranges of ids, both ends included: arrays (n, 2) of int64, ascending and apart. What is there, and what is not."""

from __future__ import annotations

import numpy as np

from ticktape.model.records import Ints

NOTHING: Ints = np.empty((0, 2), dtype=np.int64)


def ranges(pairs: list[tuple[int, int]]) -> Ints:
    """Return pairs in any order, also overlapping ones, as ranges."""
    return joined(np.array(pairs, dtype=np.int64).reshape(-1, 2))


def of_ids(ids: Ints) -> Ints:
    """Return the ranges of ids, given in any order and with repeats."""
    if len(ids) == 0:
        return NOTHING
    steps = np.diff(ids)
    if (steps < 0).any():
        ids = np.sort(ids)
        steps = np.diff(ids)
    cuts = np.flatnonzero(steps > 1)
    firsts, lasts = np.concatenate((ids[:1], ids[cuts + 1])), np.concatenate((ids[cuts], ids[-1:]))
    return np.stack((firsts, lasts), axis=1)


def joined(pairs: Ints) -> Ints:
    """Return pairs in any order as ranges: what overlaps or touches becomes one."""
    if len(pairs) < 2:
        return pairs
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(pairs[:, 1])
    starts = np.concatenate(([True], pairs[1:, 0] > reach[:-1] + 1))
    ends = np.concatenate((starts[1:], [True]))
    return np.stack((pairs[starts, 0], reach[ends]), axis=1)


def holes(have: Ints) -> Ints:
    """Return what is missing between the first and the last id."""
    if len(have) < 2:
        return NOTHING
    return np.stack((have[:-1, 1] + 1, have[1:, 0] - 1), axis=1)


def within(have: Ints, first: int, last: int) -> Ints:
    """Return the part of ranges that lies in [first, last]."""
    if len(have) == 0 or last < first:
        return NOTHING
    low = int(np.searchsorted(have[:, 1], first))
    high = int(np.searchsorted(have[:, 0], last, side="right"))
    cut = have[low:high].copy()
    if len(cut):
        cut[0, 0], cut[-1, 1] = max(int(cut[0, 0]), first), min(int(cut[-1, 1]), last)
    return cut


def without(have: Ints, taken: Ints) -> Ints:
    """Return what of `have` is not in `taken`."""
    if len(have) == 0 or len(taken) == 0:
        return have
    left: list[tuple[int, int]] = []
    for first, last in have.tolist():
        at = first
        for low, high in within(taken, first, last).tolist():
            if low > at:
                left.append((at, low - 1))
            at = high + 1
        if at <= last:
            left.append((at, last))
    return np.array(left, dtype=np.int64).reshape(-1, 2)


def size(have: Ints) -> int:
    """Return how many ids there are."""
    return int((have[:, 1] - have[:, 0] + 1).sum()) if len(have) else 0
