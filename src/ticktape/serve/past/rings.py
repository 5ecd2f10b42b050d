"""Fills the rings of `serve` from the lake: what it held in memory before it was started anew on a trimmed tape.

Minutes and wider come from the stored parts, which end exactly at the position of the bars' table; seconds come from
the ticks before that position. Only workers import this: it loads Arrow and Delta.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ticktape.errors import TooCostly
from ticktape.lake import bars
from ticktape.lake.history import Limits, Missing, Snapshot
from ticktape.lake.rows import records_of
from ticktape.lake.scan import columns_of
from ticktape.lake.schema import TABLES
from ticktape.model.bars import BAR, SECOND_NS, TIMEFRAMES, Bars, Basis
from ticktape.model.records import Flag, Ints, Kind
from ticktape.serve.past import older
from ticktape.serve.past.asks import AskOlder, Reply
from ticktape.serve.past.older import Noted, Older, Ring
from ticktape.serve.past.view import BEGIN_NS, EVER_NS, Upto, View

BATCH = 16  # instruments read at once
AHEAD_NS = 10 * SECOND_NS  # a tick further ahead of our clock says nothing of the venue's
SECONDS_ROWS = 2_000_000  # ticks read for the seconds of one instrument; what is older stays in the lake
STATUS_MONTHS = 3
_WIDTHS = list(TIMEFRAMES.values())
_DAY = _WIDTHS[-1]
MONTH_NS = 31 * _DAY


class Span(NamedTuple):
    """The venue times of a table's rows, by the log: [first, end)."""

    first: int
    end: int


def answer_older(ask: AskOlder, view: View) -> tuple[Reply, bytes]:
    """Return what the lake has from before the position where its bars end."""
    body = older.encode(_Filler(ask, view).fill())
    return Reply(size=len(body), media_type="application/octet-stream"), body


