"""A read-only statement over the lake's tables. What it may reach is `lake/sql.py`'s to say."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from ticktape.errors import BadInput
from ticktape.lake.schema import TABLES
from ticktape.lake.sql import SqlLimits, query
from ticktape.serve import answers as a
from ticktape.serve.past import formats
from ticktape.serve.past.asks import AskSql, Reply
from ticktape.serve.past.view import View

NOTHING = msgspec.Raw(b"null")
MOST_MEMORY_MB = 512


def answer_sql(ask: AskSql, view: View) -> tuple[Reply, bytes]:
    """Return the rows of one SELECT."""
    allowed = ask.allowance
    limits = SqlLimits(ask.limit, min(allowed.memory_mb // 2, MOST_MEMORY_MB), allowed.seconds)
    found = query(view.snapshot, ask.query, (), limits)
    rows = found.rows
    answer = a.SqlAnswer(
        as_of_position=min(view.snapshot.position(name) for name in TABLES),
        sample=view.sample,
        lake=[view.state(name) for name in TABLES],
        columns=list(rows.column_names),
        types=[str(kind) for kind in rows.schema.types],
        count=rows.num_rows,
        cut=found.cut,
        missing=[f"{m.rows} rows of {m.table} of {m.partition}: their file is damaged" for m in found.missing],
        rows=NOTHING,
    )

    def table() -> pa.Table:
        if ask.format == "csv" and any(pa.types.is_nested(kind) for kind in rows.schema.types):
            raise BadInput("CSV has no place for lists and structs", hint="format=json or arrow")
        return rows

    return formats.reply_of(answer, "rows", lambda: _texts(rows), table, ask.format, allowed.answer_mb << 20)


def _texts(rows: pa.Table) -> list[str]:
    columns: list[list[Any]] = [column.to_pylist() for column in rows.columns]
    return [msgspec.json.encode(list(row), enc_hook=str).decode() for row in zip(*columns, strict=True)]
