"""Holes in TRADE and AGG_TRADE, filled from the venue's history by id. rest-api.md, "Market Data endpoints".

historicalTrades and aggTrades come from a database that can lag the stream by moments. So an id counts as
confirmed missing only when an id at or above the hole's end came back; a page that just ends before that
is "cannot tell yet". Real holes exist: the venue skips ids of cancelled and system trades.

A page has up to 1000 ids whatever is wanted of them, so many small holes cost one request where they lie close.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence

import numpy as np

from ticktape.clock import Clock
from ticktape.errors import BadInput, Misconfigured, Unavailable
from ticktape.model.records import Channel, Flag
from ticktape.sources.binance import columns
from ticktape.sources.binance import messages as wire
from ticktape.sources.binance.columns import Faults, Rows
from ticktape.sources.binance.names import Names
from ticktape.sources.binance.rest import BinanceRest
from ticktape.sources.contract import Bad, Batch, Hole

HISTORY = (Channel.TRADE, Channel.AGG_TRADE)


async def fill(rest: BinanceRest, names: Names, hole: Hole, clock: Clock, unit_ns: int) -> AsyncGenerator[Batch]:
    """Yield what the venue has of a hole, ascending, flagged BACKFILLED, received now.

    An end means that ids not yielded are confirmed missing. Raises Unavailable when the venue's history
    does not reach the end of the hole yet or it cannot be asked, Misconfigured when there is no history of the
    channel.
    """
    if hole.channel not in HISTORY:
        raise Misconfigured(f"binance: no history for instrument {hole.instrument_id}, {hole.channel.name}")
    symbol = names.symbol_of(hole.instrument_id)
    if symbol is None:
        raise Unavailable(f"binance: instrument {hole.instrument_id} has no name here", hint="ticktape instruments")
    wanted = _Wanted(hole)
    next_id = hole.first_id
    while next_id <= hole.last_id:
        ids, batch = await _page(rest, names, symbol, next_id, wanted, unit_ns)
        batch.records["ts_recv"] = clock.now_ns()
        batch.records["flags"] |= np.uint32(Flag.BACKFILLED)
        if len(batch.records) or batch.bad:
            yield batch
        highest = max(ids, default=-1)
        if highest < next_id:
            raise Unavailable(f"binance: {symbol} history ends before id {next_id}; the hole ends at {hole.last_id}")
        next_id = wanted.at_or_after(highest + 1)


class _Wanted:
    """The ids of a hole, by its parts."""

    def __init__(self, hole: Hole) -> None:
        self.channel = hole.channel
        parts: Sequence[tuple[int, int]] = hole.parts or ((hole.first_id, hole.last_id),)
        self._firsts, self._lasts = [first for first, _ in parts], [last for _, last in parts]

    def __contains__(self, number: int) -> bool:
        k = bisect_right(self._firsts, number) - 1
        return k >= 0 and number <= self._lasts[k]

    def at_or_after(self, number: int) -> int:
        """Return the first id wanted from `number` on, or `number` when there is none."""
        k = bisect_right(self._firsts, number)
        return number if number in self or k == len(self._firsts) else self._firsts[k]


async def _page(
    rest: BinanceRest, names: Names, symbol: str, from_id: int, wanted: _Wanted, unit_ns: int
) -> tuple[list[int], Batch]:
    """Return the ids of a page, and what is wanted of it. Raises Unavailable whatever the venue says against it."""
    fetch = _trades if wanted.channel is Channel.TRADE else _agg_trades
    try:
        return await fetch(rest, names, symbol, from_id, wanted, unit_ns)
    except (BadInput, Misconfigured) as fault:  # a symbol it does not list now, a host that does not serve it:
        raise Unavailable(fault.message, fault.hint) from fault  # neither says that the trades never were


async def _trades(
    rest: BinanceRest, names: Names, symbol: str, from_id: int, wanted: _Wanted, unit_ns: int
) -> tuple[list[int], Batch]:
    """Return the ids of a page, and what is wanted of it."""
    page = await rest.historical_trades(symbol, from_id)
    rows, bad = Rows[wire.Trade](), Faults()
    slot = _slot(names, symbol)
    for at, row in enumerate(page):
        if row.id >= from_id and row.id in wanted:
            message = wire.Trade(row.time, symbol, row.id, row.price, row.qty, row.time, row.is_buyer_maker)
            rows.add(at, message, slot)
    block = columns.trades(rows, names, unit_ns, bad)
    return [row.id for row in page], Batch(block.records, _bad(bad, symbol))


async def _agg_trades(
    rest: BinanceRest, names: Names, symbol: str, from_id: int, wanted: _Wanted, unit_ns: int
) -> tuple[list[int], Batch]:
    """Return the ids of a page, and what is wanted of it."""
    page = await rest.agg_trades(symbol, from_id)
    rows, bad = Rows[wire.AggTrade](), Faults()
    slot = _slot(names, symbol)
    for at, row in enumerate(page):
        if row.a >= from_id and row.a in wanted:
            rows.add(at, wire.AggTrade(row.T, symbol, row.a, row.p, row.q, row.first, row.last, row.T, row.m), slot)
    block = columns.agg_trades(rows, names, unit_ns, bad)
    return [row.a for row in page], Batch(block.records, _bad(bad, symbol))


def _slot(names: Names, symbol: str) -> int:
    slot = names.find(symbol)
    if slot is None:
        raise Misconfigured(f"binance: {symbol} is not enrolled")
    return slot


def _bad(faults: Faults, symbol: str) -> list[Bad]:
    return [Bad(reason, f"{symbol} history: {detail}", detail.encode()) for reason, detail in faults.values()]
