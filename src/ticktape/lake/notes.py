"""What keep itself writes into the `quality` table: spot checks, summaries of days, findings, settled days.

A note is a row like any other, at a position of its own: from FIRST on, where no tape ever reaches, rising by one. So
a reader that asks for rows of the tape never meets one, and the log alone says which files have notes. `ts_event` is
the time that a note is about, `instrument_id` whom; `body` is JSON.

| kind    | side            | a            | b             | c                | d                |
| ------- | --------------- | ------------ | ------------- | ---------------- | ---------------- |
| SPOT    | With            | checked      | passed        | version of trades| number within it |
| SUMMARY | Channel         | rows by log  | end by log    | records          | mark of resets   |
| FINDING | Channel         | 0            | 0             | 0                | 0                |
| SETTLED | 0               | of trades    | of quotes     | of book (prints) | findings         |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from google_crc32c import value as crc32c

from ticktape.lake.arrow import mask_of
from ticktape.lake.catalogue import Entry, Version
from ticktape.lake.history import Snapshot
from ticktape.lake.scan import OnDamage, Wanted, columns_of, partitions, pruned
from ticktape.lake.schema import BEYOND, TABLES

FIRST = BEYOND  # position of the first note
TICK_TABLES = ("trades", "quotes", "book")
_NUMBERS = ("position", "ts_event", "ts_recv", "instrument_id", "kind", "side", "a", "b", "c", "d")


class Noted(IntEnum):
    """What a note is; kinds of records (model/records.py) end below."""

    SPOT = 100
    SUMMARY = 101
    FINDING = 102
    SETTLED = 103


_NOTED = {int(kind): kind for kind in Noted}  # ten times as fast as the enumeration's own call


class With(IntEnum):
    """What a spot check compared the lake with."""

    TAPE = 1
    VENUE = 2
    BARS = 3


class Note(NamedTuple):
    """A note; `position` is given when it is written."""

    kind: Noted
    instrument_id: int
    ts_event: int
    ts_recv: int
    side: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    body: bytes | None = None
    position: int = -1


class Print(NamedTuple):
    """What tells the rows of a partition from any others, by the log: compaction keeps it, every flush changes it."""

    rows: int
    end: int  # first position after its greatest

    @property
    def mark(self) -> int:
        """Return it as one number; 0 where there are no rows."""
        return int(crc32c(f"{self.rows} {self.end}".encode())) + 1 if self.rows else 0


def holds_notes(entry: Entry) -> bool:
    """Say whether a file of `quality` has notes in it."""
    return entry.high["position"] >= FIRST


def next_position(version: Version) -> int:
    """Return the position of the next note."""
    return max((entry.high["position"] + 1 for entry in version.files if holds_notes(entry)), default=FIRST)


def prints(version: Version) -> dict[str, Print]:
    """Return the print of every partition of a table."""
    found: dict[str, Print] = {}
    for entry in version.files:
        rows, end = found.get(entry.partition, Print(0, 0))
        found[entry.partition] = Print(rows + entry.rows, max(end, entry.high["position"] + 1))
    return found


def read(
    snapshot: Snapshot, kinds: Iterable[Noted], instruments: Sequence[int], start_ns: int, end_ns: int,
    *, bodies: bool = True, on_damage: OnDamage | None = None,
) -> list[Note]:  # fmt: skip
    """Return the notes about instruments in [start_ns, end_ns), in the order they were written. Raises Damaged.

    `bodies=False` leaves the bodies out. With `on_damage`, what a damaged file held is left out and told.
    """
    version = snapshot.versions["quality"]
    return read_files(
        snapshot.folder, version.files, kinds, instruments, start_ns, end_ns, bodies=bodies, on_damage=on_damage
    )


def read_files(
    lake: Path, files: Sequence[Entry], kinds: Iterable[Noted], instruments: Sequence[int], start_ns: int, end_ns: int,
    *, bodies: bool = True, on_damage: OnDamage | None = None,
) -> list[Note]:  # fmt: skip
    """Do what `read` does, of one version's files."""
    wanted = Wanted(tuple(sorted(set(instruments))), start_ns, end_ns)
    entries = pruned([entry for entry in files if holds_notes(entry)], wanted)
    names = [*_NUMBERS, *(("body",) if bodies else ())]
    chosen = [int(kind) for kind in kinds]
    found: list[Note] = []
    for _, rows in partitions(lake / "quality", TABLES["quality"], entries, wanted, names, on_damage):
        numbers = columns_of(rows.select(list(_NUMBERS)))
        mine = np.isin(numbers["kind"], chosen)
        said: list[bytes | None] = [None] * int(mine.sum())
        if bodies:
            said = rows.select(["body"]).filter(mask_of(mine)).column("body").to_pylist()
        found += _notes({name: values[mine] for name, values in numbers.items()}, said)
    return sorted(found, key=lambda note: note.position)


def _notes(numbers: dict[str, Any], bodies: list[bytes | None]) -> list[Note]:
    columns: list[list[int]] = [
        numbers[name].tolist()
        for name in ("kind", "instrument_id", "ts_event", "ts_recv", "side", "a", "b", "c", "d", "position")
    ]
    return [
        Note(_NOTED[kind], who, ts, at, side, a, b, c, d, body, position)
        for (kind, who, ts, at, side, a, b, c, d, position), body in zip(
            zip(*columns, strict=True), bodies, strict=True
        )
    ]  # fmt: skip
