"""What is older than a table keeps goes by commit; what no version needs any more is deleted later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ticktape.keep.compact import end_of
from ticktape.lake.catalogue import Catalogue
from ticktape.lake.disk import Disk

DAY_NS = 86_400 * 10**9
VACUUM_HOURS = 2  # how long a file stays after it was given up: queries that began before may still read it


class Expired(NamedTuple):
    """What was let go of one table."""

    table: str
    partitions: list[str]
    rows: int
    size: int


def expire(catalogue: Catalogue, retain_days: int, now_ns: int, disk: Disk) -> Expired | None:
    """Let go of the partitions that ended more than `retain_days` before `now_ns`; 0 keeps all. None: nothing to do."""
    version = catalogue.version()
    limit = now_ns - retain_days * DAY_NS
    old = [entry for entry in version.files if end_of(entry.partition) <= limit] if retain_days else []
    if not old:
        return None
    name = catalogue.table.name
    disk.step(f"expire.{name}.begun")
    catalogue.commit(version.number, [], old, note={"ticktape": {"expired_before_ns": limit}})
    disk.step(f"expire.{name}.committed")
    partitions = sorted({entry.partition for entry in old})
    return Expired(name, partitions, sum(e.rows for e in old), sum(e.size for e in old))


def vacuum(catalogue: Catalogue, disk: Disk, keep_hours: int = VACUUM_HOURS) -> int:
    """Delete files given up `keep_hours` ago, and those that a crash left behind. Returns how many."""
    if not catalogue.vacuum(keep_hours, dry=True):
        return 0
    disk.step(f"vacuum.{catalogue.table.name}.begun")
    gone = catalogue.vacuum(keep_hours)
    catalogue.proof.note()
    disk.step(f"vacuum.{catalogue.table.name}.done")
    return len(gone)


def retention(tables: Mapping[str, Catalogue], own: Mapping[str, int]) -> dict[str, int]:
    """Return how many days each table keeps: as configured, else its default."""
    return {name: own.get(name, catalogue.table.retain_days) for name, catalogue in tables.items()}
