"""History as one version of the lake and the tape together: every row once, whatever the keeper does meanwhile.

`Lake.snapshot` fixes a version and a position for each table. Rows below the position come from that version's
files, rows at or above it from the tape. Files stay for hours after they were given up, and the tape keeps its hot
window, so a snapshot stays readable for as long as a query may take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Damaged, TooCostly
from ticktape.lake import bars, klines
from ticktape.lake.catalogue import Catalogue, Entry, Version
from ticktape.lake.files import bounds_of, stored
from ticktape.lake.pages import (
    SORTED_BY,
    BarsAnswer,
    Cursor,
    Estimate,
    Limits,
    Missing,
    Page,
    bars_answer,
    complete,
    cursor_after,
    known,
    missing_of,
    nothing,
    resumed,
    rows_after,
    united,
)
from ticktape.lake.rows import records_of
from ticktape.lake.scan import EVER, Wanted, columns_of, fields_of, groups_of, partitions, pruned
from ticktape.lake.schema import TABLES, Table
from ticktape.lake.tail import Tape, tail
from ticktape.model.bars import BAR, Bars, Basis
from ticktape.model.records import Ints, Kind, Records

__all__ = ["BarsAnswer", "Cursor", "Estimate", "Lake", "Limits", "Missing", "Page", "Snapshot", "missing_of"]

_TICKS = ("ts_event", "instrument_id", "flags", "kind")
_TRADE_TICKS, _QUOTE_TICKS = (*_TICKS, "price", "size", "venue_id"), (*_TICKS, "position", "bid_price", "ask_price")


class Lake:
    """Reads the lake in a folder. One a thread; the files' footers are cached for all."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        self.folder = folder
        self._clock = clock or SystemClock()
        self._catalogues = {name: Catalogue(folder, name) for name in TABLES}

    def snapshot(self) -> Snapshot:
        """Return what there is now. A table that was never made is empty, at position -1. Raises Damaged."""
        found = {name: c.version() if c.exists else Version(-1, -1, ()) for name, c in self._catalogues.items()}
        return Snapshot(self.folder, found, self._clock)


