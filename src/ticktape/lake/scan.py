"""Rows of a range out of a table's files: which files and row groups by the log and the footers, then by search.

Files are sorted by instrument, venue time and position, so what one instrument did in a range is a slice. Partitions
are days or months of venue time, so partitions in order are time in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ticktape.errors import Damaged
from ticktape.lake import files
from ticktape.lake.arrow import empty_table, indices_of, mask_of, numpy_of
from ticktape.lake.catalogue import Entry
from ticktape.lake.files import Stored
from ticktape.lake.schema import Table, arrow_schema

AHEAD = 2  # partitions read while the one before is worked on
EVER = 2**63 - 1
_SORTED_BY = ("instrument_id", "ts_event")

OnDamage = Callable[[Entry, Damaged], None]


class Wanted(NamedTuple):
    """Which rows: instruments (None: all) in [start_ns, end_ns) of venue time, tape positions below `before`."""

    instruments: tuple[int, ...] | None
    start_ns: int
    end_ns: int
    before: int = EVER


def pruned(entries: Sequence[Entry], wanted: Wanted) -> list[Entry]:
    """Return the files that may hold wanted rows, by what the log knows of them."""
    ids = wanted.instruments
    low_id, high_id = (0, EVER) if ids is None else (min(ids, default=1), max(ids, default=0))
    return [
        e
        for e in entries
        if e.low["ts_event"] < wanted.end_ns
        and e.high["ts_event"] >= wanted.start_ns
        and e.low["instrument_id"] <= high_id
        and e.high["instrument_id"] >= low_id
        and e.low["position"] < wanted.before
    ]


def groups_of(file: Stored, wanted: Wanted) -> list[int]:
    """Return the row groups that may hold wanted rows, by the file's own statistics."""
    hit = (file.low["ts_event"] < wanted.end_ns) & (file.high["ts_event"] >= wanted.start_ns)
    if wanted.instruments is not None:
        ids = np.array(wanted.instruments, dtype=np.int64)
        low, high = file.low["instrument_id"], file.high["instrument_id"]
        hit &= ((ids[:, None] >= low) & (ids[:, None] <= high)).any(axis=0)
    return np.flatnonzero(hit).tolist()


def scan(
    folder: Path, table: Table, entries: Sequence[Entry], instruments: Sequence[int] | None, start_ns: int, end_ns: int,
    *, columns: Sequence[str] | None = None, before: int = EVER,
) -> pa.Table:  # fmt: skip
    """Return the wanted rows, sorted within each partition. Raises Damaged."""
    ids = None if instruments is None else tuple(sorted(set(instruments)))
    parts = [rows for _, rows in partitions(folder, table, entries, Wanted(ids, start_ns, end_ns, before), columns)]
    names = list(columns or table.names())
    schema = pa.schema([arrow_schema(table.name).field(name) for name in names])
    return pa.concat_tables([empty_table(schema), *parts])


def partitions(
    folder: Path, table: Table, entries: Sequence[Entry], wanted: Wanted, columns: Sequence[str] | None = None,
    on_damage: OnDamage | None = None,
) -> Iterator[tuple[str, pa.Table]]:  # fmt: skip
    """Yield (partition, wanted rows), oldest first, each sorted, the next ones read ahead.

    A damaged file is told to `on_damage` and left out; without it, Damaged is raised.
    """
    names = list(columns or table.names())
    hits = pruned(entries, wanted)
    each = [list(group) for _, group in groupby(hits, key=lambda entry: entry.partition)]
    if len(each) <= 1:
        yield from ((part[0].partition, _partition(folder, part, wanted, names, on_damage)) for part in each)
        return
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="lake:read") as pool:
        waiting: list[tuple[str, Future[pa.Table]]] = []
        try:
            for part in each:
                future = pool.submit(_partition, folder, part, wanted, names, on_damage)
                waiting.append((part[0].partition, future))
                if len(waiting) > AHEAD:
                    partition, future = waiting.pop(0)
                    yield partition, future.result()
            while waiting:
                partition, future = waiting.pop(0)
                yield partition, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _partition(
    folder: Path, entries: Sequence[Entry], wanted: Wanted, names: list[str], on_damage: OnDamage | None
) -> pa.Table:
    needed = names + [name for name in _SORTED_BY if name not in names]
    if "position" not in names and any(entry.high["position"] >= wanted.before for entry in entries):
        needed.append("position")
    found: list[pa.Table] = []
    for entry in sorted(entries, key=lambda e: e.positions):
        try:
            rows = _file(folder, entry, wanted, needed)
        except Damaged as error:
            if on_damage is None:
                raise
            on_damage(entry, error)
            continue
        if rows.num_rows:
            found.append(rows)
    if not found:
        return _empty(entries, names, folder)
    together = found[0] if len(found) == 1 else _in_order(pa.concat_tables(found))
    return together.select(names)


def _empty(entries: Sequence[Entry], names: list[str], folder: Path) -> pa.Table:
    schema = arrow_schema(folder.name)
    return empty_table(pa.schema([schema.field(name) for name in names]))


def _in_order(rows: pa.Table) -> pa.Table:
    # The pieces come in order of position, each sorted: a stable sort by time and then by instrument merges runs.
    ts, who = numpy_of(rows.column("ts_event")), numpy_of(rows.column("instrument_id"))
    order = np.argsort(ts, kind="stable")
    if len(who) and who.min() != who.max():
        order = order[np.argsort(who[order], kind="stable")]
    return rows.take(indices_of(order))


def _file(folder: Path, entry: Entry, wanted: Wanted, names: list[str]) -> pa.Table:
    file = files.stored(folder / entry.path, entry.size)
    groups = groups_of(file, wanted)
    if not groups:
        return _empty([entry], names, folder)
    rows = files.read(file, groups, names)
    rows = _cut(rows, wanted)
    if entry.high["position"] >= wanted.before:
        rows = rows.filter(mask_of(numpy_of(rows.column("position")) < wanted.before))
    return rows


def _cut(rows: pa.Table, wanted: Wanted) -> pa.Table:
    who, ts = numpy_of(rows.column("instrument_id")), numpy_of(rows.column("ts_event"))
    ids = np.unique(who) if wanted.instruments is None else wanted.instruments
    low, high = np.searchsorted(who, ids, "left"), np.searchsorted(who, ids, "right")
    ranges: list[tuple[int, int]] = []
    for start, stop in zip(low.tolist(), high.tolist(), strict=True):
        if start < stop:
            a, b = np.searchsorted(ts[start:stop], (wanted.start_ns, wanted.end_ns), "left").tolist()
            if a < b:
                ranges.append((start + a, start + b))
    if sum(b - a for a, b in ranges) == rows.num_rows:
        return rows
    if len(ranges) == 1:
        return rows.slice(ranges[0][0], ranges[0][1] - ranges[0][0])
    return pa.concat_tables([rows.slice(0, 0), *(rows.slice(a, b - a) for a, b in ranges)])


def fields_of(table: Table, rows: pa.Table) -> dict[str, Any]:
    """Return rows as NumPy arrays by the record's field names; without a copy where a column is one piece."""
    by_name = {c.name: c.field or c.name for c in table.columns if c.type != "binary"}
    return {by_name[name]: numpy_of(rows.column(name)) for name in rows.column_names if name in by_name}


def columns_of(rows: pa.Table) -> dict[str, Any]:
    """Return rows as NumPy arrays by column name."""
    return {name: numpy_of(rows.column(name)) for name in rows.column_names}
