"""Read-only SQL over one version of the lake, in a DuckDB that can reach nothing else.

Only this module knows DuckDB. It uses what 1.5 and 2.0 have in common: `con.sql(...)`, an Arrow reader, `interrupt`.
The views name the files of the snapshot one by one and only these files may be opened: a glob over a Delta folder
would count rows that were deleted or compacted away.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from ticktape.errors import BadInput, Damaged, TooCostly
from ticktape.lake.catalogue import Entry
from ticktape.lake.files import check, stored
from ticktape.lake.history import Missing, Snapshot, missing_of
from ticktape.lake.schema import TABLES, Table
from ticktape.lake.sql_tail import MOST_TAIL, unflushed
from ticktape.lake.tail import Tape

MOST_SQL = 10_000  # characters
_NO_EXTENSIONS = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
_TAIL = "_unflushed"
_TYPES = {"int64": "BIGINT", "int32": "INTEGER", "int8": "TINYINT", "binary": "BLOB"}


class SqlLimits(NamedTuple):
    """What one statement may take."""

    rows: int = 100_000  # in the answer; more is cut, and said
    memory_mb: int = 1024
    seconds: float = 10.0
    threads: int = 1
    tail: int = MOST_TAIL  # records of the tape looked at for each table


class SqlAnswer(NamedTuple):
    """Rows, whether there were more, and what was left out: because it is damaged, or not flushed and too much.

    `upto` is the position up to which every table that was named is known.
    """

    rows: pa.Table
    cut: bool
    missing: list[Missing]
    unflushed: list[str]
    upto: int


def query(
    snapshot: Snapshot, sql: str, parameters: Sequence[Any] = (), limits: SqlLimits = SqlLimits(), *,  # noqa: B008
    tape: Tape | None = None, more: Mapping[str, pa.Table] = MappingProxyType({}),
) -> SqlAnswer:  # fmt: skip
    """Run one SELECT over the tables of a snapshot, the rows of `tape` that follow it, and small tables besides.

    Raises BadInput, TooCostly, Trimmed (take a new snapshot).
    """
    if len(sql) > MOST_SQL:
        raise BadInput(f"{len(sql)} characters of SQL, at most {MOST_SQL}")
    con = duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    try:
        names = _tables_in(con, sql)
        tails = {name: unflushed(snapshot, tape, name, limits.tail) for name in names} if tape is not None else {}
        missing = _prepare(con, snapshot, names, limits, {name: part.rows for name, part in tails.items()}, more)
        upto = min((part.upto for part in tails.values()), default=_known(snapshot, names, tape))
        late = [text for part in tails.values() for text in part.missing]
        return SqlAnswer(*_run(con, sql, parameters, limits), missing, late, upto)
    except duckdb.OutOfMemoryException as error:
        raise TooCostly(f"it needs more than {limits.memory_mb} MB", hint="a shorter range") from error
    except duckdb.Error as error:
        raise BadInput(f"SQL: {str(error).partition(chr(10))[0][:300]}", hint="ticktape lake stat") from error
    finally:
        con.close()


def _tables_in(con: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """Return the lake's tables that a statement names. Raises BadInput unless it is one SELECT."""
    statements = con.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise BadInput("one SELECT at a time, and nothing else", hint="SELECT count(*) FROM trades")
    # A word too many costs a view; `get_table_names` does not take parameters.
    return {name for name in TABLES if re.search(rf"\b{name}\b", sql, re.IGNORECASE)}


def _known(snapshot: Snapshot, names: set[str], tape: Tape | None) -> int:
    if tape is not None:
        return tape.end
    return min(snapshot.position(name) for name in names or TABLES)


def _prepare(
    con: duckdb.DuckDBPyConnection, snapshot: Snapshot, names: set[str], limits: SqlLimits,
    tails: Mapping[str, pa.Table], more: Mapping[str, pa.Table],
) -> list[Missing]:  # fmt: skip
    missing: list[Missing] = []
    good: dict[str, list[Entry]] = {name: [] for name in names}
    for name in names:
        for entry in snapshot.versions[name].files:
            why = _proven(snapshot.folder / name / entry.path, entry.size)
            if why:
                missing.append(missing_of(name, entry, Damaged(why)))
            else:
                good[name].append(entry)
    paths = [str((snapshot.folder / name / entry.path).resolve()) for name in names for entry in good[name]]
    con.sql(f"SET threads = {int(limits.threads)}")
    con.sql(f"SET memory_limit = '{int(limits.memory_mb)}MB'")
    con.sql("SET max_temp_directory_size = '0KB'")
    con.sql(f"SET allowed_paths = [{', '.join(_quoted(path) for path in paths)}]")
    for name in names:
        late = f"{name}{_TAIL}" if name in tails else None
        if late is not None:
            con.register(late, tails[name])
        con.sql(_view(snapshot.folder / name, TABLES[name], good[name], late))
    for name, rows in more.items():
        con.register(name, rows)
    con.sql("SET enable_external_access = false")
    con.sql("SET lock_configuration = true")
    return missing


def _view(folder: Path, table: Table, entries: Sequence[Entry], late: str | None) -> str:
    columns = ", ".join((*table.names(), table.partition))
    rest = f" UNION ALL SELECT {columns} FROM {late}" if late is not None else ""  # noqa: S608
    if not entries:
        nothing = ", ".join(f"CAST(NULL AS {_TYPES[c.type]}) AS {c.name}" for c in table.columns)
        return f"CREATE VIEW {table.name} AS SELECT {nothing}, '' AS {table.partition} WHERE false{rest}"
    files = ", ".join(_quoted(str((folder / entry.path).resolve())) for entry in entries)
    source = f"read_parquet([{files}], hive_partitioning = true, hive_types_autocast = false)"
    return f"CREATE VIEW {table.name} AS SELECT {columns} FROM {source}{rest}"  # noqa: S608


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@lru_cache(maxsize=65_536)
def _proven(path: Path, size: int) -> str:
    """Return what is wrong with a file, empty when nothing is. Each file is read whole once: DuckDB checks nothing."""
    try:
        check(stored(path, size))
    except Damaged as error:
        return error.message
    return ""


def _run(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any], limits: SqlLimits
) -> tuple[pa.Table, bool]:
    timer = threading.Timer(limits.seconds, con.interrupt)
    timer.start()
    try:
        reader: Any = con.sql(sql, params=list(parameters)).to_arrow_reader(10_000)
        batches: list[pa.RecordBatch] = []
        rows = 0
        for batch in reader:
            batches.append(batch)
            rows += batch.num_rows
            if rows > limits.rows:
                break
        found: pa.Table = pa.Table.from_batches(batches, schema=reader.schema)
        return found.slice(0, limits.rows), rows > limits.rows
    except (duckdb.InterruptException, pa.ArrowException, OSError) as error:
        if isinstance(error, duckdb.InterruptException) or "INTERRUPT" in str(error).upper():
            raise TooCostly(f"it took longer than {limits.seconds:g} s", hint="a shorter range") from error
        raise BadInput(f"SQL: {str(error).partition(chr(10))[0][:300]}") from error
    finally:
        timer.cancel()
