"""Many small files of a partition become few large ones, and not a row more or less.

Only the keeper compacts, one at a time, on the version it just read: the commit is refused when the log moved since.
What was read, what was written and what the log says before and after must agree; if the log disagrees after the
commit, the version before is restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np

from ticktape.errors import Damaged
from ticktape.keep.parts import by_month
from ticktape.lake import bars
from ticktape.lake.arrow import numpy_of
from ticktape.lake.catalogue import Catalogue, Entry
from ticktape.lake.disk import Disk
from ticktape.lake.files import HINT, Maker, Written, pieces_of, read, stored
from ticktape.lake.place import place
from ticktape.lake.rows import group_bounds
from ticktape.lake.scan import EVER, columns_of, scan
from ticktape.lake.schema import Table
from ticktape.model.records import Ints

BATCH_ROWS = 1 << 22  # rows in one compacted file, and in memory at once
MOST_FILES = 48  # in a month that is still open, before it is compacted
ZSTD_LEVEL = 3
_EARLIEST, _LATEST = -(2**63), EVER


class Compacted(NamedTuple):
    """What one compaction did."""

    table: str
    partition: str
    rows: int
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


class _Sum(NamedTuple):
    """What must not change: how many rows, and a sum over their positions."""

    rows: int
    positions: int


def end_of(partition: str) -> int:
    """Return the first ns after a partition: 2025-11-20 is a day, 2025-11 a month."""
    unit = np.datetime64(partition, "D" if len(partition) > 7 else "M")
    return int((unit + 1).astype("M8[ns]").astype(np.int64))


def due(catalogue: Catalogue, now_ns: int, settle_ns: int) -> list[str]:
    """Return the partitions worth compacting: closed since `settle_ns`, or open with too many files."""
    found: list[str] = []
    for partition, group in groupby(catalogue.version().files, key=lambda entry: entry.partition):
        entries = list(group)
        fewest = -(-sum(entry.rows for entry in entries) // BATCH_ROWS) + 1
        closed = end_of(partition) + settle_ns <= now_ns
        many = catalogue.table.partition == "month" and len(entries) >= MOST_FILES
        if len(entries) > fewest and (closed or many):
            found.append(partition)
    return found


def compact(catalogue: Catalogue, partition: str, disk: Disk, maker: Maker) -> Compacted | None:
    """Rewrite a partition's files as few. Returns None when there is but one. Raises Damaged, Busy."""
    version = catalogue.version()
    entries = [entry for entry in version.files if entry.partition == partition]
    if len(entries) < 2:
        return None
    name = catalogue.table.name
    disk.step(f"compact.{name}.begun")
    make = _merged_bars if name == "bars" else _rewritten
    written = list(make(catalogue, entries, disk, maker))
    disk.step(f"compact.{name}.written")
    added = sum(file.rows for file in written)
    catalogue.commit(version.number, written, entries, note={"ticktape": {"compacted": partition}})
    disk.step(f"compact.{name}.committed")
    after = catalogue.version()
    expected = version.rows - sum(entry.rows for entry in entries) + added
    if after.rows != expected:
        catalogue.restore(version.number)
        raise Damaged(f"{name} {partition}: {expected} rows before, {after.rows} after compaction: restored", hint=HINT)
    sizes = sum(e.size for e in entries), sum(w.size for w in written)
    return Compacted(name, partition, added, len(entries), len(written), *sizes)


# -- ticks -------------------------------------------------------------------------------------------


def _rewritten(catalogue: Catalogue, entries: Sequence[Entry], disk: Disk, maker: Maker) -> Iterator[Written]:
    table, folder = catalogue.table, catalogue.folder
    expected, total = sum(entry.rows for entry in entries), _Sum(0, 0)
    before = _positions(catalogue, entries)
    for instruments, start_ns, end_ns in _batches(catalogue, entries):
        rows = scan(folder, table, entries, instruments, start_ns, end_ns)
        if rows.num_rows == 0:
            continue
        columns: dict[str, Any] = columns_of(rows) if "body" not in table.names() else _with_body(rows)
        total = _Sum(total.rows + rows.num_rows, _wrapped(total.positions + _sum(columns["position"])))
        ends: Ints = np.cumsum(np.bincount(columns["instrument_id"]), dtype=np.int64)
        bounds = group_bounds(ends, table.group_rows)
        yield place(maker, folder, table, entries[0].partition, pieces_of(columns), bounds, disk, level=ZSTD_LEVEL)
    if total != before or total.rows != expected:
        raise Damaged(
            f"{table.name} {entries[0].partition}: the log says {expected} rows, the files have {before.rows}, and"
            f" {total.rows} would come out", hint=HINT,
        )  # fmt: skip


