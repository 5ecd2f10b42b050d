"""The rows that the tape has and the lake has not yet: everything from the lake's position on.

A query takes the lake's version first and the tape's end after, so that both together are every position exactly once.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from ticktape.errors import Unavailable
from ticktape.lake.arrow import mask_of, numpy_of, table_of
from ticktape.lake.row_kernel import choose_of
from ticktape.lake.rows import Gatherer, Rows, columns_of, partition_of
from ticktape.lake.scan import Wanted
from ticktape.lake.schema import Table, arrow_schema
from ticktape.model.records import Ints, Records


class Tape(Protocol):
    """What is asked of a tape: positions [first, end) can be viewed."""

    first: int
    end: int

    def view(self, start: int, stop: int) -> Records:
        """Return records [start, stop) without copying."""
        ...


class Trimmed(Unavailable):
    """The tape was trimmed past the position that a version of the lake ends at: take a newer version."""


def tail(table: Table, tape: Tape, position: int, wanted: Wanted) -> dict[str, pa.Table]:
    """Return the wanted rows at and after `position` by partition, sorted; without `body`. Raises Trimmed."""
    start = tape.first if position < 0 else position
    if start < tape.first:
        raise Trimmed(f"the tape begins at {tape.first}, the lake ends at {position}", hint="ask again")
    stop = min(tape.end, wanted.before)
    if start >= stop or not table.kinds:
        return {}
    records = tape.view(start, stop)
    places = _places(table, records, wanted)
    fields = Gatherer().fields(Rows("", records, start, places, []), 0, len(places))
    order = np.lexsort((fields["position"], fields["ts_event"], fields["instrument"]))
    return _partitioned(table, _as_table(table, {name: values[order] for name, values in fields.items()}))


def _places(table: Table, records: Records, wanted: Wanted) -> Ints:
    kinds = np.zeros(256, dtype=np.uint8)
    kinds[list(table.kinds)] = 1
    ids = np.array(wanted.instruments or (), dtype=np.int64)
    mask = np.zeros(int(ids.max(initial=0)) + 1, dtype=np.uint8)
    mask[ids] = 1
    places: Ints = np.empty(len(records), dtype=np.int64)
    every = wanted.instruments is None
    count = int(choose_of(records, kinds, mask, every, wanted.start_ns, wanted.end_ns, places))
    return places[:count]


def _as_table(table: Table, fields: dict[str, Any]) -> pa.Table:
    columns = columns_of(table, fields)
    schema = arrow_schema(table.name)
    names = [name for name in schema.names if name in columns]
    return table_of(columns, pa.schema([schema.field(name) for name in names]))


def _partitioned(table: Table, rows: pa.Table) -> dict[str, pa.Table]:
    ts = numpy_of(rows.column("ts_event"))
    if len(ts) == 0:
        return {}
    first, last = partition_of(table, ts.min()), partition_of(table, ts.max())
    if first == last:
        return {first: rows}
    units = ts.view("M8[ns]").astype("M8[D]" if table.partition == "date" else "M8[M]")
    return {str(unit): rows.filter(mask_of(units == unit)) for unit in np.unique(units)}
