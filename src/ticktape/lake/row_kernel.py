"""Kernels from tape records to columns: choose, group by instrument, gather."""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel


@kernel
def choose(records: Any, wanted: Any, out: Any, times: Any) -> int:
    """Write the places of the records whose kind is `wanted` and their ts_event. Returns how many."""
    count = 0
    for k in range(records.shape[0]):
        if wanted[records[k].kind]:
            out[count] = k
            times[count] = records[k].ts_event
            count += 1
    return count


@kernel
def count_kinds(records: Any, counts: Any) -> None:
    """Count the records of each kind into counts (256,)."""
    for k in range(records.shape[0]):
        counts[records[k].kind] += 1


@kernel
def most_instrument(records: Any, places: Any) -> Any:
    """Return the greatest instrument id among some records."""
    most = 0
    for k in range(places.shape[0]):
        most = max(most, np.int64(records[places[k]].instrument))
    return most


@kernel
def group(records: Any, places: Any, ends: Any, out: Any, times: Any) -> None:
    """Bring places in order of instrument, as they came within it: a counting sort.

    ends (instruments + 1,) zeroed: on return where each instrument's run ends. `times` gets ts_event in the new order.
    """
    for k in range(places.shape[0]):
        ends[records[places[k]].instrument] += 1
    total = 0
    for i in range(ends.shape[0]):
        total += ends[i]
        ends[i] = total - ends[i]
    for k in range(places.shape[0]):
        place = places[k]
        r = records[place]
        at = ends[r.instrument]
        out[at] = place
        times[at] = r.ts_event
        ends[r.instrument] = at + 1


@kernel
def unsorted(times: Any, ends: Any, out: Any) -> int:
    """Write the instruments whose times go back somewhere. Returns how many."""
    count, start = 0, 0
    for i in range(ends.shape[0]):
        for k in range(start + 1, ends[i]):
            if times[k] < times[k - 1]:
                out[count] = i
                count += 1
                break
        start = ends[i]
    return count


@kernel
def gather(
    records: Any, places: Any, first: int, position: Any, ts_event: Any, ts_recv: Any, a: Any, b: Any, c: Any, d: Any,
    instrument: Any, source: Any, flags: Any, kind: Any, side: Any,
) -> None:  # fmt: skip
    """Copy the fields of some records into columns. `first` is the position of records[0]."""
    for k in range(places.shape[0]):
        r = records[places[k]]
        position[k] = first + places[k]
        ts_event[k] = r.ts_event
        ts_recv[k] = r.ts_recv
        a[k] = r.a
        b[k] = r.b
        c[k] = r.c
        d[k] = r.d
        instrument[k] = r.instrument
        source[k] = r.source
        flags[k] = r.flags
        kind[k] = r.kind
        side[k] = r.side


@kernel
def choose_of(records: Any, kinds: Any, ids: Any, every: bool, start_ns: int, end_ns: int, out: Any) -> int:
    """Write the places of the records of some kinds and instruments in a range of time. Returns how many."""
    count = 0
    most = ids.shape[0]
    for k in range(records.shape[0]):
        r = records[k]
        if kinds[r.kind] and start_ns <= r.ts_event < end_ns and (every or (r.instrument < most and ids[r.instrument])):
            out[count] = k
            count += 1
    return count
