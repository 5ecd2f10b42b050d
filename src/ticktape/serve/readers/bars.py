"""Bars of every instrument, kept in memory by following the tape. See bar_kernel.py for how."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ticktape.errors import Unavailable
from ticktape.model.bars import BAR, TIMEFRAMES, WIDTHS, BarFlag, Bars, Basis, wide
from ticktape.model.records import Flag, Ints, Kind, Records
from ticktape.serve.readers import bar_kernel as kernel
from ticktape.serve.readers import time_kernel
from ticktape.tape.kernels import CHAIN_TRADE
from ticktape.tape.reader import Reader

_MAP_NORESERVE = 0x4000  # Linux; Python names it from 3.12 on
_FRAME_OF = {name: place for place, name in enumerate(TIMEFRAMES)}
NEVER_NS = -(2**63)
_LEFT_OUT = int(Flag.NON_POSITIVE | Flag.CROSSED | Flag.SPIKE)


class Key(NamedTuple):
    """Whose bars: an instrument's, of trades (or where it has none, of aggregated trades) or of quotes."""

    instrument_id: int
    basis: Basis
    aggregated: bool = False


class BarReader:
    """The latest bars by instrument, timeframe and basis.

    Every ring has its full room from the start, in addresses that cost no memory until a bar is written there.
    """

    def __init__(self) -> None:
        self._rings: Any = np.zeros(0, dtype=kernel.RING)
        self._parts: Bars = kernel.new_bars(0)
        self._marks: Ints = np.zeros(0, dtype=np.int64)
        self._kinds = np.zeros(0, dtype=np.uint8)
        self._clock: Ints = np.zeros(4, dtype=np.int64)
        self._dirty: Ints = np.zeros(1024, dtype=np.int64)
        self._pool: Bars = _addresses(kernel.POOL_BYTES)
        self._used = 0
        self.trimmed = False  # the tape that is followed no longer has its beginning
        self.unsettled = 0  # bars that a correction touches and that what is in memory cannot tell anew
        self._ensure(15)

    # -- following ---------------------------------------------------------------------------------

    def absorb(self, reader: Reader, start: int, stop: int) -> None:
        """Build bars from the records [start, stop). Stays within what `reader` has mapped."""
        position = start
        while position < stop:
            position, why, which = kernel.absorb(
                reader.records, reader.base, position, stop,
                self._rings, self._pool, self._parts, self._marks, self._kinds, self._clock, self._dirty,
            )  # fmt: skip
            if why == kernel.NEW_INSTRUMENT:
                self._ensure(which)
            elif why == kernel.NEW_RINGS:
                self._place_rings(which)
            elif why == kernel.REVISE:
                self._revise(reader, which)
                position += 1

    def pass_over(self, reader: Reader, start: int, stop: int) -> None:
        """Read the time off the records [start, stop), whose bars were installed."""
        while True:
            start = int(
                time_kernel.pass_over(reader.records, reader.base, start, stop, self._marks, self._kinds, self._clock)
            )
            if start >= stop:
                return
            self._ensure(int(reader.records[start - reader.base]["instrument"]))

    # -- what was built elsewhere ------------------------------------------------------------------

    def install(self, key: Key, frames: Sequence[Bars], whole: Sequence[bool]) -> None:
        """Begin with bars that were built before, by timeframe, oldest first; `whole`: there are none before these.

        Only before anything of that instrument and basis was absorbed.
        """
        self._ensure(key.instrument_id)
        place = key.instrument_id * 2 + key.basis
        if self._rings["room"][place * kernel.FRAMES] == 0:
            self._place_rings(place)
        for t, bars in enumerate(frames):
            ring = self._rings[place * kernel.FRAMES + t]
            kept = bars[-int(ring["room"]) :]
            at = int(ring["at"])
            self._pool[at : at + len(kept)] = kept
            if whole[t] and len(kept) and not kept[0]["flags"] & BarFlag.FILLED:
                self._pool["flags"][at] |= np.uint32(BarFlag.PARTIAL)
            ring["count"] = len(kept)
        if key.basis == Basis.TRADES:
            self._kinds[key.instrument_id] = Kind.AGG_TRADE if key.aggregated else Kind.TRADE

    def tell_time(self, key: Key, venue_ns: int) -> None:
        """Take in the newest venue time of an instrument that was installed."""
        place = key.instrument_id * 2 + key.basis
        self._marks[place] = max(int(self._marks[place]), venue_ns)

    def set_clock(self, venue_ns: int) -> None:
        """Say what the venue's clock showed where the tape begins; its CLOCK records carry it on from there."""
        self._clock[kernel.VENUE_NOW] = self._clock[kernel.NEWEST] = venue_ns

    def _ensure(self, instrument: int) -> None:
        if instrument < len(self._kinds):
            return
        old, need = len(self._kinds), max(instrument + 1, 2 * len(self._kinds))
        self._parts = _grown(self._parts, 2 * need)
        self._marks = _grown(self._marks, 2 * need)
        self._kinds = _grown(self._kinds, need)
        self._rings = _grown(self._rings, 2 * need * kernel.FRAMES)
        self._rings["room"][2 * old * kernel.FRAMES :] = 0

    def _place_rings(self, key: int) -> None:
        for t, room in enumerate(kernel.ROOM.tolist()):
            self._rings[key * kernel.FRAMES + t] = (self._used, room, 0, 0, 0)
            self._used += room
        if self._used > len(self._pool):
            raise Unavailable(
                f"bars of {self._used // kernel.RINGS_BARS} instruments: more than there are addresses for"
            )

    # -- corrections -------------------------------------------------------------------------------

    def _revise(self, reader: Reader, position: int) -> None:
        # A trade was taken back or changed: its bars are built again from what the tape has of their windows.
        notice = reader.records[position - reader.base]
        instrument, number = int(notice["instrument"]), int(notice["c"])
        trades = _trades(reader, instrument, position, int(WIDTHS[-1]), number)
        hit = trades[trades["c"] == number]
        if len(hit) == 0:
            self.unsettled += self.trimmed
            return
        ts = int(hit[0]["ts_event"])
        reach = int(trades["ts_event"].min()) if self.trimmed else NEVER_NS  # what was trimmed is not among them
        settled = True
        for t, width in enumerate(WIDTHS.tolist()):
            start = ts - ts % width
            which = instrument * 2 * kernel.FRAMES + t
            if reach < start:
                window = trades[(trades["ts_event"] >= start) & (trades["ts_event"] < start + width)]
                self._rebuild(which, start, _as_corrected(window))
                continue
            settled = settled and t > 0 and self._rejoin(which, start, width)
            self.unsettled += not settled and self._at(which, start) is not None

    def _at(self, which: int, start: int) -> int | None:
        ring = self._rings[which]
        k = int(kernel.find_place(self._rings[which : which + 1], self._pool, start))
        return None if k < 0 else int(ring["at"]) + (int(ring["first"]) + k) % int(ring["room"])

    def _rebuild(self, which: int, start: int, trades: Records) -> None:
        i = self._at(which, start)
        if i is None:
            return
        bar = self._pool[i : i + 1]
        revision, flags = int(bar["revision"][0]) + 1, int(bar["flags"][0]) | BarFlag.CORRECTED
        kernel.build_one(bar, start, trades)
        bar["revision"], bar["flags"] = revision, flags

    def _rejoin(self, which: int, start: int, width: int) -> bool:
        """Add up a bar from those of the next finer timeframe, corrected before it. False where some are not kept."""
        i, finer = self._at(which, start), self._rings[which - 1]
        kept = kernel.new_bars(int(finer["count"]))
        kernel.copy_last(self._rings[which - 1 : which], self._pool, len(kept), kept)
        if len(kept) == 0 or (finer["count"] == finer["room"] and kept["start"][0] > start):
            return False
        if i is None:
            return True
        parts = kept[(kept["start"] >= start) & (kept["start"] < start + width)]
        add_up(self._pool[i : i + 1], parts[parts["count"] > 0])
        self._pool["revision"][i] += 1
        self._pool["flags"][i] |= np.uint32(BarFlag.CORRECTED)
        return True

    # -- asking ------------------------------------------------------------------------------------

    def latest(self, instrument_id: int, timeframe: str, basis: Basis, n: int) -> Bars:
        """Return the last n bars, oldest first, the forming one last. Fewer when there are fewer.

        `timeframe` is a key of TIMEFRAMES. A window without a tick has no bar: ask the gaps why.
        """
        if instrument_id >= len(self._kinds) or n <= 0:
            return kernel.new_bars(0)
        which = (instrument_id * 2 + basis) * kernel.FRAMES + _FRAME_OF[timeframe]
        out = kernel.new_bars(min(n, int(self._rings[which]["count"])))
        kernel.copy_last(self._rings[which : which + 1], self._pool, len(out), out)
        return out[out["count"] > 0]

    def watermark_ns(self, instrument_id: int, basis: Basis = Basis.TRADES) -> int:
        """Return the venue time up to which bars are closed: those with start + width at or before it."""
        key = instrument_id * 2 + basis
        mark = int(self._marks[key]) if key < len(self._marks) else 0
        return max(mark, int(self._clock[kernel.VENUE_NOW]) - kernel.GRACE_NS)

    @property
    def too_old(self) -> int:
        """How many ticks were older than every bar still kept in memory; the tape has them."""
        return int(self._clock[kernel.TOO_OLD])


