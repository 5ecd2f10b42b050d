"""Exported files as a source: Parquet, Arrow or CSV, read once, in order, in batches; then the source is finished."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from msgspec import Struct

from ticktape.errors import Misconfigured
from ticktape.model.instruments import Instrument, Listing
from ticktape.model.records import BadReason, Channel, Completeness, empty
from ticktape.sources import decimals
from ticktape.sources.capture.source import Enrolling
from ticktape.sources.contract import Bad, Batch, Directory, Hole, Sink
from ticktape.sources.exported.about import About, Table, about_of
from ticktape.sources.exported.rows import SYNTHETIC, Columns, batch, needed

MOST_FIELD = 1 << 16
_CLASSES = {
    Channel.TRADE: Completeness.SEQUENCE,
    Channel.AGG_TRADE: Completeness.SEQUENCE,
    Channel.QUOTE: Completeness.RISING,
    Channel.BOOK: Completeness.RISING,
}


class ExportedSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What file."""

    path: str
    sample: bool = False  # it goes to a SAMPLE tape
    rows_a_batch: int = 20_000


class _Opened(NamedTuple):
    table: Table
    about: About | None
    pages: Iterator[Columns]


class ExportedSource:
    """`Source` for one exported file."""

    def __init__(self, settings: ExportedSettings, directory: Directory, name: str = "exported") -> None:
        self.settings, self._directory, self._name = settings, directory, name
        self.finished = False  # the file was read to its end
        self._symbols: list[str] = []

    @property
    def name(self) -> str:
        """The name its records carry."""
        return self._name

    @property
    def completeness(self) -> Mapping[Channel, Completeness]:
        """Ids of trades are dense, those of quotes and books rise."""
        return _CLASSES

    @property
    def symbols(self) -> list[str]:
        """Symbols met."""
        return self._symbols

    async def connect(self, sink: Sink) -> None:
        """Read the file; returns at its end. Raises Misconfigured for one that is not ours."""
        await asyncio.to_thread(decimals.warm)
        self.finished = False
        row, instrument = 1, None
        with _opened(Path(self.settings.path), self.settings.rows_a_batch) as (table, about, pages):
            if about is not None:
                self._refuse_sample(about.sample)
            for page in pages:
                self._refuse_sample(any(SYNTHETIC in (words or "") for words in page["flags"]))
                if instrument is None:
                    instrument = self._enrolled(about, page)
                    sink.up([])  # history: nothing is watched, and that nobody watched before is no gap
                sink.batch(batch(table, instrument, page, row, sink.now_ns()))
                row += len(page["kind"])
                await asyncio.sleep(0)
        self.finished = True

    def _refuse_sample(self, sample: bool) -> None:
        if sample and not self.settings.sample:
            raise Misconfigured(f"{self.settings.path} holds SAMPLE data, which real data never mix with")

    def _enrolled(self, about: About | None, page: Columns) -> Instrument:
        if about is not None:
            known = {name: getattr(about.instrument, name) for name in Listing.__struct_fields__}
            found = self._directory.find(about.instrument.venue, about.instrument.symbol)
            found = found or self._directory.enrol(about.instrument.venue, about.instrument.symbol, Listing(**known))
        else:
            found = Enrolling(self._directory).find(page["venue"][0] or "", page["symbol"][0] or "")
        if found is None:
            raise Misconfigured(f"{self.settings.path}: its first row names no symbol that can be")
        self._symbols = [found.symbol]
        return found

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        """Refuse every frame: an exported file has rows."""
        return Batch(empty(0), [Bad(BadReason.UNKNOWN_MESSAGE, "an exported file has no frames", f) for f in frames])

    async def fill(self, hole: Hole) -> AsyncIterator[Batch]:
        """Raise Misconfigured: a file has no more than it holds."""
        raise Misconfigured(f"{self._name}: an exported file has no history to fill a hole from")
        yield  # pragma: no cover  # makes this an async generator, as the contract has it

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Raise Misconfigured: a file holds what it holds."""
        raise Misconfigured(f"{self._name}: an exported file holds the symbols it holds")


@contextmanager
def _opened(path: Path, rows: int) -> Generator[_Opened]:
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                yield _csv(file, rows, path)
        else:
            yield _columnar(path, rows)
    except (OSError, ValueError, csv.Error) as fault:
        raise Misconfigured(f"{path}: cannot be read: {str(fault)[:300]}") from fault


def _csv(file: Any, rows: int, path: Path) -> _Opened:
    csv.field_size_limit(MOST_FIELD)
    reader = csv.reader(file)
    names = next(reader, list[str]())
    return _Opened(_table_of(names, path), None, _csv_pages(reader, names, rows, path))


def _table_of(names: Sequence[str], path: Path) -> Table:
    for table in cast("tuple[Table, ...]", get_args(Table)):
        if set(needed(table)) <= set(names):
            return table
    raise Misconfigured(
        f"{path}: not the columns of `ticktape export`", hint=f"trades need {', '.join(needed('trades'))}"
    )


def _csv_pages(reader: Iterator[list[str]], names: list[str], rows: int, path: Path) -> Iterator[Columns]:
    while page := list(islice(reader, rows)):
        if any(len(row) != len(names) for row in page):
            raise Misconfigured(f"{path}: a row has not the {len(names)} fields of the first")
        yield {name: [row[k] for row in page] for k, name in enumerate(names)}


def _columnar(path: Path, rows: int) -> _Opened:
    import pyarrow as pa  # noqa: PLC0415  # heavy, and only this source needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    arrow: Any = pa
    if path.suffix == ".parquet":
        opened: Any = pq.ParquetFile(path)
        schema, pieces = opened.schema_arrow, opened.iter_batches(batch_size=rows)
    else:
        opened = arrow.ipc.open_file(arrow.OSFile(str(path), "rb"))
        schema, pieces = opened.schema, (opened.get_batch(k) for k in range(opened.num_record_batches))
    about = about_of(schema.metadata, str(path))
    if not set(needed(about.table)) <= set(schema.names):
        raise Misconfigured(f"{path}: not the columns of `ticktape export`")

    def pages() -> Iterator[Columns]:
        for piece in pieces:
            yield {name: piece.column(name).cast(arrow.string()).to_pylist() for name in needed(about.table)}

    return _Opened(about.table, about, pages())
