"""A table's log: what files it has, up to which tape position, and commits that are one step or none.

Every commit is refused when the log has moved since its handle was opened (no retries), so two owners cannot both
replace the same files: that is how delta-rs doubles rows when its own compactions overlap. A flush carries the app
transaction (`ticktape`, end position), which is read from a fresh handle before; delta-rs alone would take a replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Busy, Damaged, Misconfigured
from ticktape.lake.disk import Disk
from ticktape.lake.files import HINT, Written, positions_in
from ticktape.lake.proof import Proof
from ticktape.lake.schema import APP, MARK, PRUNED, TABLES, Table, arrow_schema

LOG_DAYS = 7  # how long commits stay readable one by one
CHECKPOINT_EVERY = 20


class Entry(NamedTuple):
    """A live file as the log knows it."""

    path: str  # within the table
    size: int
    rows: int
    partition: str
    low: dict[str, int]
    high: dict[str, int]

    @property
    def positions(self) -> tuple[int, int]:
        """The least position in the file, and the first after its greatest."""
        return positions_in(self.path)


class Version(NamedTuple):
    """One version of a table: immutable."""

    number: int
    position: int  # tape position up to which (exclusive) rows are in; -1 before the first flush
    files: tuple[Entry, ...]
    mark: int | None = None  # checksum of the last records before `position`

    @property
    def rows(self) -> int:
        """How many rows there are, by the log."""
        return sum(file.rows for file in self.files)


class Catalogue:
    """One table's log in `<lake>/<table>`. Readers call `version`; only the keeper commits."""

    def __init__(self, lake: Path, name: str, disk: Disk | None = None, clock: Clock | None = None) -> None:
        self.table: Table = TABLES[name]
        self.folder = lake / name
        self._disk = disk or Disk()
        self._clock = clock or SystemClock()
        self.proof = Proof(lake / "proof" / name, self.folder / "_delta_log", self._disk)
        self._handle: DeltaTable | None = None
        self._known: Version | None = None

    @property
    def exists(self) -> bool:
        """Whether the table was ever made."""
        return (self.folder / "_delta_log").is_dir()

    def create(self, tape_id: str) -> None:
        """Make the table where there is none. Raises Misconfigured when it belongs to another tape."""
        if not self.exists:
            self._disk.step(f"create.{self.table.name}")
            DeltaTable.create(
                str(self.folder),
                arrow_schema(self.table.name, partition=True),
                mode="ignore",
                name=self.table.name,
                description=f"tape {tape_id}",  # Delta has no room for properties of our own
                partition_by=[self.table.partition],
                configuration={
                    "delta.logRetentionDuration": f"interval {LOG_DAYS} days",
                    "delta.checkpointInterval": str(CHECKPOINT_EVERY),
                },
            )
            self.proof.note()
        found = self._fresh().metadata().description
        if found != f"tape {tape_id}":
            raise Misconfigured(f"{self.folder} holds what {found} recorded, not {tape_id}", hint="--data DIR")

    # -- reading -----------------------------------------------------------------------------------

    def _fresh(self) -> DeltaTable:
        self.proof.check()
        try:
            return DeltaTable(str(self.folder))
        except TableNotFoundError:
            raise Misconfigured(f"no table in {self.folder}", hint="ticktape up") from None
        except (DeltaError, OSError, ValueError) as error:
            raise Damaged(f"{self.folder}: {error}", hint=HINT) from error

    def version(self) -> Version:
        """Return the newest version. Raises Damaged when the log is not what was written."""
        self.proof.check()
        try:
            if self._handle is None:
                self._handle = DeltaTable(str(self.folder))
            else:
                self._handle.update_incremental()
        except (DeltaError, OSError, ValueError) as error:
            self._handle = None
            raise Damaged(f"{self.folder}: {error}", hint=HINT) from error
        if self._known is None or self._known.number != self._handle.version():
            self._known = _version(self._handle, self.table.partition)
        return self._known

    # -- writing -----------------------------------------------------------------------------------

    def commit(
        self,
        expected: int,
        added: Sequence[Written],
        removed: Iterable[Entry] = (),
        position: int | None = None,
        mark: int = 0,
        note: dict[str, Any] | None = None,
    ) -> None:
        """Add and remove files in one step, and move the position when one is given.

        `expected` is the version the caller built on. Raises Busy when the log has moved since.
        """
        handle = self._fresh()
        if handle.version() != expected:
            raise Busy(f"{self.folder} is at version {handle.version()}, {expected} was expected", hint=HINT)
        now_ms = self._clock.wall_ns() // 1_000_000
        moves = position is not None
        gone = list(removed)
        new = moves or not gone  # else the same rows in other files
        actions: list[AddAction | RemoveAction] = [_add(file, self.table, now_ms, changes=new) for file in added]
        actions += [_remove(file, self.table, now_ms, changes=not added) for file in gone]
        transactions = [Transaction(APP, position, now_ms), Transaction(MARK, mark, now_ms)] if moves else None
        try:
            handle.create_write_transaction(
                actions,
                "append",
                handle.schema(),
                [self.table.partition],
                commit_properties=CommitProperties(
                    custom_metadata=note or {}, max_commit_retries=0, app_transactions=transactions
                ),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        except CommitFailedError as error:
            raise Busy(f"{self.folder}: somebody else committed: {error}", hint=HINT) from error
        self._disk.step(f"commit.{self.table.name}.committed")
        self.proof.note()

    def restore(self, number: int) -> None:
        """Make the files of an older version the live ones again. The position stays."""
        self._fresh().restore(number)
        self.proof.note()

    def vacuum(self, keep_hours: int, *, dry: bool = False) -> list[str]:
        """Delete files that no version needs and that were given up `keep_hours` ago. Returns their paths."""
        return self._fresh().vacuum(keep_hours, dry_run=dry, enforce_retention_duration=False, full=True)

    def forget(self) -> None:
        """Delete commits that a checkpoint covers and that are older than LOG_DAYS."""
        self._fresh().cleanup_metadata()
        self.proof.forget()


def _version(handle: DeltaTable, partition: str) -> Version:
    found = pa.RecordBatchReader.from_stream(handle.get_add_actions(flatten=True)).read_all()
    bounds = [f"{end}.{name}" for end in ("min", "max") for name in PRUNED]
    rows = found.select(["path", "size_bytes", "num_records", f"partition.{partition}", *bounds]).to_pylist()
    files = (
        Entry(
            row["path"],
            row["size_bytes"],
            row["num_records"],
            row[f"partition.{partition}"],
            {name: row[f"min.{name}"] for name in PRUNED},
            {name: row[f"max.{name}"] for name in PRUNED},
        )
        for row in rows
    )
    position = handle.transaction_version(APP)
    ordered = tuple(sorted(files, key=lambda file: (file.partition, file.path)))
    return Version(handle.version(), -1 if position is None else position, ordered, handle.transaction_version(MARK))


def _add(file: Written, table: Table, now_ms: int, *, changes: bool) -> AddAction:
    # Of every column of numbers: deltalake's dataset takes a column without bounds for one that never matches.
    stats = {"numRecords": file.rows, "minValues": file.low, "maxValues": file.high, "nullCount": file.nulls}
    return AddAction(file.path, file.size, {table.partition: file.partition}, now_ms, changes, json.dumps(stats))


def _remove(file: Entry, table: Table, now_ms: int, *, changes: bool) -> RemoveAction:
    return RemoveAction(file.path, changes, now_ms, size=file.size, partition_values={table.partition: file.partition})