class _Filler:
    def __init__(self, ask: AskOlder, view: View) -> None:
        self._ask, self._snapshot = ask, view.snapshot
        self._position = view.snapshot.position("bars")
        self._tape = Upto(view.reader, self._position)
        self._began = Upto(view.reader, ask.tape_first)
        self._limits = Limits(ask.allowance.rows_read, (ask.allowance.memory_mb << 20) // 2, ask.allowance.seconds)
        self._missing: list[Missing] = []

    def fill(self) -> Older:
        if self._position < 0:
            return Older(position=-1, gaps_before=self._ask.tape_first)
        rings, left_out = self._rings()
        gaps, statuses = self._gaps(), self._statuses()
        missing = [f"{m.rows} rows of {m.table} of {m.partition}: their file is damaged" for m in set(self._missing)]
        if left_out:
            missing.append(f"bars from before the tape of {left_out} instruments: no room in memory; /api/v1/bars")
        return Older(
            position=self._position, gaps_before=self._ask.tape_first, rings=rings, gaps=gaps, statuses=statuses,
            newest=self._newest(), missing=missing,
        )  # fmt: skip

    # -- bars --------------------------------------------------------------------------------------

    def _rings(self) -> tuple[list[Ring], int]:
        found, held, done = list[Ring](), 0, 0
        span = _span(self._snapshot, "bars", bars.MINUTE_NS)
        ids = self._ask.instruments if span else []
        for at in range(0, len(ids), BATCH):
            for ring in self._batch(ids[at : at + BATCH], span):
                held += sum(len(frame) for frame in ring.frames)
                found.append(ring)
            done += BATCH
            if held > older.MOST_MB << 20:
                return found, max(0, len(ids) - done)
        return found, 0

    def _batch(self, ids: list[int], span: Span | None) -> Iterator[Ring]:
        assert span is not None
        start = max(span.first, (span.end - _DAY * (self._ask.room[-1] + 1)) // _DAY * _DAY)
        keys, minutes = self._minutes(ids, start, span.end)
        kept = {int(key): minutes[keys == key] for key in np.unique(keys)}
        for who in ids:
            mine = {basis: kept.get(who * 4 + basis) for basis in (int(Basis.TRADES), int(Basis.QUOTES), bars.AGG)}
            if start > span.first and not _full(mine.values(), self._ask.room[-1]):
                # Few days in half a year: an instrument that seldom trades, or that ended long ago.
                keys, minutes = self._minutes([who], span.first, span.end)
                mine = {basis: minutes[keys == who * 4 + basis] for basis in mine}
                yield from self._of_one(who, mine, span.first, span)
            else:
                yield from self._of_one(who, mine, start, span)

    def _minutes(self, ids: list[int], start: int, end: int) -> tuple[Ints, Bars]:
        page = self._snapshot.read("bars", ids, start, end, limits=self._limits)
        self._missing += page.missing
        return bars.bars_of(columns_of(page.rows), bars.MINUTE_NS)

    def _of_one(self, who: int, minutes: dict[int, Bars | None], start: int, span: Span) -> Iterator[Ring]:
        trades, aggregated = minutes[int(Basis.TRADES)], minutes[bars.AGG]
        only_aggregated = trades is None or len(trades) == 0
        chosen = {Basis.TRADES: aggregated if only_aggregated else trades, Basis.QUOTES: minutes[int(Basis.QUOTES)]}
        for basis, mine in chosen.items():
            if mine is None or len(mine) == 0:
                continue
            seconds, reached = self._seconds(who, basis, int(mine["start"][0]), int(mine["start"][-1]) + bars.MINUTE_NS)
            frames, whole = [seconds], [reached and start == span.first]
            for width, room in zip(_WIDTHS[1:], self._ask.room[1:], strict=True):
                _, wide = bars.widened(np.zeros(len(mine), dtype=np.int64), mine, width)
                frames.append(wide[-room:])
                whole.append(len(wide) <= room and start == span.first)
            yield Ring(
                instrument_id=who, basis=int(basis), aggregated=basis == Basis.TRADES and only_aggregated,
                frames=[np.ascontiguousarray(frame).tobytes() for frame in frames], whole=whole,
            )  # fmt: skip

    def _seconds(self, who: int, basis: Basis, first: int, end: int) -> tuple[Bars, bool]:
        """Return the newest bars of one second in [first, end), from ticks, and whether these are all."""
        room = self._ask.room[0]
        pieces, count, step = list[Bars](), 0, room * SECOND_NS
        while count <= room and end > first:
            start = max(first, end - step)
            try:
                found = self._snapshot.bars(
                    [who], start, end, SECOND_NS, basis=basis, tape=self._tape,
                    limits=self._limits._replace(rows=SECONDS_ROWS),
                )  # fmt: skip
            except TooCostly:  # a busy instrument's ticks: fewer seconds than there is room for
                break
            self._missing += found.missing
            pieces.insert(0, found.bars)
            count += len(found.bars)
            end, step = start, step * 4
        return np.concatenate([np.zeros(0, dtype=BAR), *pieces])[-room:], count <= room and end == first

    # -- the rest ----------------------------------------------------------------------------------

    def _gaps(self) -> Noted:
        """Return the GAP records from before the tape began."""
        columns = self._columns("gaps", BEGIN_NS, EVER_NS)
        return older.noted(columns["position"], records_of(TABLES["gaps"], columns))

    def _statuses(self) -> Noted:
        """Return the STATUS records from before the tape began: so many months back as it takes to find every source's.

        Month by month, because they stand among a CLOCK record for every second.
        """
        span, table = _span(self._snapshot, "quality", 1), TABLES["quality"]
        found, unknown = list[dict[str, Any]](), set(self._ask.sources) | {0}
        end = span.end if span is not None else 0
        for _ in range(STATUS_MONTHS if span is not None else 0):
            columns = self._columns("quality", end - MONTH_NS, end)
            mine = columns["kind"] == Kind.STATUS
            found.insert(0, {name: values[mine] for name, values in columns.items()})
            unknown -= set(found[0]["source_id"].tolist())
            end -= MONTH_NS
            if not unknown:
                break
        if not found:
            return Noted()
        columns = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        return older.noted(columns["position"], records_of(table, columns))

    def _columns(self, table: str, start_ns: int, end_ns: int) -> dict[str, Any]:
        names = [column.name for column in TABLES[table].columns if column.type != "binary"]
        page = self._snapshot.read(
            table, None, start_ns, end_ns, columns=names, tape=self._began, limits=self._limits
        )  # fmt: skip
        self._missing += page.missing
        return columns_of(page.rows)

    def _newest(self) -> tuple[int, int] | None:
        """Return (ts_event, ts_recv) of the tick received last, of those before the tape began."""
        found: list[tuple[int, int]] = []
        for table in ("trades", "quotes"):
            span = _span(self._snapshot, table, 1)
            if span is None:
                continue
            names = ["ts_event", "ts_recv", "flags"]
            page = self._snapshot.read(
                table, None, span.end - 5 * SECOND_NS, span.end, columns=names, tape=self._began, limits=self._limits
            )
            rows = columns_of(page.rows)
            live = (rows["flags"] & int(Flag.BACKFILLED) == 0) & (rows["ts_event"] <= rows["ts_recv"] + AHEAD_NS)
            found += zip(rows["ts_event"][live].tolist(), rows["ts_recv"][live].tolist(), strict=True)
        return max(found, key=lambda pair: pair[1], default=None)


def _full(several: Any, room: int) -> bool:
    # Whether what was read fills the ring of the widest timeframe.
    days = [np.unique(each["start"] // _DAY) for each in several if each is not None]
    return any(len(each) > room for each in days)


def _span(snapshot: Snapshot, table: str, width: int) -> Span | None:
    entries = snapshot.versions[table].files
    if not entries:
        return None
    return Span(min(e.low["ts_event"] for e in entries), max(e.high["ts_event"] for e in entries) + width)
