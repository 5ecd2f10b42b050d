"""Plays recorded frames through the venue's own normaliser, with the spacing and the stamps they had.

Records carry the receive times of the file and REPLAYED, so a day played twice is the same twice, at any
speed. The order book follows as live: a REST depth line (ours, wrapped, or a bare one where the file has
one symbol) becomes the snapshot.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec import Struct

from ticktape.errors import BadSymbol, Misconfigured
from ticktape.model.instruments import AssetClass, Instrument, Listing
from ticktape.model.records import Channel, Completeness, Flag, GapCause, Kind, Records
from ticktape.sources import decimals
from ticktape.sources.binance.book import BookSync
from ticktape.sources.binance.names import Names
from ticktape.sources.binance.normalise import MICROSECOND_NS, MILLISECOND_NS, normalise
from ticktape.sources.binance.source import COMPLETENESS, binance_symbol
from ticktape.sources.capture.lines import Line, read_lines
from ticktape.sources.contract import Bad, Batch, Directory, Hole, Sink, Watched

MOST_LINES = 1000  # in one batch
ALIVE_EVERY_S = 30.0
LINES_AHEAD = 5000
# Milliseconds reach 10**14 in the year 5138 and microseconds passed it in 1973.
_FIRST_MICROSECOND = 10**14
_TIME = re.compile(rb'"[ET]":([0-9]{1,18})[,}]')
_SYMBOL = re.compile(rb'"s":"([A-Z0-9]{1,40})"')
_CHANNEL = {
    Kind.TRADE: Channel.TRADE,
    Kind.AGG_TRADE: Channel.AGG_TRADE,
    Kind.QUOTE: Channel.QUOTE,
    Kind.BOOK: Channel.BOOK,
}


class CaptureSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[sources.capture]`."""

    path: str
    speed: float = 1.0  # 1 keeps the original spacing, 10 is ten times faster, 0 is flat out
    venue: Literal["binance"] = "binance"  # whose frames these are
    time_unit: Literal["auto", "ms", "us"] = "auto"  # auto: by the size of the first time in the file


async def _pause(wait_s: float, sink: Sink) -> None:
    """Wait as the recording did; a long silence in it is no dead source."""
    while wait_s > ALIVE_EVERY_S:
        await asyncio.sleep(ALIVE_EVERY_S)
        wait_s -= ALIVE_EVERY_S
        sink.alive()
    await asyncio.sleep(wait_s)


