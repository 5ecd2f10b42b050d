"""Decoded Binance messages -> blocks of records, a column at a time.

Every number is checked here: text that is not an exact decimal, or a time outside 2000..2100, refuses the
whole message. Zero and negative numbers pass: the judge flags them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ticktape.model.records import BadReason, Flag, Ints, Kind, Records, Side, empty
from ticktape.model.symbols import shown
from ticktape.sources import decimals
from ticktape.sources.binance import messages as wire
from ticktape.sources.binance.names import Names

# Outside 2000..2100 a time is a wrong unit or nonsense: microseconds read as milliseconds land far beyond.
EARLIEST_NS, LATEST_NS = 946_684_800_000_000_000, 4_102_444_800_000_000_000

Faults = dict[int, tuple[BadReason, str]]  # by frame index; the first fault of a frame counts
M = TypeVar("M")

_REASON = {
    decimals.Verdict.MALFORMED: BadReason.BAD_NUMBER,
    decimals.Verdict.INEXACT: BadReason.BAD_NUMBER,
    decimals.Verdict.OVERFLOW: BadReason.OUT_OF_RANGE,
}


class Diff(NamedTuple):
    """One depthUpdate: its update ids and its rows in the records (none when it changed no level)."""

    instrument_id: int
    time: int  # the event's, in the venue's unit
    first_id: int
    last_id: int
    start: int
    stop: int


class Snapshot(NamedTuple):
    """A REST order book, not yet placed in the sequence; it stands before row `start` of the records."""

    instrument_id: int
    last_id: int
    start: int
    ts_recv: int
    rows: Records


class Rows(Generic[M]):
    """Decoded messages of one kind, with their frame's index and their instrument's slot."""

    __slots__ = ("at", "messages", "slots")

    def __init__(self) -> None:
        self.at: list[int] = []
        self.messages: list[M] = []
        self.slots: list[int] = []

    def add(self, at: int, message: M, slot: int) -> None:
        """Append one message."""
        self.at.append(at)
        self.messages.append(message)
        self.slots.append(slot)

    def sort(self) -> None:
        """Put the messages into the order of their frames."""
        order = sorted(range(len(self.at)), key=self.at.__getitem__)
        self.at = [self.at[k] for k in order]
        self.messages = [self.messages[k] for k in order]
        self.slots = [self.slots[k] for k in order]


class Block(NamedTuple):
    """Records and the index of the frame each came from."""

    at: Ints
    records: Records


def trades(rows: Rows[wire.Trade], names: Names, unit_ns: int, bad: Faults) -> Block:
    """Return TRADE records; refused messages go to `bad`."""
    found, slots = rows.messages, np.array(rows.slots, np.int64)
    block = _block(rows.at, Kind.TRADE, names.ids[slots])
    out = block.records
    out["c"] = [m.t for m in found]
    out["side"] = _aggressor([m.m for m in found])
    _set_times(block, [m.T for m in found], unit_ns, bad)
    _set_decimals(block, "a", [m.p for m in found], names.price_scales[slots], bad)
    _set_decimals(block, "b", [m.q for m in found], names.size_scales[slots], bad)
    return _kept(block, bad)


def agg_trades(rows: Rows[wire.AggTrade], names: Names, unit_ns: int, bad: Faults) -> Block:
    """Return AGG_TRADE records; refused messages go to `bad`."""
    found, slots = rows.messages, np.array(rows.slots, np.int64)
    block = _block(rows.at, Kind.AGG_TRADE, names.ids[slots])
    out = block.records
    out["c"] = [m.a for m in found]
    out["d"] = [m.last for m in found]
    out["side"] = _aggressor([m.m for m in found])
    _set_times(block, [m.T for m in found], unit_ns, bad)
    _set_decimals(block, "a", [m.p for m in found], names.price_scales[slots], bad)
    _set_decimals(block, "b", [m.q for m in found], names.size_scales[slots], bad)
    return _kept(block, bad)


def quotes(rows: Rows[wire.BookTicker], names: Names, ts_recv: Ints, bad: Faults) -> Block:
    """Return QUOTE records; the venue sends no time with them."""
    found, slots = rows.messages, np.array(rows.slots, np.int64)
    block = _block(rows.at, Kind.QUOTE, names.ids[slots])
    block.records["ts_event"] = ts_recv[block.at]
    block.records["flags"] = Flag.NO_VENUE_TIME
    prices, sizes = names.price_scales[slots], names.size_scales[slots]
    _set_decimals(block, "a", [m.b for m in found], prices, bad)
    _set_decimals(block, "b", [m.a for m in found], prices, bad)
    _set_decimals(block, "c", [m.B for m in found], sizes, bad)
    _set_decimals(block, "d", [m.A for m in found], sizes, bad)
    return _kept(block, bad)


def depths(rows: Rows[wire.DepthUpdate], names: Names, unit_ns: int, bad: Faults) -> Block:
    """Return BOOK records, bids before asks, FIRST and LAST on the ends of each message."""
    found = rows.messages
    block = _levels(rows.at, [(m.b, m.a) for m in found], rows.slots, names, bad)
    counts = [len(m.b) + len(m.a) for m in found]
    block.records["c"] = np.repeat(np.array([m.u for m in found], np.int64), counts)
    events = _block(rows.at, Kind.BOOK, names.ids[np.array(rows.slots, np.int64)])
    _set_times(events, [m.E for m in found], unit_ns, bad)
    block.records["ts_event"] = np.repeat(events.records["ts_event"], counts)
    return _kept(block, bad)


def diffs(rows: Rows[wire.DepthUpdate], names: Names, ats: Ints, bad: Faults) -> list[Diff]:
    """Return the update ids of each message that was not refused, and its rows among `ats`."""
    starts, stops = (np.searchsorted(ats, rows.at, "left"), np.searchsorted(ats, rows.at, "right"))
    return [
        Diff(int(names.ids[slot]), m.E, m.U, m.u, int(start), int(stop))
        for at, m, slot, start, stop in zip(rows.at, rows.messages, rows.slots, starts, stops, strict=True)
        if at not in bad
    ]


def snapshots(rows: Rows[wire.DepthSnapshot], names: Names, ts_recv: Ints, ats: Ints, bad: Faults) -> list[Snapshot]:
    """Return the order books, best level first; an order book has no venue time."""
    found: list[Snapshot] = []
    for at, message, slot in zip(rows.at, rows.messages, rows.slots, strict=True):
        records = _levels([at], [(message.bids, message.asks)], [slot], names, bad).records
        if at not in bad:
            start = int(np.searchsorted(ats, at, "left"))
            stamp = int(ts_recv[at])
            found.append(Snapshot(int(names.ids[slot]), message.last_update_id, start, stamp, records))
    return found


def merged(blocks: Sequence[Block]) -> tuple[Records, Ints]:
    """Return the records of all blocks in the order of their frames, and those frames' indices."""
    if len(blocks) == 1:
        return blocks[0].records, blocks[0].at
    if not blocks:
        return empty(0), np.zeros(0, np.int64)
    at = np.concatenate([block.at for block in blocks])
    order = np.argsort(at, kind="stable")
    return np.concatenate([block.records for block in blocks])[order], at[order]


