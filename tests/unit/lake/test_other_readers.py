"""Other engines on the lake's own log: a filter on any column gives the rows that the column has, and not fewer.

A log that has bounds of some columns only is a trap: deltalake's dataset takes a column without bounds for one that
never matches, and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from lake_support import NOON, World, market

from ticktape.lake.catalogue import Catalogue
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker, pieces_of
from ticktape.lake.place import place
from ticktape.lake.schema import TABLES

DAY_NS = 86_400 * 10**9
COLUMNS = [
    (table.name, column.name) for table in TABLES.values() for column in table.columns if column.type != "binary"
]
Count = Callable[[DeltaTable, str, int, bool], int]  # table, column, value, and whether equal to it or above it


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DeltaTable]:
    """Give the tables of a lake: some flushes of two days, some files compacted."""
    world = World(tmp_path_factory.mktemp("world"))
    for k in range(4):
        records = market(2000, seed=k, start_ns=NOON + k // 2 * DAY_NS)
        records["a"][:3] = (-(2**62), 0, 2**62)  # and prices as far as they go
        world.append(records)
        world.flush()
    world.compact("trades", "2025-11-20")
    world.compact("bars", "2025-11")
    world.close()
    return {name: DeltaTable(str(world.lake / name)) for name in TABLES}


def _opened(table: Any) -> Any:
    return table.to_pyarrow_dataset()  # pyarrow has no types


def _dataset(table: DeltaTable, column: str, value: int, equal: bool) -> int:
    field = pc.field(column)
    return _opened(table).to_table(filter=field == value if equal else field > value).num_rows


def _duckdb(table: DeltaTable, column: str, value: int, equal: bool) -> int:
    sign = "=" if equal else ">"
    files = table.file_uris()
    found = duckdb.execute(f"select count(*) from read_parquet($1) where {column} {sign} $2", [files, value]).fetchone()
    assert found
    return int(found[0])


def _duckdb_arrow(table: DeltaTable, column: str, value: int, equal: bool) -> int:
    sign = "=" if equal else ">"
    with duckdb.connect() as con:
        con.register("lake", _opened(table))
        found = con.execute(f"select count(*) from lake where {column} {sign} $1", [value]).fetchone()
    assert found
    return int(found[0])


def _polars(table: DeltaTable, column: str, value: int, equal: bool) -> int:
    asked = pl.col(column) == value if equal else pl.col(column) > value
    return pl.scan_delta(table.table_uri).filter(asked).collect().height


ENGINES: dict[str, Count] = {"dataset": _dataset, "duckdb": _duckdb, "duckdb_arrow": _duckdb_arrow, "polars": _polars}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "column"), COLUMNS)
def test_a_filter_on_any_column_gives_the_rows_of_a_full_read(
    tables: dict[str, DeltaTable], name: str, column: str, engine: str
) -> None:
    table = tables[name]
    values = _everything(table, column)
    middle = values[len(values) // 2]
    for value, equal in ((values[0], True), (middle, True), (middle, False), (values[-1], True)):
        wanted = sum(each == value if equal else each > value for each in values)
        assert ENGINES[engine](table, column, value, equal) == wanted, (value, equal)


def test_rows_with_bytes_are_found_by_their_bytes(tmp_path: Path) -> None:
    catalogue, table = Catalogue(tmp_path, "quality"), TABLES["quality"]
    catalogue.create("a tape")
    for k, body in enumerate(([b"abc", None, b"\xff\x00"], [None, None, None], [b"q", b"r", b"s"])):
        columns: dict[str, Any] = {name: np.arange(3) for name in table.names()}
        columns |= {"position": np.arange(3) + 3 * k, "body": pa.array(body, type=pa.binary())}
        written = place(Maker(), tmp_path / "quality", table, "1970-01", pieces_of(columns), [3], Disk())
        catalogue.commit(catalogue.version().number, [written], position=3 * k + 3)
    dataset, field = _opened(DeltaTable(str(tmp_path / "quality"))), pc.field("body")
    asked = (field.is_null(), field.is_valid(), field == b"abc", field > b"q")
    assert [dataset.to_table(filter=each).num_rows for each in asked] == [4, 5, 1, 3]


def test_the_log_has_true_bounds_of_every_number(tables: dict[str, DeltaTable]) -> None:
    for name, table in tables.items():
        adds: Any = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
        for column in TABLES[name].columns:
            if column.type == "binary":
                continue
            values = _everything(table, column.name)
            assert min(adds.column(f"min.{column.name}").to_pylist()) == values[0], column.name
            assert max(adds.column(f"max.{column.name}").to_pylist()) == values[-1], column.name


def _everything(table: DeltaTable, column: str) -> list[int]:
    files = [path.removeprefix("file://") for path in table.file_uris()]
    pieces = [pq.read_table(pa.BufferReader(Path(path).read_bytes()), columns=[column]) for path in files]
    return sorted(value for piece in pieces for value in piece.column(column).to_pylist())
