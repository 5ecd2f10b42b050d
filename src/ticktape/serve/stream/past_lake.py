"""Row groups of the lake's tables by the positions they hold. Loads Arrow and Delta: imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ticktape.lake import files
from ticktape.lake.catalogue import Entry
from ticktape.lake.history import Lake
from ticktape.lake.rows import records_of
from ticktape.lake.scan import EVER, Wanted, columns_of, groups_of, pruned
from ticktape.lake.schema import TABLES
from ticktape.model.records import Ints, Kind, Records
from ticktape.serve.stream import stream_kernel as kernel
from ticktape.serve.stream.past import Span

_BITS = {"trades": kernel.TRADES | kernel.AGG, "quotes": kernel.QUOTES, "book": kernel.BOOK, "gaps": kernel.GAPS}


class _Group(NamedTuple):
    low: int  # least position in it
    table: str
    entry: Entry
    number: int


class LakeGroups:
    """The row groups that a span needs. `whole`: with trades, clock and gaps, whatever else is wanted."""

    def __init__(self, folder: Path, span: Span, mask: Any, *, whole: bool) -> None:
        self._folder, self._span = folder, span
        self._ids = np.flatnonzero(mask)
        self._snapshot = Lake(folder).snapshot()
        bits = int(np.bitwise_or.reduce(mask)) if len(mask) else 0
        if whole:
            bits |= kernel.TRADES | kernel.GAPS
        self._tables = [name for name, bit in _BITS.items() if bits & bit]
        if whole or bits & kernel.STATUS:
            self._tables.append("quality")

    def swept(self) -> Iterator[tuple[int, list[tuple[Ints, Records]]]]:
        """Yield (bound, rows): all rows below `bound` have then been given. Raises Damaged."""
        groups = sorted(self._groups(), key=lambda group: (group.low, group.table, group.entry.path, group.number))
        for at, group in enumerate(groups):
            bound = groups[at + 1].low if at + 1 < len(groups) else EVER
            yield bound, [self._rows(group)]

    def _groups(self) -> Iterator[_Group]:
        for table in self._tables:
            ids = (0,) if table == "quality" else tuple(self._ids.tolist()) + ((0,) if table == "gaps" else ())
            wanted = Wanted(ids, self._span.since, self._span.until, self._span.stop)
            for entry in pruned(self._snapshot.versions[table].files, wanted):
                if entry.high["position"] < self._span.first:
                    continue
                file = files.stored(self._folder / table / entry.path, entry.size)
                for number in groups_of(file, wanted):
                    low, high = files.bounds_of(file, "position", [number])
                    if high >= self._span.first and low < self._span.stop:
                        yield _Group(int(low), table, entry, number)

    def _rows(self, group: _Group) -> tuple[Ints, Records]:
        table = TABLES[group.table]
        names = [column.name for column in table.columns if column.type != "binary"]
        file = files.stored(self._folder / group.table / group.entry.path, group.entry.size)
        columns = columns_of(files.read(file, [group.number], names))
        positions: Ints = columns["position"]
        ts = columns["ts_event"]
        mine = (positions >= self._span.first) & (positions < self._span.stop)
        mine &= (ts >= self._span.since) & (ts < self._span.until)
        if group.table == "quality":
            mine &= np.isin(columns["kind"], (int(Kind.STATUS), int(Kind.CLOCK)))
        else:
            ids = np.append(self._ids, 0) if group.table == "gaps" else self._ids
            mine &= np.isin(columns["instrument_id"], ids)
        order = np.argsort(positions[mine], kind="stable")
        chosen = {name: values[mine][order] for name, values in columns.items()}
        return np.ascontiguousarray(chosen["position"]), records_of(table, chosen)
