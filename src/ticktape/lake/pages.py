"""Pages: what an answer consists of, how lake and tape are put together, where the next page begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ticktape.errors import Damaged
from ticktape.lake import bars, klines
from ticktape.lake.arrow import empty_table, indices_of, mask_of, numpy_of
from ticktape.lake.catalogue import Entry
from ticktape.lake.rows import partition_of
from ticktape.lake.schema import TABLES, Table, arrow_schema
from ticktape.model.bars import Bars, Basis
from ticktape.model.records import Ints

SORTED_BY = ("instrument_id", "ts_event", "position")


class Limits(NamedTuple):
    """What one question may take."""

    rows: int = 50_000_000  # read, by the statistics
    memory_bytes: int = 2 << 30  # of answers held at once
    seconds: float = 30.0


class Estimate(NamedTuple):
    """What a question would read, at most, by the statistics of the log."""

    files: int
    rows: int
    bytes: int  # on disk


class Missing(NamedTuple):
    """Rows that an answer lacks because a file is damaged."""

    table: str
    partition: str
    first_position: int
    end_position: int
    rows: int
    start_ns: int
    end_ns: int
    why: str


class Cursor(NamedTuple):
    """Where a page ended. `before` keeps the pages of one question to the rows that were there at the first."""

    partition: str
    instrument_id: int
    ts_event: int
    position: int
    before: int


@dataclass
class Page:
    """Rows, oldest partition first, within it by instrument, venue time and position."""

    rows: pa.Table
    next: Cursor | None = None
    missing: list[Missing] = field(default_factory=list[Missing])


class BarsAnswer(NamedTuple):
    """Bars sorted by instrument and start."""

    instrument_id: Ints
    bars: Bars
    missing: list[Missing]
    until: int  # the end of the newest minute of the venue's own among what was read; see lake/klines.py


def missing_of(table: str, entry: Entry, error: Damaged) -> Missing:
    """Return what an answer lacks for want of a damaged file."""
    first, end = entry.positions
    low, high = entry.low["ts_event"], entry.high["ts_event"]
    return Missing(table, entry.partition, first, end, entry.rows, low, high + 1, error.message)


def nothing(table: Table, names: Sequence[str]) -> pa.Table:
    """Return no rows of some columns."""
    schema = arrow_schema(table.name)
    return empty_table(pa.schema([schema.field(name) for name in names]))


def complete(table: Table, rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return rows of the tape with the columns that only the lake has as nulls."""
    # The tape's rows carry no body: whoever wants the bytes asks the tape for the blob.
    schema = nothing(table, names).schema
    columns = [
        rows.column(n) if n in rows.column_names else pa.nulls(rows.num_rows, schema.field(n).type) for n in names
    ]
    return pa.table(columns, schema=schema)


def united(table: Table, old: pa.Table, new: pa.Table | None, names: list[str]) -> pa.Table:
    """Return the rows of a partition that the lake has and those that the tape has, sorted."""
    if new is None or new.num_rows == 0:
        return old
    rows = pa.concat_tables([old.select(names), complete(table, new, names)])
    ts, who = numpy_of(rows.column("ts_event")), numpy_of(rows.column("instrument_id"))
    order = np.argsort(ts, kind="stable")
    return rows.take(indices_of(order[np.argsort(who[order], kind="stable")]))


def known(rows: pa.Table, known_at_ns: int | None) -> pa.Table:
    """Return the rows received before a time."""
    if known_at_ns is None:
        return rows
    return rows.filter(mask_of(numpy_of(rows.column("ts_recv")) < known_at_ns))


def resumed(ids: tuple[int, ...] | None, start_ns: int, after: Cursor | None) -> int:
    """Return the time from which to read on: of one instrument, rows before the cursor need not be read."""
    one = ids is not None and len(ids) == 1
    return max(start_ns, after.ts_event) if one and after else start_ns


def rows_after(rows: pa.Table, partition: str, after: Cursor | None) -> pa.Table:
    """Return the rows of a partition that come after a cursor."""
    if after is None or partition > after.partition:
        return rows
    if partition < after.partition:
        return rows.slice(0, 0)
    who, ts, position = (numpy_of(rows.column(name)) for name in SORTED_BY)
    same = who == after.instrument_id
    later = (ts > after.ts_event) | ((ts == after.ts_event) & (position > after.position))
    return rows.filter(mask_of((who > after.instrument_id) | (same & later)))


def cursor_after(partition: str, taken: list[pa.Table], before: int, after: Cursor | None) -> Cursor | None:
    """Return where the last row taken stands; where none was, the page before ended in the same place."""
    last = next((rows for rows in reversed(taken) if rows.num_rows), None)
    if last is None:
        return after or Cursor(partition, -1, -(2**63), -1, before)
    who, ts, position = (int(last.column(name)[-1].as_py()) for name in SORTED_BY)
    return Cursor(_of(partition, taken, last), who, ts, position, before)


def _of(partition: str, taken: list[pa.Table], last: pa.Table) -> str:
    if last is taken[-1]:
        return partition
    unit = TABLES["trades"] if len(partition) > 7 else TABLES["bars"]
    return partition_of(unit, int(last.column("ts_event")[-1].as_py()))


def bars_answer(keys: Ints, found: Bars, width: int, missing: list[Missing], until: int = klines.NEVER) -> BarsAnswer:
    """Return bars of `width`, those of one instrument that share a start merged; trades win over aggregated trades.

    The venue's minutes among them are those that no tick made: they only add to what those beside them made.
    """
    keys, found = _widened(keys, found, width)
    who, basis = keys // 4, keys % 4
    extra = (basis == bars.AGG) & np.isin(who, np.unique(who[basis == Basis.TRADES]))
    who, found = who[~extra], found[~extra]
    if (basis == bars.KLINES).any():
        keys, found = _widened(who * 4, found, width)
        who = keys // 4
    return BarsAnswer(who, found, missing, until)


def _widened(keys: Ints, found: Bars, width: int) -> tuple[Ints, Bars]:
    if not bars.in_order(keys, found["start"], found["start"]):
        order = np.lexsort((found["start"], keys))
        keys, found = keys[order], found[order]
    return bars.widened(keys, found, width)
