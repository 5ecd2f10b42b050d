"""What the tape has and the lake has not yet, as tables that a statement reads beside the lake's files.

At most `most` records of the tape are looked at for a table, from where the lake ends: a prefix, so that an answer
knows everything up to one position. What lies behind it is declared.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from ticktape.lake import bars
from ticktape.lake.history import Snapshot
from ticktape.lake.pages import complete
from ticktape.lake.scan import EVER, Wanted, fields_of
from ticktape.lake.schema import TABLES, arrow_schema
from ticktape.lake.tail import Tape, tail
from ticktape.model.bars import Basis
from ticktape.model.records import Kind

MOST_TAIL = 1_000_000  # records, 64 MB of the tape; ten minutes at 1,600 a second
_BEGIN = -(2**63)


class Unflushed(NamedTuple):
    """The rows of one table, the position up to which they are all there, and what is left out in words."""

    rows: pa.Table
    upto: int
    missing: list[str]


def unflushed(snapshot: Snapshot, tape: Tape, name: str, most: int = MOST_TAIL) -> Unflushed:
    """Return the rows of a table that are on the tape only. Raises Trimmed (take a new snapshot)."""
    start = max(snapshot.position(name), 0)
    start = tape.first if snapshot.position(name) < 0 else start
    upto = max(start, min(tape.end, start + most))
    missing: list[str] = []
    if upto < tape.end:
        missing.append(f"{name}: {tape.end - upto} records of the tape from position {upto} on are not flushed yet")
    wanted = Wanted(None, _BEGIN, EVER, upto)
    position = snapshot.position(name)
    if name == "bars":
        rows = _bars(tape, position, wanted, upto)
        if rows is None:
            rows = _nothing("bars")
            missing.append(f"bars: trades were corrected from position {start} on, and their minutes not flushed yet")
        return Unflushed(rows, upto, missing)
    table = TABLES[name]
    found = tail(table, tape, position, wanted)
    parts = [_named(name, complete(table, rows, table.names()), [part] * rows.num_rows) for part, rows in found.items()]
    return Unflushed(pa.concat_tables([_nothing(name), *parts]), upto, missing)


def _bars(tape: Tape, position: int, wanted: Wanted, upto: int) -> pa.Table | None:
    """Return minutes as parts; None where a correction asks for the whole minute."""
    parts: list[pa.Table] = [_nothing("bars")]
    for name, bases in (("trades", (int(Basis.TRADES), bars.AGG)), ("quotes", (int(Basis.QUOTES),))):
        for rows in tail(TABLES[name], tape, position, wanted).values():
            fields = fields_of(TABLES[name], rows)
            if name == "trades" and (fields["kind"] > Kind.AGG_TRADE).any():
                return None
            for basis in bases:
                built = bars.build(bars.ticks_of(fields, basis), bars.MINUTE_NS)
                columns = bars.to_columns(built, basis, upto - 1)
                months = columns["ts_event"].view("M8[ns]").astype("M8[M]").astype(str)
                plain = pa.table(columns, schema=arrow_schema("bars"))
                parts.append(_named("bars", plain, months.tolist()))
    return pa.concat_tables(parts)


def _named(name: str, rows: pa.Table, partitions: list[str]) -> pa.Table:
    schema = arrow_schema(name, partition=True)
    columns = [*(rows.column(c) for c in schema.names[:-1]), pa.array(partitions, pa.string())]
    return pa.table(columns, schema=schema)


def _nothing(name: str) -> pa.Table:
    return arrow_schema(name, partition=True).empty_table()