def add_up(bar: Bars, parts: Bars) -> None:
    """Make bar[0] the sum of its parts, which may be none; its start, revision and flags stay."""
    if len(parts) == 0:
        bar["count"] = 0
        return
    opens = parts[np.lexsort((parts["open_id"], parts["open_ts"]))[0]]
    closes = parts[np.lexsort((parts["close_id"], parts["close_ts"]))[-1]]
    for name in ("open_ts", "open_id", "open"):
        bar[name] = opens[name]
    for name in ("close_ts", "close_id", "close"):
        bar[name] = closes[name]
    bar["high"], bar["low"], bar["count"] = parts["high"].max(), parts["low"].min(), parts["count"].sum()
    for name in ("volume", "notional"):
        total = sum(wide(high, low) for high, low in parts[[f"{name}_high", f"{name}_low"]].tolist())
        bar[f"{name}_high"], bar[f"{name}_low"] = total >> 64, total & (2**64 - 1)


def _addresses(size: int) -> Bars:
    # Never more than addresses: the system gives memory page by page as bars are written.
    span = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE)
    return np.frombuffer(span, dtype=BAR, count=size // BAR.itemsize)


def _grown(array: Any, size: int) -> Any:
    bigger = np.zeros(size, dtype=array.dtype)
    bigger[: len(array)] = array
    return bigger


def _trades(reader: Reader, instrument: int, position: int, span_ns: int, number: int) -> Records:
    # Walk the trades' chain back until a day before the oldest that could share a bar with the corrected one.
    n = 1024
    while True:
        found = reader.latest(instrument, CHAIN_TRADE, n).records
        if len(found) < n or _reaches(found, number, span_ns):
            return found
        n *= 4


def _reaches(found: Records, number: int, span_ns: int) -> bool:
    hit = found[(found["c"] == number) & (found["kind"] == Kind.TRADE)]
    return len(hit) > 0 and int(found["ts_event"].min()) < int(hit[0]["ts_event"]) - span_ns


def _as_corrected(window: Records) -> Records:
    # The last word on each trade counts; a cancelled one is gone, and so is what bars leave out anyway.
    out = window[(window["kind"] == Kind.TRADE) & (window["flags"] & _LEFT_OUT == 0)].copy()
    for notice in window[window["kind"] != Kind.TRADE]:
        same = out["c"] == notice["c"]
        if notice["kind"] == Kind.CANCEL:
            out = out[~same]
        else:
            out["a"][same], out["b"][same] = notice["a"], notice["b"]
    return out