class CaptureSource:
    """`Source` for one capture file."""

    def __init__(self, settings: CaptureSettings, directory: Directory, name: str = "capture") -> None:
        if settings.speed < 0:
            raise Misconfigured(f"{name}: speed {settings.speed} is below 0")
        self.settings = settings
        self._name = name
        self._names = Names(Enrolling(directory), settings.venue)
        self._unit_ns = {"ms": MILLISECOND_NS, "us": MICROSECOND_NS}.get(settings.time_unit, 0)
        self._books = BookSync()
        self.finished = False  # the file was played to its end

    @property
    def name(self) -> str:
        """The key in the configuration."""
        return self._name

    @property
    def completeness(self) -> Mapping[Channel, Completeness]:
        """As of the venue that was captured."""
        return COMPLETENESS

    @property
    def symbols(self) -> list[str]:
        """Symbols met in the file so far."""
        return list(self._names.slots)

    async def connect(self, sink: Sink) -> None:
        """Play the file once, from its start; returns at its end. Raises Misconfigured for a bad file."""
        await asyncio.to_thread(decimals.warm)
        self._books, self.finished = BookSync(), False
        watched: dict[Watched, None] = {}
        pace = _Pace(self.settings.speed)
        lines: list[Line] = []
        bad: list[Bad] = []
        self._look_ahead()
        for item in read_lines(Path(self.settings.path)):
            wait_s = 0.0 if isinstance(item, Bad) else pace.wait_s(item.ts_recv)
            if wait_s > 0 or len(lines) + len(bad) >= MOST_LINES:
                self._deliver(sink, lines, bad, watched)
                lines, bad = [], []
                await _pause(wait_s, sink)
            if isinstance(item, Bad):
                bad.append(item)
            else:
                lines.append(item)
        self._deliver(sink, lines, bad, watched)
        self.finished = True

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        """Frames to records, as the venue's source does."""
        return self._batch([Line(ts_recv, frame) for frame in frames])

    async def fill(self, hole: Hole) -> AsyncIterator[Batch]:
        """Raise Misconfigured: a file has no more than it holds."""
        raise Misconfigured(f"{self._name}: a capture file has no history to fill a hole from")
        yield  # pragma: no cover  # makes this an async generator, as the contract has it

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Raise Misconfigured: a file plays what it holds."""
        raise Misconfigured(f"{self._name}: a capture file plays the symbols it holds")

    def _deliver(self, sink: Sink, lines: list[Line], bad: list[Bad], watched: dict[Watched, None]) -> None:
        if not lines and not bad:
            return
        batch = self._batch(lines)
        met = dict.fromkeys([*watched, *_met(batch.records)])
        if len(met) > len(watched):
            watched.update(met)
            sink.up(list(watched))
        sink.batch(Batch(batch.records, bad + batch.bad))
        for instrument_id, jump in self._books.take_lost():
            sink.lost(Watched(instrument_id, Channel.BOOK), GapCause.BOOK_SYNC, jump)
        self._books.take_wanted()  # nobody to ask: the file has a snapshot or it has not

    def _look_ahead(self) -> None:
        """Meet the symbols the file starts with: a bare order book is taken only as that of a sole one."""
        for item in islice(read_lines(Path(self.settings.path)), LINES_AHEAD):
            if isinstance(item, Line) and (match := _SYMBOL.search(item.frame[:400])):
                self._names.find(match[1].decode())

    def _batch(self, lines: list[Line]) -> Batch:
        frames = [line.frame for line in lines]
        self._unit_ns = self._unit_ns or _unit_ns(frames)
        stamps = np.array([line.ts_recv for line in lines], np.int64)
        parsed = normalise(frames, stamps, self._names, self._unit_ns or MILLISECOND_NS)
        records = self._books.follow(parsed)
        records["flags"] |= np.uint32(Flag.REPLAYED)
        return Batch(records, parsed.bad)


class Enrolling:
    """A directory that enrols what a file names: what was recorded once was a symbol of the venue.

    A file has no trading rules, so the steps are the smallest the venue can say.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def find(self, vendor: str, name: str) -> Instrument | None:
        """Return the instrument, enrolled now if its name fits the grammar."""
        found = self._directory.find(vendor, name)
        if found is not None:
            return found
        try:
            symbol = binance_symbol(name)
        except BadSymbol:
            return None
        step = Decimal("0.00000001")
        listing = Listing(symbol=symbol, venue=vendor, asset_class=AssetClass.CRYPTO, tick_size=step, size_step=step)
        return self._directory.enrol(vendor, symbol, listing)

    def find_at(self, vendor: str, name: str, at_ns: int) -> Instrument | None:
        """Return what the name meant at a time; a name nobody ever had is enrolled."""
        return self._directory.find_at(vendor, name, at_ns) or self.find(vendor, name)

    def name_of(self, vendor: str, instrument_id: int) -> str | None:
        """Pass on."""
        return self._directory.name_of(vendor, instrument_id)

    def enrol(self, vendor: str, name: str, listing: Listing) -> Instrument:
        """Pass on."""
        return self._directory.enrol(vendor, name, listing)


class _Pace:
    """When a line is due: as long after the first as it was then, divided by the speed."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first_ns: int | None = None
        self._started_s = 0.0

    def wait_s(self, ts_recv: int) -> float:
        """Return the seconds until a line is due, 0 or less when it is."""
        if not self._speed:
            return 0.0
        now_s = asyncio.get_running_loop().time()
        if self._first_ns is None:
            self._first_ns, self._started_s = ts_recv, now_s
        return self._started_s + (ts_recv - self._first_ns) / 1e9 / self._speed - now_s


def _unit_ns(frames: list[bytes]) -> int:
    """Return the time unit of the first frame that says a time, or 0 when none does."""
    for frame in frames:
        if match := _TIME.search(frame[:400]):
            return MICROSECOND_NS if int(match[1]) >= _FIRST_MICROSECOND else MILLISECOND_NS
    return 0


def _met(records: Records) -> list[Watched]:
    """Return what the records are of, in order of instrument and kind."""
    keys = np.unique(records["instrument"].astype(np.int64) << 8 | records["kind"])
    return [Watched(int(key) >> 8, _CHANNEL[Kind(int(key) & 255)]) for key in keys]
