"""Moves the tape into the lake: each table by its own position, exactly once, in chunks.

A chunk of a table is one Delta commit that carries the tape position it ends at. A crash before the commit leaves
files that no version names (the next vacuum deletes them); a crash after it leaves the new state. Rows go in only
once the tape has them durably, so the lake is never ahead of a tape that lost its tail to a power cut.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from google_crc32c import value as crc32c

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Damaged
from ticktape.keep.parts import minute_parts
from ticktape.lake.catalogue import Catalogue, Version
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker, Written, pieces_of
from ticktape.lake.place import clean, place
from ticktape.lake.rows import Gatherer, Rows, columns_of, partitioned
from ticktape.lake.schema import TABLES, Table
from ticktape.model.records import Kind, Records
from ticktape.tape import segment
from ticktape.tape.reader import Reader

CHUNK = 1 << 21  # records in one commit: 128 MiB of tape
ORDER = ("trades", "quotes", "book", "gaps", "quality", "bars")  # bars are built anew from trades after a correction


class Flushed(NamedTuple):
    """What one flush did to one table."""

    table: str
    start: int
    stop: int
    rows: int
    size: int
    seconds: float


class Flusher:
    """Flushes one tape into one lake. One keeper owns both."""

    def __init__(
        self, lake: Path, reader: Reader, disk: Disk | None = None, *, chunk: int = CHUNK, clock: Clock | None = None
    ) -> None:
        """Make the tables that are missing. Raises Misconfigured when the lake is of another tape."""
        self.lake = lake
        self.reader = reader
        self._disk = disk or Disk()
        self._chunk = chunk
        self._clock = clock or SystemClock()
        self._maker, self._gatherer = Maker(), Gatherer()
        lake.mkdir(parents=True, exist_ok=True)
        self.tables = {name: Catalogue(lake, name, self._disk, self._clock) for name in ORDER}
        for catalogue in self.tables.values():
            catalogue.proof.mend()
            if catalogue.exists:
                catalogue.proof.note()
            clean(catalogue.folder)
            catalogue.create(reader.meta.tape_id)

    def flush(self, stop: int | None = None) -> list[Flushed]:
        """Bring every table up to `stop`, by default the end of the tape. Raises what the first failing table did.

        Tables after it are flushed all the same: a table that cannot be written holds back only itself, and the trim.
        """
        end = self.reader.refresh()
        stop = end if stop is None else min(stop, end)
        self._make_durable(stop)
        done: list[Flushed] = []
        failed: list[Exception] = []
        for name in ORDER:
            try:
                done += self.flush_table(name, stop)
            except Exception as error:  # noqa: BLE001  # raised below, after the others had their turn
                failed.append(error)
        if failed:
            raise failed[0]
        return done

    def position(self) -> int:
        """Return the position up to which every table has the tape: what lies before may be trimmed."""
        return min(catalogue.version().position for catalogue in self.tables.values())

    # -- one table ---------------------------------------------------------------------------------

    def flush_table(self, name: str, stop: int) -> list[Flushed]:
        """Bring one table up to `stop`."""
        done: list[Flushed] = []
        catalogue = self.tables[name]
        while True:
            version = catalogue.version()
            start = self._start(catalogue, version)
            if start >= stop:
                return done
            done.append(self._flush_chunk(catalogue, version, start, min(stop, start + self._chunk)))

    def _start(self, catalogue: Catalogue, version: Version) -> int:
        if version.position < 0:
            return self.reader.first
        if version.position > self.reader.end:
            raise Damaged(
                f"{catalogue.folder} is at position {version.position}, but the tape ends at {self.reader.end}:"
                " it lost records that the lake has", hint="ticktape tape verify",
            )  # fmt: skip
        if version.position < self.reader.first:
            raise Damaged(
                f"{catalogue.folder} is at position {version.position}, but the tape begins at {self.reader.first}",
                hint="ticktape tape stat",
            )
        self._same_tape(catalogue, version)
        return version.position

    def _same_tape(self, catalogue: Catalogue, version: Version) -> None:
        # A tape that was cut behind the lake's position and written on gives its positions to other records.
        if version.position - 2 < self.reader.first or version.mark is None:
            return
        last = self.reader.view(version.position - 2, version.position)
        if _mark(last) != version.mark and not (last["kind"] == Kind.VOID).any():
            raise Damaged(
                f"the record before position {version.position} is not the one that {catalogue.folder} took: the tape"
                " was cut and written anew", hint="ticktape tape verify",
            )  # fmt: skip

    def _flush_chunk(self, catalogue: Catalogue, version: Version, start: int, stop: int) -> Flushed:
        name, began = catalogue.table.name, self._clock.monotonic_ns()
        records = self.reader.view(start, stop)
        self._disk.step(f"flush.{name}.begun")
        written = self._parts(start, records) if name == "bars" else self._rows(catalogue, start, records)
        self._disk.step(f"flush.{name}.written")
        note, mark = {"ticktape": {"from": start, "to": stop}}, _mark(self.reader.view(stop - 2, stop))
        catalogue.commit(version.number, written, position=stop, mark=mark, note=note)
        self._disk.step(f"flush.{name}.committed")
        rows, size = sum(file.rows for file in written), sum(file.size for file in written)
        return Flushed(name, start, stop, rows, size, (self._clock.monotonic_ns() - began) / 1e9)

    def write_rows(self, catalogue: Catalogue, start: int, stop: int, partition: str) -> list[Written]:
        """Write the rows of tape positions [start, stop) that belong to a partition, uncommitted."""
        return self._rows(catalogue, start, self.reader.view(start, stop), partition)

    def _rows(self, catalogue: Catalogue, start: int, records: Records, only: str | None = None) -> list[Written]:
        table, written = catalogue.table, list[Written]()
        for rows in partitioned(table, records, start):
            if only not in (None, rows.partition):
                continue
            piece = partial(self._piece, table, rows)
            written.append(place(self._maker, catalogue.folder, table, rows.partition, piece, rows.bounds, self._disk))
        return written

    def _piece(self, table: Table, rows: Rows, start: int, stop: int) -> dict[str, Any]:
        fields = self._gatherer.fields(rows, start, stop)
        columns = columns_of(table, fields)
        if "body" in table.names():
            columns["body"] = self._bodies(fields)
        return columns

    def _bodies(self, fields: dict[str, Any]) -> Any:
        pointing = np.isin(fields["kind"], (Kind.QUARANTINE, Kind.BLOB))
        pairs = zip(fields["position"].tolist(), pointing.tolist(), strict=True)
        return pa.array([self._blob(position) if has else None for position, has in pairs], type=pa.binary())

    def _blob(self, position: int) -> bytes | None:
        try:
            return self.reader.blob(position)
        except (Damaged, FileNotFoundError):
            return None  # its record stays and says what there was

    def _parts(self, start: int, records: Records) -> list[Written]:
        table, folder = TABLES["bars"], self.tables["bars"].folder
        return [
            place(self._maker, folder, table, month, pieces_of(columns), bounds, self._disk)
            for month, columns, bounds in minute_parts(records, start, self._gatherer, self.tables["trades"])
        ]

    # -- durability --------------------------------------------------------------------------------

    def _make_durable(self, stop: int) -> None:
        # The recorder may run without fsync, or have given it up after a failure: we ask for ourselves.
        capacity = self.reader.meta.capacity
        start = max(self.reader.durable, self.reader.first)
        for number in range(start // capacity, -(-stop // capacity)) if start < stop else ():
            path = segment.path_of(self.reader.folder, number)
            if path.exists():
                self._disk.sync_file(path)


def _mark(records: Records) -> int:
    """Return what tells the last records of a flush from others at the same position."""
    return int(crc32c(np.ascontiguousarray(records).view(np.uint8)))
