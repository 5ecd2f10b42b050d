"""Bars of every instrument, kept in memory by following the tape. See bar_kernel.py for how."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

from ticktape.errors import Unavailable
from ticktape.model.bars import BAR, TIMEFRAMES, WIDTHS, BarFlag, Bars, Basis
from ticktape.model.records import Flag, Ints, Kind, Records
from ticktape.serve.readers import bar_kernel as kernel
from ticktape.tape.kernels import CHAIN_TRADE
from ticktape.tape.reader import Reader

_MAP_NORESERVE = 0x4000  # Linux; Python names it from 3.12 on
_FRAME_OF = {name: place for place, name in enumerate(TIMEFRAMES)}
_LEFT_OUT = int(Flag.NON_POSITIVE | Flag.CROSSED | Flag.SPIKE)


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

    def _ensure(self, instrument: int) -> None:
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
            return
        ts = int(hit[0]["ts_event"])
        for t, width in enumerate(WIDTHS.tolist()):
            start = ts - ts % width
            window = trades[(trades["ts_event"] >= start) & (trades["ts_event"] < start + width)]
            self._rebuild(instrument * 2 * kernel.FRAMES + t, start, _as_corrected(window))

    def _rebuild(self, which: int, start: int, trades: Records) -> None:
        ring = self._rings[which]
        k = int(kernel.find_place(self._rings[which : which + 1], self._pool, start))
        if k < 0:
            return
        i = int(ring["at"]) + (int(ring["first"]) + k) % int(ring["room"])
        bar = self._pool[i : i + 1]
        revision, flags = int(bar["revision"][0]) + 1, int(bar["flags"][0]) | BarFlag.CORRECTED
        kernel.build_one(bar, start, trades)
        bar["revision"], bar["flags"] = revision, flags

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
