"""Every byte of the lake against what was written: the log against its copies, each file against its checksums."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from ticktape.errors import Damaged, TicktapeError
from ticktape.lake.catalogue import Catalogue, Entry, Version
from ticktape.lake.files import check, stored
from ticktape.lake.schema import TABLES


class BadFile(msgspec.Struct, frozen=True):
    """A file whose bytes are not what was written, and what it held."""

    table: str
    path: str
    partition: str
    first_position: int
    end_position: int
    rows: int
    start_ns: int
    end_ns: int
    why: str


class Report(msgspec.Struct):
    """What verifying found."""

    tables: int = 0
    files: int = 0
    rows: int = 0
    bytes: int = 0
    damaged: list[BadFile] = []
    logs_damaged: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether everything is as written."""
        return not self.damaged and not self.logs_damaged


def verify(lake: Path, advance: Callable[[int, int], None] | None = None) -> Report:
    """Check the whole lake. Safe while it is written to; reads every byte once."""
    report = Report()
    found = [
        (catalogue, version) for catalogue in _tables(lake) if (version := _version(catalogue, report)) is not None
    ]
    total = sum(entry.size for _, version in found for entry in version.files)
    for catalogue, version in found:
        report.tables += 1
        for entry in version.files:
            if (error := _look(catalogue, entry)) is not None:
                report.damaged.append(bad_file(catalogue.table.name, entry, error))
            report.files, report.rows = report.files + 1, report.rows + entry.rows
            report.bytes += entry.size
            if advance is not None:
                advance(report.bytes, total)
    return report


def _tables(lake: Path) -> list[Catalogue]:
    return [catalogue for name in TABLES if (catalogue := Catalogue(lake, name)).exists]


def _version(catalogue: Catalogue, report: Report) -> Version | None:
    try:
        return catalogue.version()
    except TicktapeError as error:
        report.logs_damaged.append(error.message)
        return None


def _look(catalogue: Catalogue, entry: Entry) -> Damaged | None:
    path = catalogue.folder / entry.path
    try:
        stored.cache_clear()  # what was read before may have changed since
        file = stored(path, entry.size)
        check(file)
        if int(file.rows.sum()) != entry.rows:
            return Damaged(f"{path}: {int(file.rows.sum())} rows, the log says {entry.rows}")
    except Damaged as error:
        # While we looked, the file may have been compacted and deleted: that is no damage.
        if not path.exists() and entry not in catalogue.version().files:
            return None
        return error
    return None


def bad_file(table: str, entry: Entry, error: Damaged) -> BadFile:
    """Return what a damaged file held, by the log."""
    first, end = entry.positions
    low, high = entry.low["ts_event"], entry.high["ts_event"]
    return BadFile(table, entry.path, entry.partition, first, end, entry.rows, low, high + 1, error.message)
