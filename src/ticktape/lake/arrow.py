"""NumPy to Arrow and back by buffer, without a copy where there need be none.

pyarrow's own conversions first import pandas where it is installed: 0.7 s and 40 MB that no process here needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

_DTYPES = {"int64": np.int64, "int32": np.int32, "int8": np.int8}


def arrow_of(values: Any, kind: pa.DataType) -> pa.Array:
    """Return an array of integers, or indices, as Arrow; an Arrow array as it is."""
    if isinstance(values, pa.Array):
        return values
    data = np.ascontiguousarray(values, dtype=_DTYPES[str(kind)])
    return pa.Array.from_buffers(kind, len(data), [None, pa.py_buffer(data)])


def mask_of(values: Any) -> pa.Array:
    """Return booleans as Arrow."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(np.packbits(values, bitorder="little"))])


def indices_of(values: Any) -> pa.Array:
    """Return places as Arrow, for `take`."""
    return arrow_of(values, pa.int64())


def table_of(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Return columns as a table."""
    return pa.table([arrow_of(columns[field.name], field.type) for field in schema], schema=schema)


def repeated(value: int, count: int, kind: pa.DataType) -> pa.Array:
    """Return one value many times; the arrays share memory that is kept."""
    data = _repeats(value, 1 << max(count - 1, 1).bit_length(), str(kind))
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(data)])


@lru_cache(maxsize=32)
def _repeats(value: int, count: int, kind: str) -> Any:
    return np.full(count, value, dtype=_DTYPES[kind])


def width_of(kind: pa.DataType) -> int:
    """Return how many bytes a number of a type takes."""
    return np.dtype(_DTYPES[str(kind)]).itemsize


def numbers_in(block: Any, kind: pa.DataType) -> Any:
    """Return bytes as numbers of a type, to write to."""
    return np.frombuffer(block, dtype=_DTYPES[str(kind)])


def numpy_of(column: pa.ChunkedArray | pa.Array) -> Any:
    """Return a column of integers without nulls; read-only, and not copied when it is one piece."""
    dtype = _DTYPES[str(column.type)]
    chunks = [column] if isinstance(column, pa.Array) else column.chunks
    pieces = [_piece(chunk, dtype) for chunk in chunks if len(chunk)]
    if len(pieces) == 1:
        return pieces[0]
    return np.concatenate(pieces) if pieces else np.empty(0, dtype=dtype)


def _piece(chunk: pa.Array, dtype: Any) -> Any:
    data: Any = chunk.buffers()[1]
    return np.frombuffer(data, dtype=dtype, count=len(chunk), offset=chunk.offset * np.dtype(dtype).itemsize)


def empty_table(schema: pa.Schema) -> pa.Table:
    """Return a table without rows."""
    return pa.table([pa.nulls(0, field.type) for field in schema], schema=schema)
