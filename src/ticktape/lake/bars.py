"""Bars in the lake: stored as parts of minutes, merged when read.

A flush writes, for each instrument and minute, one part: the exact bar of the ticks in the range it flushed. Parts of
a minute add up in any order (128-bit sums; open and close by venue time and id), so a minute that two flushes share,
a late trade and a backfill are each one more row, and a reader that takes the parts before tape position P and the
ticks from P on has the exact bar, each tick once. A correction is no sum: the minute is built anew from its trades
and stored as a part that replaces those before it. Compaction merges the parts of closed days.

A minute may also come from the venue's own bars (`KLINES`, see lake/klines.py).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ticktape.lake import bar_kernel as kernel
from ticktape.model.bars import BAR, Bars, Basis
from ticktape.model.records import Flag, Ints, Kind

MINUTE_NS = 60 * 10**9
AGG = 2  # basis of parts built from aggregated trades: used where an instrument has no trades
KLINES = 3  # basis of the venue's own minutes: used where no tick made one
_FIELDS = (
    "open_ts", "open_id", "close_ts", "close_id", "open", "high", "low", "close",
    "volume_high", "volume_low", "notional_high", "notional_low", "count",
)  # fmt: skip


class Built(NamedTuple):
    """Bars and whose they are, sorted by instrument and start."""

    instrument: Any
    bars: Bars


class Ticks(NamedTuple):
    """Ticks of one basis, in columns, sorted by instrument and time."""

    instrument: Any
    ts: Ints
    price: Ints
    size: Ints
    number: Ints
    position: Ints
    flags: Any


def ticks_of(fields: dict[str, Any], basis: int) -> Ticks:
    """Return the ticks of a basis among a table's fields (by the record's field names)."""
    kind = {Basis.TRADES: Kind.TRADE, Basis.QUOTES: Kind.QUOTE, AGG: Kind.AGG_TRADE}[basis]
    mine = fields["kind"] == kind
    if not mine.any():
        fields = {name: values[:0] for name, values in fields.items()}
    elif not mine.all():
        fields = {name: values[mine] for name, values in fields.items()}
    if basis == Basis.QUOTES:
        nothing = np.zeros(len(fields["a"]), dtype=np.int64)
        price, size, number = fields["a"] + fields["b"], nothing, nothing
    else:
        price, size, number = fields["a"], fields["b"], fields["c"]
    return Ticks(
        fields["instrument"], fields["ts_event"], price, size, number, fields["position"], fields["flags"]
    )  # fmt: skip


def build(ticks: Ticks, width_ns: int) -> Built:
    """Return the bars of some ticks."""
    return Builder(width_ns).add(ticks).built()


class Builder:
    """Builds bars from ticks that come in pieces, in order of instrument and time."""

    def __init__(self, width_ns: int) -> None:
        self._width = width_ns
        self._bars: Bars = np.zeros(1024, dtype=BAR)
        self._who: Any = np.zeros(1024, dtype=np.int32)
        self._count = 0

    def add(self, ticks: Ticks) -> Builder:
        """Take in the next piece."""
        if len(ticks.ts) == 0:
            return self
        # A piece adds at most one bar a tick and, for each instrument in it, one a width of its span.
        one = ticks.instrument[0] == ticks.instrument[-1]
        low, high = (ticks.ts[0], ticks.ts[-1]) if one else (ticks.ts.min(), ticks.ts.max())
        span = int(high - low) // self._width + 2
        who = 1 if one else int(np.count_nonzero(np.diff(ticks.instrument))) + 1
        need = self._count + min(len(ticks.ts), span * who)
        if need > len(self._bars):
            self._bars, self._who = _grown(self._bars, 2 * need), _grown(self._who, 2 * need)
        self._count = int(
            kernel.from_ticks(
                ticks.instrument, ticks.ts, ticks.price, ticks.size, ticks.number, ticks.position, ticks.flags,
                self._width, self._bars, self._who, self._count,
            )
        )  # fmt: skip
        assert self._count >= 0
        return self

    def built(self) -> Built:
        """Return the bars so far; a copy."""
        return Built(self._who[: self._count].copy(), self._bars[: self._count].copy())


def _grown(array: Any, size: int) -> Any:
    bigger = np.zeros(size, dtype=array.dtype)
    bigger[: len(array)] = array
    return bigger


# -- parts -------------------------------------------------------------------------------------------


def to_columns(built: Built, basis: Any, position: Any) -> dict[str, Any]:
    """Return bars as columns of the table. `basis` and `position` are one value or one a bar."""
    bars, n = built.bars, len(built.bars)
    columns = {name: np.ascontiguousarray(bars[name]).view(np.int64) for name in _FIELDS}
    return {
        "position": _filled(position, n, np.int64),
        "ts_event": np.ascontiguousarray(bars["start"]),
        "instrument_id": np.ascontiguousarray(built.instrument, dtype=np.int32),
        "basis": _filled(basis, n, np.int8),
        **columns,
        "revision": bars["revision"].astype(np.int32),
        "flags": bars["flags"].astype(np.int32),
    }


def _filled(value: Any, n: int, dtype: Any) -> Any:
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value, dtype=dtype), n))


def from_columns(columns: dict[str, Any]) -> Bars:
    """Return rows of the table as bars, internal flags included."""
    bars: Bars = np.zeros(len(columns["ts_event"]), dtype=BAR)
    bars["start"] = columns["ts_event"]
    for name in _FIELDS:
        bars[name] = columns[name].view(np.uint64) if name.endswith("_low") else columns[name]
    bars["revision"], bars["flags"] = columns["revision"], columns["flags"]
    return bars


def merged(columns: dict[str, Any]) -> tuple[Any, Bars]:
    """Merge the parts among rows of the table into whole minutes. Returns (key, bars); key = instrument x 4 + basis."""
    key = columns["instrument_id"].astype(np.int64) * 4 + columns["basis"]
    parts = from_columns(columns)
    if not in_order(key, columns["ts_event"], columns["position"]):
        order = np.lexsort((columns["position"], columns["ts_event"], key))
        key, parts = key[order], parts[order]
    bars: Bars = np.zeros(len(parts), dtype=BAR)
    keys: Ints = np.zeros(len(parts), dtype=np.int64)
    count = int(kernel.merge_parts(key, parts, bars, keys))
    return keys[:count], bars[:count]


def bars_of(columns: dict[str, Any], width_ns: int) -> tuple[Any, Bars]:
    """Return the bars of a multiple of a minute that rows of the table make, as (key, bars); see `merged`."""
    key = columns["instrument_id"].astype(np.int64) * 4 + columns["basis"]
    if not in_order(key, columns["ts_event"], columns["position"]):
        order = np.lexsort((columns["position"], columns["ts_event"], key))
        key, columns = key[order], {name: values[order] for name, values in columns.items()}
    given: list[Any] = [key, *(columns[name] for name in ("ts_event", *_FIELDS, "revision", "flags"))]
    out: Bars = np.zeros(len(key), dtype=BAR)
    out_keys: Ints = np.zeros(len(key), dtype=np.int64)
    given += [np.zeros(2, dtype=BAR), width_ns, out, out_keys]
    count = int(kernel.merge_columns(*given))
    return out_keys[:count].copy(), out[:count].copy()


def in_order(key: Ints, start: Ints, position: Ints) -> bool:
    """Say whether rows are sorted by these. Sorting again costs many times as much as looking."""
    return bool(kernel.sorted_rows(*(np.ascontiguousarray(column) for column in (key, start, position))))


def widened(keys: Ints, minutes: Bars, width_ns: int) -> tuple[Any, Bars]:
    """Merge minutes into bars of a multiple of a minute. Minutes whose trades were all cancelled are left out."""
    out: Bars = np.zeros(len(minutes), dtype=BAR)
    out_keys: Ints = np.zeros(len(minutes), dtype=np.int64)
    count = int(kernel.widen(keys, minutes, width_ns, out, out_keys))
    return out_keys[:count], out[:count]


def corrected(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the trades among a table's fields with corrections and cancels applied: the last word on each counts.

    A notice speaks of the trade of its instrument that has its id.
    """
    kinds = fields["kind"]
    if not (kinds > Kind.AGG_TRADE).any():
        return fields
    notices = np.flatnonzero((kinds == Kind.CORRECT) | (kinds == Kind.CANCEL))
    fields = {name: values.copy() for name, values in fields.items()}
    ids, who = fields["c"], fields["instrument"]
    keep = np.ones(len(kinds), dtype=bool)
    keep[notices] = False
    for at in notices[np.argsort(fields["position"][notices])].tolist():
        same = (ids == ids[at]) & (who == who[at]) & (kinds == Kind.TRADE)
        if kinds[at] == Kind.CANCEL:
            keep &= ~same
        else:
            fields["a"][same], fields["b"][same] = fields["a"][at], fields["b"][at]
    return {name: values[keep] for name, values in fields.items()}


def watermark_ns(fields: dict[str, Any]) -> int:
    """Return the newest venue time among ticks that is not ahead of our own clock, or the least time there is."""
    sane = (fields["ts_event"] <= fields["ts_recv"] + 10 * 10**9) & (fields["flags"] & int(Flag.BACKFILLED) == 0)
    return int(fields["ts_event"][sane].max(initial=-(2**63)))