class Snapshot:
    """One version of every table."""

    def __init__(self, folder: Path, versions: dict[str, Version], clock: Clock) -> None:
        self.folder = folder
        self.versions = versions
        self._clock = clock

    def position(self, table: str) -> int:
        """Return the tape position up to which a table has the rows; -1 when it has none."""
        return self.versions[table].position

    def estimate(
        self, table: str, instruments: Sequence[int] | None, start_ns: int, end_ns: int, *, exact: bool = False
    ) -> Estimate:
        """Return what a question would read of the lake. `exact` looks into the footers too, row group by row group."""
        wanted = Wanted(_ids(instruments), start_ns, end_ns)
        hits = pruned(self.versions[table].files, wanted)
        if not exact:
            return Estimate(len(hits), sum(e.rows for e in hits), sum(e.size for e in hits))
        rows = size = 0
        for entry in hits:
            file = stored(self.folder / table / entry.path, entry.size)
            groups = groups_of(file, wanted)
            rows += int(file.rows[groups].sum())
            size += int(file.lengths[groups].sum())
        return Estimate(len(hits), rows, size)

    # -- rows --------------------------------------------------------------------------------------

    def read(
        self, table: str, instruments: Sequence[int] | None, start_ns: int, end_ns: int, *,
        columns: Sequence[str] | None = None, limit: int | None = None, after: Cursor | None = None,
        known_at_ns: int | None = None, tape: Tape | None = None, limits: Limits = Limits(),  # noqa: B008
    ) -> Page:  # fmt: skip
        """Return the rows of instruments (None: all) in [start_ns, end_ns), at most `limit`, from `after` on.

        With `tape`, also those that the lake has not yet. `known_at_ns` leaves out what was received at or after.
        Raises TooCostly, Trimmed (take a new snapshot).
        """
        spec = TABLES[table]
        names = list(columns or spec.names())
        before = after.before if after else (tape.end if tape else EVER)
        ids = _ids(instruments)
        wanted = Wanted(ids, resumed(ids, start_ns, after), end_ns, before)
        needed = names + [name for name in (*SORTED_BY, "ts_recv") if name not in names and name in spec.names()]
        page, taken, held = Page(nothing(spec, names)), list[pa.Table](), 0
        for partition, part in self._together(spec, wanted, needed, tape, limits, page.missing):
            rows = rows_after(known(part, known_at_ns), partition, after)
            room = None if limit is None else limit - sum(t.num_rows for t in taken)
            if room is not None and rows.num_rows > room:
                taken.append(rows.slice(0, room))
                page.next = cursor_after(partition, taken, before, after)
                break
            taken.append(rows)
            held += rows.nbytes
            if held > limits.memory_bytes:
                raise TooCostly(f"more than {limits.memory_bytes >> 20} MiB of rows", hint="a shorter range, or pages")
        page.rows = pa.concat_tables([page.rows, *(rows.select(page.rows.column_names) for rows in taken)])
        return page

    def records(
        self, table: str, instruments: Sequence[int] | None, start_ns: int, end_ns: int, *, tape: Tape | None = None
    ) -> tuple[Ints, Records]:
        """Return (positions, records) of a range, as they stood on the tape but for `back`. Raises Damaged."""
        names = [c.name for c in TABLES[table].columns if c.type != "binary"]
        page = self.read(table, instruments, start_ns, end_ns, columns=names, tape=tape)
        if page.missing:
            raise Damaged(page.missing[0].why, hint="ticktape lake verify")
        found = columns_of(page.rows)
        return found["position"], records_of(TABLES[table], found)

    def _together(
        self, table: Table, wanted: Wanted, names: list[str], tape: Tape | None, limits: Limits, missing: list[Missing]
    ) -> Iterator[tuple[str, pa.Table]]:
        """Yield (partition, rows) of lake and tape, oldest partition first."""
        version = self.versions[table.name]
        hits = pruned(version.files, wanted)
        if (rows := sum(e.rows for e in hits)) > limits.rows:
            rows = self.estimate(table.name, wanted.instruments, wanted.start_ns, wanted.end_ns, exact=True).rows
            if rows > limits.rows:
                raise TooCostly(f"{rows:,} rows to read, {limits.rows:,} are the most", hint="a shorter range")
        rest = tail(table, tape, version.position, wanted) if tape is not None else {}
        deadline = self._clock.monotonic_ns() + int(limits.seconds * 1e9)

        def lost(entry: Entry, error: Damaged) -> None:
            missing.append(missing_of(table.name, entry, error))

        for partition, rows_of in partitions(self.folder / table.name, table, hits, wanted, names, lost):
            for early in [p for p in rest if p < partition]:
                yield early, complete(table, rest.pop(early), names)
            yield partition, united(table, rows_of, rest.pop(partition, None), names)
            if self._clock.monotonic_ns() > deadline:
                raise TooCostly(f"it took longer than {limits.seconds:g} s", hint="a shorter range")
        for partition in sorted(rest):
            yield partition, complete(table, rest[partition], names)

    # -- bars --------------------------------------------------------------------------------------

    def bars(
        self, instruments: Sequence[int] | None, start_ns: int, end_ns: int, width_ns: int, *,
        basis: Basis = Basis.TRADES, tape: Tape | None = None, raw: bool = False, known_at_ns: int | None = None,
        limits: Limits = Limits(),  # noqa: B008
    ) -> BarsAnswer:  # fmt: skip
        """Return bars of any width that start in [start_ns, end_ns).

        From stored minutes where the width is a whole number of them, else (or with `raw`, or as known at a time)
        from ticks. An instrument without trades answers with its aggregated trades. Minutes that no tick made come
        from the venue's own bars, where those were fetched (before `known_at_ns`); `raw` leaves them out.
        """
        if width_ns <= 0:
            raise TooCostly(f"a bar of {width_ns} ns is none", hint="interval=1m")
        start = -(-start_ns // width_ns) * width_ns
        end = -(-end_ns // width_ns) * width_ns  # a bar that starts before the end has ticks after it
        if raw or known_at_ns is not None or width_ns % bars.MINUTE_NS:
            theirs = known_at_ns is not None and basis == Basis.TRADES and width_ns % bars.MINUTE_NS == 0
            return self._from_ticks(
                instruments, start, end, width_ns, basis, tape, known_at_ns, limits, klines_too=theirs
            )  # fmt: skip
        return self._from_minutes(instruments, start, end, width_ns, basis, tape, limits)

    def _from_ticks(
        self, instruments: Sequence[int] | None, start: int, end: int, width: int, basis: Basis, tape: Tape | None,
        known_at_ns: int | None, limits: Limits, *, klines_too: bool,
    ) -> BarsAnswer:  # fmt: skip
        name = "quotes" if basis == Basis.QUOTES else "trades"
        table, missing = TABLES[name], list[Missing]()
        foreign = self._klines(instruments, start, end, known_at_ns, limits, missing) if klines_too else None
        step = width if foreign is None else bars.MINUTE_NS
        builders = {b: bars.Builder(step) for b in _bases(basis)}
        wanted = Wanted(_ids(instruments), start, end, tape.end if tape else EVER)
        names = list(_QUOTE_TICKS if name == "quotes" else _TRADE_TICKS)
        names += ["ts_recv"] if known_at_ns is not None else []
        if name == "trades" and (tape is not None or self._need_positions(wanted)):
            names.append("position")
        for _, rows in self._together(table, wanted, names, tape, limits, missing):
            fields = fields_of(table, rows)
            fields.setdefault("position", fields["ts_event"])  # not looked at, see _need_positions
            if known_at_ns is not None:
                known = fields["ts_recv"] < known_at_ns
                fields = {key: values[known] for key, values in fields.items()}
            fields = bars.corrected(fields) if name == "trades" else fields
            for each, builder in builders.items():
                builder.add(bars.ticks_of(fields, each))
        found = [(b, builder.built()) for b, builder in builders.items()]
        keys = np.concatenate([built.instrument.astype(np.int64) * 4 + b for b, built in found])
        made = np.concatenate([built.bars for _, built in found])
        if foreign is None:
            return bars_answer(keys, made, width, missing)
        more, minutes = bars.merged(klines.apart(foreign, None, [(keys, made)]))
        return bars_answer(
            np.concatenate([keys, more]), np.concatenate([made, minutes]), width, missing, klines.until(foreign)
        )  # fmt: skip

    def _klines(
        self, instruments: Sequence[int] | None, start: int, end: int, known_at_ns: int | None, limits: Limits,
        missing: list[Missing],
    ) -> dict[str, Any] | None:  # fmt: skip
        """Return the venue's minutes of a range that were fetched before a time, as rows of `bars`; None for none."""
        wanted, found = Wanted(_ids(instruments), start, end), list[dict[str, Any]]()
        table = TABLES["bars"]
        for _, rows in self._together(table, wanted, list(table.names()), None, limits, missing):
            columns = columns_of(rows)
            mine = klines.among(columns)
            if known_at_ns is not None:
                mine &= klines.known_before(columns, known_at_ns)
            if mine.any():
                found.append(_chosen(columns, mine))
        return {name: np.concatenate([part[name] for part in found]) for name in table.names()} if found else None

    def _need_positions(self, wanted: Wanted) -> bool:
        """Say whether some trade has no id of its own, or was corrected: then the place on the tape decides."""
        for entry in pruned(self.versions["trades"].files, wanted):
            try:
                file = stored(self.folder / "trades" / entry.path, entry.size)
            except Damaged:
                continue
            groups = groups_of(file, wanted)
            if groups and (
                bounds_of(file, "venue_id", groups)[0] <= 0 or bounds_of(file, "kind", groups)[1] > Kind.AGG_TRADE
            ):
                return True
        return False

    def _from_minutes(
        self, instruments: Sequence[int] | None, start: int, end: int, width: int, basis: Basis, tape: Tape | None,
        limits: Limits,
    ) -> BarsAnswer:  # fmt: skip
        table, missing = TABLES["bars"], list[Missing]()
        wanted = Wanted(_ids(instruments), start, end)
        parts = list[tuple[Ints, Bars]]()
        if tape is not None:
            fresh = self._fresh(wanted, basis, tape)
            if fresh is None:  # what was corrected may stand in the lake: only its ticks can tell
                return self._from_ticks(
                    instruments, start, end, width, basis, tape, None, limits, klines_too=basis == Basis.TRADES
                )  # fmt: skip
            parts.append(fresh)
        made, until = list(parts), klines.NEVER
        for _, rows in self._together(table, wanted, list(table.names()), None, limits, missing):
            columns = columns_of(rows)
            mine = np.logical_or.reduce([columns["basis"] == each for each in _bases(basis)])  # isin is slow on bytes
            if not mine.all():
                theirs = _chosen(columns, klines.among(columns))
                columns = _chosen(columns, mine)
                if basis == Basis.TRADES:
                    until = max(until, klines.until(theirs))
                    parts.append(bars.bars_of(klines.apart(theirs, columns, made), width))
            parts.append(bars.bars_of(columns, width))
        keys = np.concatenate([np.zeros(0, dtype=np.int64), *(k for k, _ in parts)])
        found = np.concatenate([np.zeros(0, dtype=BAR), *(m for _, m in parts)])
        return bars_answer(keys, found, width, missing, until)

    def _fresh(self, wanted: Wanted, basis: Basis, tape: Tape) -> tuple[Ints, Bars] | None:
        """Return the minutes of what the tape has from the bars' position on; None when a trade was corrected there."""
        table = TABLES["quotes" if basis == Basis.QUOTES else "trades"]
        parts = [fields_of(table, rows) for rows in tail(table, tape, self.position("bars"), wanted).values()]
        if any((fields["kind"] > Kind.AGG_TRADE).any() for fields in parts):
            return None
        built = [(b, bars.build(bars.ticks_of(fields, b), bars.MINUTE_NS)) for fields in parts for b in _bases(basis)]
        keys = np.concatenate([np.zeros(0, np.int64), *(each.instrument.astype(np.int64) * 4 + b for b, each in built)])
        return keys, np.concatenate([np.zeros(0, dtype=BAR), *(each.bars for _, each in built)])


def _ids(instruments: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if instruments is None else tuple(sorted(set(instruments)))


def _bases(basis: Basis) -> tuple[int, ...]:
    return (int(basis),) if basis == Basis.QUOTES else (int(Basis.TRADES), bars.AGG)


def _chosen(columns: dict[str, Any], mine: Any) -> dict[str, Any]:
    return {name: values[mine] for name, values in columns.items()}
