"""Made-up days for the certificate's tests: a busy and a quiet instrument, outages, and the ledger they leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from ticktape.lake.certificate import Series, Subject
from ticktape.lake.certificate_day import KINDS, DaySummary, summary_of
from ticktape.lake.certificate_gaps import concerning, ledger
from ticktape.model.gaps import Gap
from ticktape.model.records import Channel, Completeness, Flag, GapCause, GapState, Kind, Records, empty, pack_gap
from ticktape.model.sessions import DAY_NS, calendar, day_number

DAY = date(2025, 11, 20)
EVE, MORROW = DAY - timedelta(days=1), DAY + timedelta(days=1)
BUSY, QUIET = 7, 8
SECOND_NS = 10**9


def midnight(day: date) -> int:
    return day_number(day) * DAY_NS


def trades(ts: Iterable[int], first_id: int, *, instrument: int = BUSY, seed: int = 5) -> Records:
    """Return trades at these times, in order, with dense ids."""
    times = np.sort(np.fromiter(ts, dtype=np.int64))
    rng = np.random.default_rng(seed)
    out = empty(len(times))
    out["ts_event"], out["ts_recv"] = times, times + 3_000_000
    out["a"], out["b"] = rng.integers(9_000, 11_000, len(times)), rng.integers(1, 500, len(times))
    out["c"] = np.arange(first_id, first_id + len(times))
    out["instrument"], out["source"], out["kind"] = instrument, 1, Kind.TRADE
    out["side"] = rng.integers(1, 3, len(times))
    return out


def spread(day: date, count: int, first_id: int, *, instrument: int = BUSY, seed: int = 5) -> Records:
    """Return trades at random times of a UTC day."""
    times = np.random.default_rng(seed).integers(midnight(day), midnight(day) + DAY_NS, count)
    return trades(times.tolist(), first_id, instrument=instrument, seed=seed)


def gap(
    gap_id: int, start: int, end: int, ids: tuple[int, int] = (0, -1), *, state: GapState = GapState.CLOSED,
    cause: GapCause = GapCause.DISCONNECTED, channel: Channel = Channel.TRADE, instrument: int = BUSY,
) -> Records:  # fmt: skip
    """Return one GAP record, as the recorder writes it."""
    out = empty(1)
    out["ts_event"], out["ts_recv"] = start, end
    out["a"], out["b"], out["c"], out["d"] = gap_id, *ids, pack_gap(cause, channel, end - start)
    out["instrument"], out["source"], out["kind"], out["side"] = instrument, 1, Kind.GAP, state
    return out


def rows(*records: Records, channel: Channel = Channel.TRADE, instrument: int = BUSY) -> list[Gap]:
    return concerning(ledger(np.concatenate([empty(0), *records])), instrument, channel, [1])


def subject(instrument: int = BUSY, name: str = "24/7") -> Subject:
    return Subject(instrument_id=instrument, symbol="BTCUSDT", venue="binance", calendar=name, sources={1: "binance"})


def summaries(
    days: dict[date, Records], gaps: Sequence[Gap] = (), *, instrument: int = BUSY, name: str = "24/7",
    channel: Channel = Channel.TRADE,
) -> list[DaySummary]:  # fmt: skip
    return [summary_of(r, instrument, channel, calendar(name), day, gaps=gaps) for day, r in days.items()]


def series(
    made: Sequence[DaySummary], gaps: Sequence[Gap] = (), *, completeness: Completeness = Completeness.SEQUENCE,
    channel: Channel = Channel.TRADE, has_history: bool = True,
) -> Series:  # fmt: skip
    return Series(channel=channel, completeness=completeness, summaries=made, gaps=gaps, has_history=has_history)


@dataclass
class Store:
    """Raw data of all days, as lake and tape give them."""

    all_records: Records
    all_gaps: Sequence[Gap] = field(default_factory=list[Gap])

    def records(self, instrument_id: int, channel: Channel, start_ns: int, end_ns: int) -> Records:
        r = self.all_records
        ts = r["ts_event"]
        mine = np.isin(r["kind"], KINDS[channel]) & (r["instrument"] == instrument_id)
        return r[mine & (ts >= start_ns) & (ts < end_ns)]

    def gaps(self, instrument_id: int, start_ns: int, end_ns: int) -> Sequence[Gap]:
        touching = (g for g in self.all_gaps if g.start_ns < end_ns and g.end_ns >= start_ns)
        return [g for g in touching if g.instrument_id in (0, instrument_id)]


@dataclass
class Outage:
    """A stretch in which nothing was recorded."""

    start: int
    end: int

    def lost(self, records: Records) -> Records:
        ts = records["ts_event"]
        return (ts > self.start) & (ts < self.end)

    def told(self, gap_id: int, records: Records, state: GapState, *, instrument: int = BUSY) -> Records:
        """Return the GAP record of it: the ids between its neighbours, an empty range where none is missing."""
        ts, ids = records["ts_event"], records["c"]
        before, after = ids[ts <= self.start], ids[ts >= self.end]
        first, last = int(before.max()) + 1, int(after.min()) - 1
        ends = int(ts[ts >= self.end].min())
        return gap(gap_id, self.start, ends, (first, last), state=state, instrument=instrument)


def outages(seed: int, count: int, day: date = DAY) -> list[Outage]:
    """Return outages of 1 s to 5 min that do not touch each other, within the day."""
    rng = np.random.default_rng(seed)
    slots = np.sort(rng.choice(np.arange(1, 140), count, replace=False)) * 600 * SECOND_NS
    starts = midnight(day) + slots + rng.integers(0, 250 * SECOND_NS, count)
    lengths = rng.integers(SECOND_NS, 300 * SECOND_NS, count)
    return [Outage(int(a), int(a + n)) for a, n in zip(starts, lengths, strict=True)]


def without(records: Records, several: Sequence[Outage]) -> Records:
    """Return what is left after outages."""
    gone = np.zeros(len(records), dtype=np.bool_)
    for outage in several:
        gone |= outage.lost(records)
    return records[~gone]


def refilled(records: Records, several: Sequence[Outage]) -> Records:
    """Return everything, with what outages took coming late from history, at the end of the tape."""
    gone = np.zeros(len(records), dtype=np.bool_)
    for outage in several:
        gone |= outage.lost(records)
    late = records[gone].copy()
    late["flags"] |= int(Flag.BACKFILLED)
    late["ts_recv"] += 60 * SECOND_NS
    return np.concatenate([records[~gone], late])
