"""Spot checks: two sets of records, or stored bars and bars recomputed from ticks, compared value by value.

A miss names what was compared and both values. Bars are recomputed here in plain NumPy and Python integers, on purpose
not with the kernel that made them: an error in one is not in the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from ticktape.lake.certificate_hash import canonical
from ticktape.model.bars import BAR, Bars, wide
from ticktape.model.records import Flag, Ints, Kind, Records

MOST_MISSES = 100
MARKET_FIELDS = ("ts_event", "a", "b", "c", "d", "kind", "side")
STORED_FIELDS = (*MARKET_FIELDS, "ts_recv", "flags")
BAR_FIELDS = ("open", "high", "low", "close", "count", "volume", "notional", "open_ts", "close_ts")
_LEFT_OUT = int(Flag.NON_POSITIVE | Flag.CROSSED | Flag.SPIKE)  # as in serve/readers/bars.py


class Miss(Struct, frozen=True):
    """One value that differs; None where one side has nothing."""

    what: str  # lake against tape, lake against venue, bars against ticks
    key: str
    field: str
    left: int | None
    right: int | None


class Compared(Struct, frozen=True):
    """How a comparison went. One key counts once, however many of its fields differ."""

    checked: int
    passed: int
    misses: list[Miss]  # at most MOST_MISSES

    @property
    def pass_rate(self) -> float | None:
        """Return the share that passed, None when nothing was compared."""
        return self.passed / self.checked if self.checked else None


def total(parts: Iterable[Compared]) -> Compared:
    """Return several comparisons as one."""
    several = list(parts)
    misses = [miss for part in several for miss in part.misses]
    return Compared(sum(p.checked for p in several), sum(p.passed for p in several), misses[:MOST_MISSES])


def compare_records(
    left: Records, right: Records, what: str, fields: Sequence[str] = STORED_FIELDS, *, by_id: bool = True
) -> Compared:
    """Compare two sets of records of one instrument and channel.

    by_id pairs them by (kind, venue id), which has to be unique, as trades' are; otherwise by their canonical order, so
    that a record too many shows as a miss there and, by then, at its neighbours.
    """
    left, right = canonical(left), canonical(right)
    if by_id:
        return _compared(_by_id(left), _by_id(right), left, right, what, fields)
    a, b = np.arange(len(left)), np.arange(len(right))
    return _compared(a, b, left, right, what, fields)


def compare_rows(
    left_at: Ints, left: Records, right_at: Ints, right: Records, what: str, fields: Sequence[str] = STORED_FIELDS
) -> Compared:  # fmt: skip
    """Compare rows that say where they stand on the tape, each position once a side."""
    return _compared(left_at, right_at, left, right, what, fields)


def _by_id(records: Records) -> Records:
    keys = np.empty(len(records), dtype=[("c", "<i8"), ("kind", "u1")])
    keys["c"], keys["kind"] = records["c"], records["kind"]
    return keys


def _compared(
    a: Any, b: Any, left: Records, right: Records, what: str, fields: Sequence[str]
) -> Compared:  # fmt: skip
    both, i, j = np.intersect1d(a, b, return_indices=True)
    wrong = np.zeros(len(both), dtype=np.bool_)
    misses: list[Miss] = []
    for field in fields:
        x, y = left[field][i], right[field][j]
        differs = x != y
        wrong |= differs
        some = np.flatnonzero(differs)[: max(MOST_MISSES - len(misses), 0)].tolist()
        misses += [Miss(what, _key(left[i[k]]), field, int(x[k]), int(y[k])) for k in some]
    alone = np.setdiff1d(np.arange(len(a)), i), np.setdiff1d(np.arange(len(b)), j)
    for side, (records, places) in enumerate(((left, alone[0]), (right, alone[1]))):
        for k in places[: max(MOST_MISSES - len(misses), 0)].tolist():
            ts = int(records["ts_event"][k])
            misses.append(Miss(what, _key(records[k]), "missing", None if side else ts, ts if side else None))
    lonely = len(alone[0]) + len(alone[1])
    return Compared(len(both) + lonely, len(both) - int(wrong.sum()), misses)


def _key(record: Records) -> str:
    return f"{Kind(int(record['kind'])).name.lower()} {int(record['c'])} at {int(record['ts_event'])}"


def compare_bars(stored: Bars, recomputed: Bars, what: str = "bars against ticks") -> Compared:
    """Compare bars of one instrument and timeframe, by their start; flags and revisions are left out."""
    left: dict[int, Any] = {int(bar["start"]): bar for bar in stored}
    right: dict[int, Any] = {int(bar["start"]): bar for bar in recomputed}
    misses: list[Miss] = []
    passed = 0
    for start in sorted(left.keys() | right.keys()):
        one, other = left.get(start), right.get(start)
        if one is None or other is None:
            counts = [None if bar is None else _value(bar, "count") for bar in (one, other)]
            misses.append(Miss(what, str(start), "missing", *counts))
            continue
        pairs = ((field, _value(one, field), _value(other, field)) for field in BAR_FIELDS)
        differing = [Miss(what, str(start), field, x, y) for field, x, y in pairs if x != y]
        passed += not differing
        misses += differing
    return Compared(len(left.keys() | right.keys()), passed, misses[:MOST_MISSES])


def _value(bar: Any, field: str) -> int:
    if field in {"volume", "notional"}:
        return wide(int(bar[f"{field}_high"]), int(bar[f"{field}_low"]))
    return int(bar[field])


def bars_of(records: Records, width_ns: int) -> Bars:
    """Return the bars that trades make, recomputed: what is flagged non-positive, crossed or a spike is left out.

    Corrections and cancels are applied to the trade they name. Open and close go by (venue time, venue id).
    """
    trades = _as_corrected(records)
    trades = trades[np.lexsort((trades["c"], trades["ts_event"]))]
    starts = trades["ts_event"] // width_ns * width_ns
    cuts = np.flatnonzero(np.diff(starts, prepend=starts[:1] - 1)) if len(trades) else np.empty(0, dtype=np.int64)
    bars = np.zeros(len(cuts), dtype=BAR)
    ends = np.append(cuts[1:], len(trades))
    for bar, first, end in zip(bars, cuts.tolist(), ends.tolist(), strict=True):
        _fill(bar, trades[first:end], int(starts[first]))
    return bars


def _as_corrected(records: Records) -> Records:
    trades = records[np.isin(records["kind"], (Kind.TRADE, Kind.AGG_TRADE)) & (records["flags"] & _LEFT_OUT == 0)]
    changed = records[np.isin(records["kind"], (Kind.CORRECT, Kind.CANCEL))]
    if not len(changed):
        return trades
    trades, gone = trades.copy(), np.zeros(len(trades), dtype=np.bool_)
    for change in changed[np.argsort(changed["ts_recv"], kind="stable")]:
        hit = trades["c"] == change["c"]
        gone |= hit & (change["kind"] == Kind.CANCEL)
        if change["kind"] == Kind.CORRECT:
            trades["a"][hit], trades["b"][hit] = change["a"], change["b"]
    return trades[~gone]


def _fill(bar: Any, trades: Records, start: int) -> None:
    prices: list[int] = trades["a"].tolist()
    sizes: list[int] = trades["b"].tolist()
    bar["start"], bar["count"] = start, len(trades)
    bar["open"], bar["close"], bar["high"], bar["low"] = prices[0], prices[-1], max(prices), min(prices)
    bar["open_ts"], bar["close_ts"] = trades["ts_event"][0], trades["ts_event"][-1]
    bar["open_id"], bar["close_id"] = trades["c"][0], trades["c"][-1]
    for name, value in (("volume", sum(sizes)), ("notional", sum(p * s for p, s in zip(prices, sizes, strict=True)))):
        bar[f"{name}_high"], bar[f"{name}_low"] = value >> 64, value & (1 << 64) - 1
