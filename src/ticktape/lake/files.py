"""One Parquet file that proves itself: written whole, read with every byte checked before it is decoded.

Parquet has no checksum of its footer or of page headers, so a flipped bit there can change an answer in silence.
Between the last page and the footer, where Parquet readers do not look, lies a block of CRC32Cs, one a column chunk;
a CRC32C over this block and the footer is part of the file's name, and the name is what the Delta log holds. So the
log proves the tail, and the tail proves the chunks.

Bytes are read with pread and never mapped: a bad sector is then an error and not a SIGBUS.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from google_crc32c import extend as crc32c_of
from google_crc32c import value as crc32c

from ticktape.errors import Damaged
from ticktape.lake.arrow import numbers_in, numpy_of, repeated, table_of, width_of
from ticktape.lake.room import Room
from ticktape.lake.schema import BY_LOOK, DICTIONARY, PRUNED, SPLIT, Table, arrow_schema

MAGIC = b"TTSUMS1\n"
TAIL_GUESS = 64 << 10  # read at once: most tails fit
BATCH = 1 << 16  # rows decoded at a time
SAMPLE = 4096  # values of a column that decide how it is encoded
_NAME = re.compile(r"(\d{14})-(\d{14})-([0-9a-f]{8})\.parquet")
_FOOTER_END = 8  # length of the footer and PAR1
HINT = "ticktape lake verify"

Columns = Mapping[str, Any]  # NumPy arrays of one length, or an Arrow array where the type is binary


class Written(NamedTuple):
    """A file that is in its place, as the log will know it."""

    path: str  # within the table
    size: int
    rows: int
    partition: str
    low: dict[str, int]  # least value of each column of numbers
    high: dict[str, int]
    nulls: dict[str, int]  # how many each column has


class Image(NamedTuple):
    """A file's bytes, and the name that its content gives it."""

    name: str
    pieces: list[memoryview]
    size: int
    low: dict[str, int]
    high: dict[str, int]
    nulls: dict[str, int]


class Stored(NamedTuple):
    """A file whose tail was proven: what is in it and where. Arrays have a row for each row group."""

    path: Path
    size: int
    metadata: pq.FileMetaData
    column: dict[str, int]
    starts: Any  # (groups, columns): where each chunk begins
    lengths: Any
    sums: Any
    rows: Any  # (groups,)
    low: dict[str, Any]  # column of PRUNED -> least value of each group
    high: dict[str, Any]


# -- writing -------------------------------------------------------------------------------------------

Piece = Callable[[int, int], Columns]  # the columns of rows [start, stop)


class Maker:
    """Makes files, one after the other, in memory that it keeps: fresh pages cost more than what is done with them."""

    def __init__(self) -> None:
        self._room: Any = np.empty(0, dtype=np.uint8)

    def image(self, table: Table, piece: Piece, bounds: Sequence[int], *, level: int = 1) -> Image:
        """Return the bytes of a file whose row groups end at `bounds`, the last of which is the number of rows.

        They lie in memory that the next call overwrites.
        """
        self._ensure(table, piece, bounds)
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(self._room))
        self._write(table, piece, bounds, sink, level)
        content = self._room[: sink.tell()]
        footer = len(content) - _FOOTER_END - int.from_bytes(content[-_FOOTER_END:-4].tobytes(), "little")
        metadata = pq.read_metadata(pa.BufferReader(pa.py_buffer(content)))
        low, high, nulls = _statistics(table, metadata)
        starts, lengths = _places(metadata)
        sums = [crc32c(content[a : a + n]) for a, n in zip(starts.flat, lengths.flat, strict=True)]
        block = np.frombuffer(np.array(sums, dtype="<u4").tobytes() + MAGIC, dtype=np.uint8)
        tail = crc32c_of(crc32c(block), content[footer:])
        name = f"{low['position']:014d}-{high['position'] + 1:014d}-{tail:08x}.parquet"
        pieces = [part.data for part in (content[:footer], block, content[footer:])]
        return Image(name, pieces, len(content) + len(block), low, high, nulls)

    def _ensure(self, table: Table, piece: Piece, bounds: Sequence[int]) -> None:
        # Untouched, address space is free: room for rows that do not compress at all, and for a footer.
        need = bounds[-1] * 8 * len(table.columns) + len(bounds) * len(table.columns) * 1024 + (1 << 20)
        if any(column.type == "binary" for column in table.columns):
            need += int(piece(0, bounds[-1])["body"].nbytes)
        if need > len(self._room):
            self._room = np.empty(need, dtype=np.uint8)

    def _write(self, table: Table, piece: Piece, bounds: Sequence[int], sink: Any, level: int) -> None:
        schema = arrow_schema(table.name)
        start = 0
        with _writer(schema, sink, level, _encodings(table, piece(0, bounds[0]))) as writer:
            for stop in bounds:
                writer.write_table(table_of(piece(start, stop), schema), row_group_size=max(1, stop - start))
                start = stop


