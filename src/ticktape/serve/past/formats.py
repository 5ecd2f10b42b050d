"""One answer in six forms. Rows have the same names in each; what differs is how exact numbers are carried.

JSON and NDJSON carry exact decimal numbers, CSV and MessagePack exact decimal text, Arrow and Parquet decimal128.
The forms that have no place for provenance beside the rows (NDJSON, CSV) carry it in the header `Ticktape-About`, and
Arrow and Parquet in the schema's metadata under `ticktape`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib import import_module
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from ticktape.errors import TooCostly
from ticktape.lake.arrow import indices_of
from ticktape.model.records import Ints
from ticktape.serve import answers as a
from ticktape.serve.past.asks import Format, Reply

MEDIA: dict[Format, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
    "msgpack": "application/vnd.msgpack",
}
COLUMNAR = ("arrow", "parquet", "csv")
MOST_ABOUT = 6000  # bytes of a header
_CLOSE = 1 << 16  # codes that a table can hold
_RAW = ("ticks", "bars", "rows")

Table = Callable[[], pa.Table]
_exact: msgspec.json.Decoder[Any] = msgspec.json.Decoder(float_hook=str)  # digits as they are written


def reply_of(
    answer: msgspec.Struct, name: str, rows: Callable[[], Sequence[str]], table: Table, form: Format, most_bytes: int
) -> tuple[Reply, bytes]:
    """Return an answer whose rows belong into the field `name`, as asked. Raises TooCostly."""
    if form in COLUMNAR:
        found = table()
        body, count = _columnar(answer, found, form), found.num_rows
    else:
        texts = rows()
        whole = form != "ndjson"
        body = _whole(answer, name, texts, form) if whole else "".join(f"{row}\n" for row in texts).encode()
        count = len(texts)
    if len(body) > most_bytes:
        raise TooCostly(f"an answer of {len(body) >> 20} MiB, {most_bytes >> 20} are the most", hint="a smaller limit")
    return Reply(size=len(body), rows=count, media_type=MEDIA[form], headers=headers_of(answer)), body


def _whole(answer: msgspec.Struct, name: str, rows: Sequence[str], form: Format) -> bytes:
    text = f"[{','.join(rows)}]".encode()
    if form == "json":
        return msgspec.json.encode(msgspec.structs.replace(answer, **{name: msgspec.Raw(text)}))
    about = msgspec.to_builtins(msgspec.structs.replace(answer, **dict.fromkeys(_raw(answer))))
    about[name] = _exact.decode(text)
    return msgspec.msgpack.encode(about)


def _raw(answer: msgspec.Struct) -> list[str]:
    return [field for field in _RAW if field in answer.__struct_fields__]


def about_of(answer: msgspec.Struct) -> bytes:
    """Return an answer without its rows, as JSON."""
    bare = msgspec.structs.replace(answer, **{field: msgspec.Raw(b"null") for field in _raw(answer)})
    return msgspec.json.encode(bare)


def headers_of(answer: msgspec.Struct) -> list[tuple[str, str]]:
    """Return the provenance as headers; the list of gaps is left out where it is too long."""
    about = about_of(answer)
    if len(about) > MOST_ABOUT and isinstance(answer, a.Past):
        hidden = len(answer.gaps) + answer.more_gaps
        about = about_of(msgspec.structs.replace(answer, gaps=[], more_gaps=hidden))
    found = [("Ticktape-About", _ascii(about.decode()))]
    if len(about) > MOST_ABOUT:
        found = []
    if isinstance(answer, a.Past) and answer.next_cursor:
        found.append(("Ticktape-Next-Cursor", answer.next_cursor))
    return found


def _ascii(text: str) -> str:
    # As JSON escapes: a header carries nothing else.
    return "".join(c if c.isascii() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[k : k + 4]}" for k in range(0, len(units), 4))


def _columnar(answer: msgspec.Struct, table: pa.Table, form: Format) -> bytes:
    if form == "csv":
        return _csv(table)
    described: Any = table
    table = described.replace_schema_metadata({"ticktape": about_of(answer)})
    sink: Any = pa.BufferOutputStream()
    if form == "parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415

        pq.write_table(table, sink, compression="zstd")
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _csv(table: pa.Table) -> bytes:
    pc: Any = import_module("pyarrow.compute")
    csv: Any = import_module("pyarrow.csv")
    columns: list[Any] = []
    for name in table.column_names:
        column: Any = table.column(name)
        if pa.types.is_list(column.type):
            column = pc.binary_join(column, "|")
        elif pa.types.is_decimal(column.type) or pa.types.is_dictionary(column.type):
            column = pc.cast(column, pa.string())
        columns.append(column)
    text = pa.table(columns, names=table.column_names)
    try:
        return _csv_of(csv, text, "none")
    except pa.ArrowInvalid:  # a comma, a quote or a line break in some text
        return _csv_of(csv, text, "needed")


def _csv_of(csv: Any, table: pa.Table, quoting: str) -> bytes:
    sink = io.BytesIO()
    header = ",".join(_csv_name(name) for name in table.column_names)
    sink.write(f"{header}\n".encode())
    csv.write_csv(table, sink, csv.WriteOptions(include_header=False, quoting_style=quoting))
    return sink.getvalue()


def _csv_name(name: str) -> str:
    return name if name.isidentifier() else '"' + name.replace('"', '""') + '"'


# -- columns -----------------------------------------------------------------------------------------


def decimals(values: Any, scales: Any, scale: int, nulls: Any = None) -> pa.Array:
    """Return integers at scales (n,) as exact decimals of one `scale`, none smaller. `nulls` (n,) are left out."""
    out = np.zeros((len(values), 2), dtype=np.int64)
    for own in distinct(scales)[0].tolist():
        # All rows at one scale is the rule: then nothing has to be picked out.
        mine: Any = slice(None) if scales[0] == own and (scales == own).all() else scales == own
        factor = 10 ** (scale - own)
        chosen = values[mine]
        if len(chosen) and int(np.abs(chosen).max()) * factor < 2**62:
            scaled = chosen * factor
            out[mine, 0], out[mine, 1] = scaled, scaled >> 63
        else:  # beyond 64 bits: one by one
            wide = [int(value) * factor for value in chosen.tolist()]
            out[mine, 0] = np.array([w & (2**64 - 1) for w in wide], dtype=np.uint64).view(np.int64)
            out[mine, 1] = np.array([w >> 64 for w in wide], dtype=np.int64)
    return pa.Array.from_buffers(pa.decimal128(38, scale), len(values), [_valid(nulls), pa.py_buffer(out)])


def _valid(nulls: Any) -> pa.Buffer | None:
    return None if nulls is None or not nulls.any() else pa.py_buffer(np.packbits(~nulls, bitorder="little"))


def integers(values: Any, nulls: Any = None) -> pa.Array:
    """Return integers as int64; `nulls` (n,) are left out."""
    data = np.ascontiguousarray(values, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(data), [_valid(nulls), pa.py_buffer(data)])


def distinct(codes: Any) -> tuple[Any, Ints]:
    """Return the different codes, sorted, and the place of each code (n,) among them. Few and close ones unsorted."""
    if not len(codes):
        return codes, np.zeros(0, dtype=np.int64)
    low, high = int(codes.min()), int(codes.max())
    if high - low >= _CLOSE:
        unique, places = np.unique(codes, return_inverse=True)
        return unique, places
    seen = np.zeros(high - low + 1, dtype=bool)
    shifted = codes.astype(np.int64) - low
    seen[shifted] = True
    return np.flatnonzero(seen) + low, (np.cumsum(seen) - 1)[shifted]


def named(codes: Any, names: Callable[[int], str | None]) -> pa.Array:
    """Return codes as a dictionary of their names; a code without one is null."""
    unique, places = distinct(codes)
    words = [names(code) for code in unique.tolist()]
    nulls = np.array([word is None for word in words], dtype=bool)[places]
    data = np.ascontiguousarray(places, dtype=np.int32)
    indices = pa.Array.from_buffers(pa.int32(), len(data), [_valid(nulls), pa.py_buffer(data)])
    return pa.DictionaryArray.from_arrays(indices, pa.array([word or "" for word in words], pa.string()))


def listed(codes: Any, names: Callable[[int], Sequence[str]]) -> pa.Array:
    """Return codes of flags as lists of their names."""
    unique, places = distinct(codes)
    words: Any = pa.array([list(names(code)) for code in unique.tolist()], pa.list_(pa.string()))
    return words.take(indices_of(places))


_BAR_TYPES = {
    "instrument_id": pa.int64(), "symbol": pa.string(), "start": pa.int64(), "count": pa.int64(),
    "open_ts": pa.int64(), "close_ts": pa.int64(), "closed": pa.bool_(), "revision": pa.int64(),
    "flags": pa.list_(pa.string()),
}  # fmt: skip


def table_of_bars(rows: Sequence[str], names: Sequence[str], scales: dict[str, int]) -> pa.Table:
    """Return rows of bars in columns; `scales` of the decimal ones."""
    found = _exact.decode(f"[{','.join(rows)}]")
    types = {name: _BAR_TYPES.get(name) or pa.decimal128(38, scales[name]) for name in names}
    columns: list[pa.Array] = []
    for name, kind in types.items():
        values: list[Any] = [row[name] for row in found]
        if pa.types.is_decimal(kind):
            values = [None if value is None else Decimal(value) for value in values]
        columns.append(pa.array(values, kind))
    return pa.table(columns, names=list(types))
