"""The lake's tables and columns, in one place.

Every row keeps the record it came from exactly (its link `back` apart, which has a meaning only on the tape):
`position` is the record's place on the tape, prices and sizes are integers at the instrument's scale, times are
int64 nanoseconds, because Delta cuts nanosecond timestamps to microseconds. Delta knows no unsigned integers.

Encodings were measured on the Binance capture and on a made-up market of eight instruments (bytes a value after
zstd, values a second read): times and prices DELTA_BINARY_PACKED (1.1-2.5 B, 190-500 M/s; PLAIN as small and half
as fast), sizes by dictionary where they repeat (0.4-2.1 B, 400 M/s) else BYTE_STREAM_SPLIT (2.4-3.6 B, 250 M/s), what
hardly varies by dictionary (0.0-0.1 B, 400-700 M/s).
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

import pyarrow as pa

from ticktape.lake.retention import RETAIN_DAYS
from ticktape.model.records import Kind

APP = "ticktape"  # whose transaction a commit carries; its version is the tape position up to which rows are in
MARK = "ticktape.mark"  # and the checksum of the last records before it
BEYOND = 50_000_000_000_000  # positions from here on are of rows that came from no tape: one there would be 3 PB long

DELTA, SPLIT, PLAIN, DICTIONARY = "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT", "PLAIN", "RLE_DICTIONARY"
BY_LOOK = "DICTIONARY or BYTE_STREAM_SPLIT"  # by how often values repeat: decided for each file
Type = Literal["int64", "int32", "int8", "binary"]


class Column(NamedTuple):
    """A column: its name, its type, the record's field it comes from (empty: computed) and how it is encoded."""

    name: str
    type: Type
    field: str
    encoding: str


class Table(NamedTuple):
    """A table: its columns, the kinds of record that go into it, and how it is cut."""

    name: str
    columns: tuple[Column, ...]
    kinds: tuple[Kind, ...]
    partition: Literal["date", "month"]  # the UTC day or month of ts_event
    group_rows: int  # an instrument with fewer shares its row group with its neighbours
    retain_days: int  # by default; 0 keeps everything

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns in the files."""
        return tuple(column.name for column in self.columns)


_HEAD = (
    Column("position", "int64", "position", DELTA),
    Column("ts_event", "int64", "ts_event", DELTA),
    Column("ts_recv", "int64", "ts_recv", DELTA),
    Column("instrument_id", "int32", "instrument", DICTIONARY),
    Column("source_id", "int32", "source", DICTIONARY),
    Column("flags", "int32", "flags", DICTIONARY),
    Column("kind", "int8", "kind", DICTIONARY),
    Column("side", "int8", "side", DICTIONARY),
)


def _four(a: str, b: str, c: str, d: str, *, sizes: str = "") -> tuple[Column, ...]:
    pairs = zip((a, b, c, d), "abcd", strict=True)
    return tuple(Column(name, "int64", field, BY_LOOK if field in sizes else DELTA) for name, field in pairs)


def _wide(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "int64", "", DELTA) for name in names)


_TRADE_KINDS = (Kind.TRADE, Kind.AGG_TRADE, Kind.CORRECT, Kind.CANCEL)
_REST = (Kind.STATUS, Kind.CLOCK, Kind.QUARANTINE, Kind.BLOB)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "trades",
            (*_HEAD, *_four("price", "size", "venue_id", "detail", sizes="b")),
            _TRADE_KINDS, "date", 1 << 17, RETAIN_DAYS["trades"],
        ),
        Table(
            "quotes",
            (*_HEAD, *_four("bid_price", "ask_price", "bid_size", "ask_size", sizes="cd")),
            (Kind.QUOTE,), "date", 1 << 17, RETAIN_DAYS["quotes"],
        ),
        Table(
            "book",
            (*_HEAD, *_four("price", "size", "update_id", "order_count", sizes="b")),
            (Kind.BOOK,), "date", 1 << 17, RETAIN_DAYS["book"],
        ),
        Table(
            "bars",  # parts of one-minute bars: see lake/bars.py
            (
                Column("position", "int64", "", DELTA),
                Column("ts_event", "int64", "", DELTA),  # the start of the minute
                Column("instrument_id", "int32", "", DICTIONARY),
                Column("basis", "int8", "", DICTIONARY),
                *_wide("open_ts", "open_id", "close_ts", "close_id", "open", "high", "low", "close"),
                *_wide("volume_high", "volume_low", "notional_high", "notional_low", "count"),
                Column("revision", "int32", "", DICTIONARY),
                Column("flags", "int32", "", DICTIONARY),
            ),
            (), "month", 1 << 15, RETAIN_DAYS["bars"],
        ),
        Table(
            "gaps",
            (*_HEAD, *_four("gap_id", "first_missing", "last_missing", "detail")),
            (Kind.GAP,), "month", 1 << 15, RETAIN_DAYS["gaps"],
        ),
        Table(
            "quality",  # what else the tape tells: status, the passing of time, and quarantine with its bytes
            (*_HEAD, *_four("a", "b", "c", "d"), Column("body", "binary", "", PLAIN)),
            _REST, "month", 1 << 15, RETAIN_DAYS["quality"],
        ),
    )
}  # fmt: skip


@cache
def arrow_schema(name: str, *, partition: bool = False) -> pa.Schema:
    """Return a table's Arrow schema; `partition` adds the partition's column, which is not in the files."""
    table = TABLES[name]
    fields = [pa.field(c.name, getattr(pa, c.type)(), nullable=c.type == "binary") for c in table.columns]
    if partition:
        fields.append(pa.field(table.partition, pa.string(), nullable=False))
    return pa.schema(fields)


PRUNED = ("position", "ts_event", "instrument_id")  # columns whose least and greatest value the log knows
