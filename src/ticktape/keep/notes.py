"""Writes keep's own rows into the `quality` table: one commit, so that all of them are there or none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from ticktape.errors import Unavailable
from ticktape.lake.catalogue import Catalogue
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker, pieces_of
from ticktape.lake.notes import Note, next_position
from ticktape.lake.place import place
from ticktape.lake.rows import group_bounds, partition_of
from ticktape.model.records import Ints

_TYPES = {
    "position": np.int64, "ts_event": np.int64, "ts_recv": np.int64, "instrument_id": np.int32,
    "source_id": np.int32, "flags": np.int32, "kind": np.int8, "side": np.int8,
    "a": np.int64, "b": np.int64, "c": np.int64, "d": np.int64,
}  # fmt: skip


def write(catalogue: Catalogue, notes: Sequence[Note], what: str, disk: Disk, maker: Maker) -> None:
    """Add notes to the table, at the position it already has. Only for the keeper, between its other commits.

    Passes the steps `<what>.begun`, `<what>.written`, `<what>.committed`. Raises Unavailable before the first flush.
    """
    version = catalogue.version()
    if version.position < 0:
        raise Unavailable("nothing was flushed yet", hint="ticktape lake stat")
    first = next_position(version)
    placed = [note._replace(position=first + k) for k, note in enumerate(notes)]
    disk.step(f"{what}.begun")
    written = [
        place(maker, catalogue.folder, catalogue.table, month, pieces_of(columns), bounds, disk)
        for month, columns, bounds in _months(catalogue, placed)
    ]
    disk.step(f"{what}.written")
    catalogue.commit(
        version.number, written, position=version.position, mark=version.mark or 0, note={"ticktape": {"noted": what}}
    )
    disk.step(f"{what}.committed")


def _months(catalogue: Catalogue, notes: Sequence[Note]) -> list[tuple[str, dict[str, Any], list[int]]]:
    table = catalogue.table
    month = {note.position: partition_of(table, note.ts_event) for note in notes}
    ordered = sorted(notes, key=lambda n: (month[n.position], n.instrument_id, n.ts_event, n.position))
    found: list[tuple[str, dict[str, Any], list[int]]] = []
    for name, group in groupby(ordered, key=lambda n: month[n.position]):
        columns = _columns(list(group))
        ends: Ints = np.cumsum(np.bincount(columns["instrument_id"]), dtype=np.int64)
        found.append((name, columns, group_bounds(ends, table.group_rows)))
    return found


def _columns(notes: Sequence[Note]) -> dict[str, Any]:
    zeros = np.zeros(len(notes), dtype=np.int32)  # of no source, without flags
    columns: dict[str, Any] = {
        name: np.array([getattr(note, name) for note in notes], dtype=kind) if name in Note._fields else zeros
        for name, kind in _TYPES.items()
    }
    return columns | {"body": pa.array([note.body for note in notes], type=pa.binary())}
