"""A range of one instrument as a file: CSV, NDJSON, Parquet or Arrow, exact, read from lake and tape as one.

Columns have the names of `GET /api/v1/ticks/historical`, and with `venue` and `detail` all that `ticktape import` needs
to make the same records again. Prices and sizes are exact decimals in every form, times int64 nanoseconds UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from ticktape.errors import Damaged, Misconfigured
from ticktape.keep.backup_store import no_room
from ticktape.lake.arrow import arrow_of, numpy_of
from ticktape.lake.disk import Disk
from ticktape.lake.history import Cursor, Lake, Limits, Snapshot
from ticktape.lake.tail import Trimmed
from ticktape.model.instruments import Instrument
from ticktape.model.records import Flag, Kind
from ticktape.sources.exported.about import FORMAT, KEY, MONEY, REST, SIDES, About, Table
from ticktape.tape.reader import Reader

Form = Literal["parquet", "csv", "ndjson", "arrow"]
ROWS = 200_000  # at once
TRIES = 5
_LIMITS = Limits(rows=2**62, memory_bytes=2**62, seconds=86_400.0)  # page by page: what is held is one page
_arrow: Any = pa  # what its stubs leave out

Tell = Callable[[int, int], None]


def export(
    world: Path, instrument: Instrument, table: Table, start_ns: int, end_ns: int, form: Form, out: Path, *,
    sources: dict[int, str], tell: Tell | None = None,
) -> int:  # fmt: skip
    """Write the rows of [start_ns, end_ns) and return how many. The file appears whole. Raises Damaged, DiskFull."""
    if out.exists():
        raise Misconfigured(f"{out} exists already", hint="--out ANOTHER_FILE")
    beside, disk = out.with_name(out.name + ".new"), Disk()
    reader = Reader(world / "tape")
    about = About(FORMAT, table, reader.meta.sample, instrument, start_ns, end_ns)
    schema = schema_of(about)
    rows = 0
    try:
        with _writer(beside, form, schema) as write:
            for page in _pages(world, reader, instrument.id, table, start_ns, end_ns, tell):
                write(_shaped(page, about, schema, sources))
                rows += page.num_rows
        disk.sync_file(beside)
        disk.rename(beside, out)
        disk.sync_folder(out.parent)
    except OSError as error:
        raise no_room(error, out.parent) from error
    finally:
        beside.unlink(missing_ok=True)
    return rows


# -- reading ---------------------------------------------------------------------------------------------


def _pages(
    world: Path, reader: Reader, who: int, table: str, start_ns: int, end_ns: int, tell: Tell | None
) -> Iterator[pa.Table]:
    lake = Lake(world / "lake")
    snapshot, after, done = _fixed(lake, reader), None, 0
    total = snapshot.estimate(table, [who], start_ns, end_ns, exact=True).rows
    while True:
        page, snapshot = _page(lake, snapshot, reader, who, table, start_ns, end_ns, after)
        if page.missing:
            raise Damaged(
                f"{page.missing[0].rows} rows cannot be read: {page.missing[0].why}", hint="ticktape lake verify"
            )
        if page.rows.num_rows:
            yield page.rows
        done += page.rows.num_rows
        if tell is not None:
            tell(min(done, total), total)
        after = page.next
        if after is None:
            return


def _fixed(lake: Lake, reader: Reader) -> Snapshot:
    snapshot = lake.snapshot()
    reader.refresh()
    return snapshot


def _page(
    lake: Lake, snapshot: Snapshot, reader: Reader, who: int, table: str, start_ns: int, end_ns: int,
    after: Cursor | None,
) -> Any:  # fmt: skip
    """Return (page, snapshot): a newer one where the tape was trimmed behind ours. Pages stay those of the first."""
    for left in reversed(range(TRIES)):
        try:
            page = snapshot.read(
                table, [who], start_ns, end_ns, limit=ROWS, after=after, tape=reader, limits=_LIMITS
            )  # fmt: skip
        except Trimmed:
            if not left:
                raise
            snapshot = _fixed(lake, reader)
        else:
            return page, snapshot
    raise AssertionError("the last try returns or raises")


# -- shape -----------------------------------------------------------------------------------------------


def schema_of(about: About) -> pa.Schema:
    """Return the columns of an exported table."""
    who, table = about.instrument, about.table
    scales = {"price": who.price_scale, "size": who.size_scale}
    words = pa.dictionary(pa.int32(), pa.string())
    fields: list[tuple[str, pa.DataType]] = [
        ("position", pa.int64()), ("kind", words), ("instrument_id", pa.int64()), ("symbol", words), ("venue", words),
        ("ts_event", pa.int64()), ("ts_recv", pa.int64()),
    ]  # fmt: skip
    fields += [(name, pa.decimal128(38, scales[of])) for name, of in MONEY[table].items()]
    fields += [(name, pa.int64()) for name in REST[table]]
    fields += [("side", words), ("source", words), ("flags", words)]
    return _arrow.schema(fields, metadata={KEY: msgspec.json.encode(about)})


def _shaped(page: pa.Table, about: About, schema: pa.Schema, sources: dict[int, str]) -> pa.Table:
    def values(name: str) -> Any:
        return numpy_of(page.column(name))

    who, sides, n = about.instrument, SIDES[about.table], page.num_rows
    none = np.zeros(n, dtype=np.int64)
    columns: dict[str, pa.Array] = {
        "kind": _named(values("kind"), lambda code: Kind(code).name.lower()),
        "instrument_id": arrow_of(values("instrument_id"), pa.int64()),
        "symbol": _named(none, lambda _: who.symbol),
        "venue": _named(none, lambda _: who.venue),
        "side": _named(values("side"), sides.get),
        "source": _named(values("source_id"), lambda code: sources.get(code, f"source-{code}")),
        "flags": _named(values("flags"), flag_words),
    }
    columns |= {name: _decimals(values(name), schema.field(name).type) for name in MONEY[about.table]}
    for name in schema.names:
        if name not in columns:
            columns[name] = arrow_of(values(name), pa.int64())
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _decimals(values: Any, kind: pa.DataType) -> pa.Array:
    out = np.empty((len(values), 2), dtype=np.int64)
    out[:, 0], out[:, 1] = values, values >> 63
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(out)])


def _named(codes: Any, name: Callable[[int], str | None]) -> pa.Array:
    unique, places = np.unique(codes, return_inverse=True)
    words = pa.array([name(code) for code in unique.tolist()], pa.string())
    return pa.DictionaryArray.from_arrays(arrow_of(places, pa.int32()), words)


def flag_words(bits: int) -> str:
    """Return flags as words with `|` between them."""
    return "|".join(str(flag.name).lower() for flag in Flag if bits & flag)


# -- writing ---------------------------------------------------------------------------------------------

Write = Callable[[pa.Table], None]


@contextmanager
def _writer(path: Path, form: Form, schema: pa.Schema) -> Generator[Write]:
    """Give a function that writes pages to a file."""
    if form == "parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415

        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            yield writer.write_table
    elif form == "arrow":
        with _arrow.OSFile(str(path), "wb") as file, _arrow.ipc.new_file(file, schema) as writer:
            yield writer.write_table
    else:
        with path.open("wb") as file:
            if form == "csv":
                file.write(",".join(schema.names).encode() + b"\n")
            yield lambda page: _text(page, form, file.write)


def _text(page: pa.Table, form: Form, write: Callable[[bytes | memoryview], object]) -> None:
    plain = [_cast(page.column(name)) for name in page.column_names]
    if form == "csv":
        from pyarrow import csv  # noqa: PLC0415

        sink = pa.BufferOutputStream()
        sources: Any = page.column("source")  # the only words that a person chose
        odd = any(char in word for word in sources.unique().to_pylist() for char in '",\r\n')
        options = csv.WriteOptions(include_header=False, quoting_style="needed" if odd else "none")
        csv.write_csv(pa.table(plain, names=page.column_names), sink, options)
        write(memoryview(sink.getvalue()))
        return
    money = {field.name for field in page.schema if pa.types.is_decimal(field.type)}
    columns: list[list[Any]] = [column.to_pylist() for column in plain]
    for row in zip(*columns, strict=True):
        body = {
            name: msgspec.Raw(value.encode()) if name in money else value
            for name, value in zip(page.column_names, row, strict=True)
        }
        write(msgspec.json.encode(body) + b"\n")


def _cast(column: Any) -> Any:
    odd = pa.types.is_decimal(column.type) or pa.types.is_dictionary(column.type)
    return column.cast(pa.string()) if odd else column
