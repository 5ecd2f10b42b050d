"""Rows of an exported file -> records. Prices come as exact decimal text and are parsed by the decimals kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ticktape.model.instruments import Instrument
from ticktape.model.records import BadReason, Flag, Kind, Records, Side, empty
from ticktape.model.symbols import shown
from ticktape.sources import decimals
from ticktape.sources.binance.columns import EARLIEST_NS, LATEST_NS
from ticktape.sources.contract import Bad, Batch
from ticktape.sources.exported.about import MONEY, REST, Table

KINDS: dict[Table, tuple[Kind, ...]] = {
    "trades": (Kind.TRADE, Kind.AGG_TRADE, Kind.CORRECT, Kind.CANCEL),
    "quotes": (Kind.QUOTE,),
    "book": (Kind.BOOK,),
}
_SIDES = {None: Side.NONE, "": Side.NONE, "buy": Side.BUY, "bid": Side.BUY, "sell": Side.SELL, "ask": Side.SELL}
# Quality is judged anew; what the venue or the wire said of a record stays.
_STAY = {str(flag.name).lower(): flag for flag in (Flag.NO_VENUE_TIME, Flag.SNAPSHOT, Flag.FIRST, Flag.LAST)}
SYNTHETIC = str(Flag.SYNTHETIC.name).lower()
_WHY = {
    decimals.Verdict.MALFORMED: BadReason.BAD_NUMBER,
    decimals.Verdict.INEXACT: BadReason.BAD_NUMBER,
    decimals.Verdict.OVERFLOW: BadReason.OUT_OF_RANGE,
}

Columns = dict[str, Sequence[str | None]]  # as text


def needed(table: Table) -> list[str]:
    """Return the columns that have to be there."""
    return ["kind", "symbol", "venue", "ts_event", *MONEY[table], *REST[table], "side", "flags"]


def batch(table: Table, instrument: Instrument, columns: Columns, first_row: int, ts_recv: int) -> Batch:
    """Return the records of some rows, all received at `ts_recv`, flagged BACKFILLED; bad rows apart."""
    bad: dict[int, Bad] = {}
    n = len(columns["kind"])
    names = ["ts_event", *MONEY[table], *REST[table]]
    kinds = _kinds(table, instrument, columns, bad, first_row)
    texts = [[columns[name][i] or "" for name in names] for i in range(n)]
    for i, row in enumerate(texts):
        if kinds[i] == Kind.CANCEL:  # it has neither
            row[1], row[2] = row[1] or "0", row[2] or "0"
        if not all(field and field.isascii() and field.isprintable() and "," not in field for field in row):
            bad.setdefault(i, _bad(BadReason.WRONG_TYPE, first_row + i, "a number is missing", row))
    good = [i for i in range(n) if i not in bad]
    values = _values(table, instrument, [texts[i] for i in good], good, bad, first_row)
    keep = np.array([i not in bad for i in good], dtype=np.bool_)
    chosen = [i for i in good if i not in bad]
    records = _records(table, instrument, values[keep], [kinds[i] for i in chosen])
    records["side"] = [_SIDES[columns["side"][i]] for i in chosen]
    records["flags"] = [_flags(columns["flags"][i]) for i in chosen]
    records["ts_recv"] = ts_recv
    return Batch(records, [bad[i] for i in sorted(bad)])


def _kinds(
    table: Table, instrument: Instrument, columns: Columns, bad: dict[int, Bad], first_row: int
) -> list[Kind | None]:
    known = {kind.name.lower(): kind for kind in KINDS[table]}
    found: list[Kind | None] = []
    mine = (instrument.symbol, instrument.venue)
    rows = zip(columns["kind"], columns["symbol"], columns["venue"], columns["side"], strict=True)
    for i, (kind, symbol, venue, side) in enumerate(rows):
        found.append(known.get(kind or ""))
        if found[i] is None or side not in _SIDES:
            bad[i] = _bad(BadReason.WRONG_TYPE, first_row + i, "no such kind or side", [str(kind), str(side)])
        elif (symbol, venue) != mine:
            bad[i] = _bad(BadReason.UNKNOWN_SYMBOL, first_row + i, "not the file's symbol", [str(symbol), str(venue)])
    return found


def _values(
    table: Table, instrument: Instrument, texts: list[list[str]], rows: list[int], bad: dict[int, Bad], first_row: int
) -> Any:
    scale_of = {"price": instrument.price_scale, "size": instrument.size_scale}
    scales = [0, *(scale_of[what] for what in MONEY[table].values()), *(0 for _ in REST[table])]
    text = "".join(",".join(row) + "\n" for row in texts).encode()
    values, verdicts = decimals.parse_grid(text, scales, len(texts))
    times = values[:, 0]
    odd = (times < EARLIEST_NS) | (times >= LATEST_NS)
    for at in np.flatnonzero((verdicts != 0).any(axis=1) | odd).tolist():
        columns = np.flatnonzero(verdicts[at])
        reason = _WHY[decimals.Verdict(int(verdicts[at][columns[0]]))] if len(columns) else BadReason.BAD_TIME
        bad[rows[at]] = _bad(reason, first_row + rows[at], "not a number that fits", texts[at])
    return values


def _bad(reason: BadReason, row: int, why: str, fields: list[str]) -> Bad:
    return Bad(reason, f"row {row}: {why}: '{shown(','.join(fields))}'", ",".join(fields).encode(errors="replace"))


def _records(table: Table, instrument: Instrument, values: Any, kinds: Sequence[Kind | None]) -> Records:
    out = empty(len(values))
    out["kind"] = [int(kind or 0) for kind in kinds]
    out["instrument"] = instrument.id
    out["ts_event"] = values[:, 0]
    for k, field in enumerate("abcd"[: values.shape[1] - 1]):
        out[field] = values[:, 1 + k]
    return out


def _flags(text: str | None) -> int:
    found = int(Flag.BACKFILLED)
    for word in (text or "").split("|"):
        found |= int(_STAY.get(word, 0))
    return found
