"""A read-only statement over the tables of lake and tape, and over what instruments and sources are.

What it may reach is `lake/sql.py`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa

from ticktape.errors import BadInput
from ticktape.lake.pages import Missing
from ticktape.lake.schema import TABLES
from ticktape.lake.sql import SqlLimits, query
from ticktape.serve import answers as a
from ticktape.serve.past import formats
from ticktape.serve.past.asks import AskSql, Reply
from ticktape.serve.past.view import View

# Steps and multipliers are exact text: a statement casts them to the DECIMAL it needs.
_INSTRUMENT = (
    ("id", pa.int32()), ("symbol", pa.string()), ("venue", pa.string()), ("asset_class", pa.string()),
    ("tick_size", pa.string()), ("size_step", pa.string()), ("multiplier", pa.string()), ("price_scale", pa.int8()),
    ("size_scale", pa.int8()), ("currency", pa.string()), ("calendar", pa.string()), ("expiry", pa.string()),
)  # fmt: skip
NOTHING = msgspec.Raw(b"null")
MOST_MEMORY_MB = 512


def answer_sql(ask: AskSql, view: View) -> tuple[Reply, bytes]:
    """Return the rows of one SELECT."""
    allowed = ask.allowance
    limits = SqlLimits(ask.limit, min(allowed.memory_mb // 2, MOST_MEMORY_MB), allowed.seconds)
    found = query(view.snapshot, ask.query, (), limits, tape=view.tape, more=_small(ask))
    rows = found.rows
    answer = a.SqlAnswer(
        as_of_position=found.upto,
        sample=view.sample,
        lake=[view.state(name) for name in TABLES],
        columns=list(rows.column_names),
        types=[str(kind) for kind in rows.schema.types],
        count=rows.num_rows,
        cut=found.cut,
        missing=[*_damaged(found.missing), *found.unflushed],
        rows=NOTHING,
    )

    def table() -> pa.Table:
        if ask.format == "csv" and any(pa.types.is_nested(kind) for kind in rows.schema.types):
            raise BadInput("CSV has no place for lists and structs", hint="format=json or arrow")
        return rows

    return formats.reply_of(answer, "rows", lambda: _texts(rows), table, ask.format, allowed.answer_mb << 20)


def _damaged(missing: Iterable[Missing]) -> list[str]:
    return [f"{m.rows} rows of {m.table} of {m.partition}: their file is damaged" for m in missing]


def _small(ask: AskSql) -> dict[str, pa.Table]:
    """Return the tables that are in no lake: what instruments and sources are called."""
    rows = [msgspec.to_builtins(each) for each in ask.instruments]
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in _INSTRUMENT}
    numbers, names = list(ask.sources), list(ask.sources.values())
    return {
        "instruments": pa.table({"instrument_id" if name == "id" else name: c for name, c in columns.items()}),
        "sources": pa.table({"source_id": pa.array(numbers, pa.int32()), "name": pa.array(names, pa.string())}),
    }


def _texts(rows: pa.Table) -> list[str]:
    columns: list[list[Any]] = [column.to_pylist() for column in rows.columns]
    return [msgspec.json.encode(list(row), enc_hook=str).decode() for row in zip(*columns, strict=True)]
