"""Bars against a plain builder, and against themselves: any order, any batches, the same bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticktape.model.bars import SECOND_NS, TIMEFRAMES, BarFlag, Bars, Basis, wide
from ticktape.model.records import RECORD, Flag, Kind, Records
from ticktape.serve.readers.bar_kernel import GRACE_NS, ROOM
from ticktape.serve.readers.bars import BarReader
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

T0 = 1_700_000_000 * SECOND_NS - 1_700_000_000 * SECOND_NS % (86_400 * SECOND_NS)
CONTENT = [
    "start",
    "open",
    "high",
    "low",
    "close",
    "volume_high",
    "volume_low",
    "notional_high",
    "notional_low",
    "count",
]


@dataclass
class Tape:
    """Stands where a Reader does: an array of records."""

    records: Records
    base: int = 0


def trades(rows: Sequence[tuple[int, int, int, int]], instrument: int = 1) -> Records:
    """Return trades from (ns after T0, venue id, price, size)."""
    records = np.zeros(len(rows), dtype=RECORD)
    for record, (after, number, price, size) in zip(records, rows, strict=True):
        record["ts_event"] = record["ts_recv"] = T0 + after
        record["c"], record["a"], record["b"] = number, price, size
    records["kind"], records["instrument"], records["source"] = Kind.TRADE, instrument, 1
    return records


def clock(monotonic_ns: int, wall_ns: int = T0) -> Records:
    record = np.zeros(1, dtype=RECORD)
    record["kind"], record["a"], record["b"], record["ts_recv"] = Kind.CLOCK, wall_ns, monotonic_ns, wall_ns
    return record


def built(*parts: Records) -> BarReader:
    """Return the bars of the parts, each taken in by one call."""
    bars, tape = BarReader(), Tape(np.concatenate(parts))
    position = 0
    for part in parts:
        bars.absorb(tape, position, position + len(part))  # pyright: ignore[reportArgumentType]
        position += len(part)
    return bars


def content(bars: BarReader, instrument: int = 1) -> dict[str, list[Any]]:
    """Return what every bar of an instrument holds, times of revision apart."""
    return {frame: bars.latest(instrument, frame, Basis.TRADES, 10_000)[CONTENT].tolist() for frame in TIMEFRAMES}


def plainly(records: Records, width: int) -> list[tuple[int, ...]]:
    """Build the same bars the slow way, with Python's integers."""
    out: list[tuple[int, ...]] = []
    starts = records["ts_event"] - records["ts_event"] % width
    for start in sorted(set(starts.tolist())):
        rows = sorted(records[starts == start].tolist(), key=lambda r: (r[0], r[4]))
        prices = [r[2] for r in rows]
        volume, notional = sum(r[3] for r in rows), sum(r[2] * r[3] for r in rows)
        out.append((start, prices[0], max(prices), min(prices), prices[-1], volume, notional, len(rows)))
    return out


def as_plain(bars: Bars) -> list[tuple[int, ...]]:
    return [
        (
            *(int(b[n]) for n in ("start", "open", "high", "low", "close")),
            wide(b["volume_high"], b["volume_low"]),
            wide(b["notional_high"], b["notional_low"]),
            int(b["count"]),
        )
        for b in bars
    ]


ticks = st.lists(
    st.tuples(st.integers(0, 3 * 86_400 * SECOND_NS), st.integers(1, 2**62), st.integers(-(2**62), 2**62)),
    min_size=1,
    max_size=80,
)