def _block(at: Sequence[int] | Ints, kind: Kind, instruments: Ints) -> Block:
    records = empty(len(at))
    records["kind"] = kind
    records["instrument"] = instruments
    return Block(np.asarray(at, np.int64), records)


def _levels(
    at: Sequence[int],
    sides: Sequence[tuple[list[wire.Level], list[wire.Level]]],
    slots: Sequence[int],
    names: Names,
    bad: Faults,
) -> Block:
    """Return a BOOK record for each level of messages of (bids, asks), in order."""
    counts = np.array([(len(bids), len(asks)) for bids, asks in sides], np.int64).reshape(-1, 2)
    totals = counts.sum(axis=1)
    slot = np.repeat(np.array(slots, np.int64), totals)
    block = _block(np.repeat(np.array(at, np.int64), totals), Kind.BOOK, names.ids[slot])
    out = block.records
    out["side"] = np.repeat(np.tile(np.array([Side.BUY, Side.SELL], np.uint8), len(counts)), counts.ravel())
    ends = np.cumsum(totals)[totals > 0]
    out["flags"][ends - totals[totals > 0]] |= np.uint32(Flag.FIRST)
    out["flags"][ends - 1] |= np.uint32(Flag.LAST)
    texts = list(chain.from_iterable(chain.from_iterable(chain.from_iterable(sides))))
    _set_decimals(block, "a", texts[0::2], names.price_scales[slot], bad)
    _set_decimals(block, "b", texts[1::2], names.size_scales[slot], bad)
    return block


def _aggressor(buyer_is_maker: list[bool]) -> npt.NDArray[np.uint8]:
    return np.where(buyer_is_maker, np.uint8(Side.SELL), np.uint8(Side.BUY))


def _set_times(block: Block, times: list[int], unit_ns: int, bad: Faults) -> None:
    """Set ts_event from times in the venue's unit."""
    units = np.array(times, np.int64)
    wrong = (units < EARLIEST_NS // unit_ns) | (units >= LATEST_NS // unit_ns)
    if wrong.any():
        for i in np.flatnonzero(wrong):
            detail = f"binance: time {times[int(i)]} in units of {unit_ns} ns is outside the years 2000 to 2100"
            bad.setdefault(int(block.at[i]), (BadReason.BAD_TIME, detail))
        units = np.where(wrong, 0, units)
    block.records["ts_event"] = units * unit_ns


def _set_decimals(block: Block, column: str, texts: Sequence[str], scales: Ints, bad: Faults) -> None:
    """Set a column from decimal text at the scale of each row."""
    block.records[column], verdicts = decimals.parse_many(texts, scales)
    if verdicts.any():
        for i in np.flatnonzero(verdicts):
            why = decimals.Verdict(int(verdicts[i]))
            detail = f"binance: {decimals.WHY[why]}: '{shown(texts[int(i)])}'"
            bad.setdefault(int(block.at[i]), (_REASON[why], detail))


def _kept(block: Block, bad: Faults) -> Block:
    """Return the block without the rows of refused frames."""
    if not bad:
        return block
    keep = ~np.isin(block.at, list(bad))
    return Block(block.at[keep], block.records[keep])
