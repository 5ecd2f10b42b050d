"""What one channel of an instrument stored on one day, in half a kilobyte: all that a certificate needs of raw ticks.

A summary is made once, when a day is closed, and kept in the lake's `quality` table as JSON; a certificate of a year
then reads no tick. Deep mode makes it anew from the raw records and compares (`differences`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from msgspec import Struct

from ticktape.lake import certificate_ids as ids_of
from ticktape.lake.certificate_hash import HOUR_NS, VERSION, DayHash, canonical, hours
from ticktape.model.gaps import Gap
from ticktape.model.records import Channel, Flag, GapCause, Ints, Kind, Records
from ticktape.model.sessions import DAY_NS, MINUTE_NS, Calendar, Window, day_number

Basis = Literal["utc", "trade_date"]

KINDS: dict[Channel, tuple[Kind, ...]] = {
    Channel.TRADE: (Kind.TRADE, Kind.CORRECT, Kind.CANCEL),
    Channel.QUOTE: (Kind.QUOTE,),
    Channel.BOOK: (Kind.BOOK,),
    Channel.AGG_TRADE: (Kind.AGG_TRADE,),
}
MOST_JUMP = 10_000_000  # between ids; beyond it is a new numbering, as the judge has it (record/append.py, max_hole)
MOST_RANGES = 2048  # kept of one day's ids; a day with more holes than this is told by its counts
_SILENCES = 4  # the longest kept
_ONE_ID_ONE_RECORD = (Channel.TRADE, Channel.AGG_TRADE)  # a book message is several records under one id


class Past(Protocol):
    """Where certificates get raw data from: lake and tape as one."""

    def records(self, instrument_id: int, channel: Channel, start_ns: int, end_ns: int) -> Records:
        """Return all records of a channel, corrections included, with start <= ts_event < end, in any order."""
        ...

    def gaps(self, instrument_id: int, start_ns: int, end_ns: int) -> Sequence[Gap]:
        """Return the gaps that touch a window: of the instrument, of its whole sources, and of the recorder."""
        ...


class Numbering(Struct, frozen=True, array_like=True):
    """One run of the venue's ids; a day has more than one only where the venue numbered anew (a RESET gap)."""

    first_id: int
    last_id: int
    count: int  # different ids stored
    ranges: list[tuple[int, int]]  # of ids stored, both ends included; the largest holes only when `cut`
    cut: bool = False  # more than MOST_RANGES ranges: what is missing is told by first_id, last_id and count
    from_ns: int = 0  # the venue time this numbering begins and ends at
    to_ns: int = 0


class Silence(Struct, frozen=True, array_like=True):
    """Open time without a record."""

    start_ns: int
    end_ns: int
    open_ns: int  # how much of it the market was open