@settings(deadline=None, max_examples=60)
@given(ticks, st.lists(st.integers(1, 20), min_size=1, max_size=10))
def test_every_timeframe_equals_a_plain_builder_whatever_the_batches(
    rows: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    records = trades([(after, k + 1, price, size) for k, (after, size, price) in enumerate(rows)])
    parts = np.split(records, sorted({c for c in cuts if c < len(records)}))
    bars = built(*(p for p in parts if len(p)))
    for frame, width in TIMEFRAMES.items():
        assert as_plain(bars.latest(1, frame, Basis.TRADES, 10_000)) == plainly(records, width)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_r18_shuffled_input_ends_in_the_same_bars_as_sorted(seed: int, instruments: int) -> None:
    chance = np.random.default_rng(seed)
    n = 400
    records = trades(
        [(int(t), k + 1, 100 + k % 7, 1 + k % 5) for k, t in enumerate(chance.integers(0, 7_200, n) * SECOND_NS // 4)]
    )
    records["instrument"] = chance.integers(1, instruments + 1, n)
    records.sort(order=["ts_event", "c"])
    shuffled = records[chance.permutation(n)]
    for instrument in range(1, instruments + 1):
        assert content(built(records), instrument) == content(built(shuffled), instrument)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 50))
def test_bars_are_byte_identical_for_every_batch_size(seed: int, size: int) -> None:
    chance = np.random.default_rng(seed)
    n = 300
    records = trades(
        [(int(t), k + 1, 100 + k % 7, 1) for k, t in enumerate(chance.integers(0, 40, n) * SECOND_NS // 3)]
    )
    records["flags"][chance.random(n) < 0.05] = Flag.SPIKE
    records["flags"][chance.random(n) < 0.05] = Flag.BACKFILLED
    for k in range(0, n, 40):
        records[k] = clock(k * SECOND_NS // 10)[0]
    whole, cut = built(records), built(*(records[k : k + size] for k in range(0, n, size)))
    for frame in TIMEFRAMES:
        assert whole.latest(1, frame, Basis.TRADES, 999).tobytes() == cut.latest(1, frame, Basis.TRADES, 999).tobytes()


def test_a_trade_after_the_close_raises_the_revision_and_says_late() -> None:
    bars = built(trades([(0, 1, 100, 1), (SECOND_NS, 2, 101, 1), (SECOND_NS // 2, 3, 99, 1)]))
    first, second = bars.latest(1, "1s", Basis.TRADES, 2)
    assert (first["revision"], first["flags"] & BarFlag.LATE, first["low"], first["close"]) == (1, BarFlag.LATE, 99, 99)
    assert (second["revision"], second["flags"]) == (0, 0)
    assert bars.latest(1, "1m", Basis.TRADES, 1)["revision"] == 0, "the minute was still forming"


def test_clock_records_close_a_quiet_bar_and_a_set_clock_closes_nothing() -> None:
    bars = built(trades([(0, 1, 100, 1)]), clock(SECOND_NS), clock(SECOND_NS + 1, wall_ns=T0 + 3600 * SECOND_NS))
    assert bars.watermark_ns(1) == T0, "an hour forward on the wall is no time at the venue"
    bars = built(trades([(0, 1, 100, 1)]), clock(SECOND_NS), clock(4 * SECOND_NS))
    assert bars.watermark_ns(1) == T0 + 3 * SECOND_NS - GRACE_NS


def test_r12_a_tick_from_the_future_does_not_close_the_present() -> None:
    records = trades([(0, 1, 100, 1), (3600 * SECOND_NS, 2, 100, 1)])
    records["ts_recv"] = T0
    assert built(records).watermark_ns(1) == T0


def test_r21_spikes_crossed_and_non_positive_ticks_stay_out_of_bars() -> None:
    records = trades([(k, k + 1, 100, 1) for k in range(4)])
    records["flags"][1:] = [Flag.SPIKE, Flag.CROSSED, Flag.NON_POSITIVE]
    assert built(records).latest(1, "1d", Basis.TRADES, 1)["count"] == 1


def test_quotes_make_bars_of_twice_the_mid() -> None:
    records = trades([(0, 0, 0, 0), (1, 0, 0, 0)])
    records["kind"], records["a"], records["b"] = Kind.QUOTE, [100, 104], [102, 106]
    bar = built(records).latest(1, "1m", Basis.QUOTES, 1)[0]
    assert (bar["open"], bar["close"], bar["count"], bar["volume_low"]) == (202, 210, 2, 0)


def test_an_exact_volume_beyond_64_bits() -> None:
    size = 10**10 * 10**8  # ten thousand million units with eight decimals
    bars = built(trades([(k, k + 1, 123_456_789, size) for k in range(100)]))
    bar = bars.latest(1, "1d", Basis.TRADES, 1)[0]
    assert wide(bar["volume_high"], bar["volume_low"]) == 100 * size
    assert wide(bar["notional_high"], bar["notional_low"]) == 100 * size * 123_456_789


def test_aggregated_trades_make_bars_only_where_there_are_no_trades() -> None:
    aggregated = trades([(k, k + 1, 100, 1) for k in range(3)])
    aggregated["kind"] = Kind.AGG_TRADE
    assert built(aggregated).latest(1, "1d", Basis.TRADES, 1)["count"] == 3
    assert built(trades([(0, 1, 100, 1)]), aggregated).latest(1, "1d", Basis.TRADES, 1)["count"] == 1


def test_memory_is_bounded_and_what_is_too_old_is_counted() -> None:
    seconds = int(ROOM[0]) + 100
    bars = built(trades([(k * SECOND_NS, k + 1, 100 + k, 1) for k in range(seconds)]), trades([(0, 9, 5, 1)]))
    kept = bars.latest(1, "1s", Basis.TRADES, 10_000)
    assert len(kept) == ROOM[0]
    assert kept["start"][0] == T0 + 100 * SECOND_NS
    assert bars.too_old == 1
    assert bars.latest(1, "1d", Basis.TRADES, 1)["count"] == seconds + 1


def test_the_first_bars_say_that_recording_began_inside_them() -> None:
    bars = built(trades([(0, 1, 100, 1), (SECOND_NS, 2, 101, 1)]))
    assert (bars.latest(1, "1s", Basis.TRADES, 2)["flags"] == [BarFlag.PARTIAL, 0]).all()


@pytest.mark.parametrize("change", ["cancel", "correct"])
def test_r22_a_correction_revises_every_bar_it_touches(tmp_path: Path, change: str) -> None:
    writer = Writer(tmp_path, capacity=1024)
    writer.append(trades([(0, 1, 100, 1), (1, 2, 500, 7), (2, 3, 90, 1), (3 * SECOND_NS, 4, 95, 2)]))
    notice = trades([(1, 2, 110, 3)])
    notice["kind"] = Kind.CANCEL if change == "cancel" else Kind.CORRECT
    writer.append(notice)
    reader = Reader(tmp_path)
    reader.follow()
    bars = BarReader()
    bars.absorb(reader, 0, reader.end)
    writer.close()

    second = bars.latest(1, "1s", Basis.TRADES, 9)[0]
    day = bars.latest(1, "1d", Basis.TRADES, 9)[0]

    expected_high, volume = (100, 2) if change == "cancel" else (110, 5)
    assert (second["high"], second["volume_low"], second["revision"]) == (expected_high, volume, 1)
    assert (day["high"], day["volume_low"], day["close"]) == (expected_high, volume + 2, 95)
    assert day["flags"] & BarFlag.CORRECTED
    assert bars.latest(1, "1s", Basis.TRADES, 9)[1]["revision"] == 0