def _writer(schema: pa.Schema, sink: Any, level: int, encodings: Mapping[str, str]) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=level, version="2.6", store_schema=False,
        use_dictionary=[name for name, encoding in encodings.items() if encoding == DICTIONARY],
        column_encoding={name: encoding for name, encoding in encodings.items() if encoding != DICTIONARY},
    )  # fmt: skip


def _encodings(table: Table, columns: Columns) -> dict[str, str]:
    """Return how each column of a file is encoded; where the schema leaves it to the values, by a look at them."""
    return {c.name: _by_look(columns[c.name]) if c.encoding == BY_LOOK else c.encoding for c in table.columns}


def _by_look(values: Any) -> str:
    sample = values[:: max(len(values) // SAMPLE, 1)]
    return DICTIONARY if 2 * len(np.unique(sample)) <= len(sample) else SPLIT


def pieces_of(columns: Columns) -> Piece:
    """Return what gives slices of whole columns."""
    return lambda start, stop: {name: values[start:stop] for name, values in columns.items()}


def _statistics(table: Table, metadata: pq.FileMetaData) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return the least and greatest value of each column of numbers, and how many nulls each column has."""
    low, high, nulls = dict[str, int](), dict[str, int](), dict[str, int]()
    for c, column in enumerate(table.columns):
        found = [metadata.row_group(g).column(c).statistics for g in range(metadata.num_row_groups)]
        nulls[column.name] = sum(s.null_count for s in found)
        if column.type != "binary":
            low[column.name], high[column.name] = min(s.min for s in found), max(s.max for s in found)
    return low, high, nulls


def _places(metadata: pq.FileMetaData) -> tuple[Any, Any]:
    groups, width = metadata.num_row_groups, metadata.num_columns
    starts, lengths = np.zeros((groups, width), dtype=np.int64), np.zeros((groups, width), dtype=np.int64)
    for g in range(groups):
        group = metadata.row_group(g)
        for c in range(width):
            chunk = group.column(c)
            starts[g, c] = chunk.data_page_offset
            if chunk.has_dictionary_page:
                starts[g, c] = min(starts[g, c], chunk.dictionary_page_offset)
            lengths[g, c] = chunk.total_compressed_size
    return starts, lengths


# -- reading -------------------------------------------------------------------------------------------


def positions_in(path: str) -> tuple[int, int]:
    """Return the least position in a file and the first after its greatest, as its name says. Raises Damaged."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    if match is None:
        raise Damaged(f"{path}: not a name that ticktape gives", hint=HINT)
    return int(match[1]), int(match[2])


@lru_cache(maxsize=8192)
def stored(path: Path, size: int) -> Stored:
    """Return a file's tail, proven by the CRC in its name. Raises Damaged."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise Damaged(f"{path}: not a name that ticktape gives", hint=HINT)
    tail = _tail(path, size, TAIL_GUESS)
    length = _FOOTER_END + int.from_bytes(tail[-_FOOTER_END:-4], "little")
    if length + len(MAGIC) > len(tail):
        tail = _tail(path, size, min(length + (length >> 1) + TAIL_GUESS, size))
    try:
        metadata = pq.read_metadata(pa.BufferReader(tail[-length:])) if length <= len(tail) else None
    except (OSError, ValueError, pa.ArrowException):  # ValueError: a name in it is not UTF-8 any more
        metadata = None
    count = metadata.num_row_groups * metadata.num_columns if metadata is not None else 0
    begin = len(tail) - length - 4 * count - len(MAGIC)
    if metadata is None or begin < 0 or crc32c(tail[begin:]) != int(match[3], 16):
        raise Damaged(f"{path}: its footer is not what was written", hint=HINT)
    sums = np.frombuffer(tail, dtype="<u4", count=count, offset=begin)
    return _described(path, size, metadata, sums)


def _tail(path: Path, size: int, length: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Damaged(f"{path}: the file is gone", hint=HINT) from None
    try:
        found = os.fstat(fd).st_size
        if found != size:
            raise Damaged(f"{path}: {found} bytes, the log says {size}", hint=HINT)
        return os.pread(fd, length, max(0, size - length))
    except OSError as error:
        raise Damaged(f"{path}: {error.strerror}", hint=HINT) from error
    finally:
        os.close(fd)


def _described(path: Path, size: int, metadata: pq.FileMetaData, sums: Any) -> Stored:
    starts, lengths = _places(metadata)
    groups = range(metadata.num_row_groups)
    names = metadata.schema.names
    rows = np.array([metadata.row_group(g).num_rows for g in groups], dtype=np.int64)
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    for name in PRUNED:
        found = [metadata.row_group(g).column(names.index(name)).statistics for g in groups]
        low[name] = np.array([s.min for s in found], dtype=np.int64)
        high[name] = np.array([s.max for s in found], dtype=np.int64)
    column = {name: k for k, name in enumerate(names)}
    return Stored(path, size, metadata, column, starts, lengths, sums.reshape(starts.shape), rows, low, high)


def bounds_of(file: Stored, column: str, groups: Sequence[int]) -> tuple[int, int]:
    """Return the least and the greatest value of a column in some row groups, by their statistics."""
    place = file.column[column]
    found = [file.metadata.row_group(g).column(place).statistics for g in groups]
    return min(s.min for s in found), max(s.max for s in found)


def read(file: Stored, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """Return columns of some row groups, each chunk checked before it is decoded. Raises Damaged.

    A column that holds one value, by the statistics of the proven footer, is not read at all.
    """
    constant = {name: value for name in columns if (value := _constant_in(file, groups, name)) is not None}
    varying = [name for name in columns if name not in constant]
    if not constant:
        return _decoded(file, groups, columns)
    count = int(file.rows[list(groups)].sum())
    rows = _decoded(file, groups, varying) if varying else None
    schema = arrow_schema(file.path.parent.parent.name)
    arrays = [
        repeated(constant[name], count, schema.field(name).type)
        if rows is None or name in constant
        else rows.column(name)
        for name in columns
    ]
    return pa.table(arrays, schema=pa.schema([schema.field(name) for name in columns]))


def _constant_in(file: Stored, groups: Sequence[int], name: str) -> int | None:
    place = file.column[name]
    value: int | None = None
    for g in groups:
        found = file.metadata.row_group(g).column(place).statistics
        if not isinstance(found.min, int) or found.min != found.max or value not in (None, found.min):
            return None
        value = found.min
    return value


def _decoded(file: Stored, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
    buffer = _scratch(file.size)
    wanted = [file.column[name] for name in columns]
    try:
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Damaged(f"{file.path}: the file is gone", hint=HINT) from None
    try:
        for g in groups:
            for c in wanted:
                _fill(file, fd, buffer, g, c)
    except OSError as error:
        raise Damaged(f"{file.path}: {error.strerror}", hint=HINT) from error
    finally:
        os.close(fd)
    source = pq.ParquetFile(pa.BufferReader(pa.py_buffer(buffer)), metadata=file.metadata)
    try:
        if "body" in columns or sum(file.rows[list(groups)]) <= BATCH:
            return source.read_row_groups(list(groups), columns=list(columns))
        return _gathered(source, file, groups, columns)
    except (OSError, pa.ArrowException) as error:  # its bytes are as written, and yet
        raise Damaged(f"{file.path}: {error}", hint=HINT) from error


def _gathered(source: pq.ParquetFile, file: Stored, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """Decode in small pieces, whose memory stays in the cache, and put them together in memory that is kept."""
    schema = arrow_schema(file.path.parent.parent.name)
    fields = [schema.field(name) for name in columns]
    count, at = int(file.rows[list(groups)].sum()), 0
    blocks = [_room.take(count * width_of(field.type)) for field in fields]
    into = [numbers_in(block, field.type) for block, field in zip(blocks, fields, strict=True)]
    for batch in source.iter_batches(BATCH, row_groups=list(groups), columns=list(columns), use_threads=False):
        for name, values in zip(columns, into, strict=True):
            values[at : at + batch.num_rows] = numpy_of(batch.column(name))
        at += batch.num_rows
    arrays = [
        pa.Array.from_buffers(field.type, count, [None, block]) for block, field in zip(blocks, fields, strict=True)
    ]
    return pa.table(arrays, schema=pa.schema(fields))


_room = Room()
_kept = threading.local()


def _scratch(size: int) -> Any:
    """Return room that this thread keeps: fresh pages cost more than what is read into them.

    Every chunk is compressed, so what is decoded is never a view into it. Only pages that were written to cost memory.
    """
    room: Any = getattr(_kept, "room", None)
    if room is None or len(room) < size:
        room = _kept.room = np.empty(max(size, 1 << 24), dtype=np.uint8)
    return room[:size]


def _fill(file: Stored, fd: int, buffer: Any, g: int, c: int) -> None:
    start, length = int(file.starts[g, c]), int(file.lengths[g, c])
    piece = buffer[start : start + length]
    done = 0
    while done < length:
        count = os.preadv(fd, [memoryview(piece)[done:]], start + done)
        if count == 0:
            raise Damaged(f"{file.path}: ends before byte {start + length}", hint=HINT)
        done += count
    if crc32c(piece) != file.sums[g, c]:
        raise Damaged(f"{file.path}: bytes {start}-{start + length - 1} are not what was written", hint=HINT)


def check(file: Stored) -> None:
    """Check every chunk of a file. Raises Damaged naming the first that differs."""
    groups, width = file.starts.shape
    buffer = _scratch(file.size)
    try:
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Damaged(f"{file.path}: the file is gone", hint=HINT) from None
    try:
        for g in range(groups):
            for c in range(width):
                _fill(file, fd, buffer, g, c)
    except OSError as error:
        raise Damaged(f"{file.path}: {error.strerror}", hint=HINT) from error
    finally:
        os.close(fd)