class DaySummary(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One channel of one instrument on one day. Counts are of stored records."""

    instrument_id: int
    channel: str  # trade, quote, book, agg_trade
    basis: Basis
    date: date
    start_ns: int
    end_ns: int
    records: int = 0
    first_ts: int | None = None
    last_ts: int | None = None
    hash: str = ""  # of what the market said; certificate_hash.py
    stored_hash: str = ""  # the same with our times and flags
    hash_version: str = VERSION
    numberings: list[Numbering] = []
    sources: dict[int, int] = {}  # records by source id
    flags: dict[str, int] = {}  # records by flag; what nobody has is left out
    duplicates: int = 0  # records of an id stored before; the judge lets none in
    corrected: int = 0
    cancelled: int = 0
    outside: int = 0  # records while the market was closed, extended hours included
    volume: str = "0"  # sum of sizes at the instrument's scale, exact; cancelled and corrected ones not taken out
    minutes: int = 0  # different minutes of open time with a record
    silences: list[Silence] = []  # the longest in open time, longest first


def encode(summary: DaySummary) -> bytes:
    """Return a summary as the JSON that is stored."""
    return msgspec.json.encode(summary)


def decode(data: bytes) -> DaySummary:
    """Return what `encode` wrote."""
    return msgspec.json.decode(data, type=DaySummary)


def day_window(calendar: Calendar, day: date, basis: Basis) -> Window:
    """Return the time a day's certificate is about. Raises BadInput for a day that is no trade date."""
    if basis == "trade_date":
        return calendar.window(day)
    start = day_number(day) * DAY_NS
    return Window(start, start + DAY_NS)


def summarise(
    past: Past, instrument_id: int, channel: Channel, calendar: Calendar, day: date, *, basis: Basis = "utc",
    read_ns: int = DAY_NS,
) -> DaySummary:  # fmt: skip
    """Read one day and return its summary. `read_ns`, whole hours, bounds what is in memory at once."""
    window = day_window(calendar, day, basis)
    tally = _Tally(calendar, window, resets_of(past.gaps(instrument_id, *window), channel))
    at = window.start_ns
    while at < window.end_ns:
        until = min(at // HOUR_NS * HOUR_NS + max(read_ns // HOUR_NS, 1) * HOUR_NS, window.end_ns)
        tally.add(past.records(instrument_id, channel, at, until), channel)
        at = until
    return tally.summary(instrument_id, channel, day, basis)


def resets_of(gaps: Sequence[Gap], channel: Channel) -> list[tuple[int, bool]]:
    """Return when the venue may have numbered a channel anew, and whether it did: all that a summary takes of gaps."""
    return sorted(
        (row.start_ns, row.cause == GapCause.RESET)
        for row in gaps
        if row.channel in (channel, Channel.ALL) and row.may_renumber
    )


def summary_of(
    records: Records, instrument_id: int, channel: Channel, calendar: Calendar, day: date, *, basis: Basis = "utc",
    gaps: Sequence[Gap] = (),
) -> DaySummary:  # fmt: skip
    """Return the summary of records at hand; what does not belong to the day, instrument and channel is left out."""
    return summarise(_AtHand(records, gaps), instrument_id, channel, calendar, day, basis=basis)


class _AtHand:
    def __init__(self, records: Records, gaps: Sequence[Gap]) -> None:
        self._records, self._gaps = records, gaps

    def records(self, instrument_id: int, channel: Channel, start_ns: int, end_ns: int) -> Records:
        del channel  # the kinds are chosen by who asks
        ts = self._records["ts_event"]
        return self._records[(ts >= start_ns) & (ts < end_ns) & (self._records["instrument"] == instrument_id)]

    def gaps(self, instrument_id: int, start_ns: int, end_ns: int) -> Sequence[Gap]:
        return [
            row
            for row in self._gaps
            if row.instrument_id in (0, instrument_id) and row.start_ns < end_ns and row.end_ns >= start_ns
        ]


class _Tally:
    # What is known of a day so far; takes in stretches of whole hours, ascending.
    def __init__(self, calendar: Calendar, window: Window, resets: list[tuple[int, bool]]) -> None:
        self._calendar, self._window, self._resets = calendar, window, resets
        self._hash = DayHash()
        self._ids: list[Ints] = []
        self._times: list[Ints] = []
        self._silences: list[Silence] = []
        self._last_ns = window.start_ns
        self._facts: dict[str, Any] = {"first_ts": None, "last_ts": None}
        self._sums = dict.fromkeys(("records", "corrected", "cancelled", "outside", "volume", "minutes"), 0)
        self._sources: dict[int, int] = {}
        self._flags: dict[str, int] = {}

    def add(self, records: Records, channel: Channel) -> None:
        kinds = np.array([int(kind) for kind in KINDS[channel]], dtype=np.uint8)
        records = records[np.isin(records["kind"], kinds)]
        if len(records) == 0:
            return
        records = canonical(records)
        ts: Ints = records["ts_event"].astype(np.int64)
        for first, end in hours(ts):
            self._hash.add_hour(records[first:end])
        self._count(records)
        self._watch(ts)
        named = np.isin(records["kind"], (Kind.TRADE, Kind.AGG_TRADE, Kind.BOOK))
        self._ids.append(records["c"][named].astype(np.int64))
        self._times.append(ts[named])

    def _count(self, records: Records) -> None:
        sums, kinds = self._sums, records["kind"]
        sums["records"] += len(records)
        sums["corrected"] += int((kinds == Kind.CORRECT).sum())
        sums["cancelled"] += int((kinds == Kind.CANCEL).sum())
        traded = records["b"][(kinds == Kind.TRADE) | (kinds == Kind.AGG_TRADE)]
        sums["volume"] += exact_sum(traded)
        for source, count in zip(*np.unique(records["source"], return_counts=True), strict=True):
            self._sources[int(source)] = self._sources.get(int(source), 0) + int(count)
        flags = records["flags"]
        any_flag = int(np.bitwise_or.reduce(flags))
        for flag in Flag:
            if any_flag & flag:
                name = str(flag.name).lower()
                self._flags[name] = self._flags.get(name, 0) + int(((flags & int(flag)) != 0).sum())

    def _watch(self, ts: Ints) -> None:
        calendar = self._calendar
        self._sums["outside"] += int((~calendar.open_mask(ts, extended=True)).sum())
        minutes = ts // MINUTE_NS
        opened = minutes[calendar.open_mask(ts)]
        self._sums["minutes"] += int((np.diff(opened) > 0).sum()) + 1 if len(opened) else 0
        steps = np.diff(ts, prepend=self._last_ns)
        longest = np.argpartition(steps, -16)[-16:] if len(steps) > 16 else np.arange(len(steps))
        for i in longest.tolist():
            self._silent(int(ts[i] - steps[i]), int(ts[i]))
        if self._facts["first_ts"] is None:
            self._facts["first_ts"] = int(ts[0])
        self._facts["last_ts"] = self._last_ns = int(ts[-1])

    def _silent(self, start_ns: int, end_ns: int) -> None:
        opened = self._calendar.expected_open_ns(start_ns, end_ns)
        if opened > 0:
            self._silences.append(Silence(start_ns, end_ns, opened))

    def summary(self, instrument_id: int, channel: Channel, day: date, basis: Basis) -> DaySummary:
        self._silent(self._last_ns, self._window.end_ns)
        self._silences.sort(key=lambda s: (-s.open_ns, s.start_ns))
        ids, times = _flat(self._ids), _flat(self._times)
        numberings = [] if channel == Channel.QUOTE else numberings_of(ids, times, self._resets)
        once = channel in _ONE_ID_ONE_RECORD
        sums = self._sums
        return DaySummary(
            instrument_id=instrument_id,
            channel=channel.name.lower(),
            basis=basis,
            date=day,
            start_ns=self._window.start_ns,
            end_ns=self._window.end_ns,
            records=sums["records"],
            first_ts=self._facts["first_ts"],
            last_ts=self._facts["last_ts"],
            hash=self._hash.market(),
            stored_hash=self._hash.stored(),
            numberings=numberings,
            sources=self._sources,
            flags=self._flags,
            duplicates=len(ids) - sum(n.count for n in numberings) if once else 0,
            corrected=sums["corrected"],
            cancelled=sums["cancelled"],
            outside=sums["outside"],
            volume=str(sums["volume"]),
            minutes=sums["minutes"],
            silences=self._silences[:_SILENCES],
        )


def _flat(parts: list[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def exact_sum(values: Ints) -> int:
    """Return the sum of int64 values, which may not fit into one."""
    low, high = values & 0xFFFF_FFFF, values >> 32  # a day has far less than 2**31 records
    return (int(high.sum()) << 32) + int(low.sum())


def numberings_of(ids: Ints, times: Ints, resets: Sequence[tuple[int, bool]] = ()) -> list[Numbering]:
    """Return the runs of ids that a day's records form, cut where the venue numbered anew.

    times (n,) ascending. A reset is (venue time of the last record before it, whether it is certain): one that is not
    counts where ids go down or jump further than a gap can be. Records of that very time go to the nearer side.
    """
    parts = [(ids, times)]
    for at, certain in resets:
        ids, times = parts[-1]
        cut = int(np.searchsorted(times, at, side="right"))
        if not 0 < cut < len(ids):
            continue
        low, high = (ids[:cut], times[:cut]), (ids[cut:], times[cut:])
        jump = int(high[0].min()) - int(low[0].max())
        if certain or jump > MOST_JUMP or (jump < 0 and int(high[0].max()) < int(low[0].max())):
            parts[-1:] = _settled(low, high)
    return [_numbering(part, when) for part, when in parts if len(part)]


def _settled(
    before: tuple[Ints, Ints], after: tuple[Ints, Ints]
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:  # fmt: skip
    ids, times = before
    tied = times == times[-1]
    rest = ids[~tied]
    if not len(rest):
        return before, after
    stray = tied & (np.abs(ids - after[0].min()) < np.abs(ids - rest.max()))
    moved = (np.concatenate((ids[stray], after[0])), np.concatenate((times[stray], after[1])))
    return (ids[~stray], times[~stray]), moved


def _numbering(ids: Ints, times: Ints) -> Numbering:
    have = ids_of.of_ids(ids)
    count, cut = ids_of.size(have), len(have) > MOST_RANGES
    first, last = int(have[0, 0]), int(have[-1, 1])
    if cut:  # keep the largest holes: ranges in between are told as one
        gaps = ids_of.holes(have)
        largest = np.sort(np.argsort(gaps[:, 0] - gaps[:, 1], kind="stable")[: MOST_RANGES - 1])
        kept = gaps[largest]
        have = ids_of.without(np.array([[first, last]], dtype=np.int64), kept)
    spans = [(int(a), int(b)) for a, b in have.tolist()]
    return Numbering(first, last, count, spans, cut, int(times[0]), int(times[-1]))


def differences(kept: DaySummary, fresh: DaySummary) -> list[str]:
    """Say where a summary made anew from raw data differs from the one that was kept; empty when it does not."""
    told: list[str] = []
    for name in DaySummary.__struct_fields__:
        was, now = getattr(kept, name), getattr(fresh, name)
        if was != now:
            told.append(f"{name}: {was} was kept, {now} is stored" if name != "numberings" else "ids: differ")
    return told
