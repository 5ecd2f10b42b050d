"""Which ids of a dense sequence were never seen: sorted ranges, newest first, one list a cell.

Whatever is not in a hole and not above the last id was stored before. So a duplicate is certain at any
distance, and what comes late is never mistaken for one. Memory follows the number of holes, not of ticks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel, part

HOLE = np.dtype([("first", "<i8"), ("last", "<i8"), ("next", "<i4"), ("_", "<i4")], align=True)
NIL = -1
BEFORE_ALL = -(2**62)

# indexes into the `pool` counters
POOL_FREE, POOL_USED, POOL_FORGOTTEN = range(3)


def new_pool(size: int) -> tuple[Any, Any]:
    """Return `size` free holes and their counters."""
    holes = np.zeros(size, dtype=HOLE)
    holes["next"] = np.arange(1, size + 1)
    holes["next"][-1] = NIL
    return holes, np.zeros(3, dtype=np.int64)


def grown(holes: Any, pool: Any, size: int) -> Any:
    """Return a larger pool with the same holes."""
    bigger, _ = new_pool(size)
    old = len(holes)
    bigger[:old] = holes
    bigger["next"][size - 1] = pool[POOL_FREE]
    pool[POOL_FREE] = old
    return bigger


@part
def new_hole(holes: Any, pool: Any, first: int, last: int, after: int) -> int:
    """Return the index of a new hole, or NIL when the pool is empty."""
    k = pool[POOL_FREE]
    if k == NIL:
        pool[POOL_FORGOTTEN] += 1
        return NIL
    pool[POOL_FREE] = holes[k].next
    pool[POOL_USED] += 1
    holes[k].first = first
    holes[k].last = last
    holes[k].next = np.int32(after)
    return np.int64(k)


@part
def _free(holes: Any, pool: Any, k: int) -> None:
    holes[k].next = np.int32(pool[POOL_FREE])
    pool[POOL_FREE] = k
    pool[POOL_USED] -= 1


@kernel
def put(holes: Any, pool: Any, first: int, last: int, after: int) -> int:
    """Return the index of a new hole in front of `after`; the pool has room."""
    return new_hole(holes, pool, first, last, after)


@kernel
def free_all(holes: Any, pool: Any, head: int) -> int:
    """Give a whole list back. Returns NIL, the empty list."""
    while head != NIL:
        after = holes[head].next
        _free(holes, pool, head)
        head = after
    return NIL


@kernel
def take(holes: Any, pool: Any, head: int, number: int) -> Any:
    """Take one id out of the list. Returns (new head, whether it was in a hole)."""
    before = NIL
    k = head
    while k != NIL and holes[k].first > number:
        before = k
        k = holes[k].next
    if k == NIL or holes[k].last < number:
        return head, False
    if holes[k].first == holes[k].last:
        after = holes[k].next
        _free(holes, pool, k)
        if before == NIL:
            return np.int64(after), True
        holes[before].next = after
    elif holes[k].first == number:
        holes[k].first = number + 1
    elif holes[k].last == number:
        holes[k].last = number - 1
    else:
        low = new_hole(holes, pool, holes[k].first, number - 1, holes[k].next)
        if low != NIL:  # with an empty pool the lower half is forgotten, and counted
            holes[k].next = np.int32(low)
        holes[k].first = number + 1
    return np.int64(head), True


@kernel
def count(holes: Any, head: int, first: int, last: int) -> int:
    """Return how many ids of [first, last] are in holes."""
    total = 0
    k = head
    while k != NIL:
        low, high = max(holes[k].first, first), min(holes[k].last, last)
        if low <= high:
            total += high - low + 1
        k = holes[k].next
    return total


@kernel
def ranges(holes: Any, head: int, first: int, last: int, out: Any) -> int:
    """Write the parts of [first, last] that are in holes to `out` (n, 2), newest first. Returns how many there are."""
    found = 0
    k = head
    while k != NIL:
        low, high = max(holes[k].first, first), min(holes[k].last, last)
        if low <= high:
            if found < out.shape[0]:
                out[found, 0] = low
                out[found, 1] = high
            found += 1
        k = holes[k].next
    return found