def _with_body(rows: Any) -> dict[str, Any]:
    body = rows.column("body").combine_chunks()
    return columns_of(rows.drop_columns(["body"])) | {"body": body}


def _positions(catalogue: Catalogue, entries: Sequence[Entry]) -> _Sum:
    total = _Sum(0, 0)
    for entry in entries:
        file = stored(catalogue.folder / entry.path, entry.size)
        column = numpy_of(read(file, range(len(file.rows)), ["position"]).column("position"))
        total = _Sum(total.rows + len(column), _wrapped(total.positions + _sum(column)))
    return total


def _sum(column: Any) -> int:
    return int(np.sum(column.view(np.uint64), dtype=np.uint64))


def _wrapped(value: int) -> int:
    return value & (1 << 64) - 1


def _batches(catalogue: Catalogue, entries: Sequence[Entry]) -> Iterator[tuple[list[int], int, int]]:
    """Yield (instruments, start, end) that together cover the files, each of BATCH_ROWS rows or so."""
    counts = _counts(catalogue, entries)
    together: list[int] = []
    rows = 0
    for instrument in np.flatnonzero(counts).tolist():
        count = int(counts[instrument])
        if together and rows + count > BATCH_ROWS:
            yield together, _EARLIEST, _LATEST
            together, rows = [], 0
        if count > BATCH_ROWS:
            yield from (([instrument], a, b) for a, b in _slices(entries, -(-count // BATCH_ROWS)))
        else:
            together.append(instrument)
            rows += count
    if together:
        yield together, _EARLIEST, _LATEST


def _slices(entries: Sequence[Entry], count: int) -> list[tuple[int, int]]:
    low, high = min(e.low["ts_event"] for e in entries), max(e.high["ts_event"] for e in entries)
    cuts = [_EARLIEST, *(low + (high - low) * k // count for k in range(1, count)), _LATEST]
    return list(pairwise(cuts))


def _counts(catalogue: Catalogue, entries: Sequence[Entry]) -> Ints:
    counts: Ints = np.zeros(1, dtype=np.int64)
    for entry in entries:
        file = stored(catalogue.folder / entry.path, entry.size)
        column = numpy_of(read(file, range(len(file.rows)), ["instrument_id"]).column("instrument_id"))
        mine = np.bincount(column, minlength=len(counts))
        mine[: len(counts)] += counts
        counts = mine
    return counts


# -- bars --------------------------------------------------------------------------------------------


def _merged_bars(catalogue: Catalogue, entries: Sequence[Entry], disk: Disk, maker: Maker) -> Iterator[Written]:
    """Write each minute once. All of a month's files at a time: a part that replaces others must come after them."""
    table, folder = catalogue.table, catalogue.folder
    for instruments, start_ns, end_ns in _batches(catalogue, entries):
        columns = columns_of(scan(folder, table, entries, instruments, start_ns, end_ns))
        if len(columns["position"]) == 0:
            continue
        merged = merge_minutes(table, columns)
        for month, values, bounds in by_month(merged):
            yield place(maker, folder, table, month, pieces_of(values), bounds, disk, level=ZSTD_LEVEL)


def merge_minutes(table: Table, columns: dict[str, Any]) -> dict[str, Any]:
    """Return rows of the bars table with the parts of each minute merged; the last part's position stays."""
    keys, minutes = bars.merged(columns)
    last = np.full(len(keys), -1, dtype=np.int64)
    mine = columns["instrument_id"].astype(np.int64) * 4 + columns["basis"]
    order = np.lexsort((columns["ts_event"], mine))
    firsts = np.flatnonzero(np.diff(mine[order], prepend=-1) | np.diff(columns["ts_event"][order], prepend=-1))
    last[:] = np.maximum.reduceat(columns["position"][order], firsts)
    built = bars.Built((keys // 4).astype(np.int32), minutes)
    out = bars.to_columns(built, (keys % 4).astype(np.int8), last)
    return {name: out[name] for name in table.names()}
