"""Records of the tape to the rows of a table, and back. Sorted by instrument, then venue time, then position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ticktape.lake import row_kernel
from ticktape.lake.schema import Table
from ticktape.model.records import RECORD, Ints, Records, empty

DAY_NS = 86_400 * 10**9
MOST_GROUP_ROWS = 1 << 18
_FIELDS = ("position", "ts_event", "ts_recv", "a", "b", "c", "d", "instrument", "source", "flags", "kind", "side")
_SMALL = {"instrument": np.int32, "source": np.int32, "flags": np.int32, "kind": np.int8, "side": np.int8}


class Rows(NamedTuple):
    """The rows of one partition, sorted: `order` says which of the records, row groups end at `bounds`."""

    partition: str
    records: Records
    first: int  # position of records[0]
    order: Ints
    bounds: list[int]


def partition_of(table: Table, ts_ns: int) -> str:
    """Return the partition (2025-11-20 or 2025-11) that a venue time lies in."""
    return str(np.datetime64(int(ts_ns), "ns").astype("M8[D]" if table.partition == "date" else "M8[M]"))


def partitioned(table: Table, records: Records, first: int) -> Iterator[Rows]:
    """Yield a table's rows among records, of which records[0] stands at position `first`."""
    wanted = np.zeros(256, dtype=np.uint8)
    wanted[list(table.kinds)] = 1
    places: Ints = np.empty(len(records), dtype=np.int64)
    times: Ints = np.empty(len(records), dtype=np.int64)
    count = int(row_kernel.choose(records, wanted, places, times))
    for partition, mine in _cut(table, places[:count], times[:count]):
        order, ends = _sorted(records, mine)
        yield Rows(partition, records, first, order, group_bounds(ends, table.group_rows))


def _cut(table: Table, places: Ints, times: Ints) -> Iterator[tuple[str, Ints]]:
    if len(places) == 0:
        return
    first, last = partition_of(table, times.min()), partition_of(table, times.max())
    if first == last:
        yield first, places
        return
    units = times.view("M8[ns]").astype("M8[D]" if table.partition == "date" else "M8[M]")
    for unit in np.unique(units):
        yield str(unit), places[units == unit]


def _sorted(records: Records, places: Ints) -> tuple[Ints, Ints]:
    most = int(row_kernel.most_instrument(records, places))
    ends: Ints = np.zeros(most + 1, dtype=np.int64)
    order: Ints = np.empty(len(places), dtype=np.int64)
    times: Ints = np.empty(len(places), dtype=np.int64)
    row_kernel.group(records, places, ends, order, times)
    odd: Ints = np.empty(most + 1, dtype=np.int64)
    for i in odd[: row_kernel.unsorted(times, ends, odd)].tolist():
        run = slice(int(ends[i - 1]) if i else 0, int(ends[i]))
        order[run] = order[run][np.argsort(times[run], kind="stable")]
    return order, ends


class Gatherer:
    """Copies the fields of records into columns, in memory that it keeps: the next call overwrites them."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._room = 0

    def fields(self, rows: Rows, start: int, stop: int) -> dict[str, Any]:
        """Return rows [start, stop) by the record's field names; `position` is where each stands on the tape."""
        if stop - start > self._room or not self._fields:
            self._room = stop - start
            self._fields = {name: np.empty(self._room, dtype=_SMALL.get(name, np.int64)) for name in _FIELDS}
        fields = {name: values[: stop - start] for name, values in self._fields.items()}
        row_kernel.gather(rows.records, rows.order[start:stop], rows.first, *fields.values())
        return fields


def group_bounds(ends: Ints, least: int) -> list[int]:
    """Return where row groups end: at an instrument's end where `least` rows are together, else at the most."""
    bounds: list[int] = []
    start = 0
    for end in np.unique(ends[ends > 0]).tolist():
        while end - start > MOST_GROUP_ROWS:
            start += MOST_GROUP_ROWS
            bounds.append(start)
        if end - start >= least:
            bounds.append(end)
            start = end
    if len(ends) and (not bounds or bounds[-1] != ends[-1]):
        bounds.append(int(ends[-1]))
    return bounds


def columns_of(table: Table, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields by the table's column names; what is computed is not among them."""
    return {c.name: fields[c.field] for c in table.columns if c.field}


def records_of(table: Table, columns: Mapping[str, Any]) -> Records:
    """Return rows as records, exactly as they stood on the tape but for `back`, which is 0.

    A column that is not given leaves its field zero.
    """
    length = len(next(iter(columns.values()))) if columns else 0
    records = empty(length)
    for column in table.columns:
        if column.field in RECORD.names and column.name in columns:  # pyright: ignore[reportOperatorIssue]
            records[column.field] = columns[column.name]
    return records
