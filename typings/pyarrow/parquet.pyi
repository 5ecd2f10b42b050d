from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyarrow import RecordBatch, Schema, Table

class ParquetSchema:
    names: list[str]

class Statistics:
    min: Any
    max: Any
    null_count: int

class ColumnChunkMetaData:
    data_page_offset: int
    dictionary_page_offset: int
    has_dictionary_page: bool
    total_compressed_size: int
    statistics: Statistics

class RowGroupMetaData:
    num_rows: int
    def column(self, i: int) -> ColumnChunkMetaData: ...

class FileMetaData:
    num_rows: int
    num_row_groups: int
    num_columns: int
    schema: ParquetSchema
    def row_group(self, i: int) -> RowGroupMetaData: ...

class ParquetFile:
    metadata: FileMetaData
    def __init__(self, source: Any, metadata: FileMetaData | None = ...) -> None: ...
    def read_row_groups(
        self, row_groups: Sequence[int], columns: Sequence[str] | None = ..., use_threads: bool = ...
    ) -> Table: ...
    def iter_batches(
        self,
        batch_size: int = ...,
        row_groups: Sequence[int] | None = ...,
        columns: Sequence[str] | None = ...,
        use_threads: bool = ...,
    ) -> Iterator[RecordBatch]: ...

class ParquetWriter:
    def __init__(
        self,
        where: Any,
        schema: Schema,
        *,
        compression: str = ...,
        compression_level: int | None = ...,
        version: str = ...,
        store_schema: bool = ...,
        use_dictionary: bool | Sequence[str] = ...,
        column_encoding: str | Mapping[str, str] | None = ...,
    ) -> None: ...
    def write_table(self, table: Table, row_group_size: int | None = ...) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> ParquetWriter: ...
    def __exit__(self, *args: object) -> None: ...

def read_metadata(where: Any) -> FileMetaData: ...
def read_table(source: Any, columns: Sequence[str] | None = ...) -> Table: ...
def write_table(table: Table, where: Any, **options: Any) -> None: ...
