"""The parts of one-minute bars that a range of the tape gives. See lake/bars.py for what a part is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ticktape.lake import bars
from ticktape.lake.bar_kernel import CLOSED, RESTATED
from ticktape.lake.catalogue import Catalogue
from ticktape.lake.rows import Gatherer, group_bounds, partitioned
from ticktape.lake.scan import fields_of, scan
from ticktape.lake.schema import TABLES
from ticktape.model.bars import BarFlag, Basis
from ticktape.model.records import Ints, Kind, Records

GRACE_NS = 10**9


class Month(NamedTuple):
    """Rows of the bars table that go into one file."""

    month: str
    columns: dict[str, Any]
    bounds: list[int]


def minute_parts(records: Records, start: int, gatherer: Gatherer, trades: Catalogue) -> Iterator[Month]:
    """Yield the rows of the bars table for a range of the tape, of which records[0] stands at position `start`."""
    stop = start + len(records)
    found: list[dict[str, Any]] = []
    watermark = -(2**63)
    for name, bases in (("trades", (Basis.TRADES, bars.AGG)), ("quotes", (Basis.QUOTES,))):
        for rows in partitioned(TABLES[name], records, start):
            builders = {basis: bars.Builder(bars.MINUTE_NS) for basis in bases}
            noticed: set[tuple[int, int]] = set()
            first = 0
            for end in rows.bounds:
                fields = gatherer.fields(rows, first, end)
                watermark = max(watermark, bars.watermark_ns(fields) - GRACE_NS)
                noticed |= _noticed(fields)
                for basis, builder in builders.items():
                    builder.add(bars.ticks_of(fields, basis))
                first = end
            built = {basis: builder.built() for basis, builder in builders.items()}
            if noticed:
                built[Basis.TRADES] = _without(built[Basis.TRADES], noticed)
            found += [bars.to_columns(each, basis, stop - 1) for basis, each in built.items()]
            found += [_anew(who, minute, stop, trades) for who, minute in sorted(noticed)]
    columns = {name: np.concatenate([part[name] for part in found]) for name in TABLES["bars"].names()} if found else {}
    if columns and len(columns["position"]):
        columns["flags"] |= np.where(columns["ts_event"] + bars.MINUTE_NS <= watermark, CLOSED, 0).astype(np.int32)
        yield from by_month(columns)


def by_month(columns: dict[str, Any]) -> Iterator[Month]:
    """Yield rows of the bars table month by month, sorted by instrument, start, basis and position."""
    table = TABLES["bars"]
    order = np.lexsort((columns["position"], columns["basis"], columns["ts_event"], columns["instrument_id"]))
    columns = {name: values[order] for name, values in columns.items()}
    months = columns["ts_event"].view("M8[ns]").astype("M8[M]")
    for month in np.unique(months):
        mine = months == month
        part = {name: values[mine] for name, values in columns.items()}
        ends: Ints = np.cumsum(np.bincount(part["instrument_id"]), dtype=np.int64)
        yield Month(str(month), part, group_bounds(ends, table.group_rows))


def _noticed(fields: dict[str, Any]) -> set[tuple[int, int]]:
    """Return (instrument, minute) of each correction and cancel."""
    notices = np.flatnonzero((fields["kind"] == Kind.CORRECT) | (fields["kind"] == Kind.CANCEL))
    ts = fields["ts_event"][notices]
    return set(zip(fields["instrument"][notices].tolist(), (ts - ts % bars.MINUTE_NS).tolist(), strict=True))


def _anew(instrument: int, minute: int, stop: int, trades: Catalogue) -> dict[str, Any]:
    # The trades up to here are in the lake already: bars are flushed last.
    end = minute + bars.MINUTE_NS
    found = scan(trades.folder, trades.table, trades.version().files, [instrument], minute, end, before=stop)
    fields = bars.corrected(fields_of(trades.table, found))
    built = bars.build(bars.ticks_of(fields, Basis.TRADES), bars.MINUTE_NS)
    if len(built.bars) == 0:  # all of them cancelled: an empty part says so
        empty = np.zeros(1, dtype=built.bars.dtype)
        empty["start"] = minute
        built = bars.Built(np.array([instrument], dtype=np.int32), empty)
    built.bars["flags"] |= RESTATED | int(BarFlag.CORRECTED)
    return bars.to_columns(built, Basis.TRADES, stop - 1)


def _without(built: bars.Built, noticed: set[tuple[int, int]]) -> bars.Built:
    keep = np.ones(len(built.bars), dtype=bool)
    for who, minute in noticed:
        keep &= ~((built.instrument == who) & (built.bars["start"] == minute))
    return bars.Built(built.instrument[keep], built.bars[keep])
