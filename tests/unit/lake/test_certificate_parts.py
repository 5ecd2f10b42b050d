"""The parts of a certificate: ranges of ids, the ledger, the hash of a day, and its summary."""

from __future__ import annotations

import struct
from datetime import date
from hashlib import blake2b

import numpy as np
import pytest
from certificate_support import BUSY, DAY, SECOND_NS, Store, gap, midnight, rows, spread, trades
from hypothesis import given
from hypothesis import strategies as st

from ticktape.lake import certificate_ids as ids_of
from ticktape.lake.certificate_day import (
    MOST_RANGES,
    decode,
    differences,
    encode,
    exact_sum,
    numberings_of,
    summarise,
    summary_of,
)
from ticktape.lake.certificate_gaps import ledger
from ticktape.lake.certificate_hash import HOUR_NS, canonical, day_hashes
from ticktape.model.gaps import FOREVER_NS
from ticktape.model.records import Channel, Flag, GapState, Ints, Kind, Records, empty
from ticktape.model.sessions import calendar

CRYPTO = calendar("24/7")
some_ids = st.sets(st.integers(-50, 50), max_size=60)


def spelled(have: Ints) -> set[int]:
    return {number for first, last in have.tolist() for number in range(first, last + 1)}


@given(some_ids, some_ids)
def test_ranges_behave_as_sets(a: set[int], b: set[int]) -> None:
    one, two = (ids_of.of_ids(np.array(list(s), dtype=np.int64)) for s in (a, b))

    assert spelled(one) == a
    assert ids_of.size(one) == len(a)
    assert spelled(ids_of.without(one, two)) == a - b
    assert spelled(ids_of.joined(np.concatenate([one, two]))) == a | b
    assert spelled(ids_of.within(one, -10, 20)) == {n for n in a if -10 <= n <= 20}
    assert spelled(ids_of.holes(one)) == (set(range(min(a), max(a))) - a if a else set())


# -- the ledger --------------------------------------------------------------------------------------


def test_a_gaps_life_is_folded_to_its_last_word() -> None:
    start = midnight(DAY)
    opened = gap(4, start, start, state=GapState.OPENED)
    closed = gap(4, start, start + 60 * SECOND_NS, (10, 19))
    filled = gap(4, start, start + 60 * SECOND_NS, (10, 19), state=GapState.FILLED)

    assert rows(opened)[0].end_ns == FOREVER_NS
    assert (rows(opened, closed)[0].state, rows(opened, closed)[0].first_missing) == (GapState.CLOSED, 10)
    assert rows(opened, closed, filled)[0].state == GapState.FILLED
    assert rows(opened, filled, closed)[0].state == GapState.FILLED
    assert start + 60 * SECOND_NS <= rows(opened, filled)[0].end_ns < start + 61 * SECOND_NS


def test_positions_say_which_word_was_last() -> None:
    start = midnight(DAY)
    words = np.concatenate([gap(4, start, start + 5000, state=GapState.UNFILLABLE), gap(4, start, start + 5000)])

    assert ledger(words, np.array([9, 5]))[0].state == GapState.UNFILLABLE


def test_ids_that_go_on_prove_a_gap_empty() -> None:
    start = midnight(DAY)

    assert rows(gap(1, start, start + 5000, (42, 41)))[0].proven
    assert rows(gap(1, start, start + 5000))[0].may_renumber


# -- the hash ----------------------------------------------------------------------------------------

HASHED = ("ts_event", "c", "kind", "side", "a", "b", "d", "ts_recv", "flags")


def by_the_book(records: Records, *, stored: bool) -> str:
    """Recompute a day's hash as the module's text says, without NumPy's help."""
    said = [{name: int(r[name]) for name in HASHED} for r in records]
    said.sort(key=lambda r: tuple(r[name] for name in HASHED))
    hours: dict[int, list[bytes]] = {}
    for r in said:
        row = struct.pack("<5q2B", *(r[name] for name in ("ts_event", "a", "b", "c", "d", "kind", "side")))
        if stored:
            row += struct.pack("<qI", r["ts_recv"], r["flags"])
        hours.setdefault(r["ts_event"] // HOUR_NS * HOUR_NS, []).append(row)
    whole = b"".join(
        struct.pack("<2q", hour, len(held)) + blake2b(b"".join(held), digest_size=32).digest()
        for hour, held in sorted(hours.items())
    )
    return blake2b(whole, digest_size=32).hexdigest()


@st.composite
def some_records(draw: st.DrawFn) -> Records:
    n = draw(st.integers(0, 30))
    out = empty(n)
    base = midnight(DAY)
    for name, most in (("ts_event", 4), ("c", 3), ("a", 2), ("b", 2), ("d", 1), ("flags", 1), ("ts_recv", 3)):
        out[name] = draw(st.lists(st.integers(0, most), min_size=n, max_size=n))
    out["ts_event"] = base + out["ts_event"] * (HOUR_NS // 2)
    out["kind"], out["instrument"] = Kind.TRADE, BUSY
    out["side"] = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return out


@given(some_records(), st.randoms())
def test_the_hash_is_what_its_definition_says_in_any_order(records: Records, random: object) -> None:
    order = np.random.default_rng(hash(repr(random)) % 2**32).permutation(len(records))
    moved = records[order].copy()
    moved["back"], moved["source"] = 77, 5  # another place on the tape, another number for the source

    assert day_hashes(records) == day_hashes(moved)
    assert day_hashes(moved) == (by_the_book(records, stored=False), by_the_book(records, stored=True))


def test_sorted_records_are_not_copied() -> None:
    records = spread(DAY, 100, 1)

    assert canonical(records) is records


def test_reading_hour_by_hour_gives_the_same_summary() -> None:
    records = np.random.default_rng(8).permutation(spread(DAY, 5000, 1))
    store = Store(records)

    at_once = summarise(store, BUSY, Channel.TRADE, CRYPTO, DAY)
    hourly = summarise(store, BUSY, Channel.TRADE, CRYPTO, DAY, read_ns=HOUR_NS)

    assert at_once == hourly


# -- the summary -------------------------------------------------------------------------------------


def test_a_summary_is_small_and_comes_back_from_its_json() -> None:
    made = summary_of(spread(DAY, 3000, 1), BUSY, Channel.TRADE, CRYPTO, DAY)

    assert decode(encode(made)) == made
    assert len(encode(made)) < 1024


def test_what_is_counted() -> None:
    records = spread(DAY, 10, 1)
    records["kind"][3], records["kind"][4] = Kind.CORRECT, Kind.CANCEL
    records["flags"][5] = int(Flag.LATE | Flag.OUT_OF_ORDER)
    records["flags"][6] = int(Flag.BACKFILLED)
    records["source"][7] = 2

    made = summary_of(records, BUSY, Channel.TRADE, CRYPTO, DAY)

    assert (made.records, made.corrected, made.cancelled, made.duplicates) == (10, 1, 1, 0)
    assert made.flags == {"out_of_order": 1, "late": 1, "backfilled": 1}
    assert made.sources == {1: 9, 2: 1}
    traded = records["b"][records["kind"] == Kind.TRADE]
    assert made.volume == str(int(traded.sum()))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=50))
def test_sums_beyond_64_bits_are_exact(values: list[int]) -> None:
    assert exact_sum(np.array(values, dtype=np.int64)) == sum(values)


def test_records_out_of_session_and_silences_are_measured_in_open_time() -> None:
    cme, day = calendar("CME Globex Equity"), date(2025, 3, 7)  # a Friday: closed from 22:00 UTC
    start = midnight(day)
    hour = 3600 * SECOND_NS
    records = trades([start + hour, start + 2 * hour, start + 20 * hour, start + 22 * hour + 5], 1)

    made = summary_of(records, BUSY, Channel.TRADE, cme, day)

    assert made.outside == 1
    assert made.minutes == 3
    assert [s.open_ns for s in made.silences[:3]] == [18 * hour, 2 * hour, hour]


def test_a_day_with_very_many_holes_keeps_the_largest_and_its_count() -> None:
    ids = np.arange(0, 3 * MOST_RANGES * 2, 2)
    ids = np.concatenate([ids, ids[-1:] + 10_000])

    made = numberings_of(ids, np.arange(len(ids)))[0]

    assert made.cut
    assert (made.count, len(made.ranges)) == (len(ids), MOST_RANGES)
    assert made.ranges[-1] == (int(ids[-1]), int(ids[-1]))


@pytest.mark.parametrize(("certain", "parts"), [(True, 2), (False, 1)])
def test_only_ids_that_go_down_or_a_certain_reset_cut_a_numbering(certain: bool, parts: int) -> None:
    rising, times = np.array([1, 2, 3, 7, 8]), np.arange(5)
    falling = np.array([91, 92, 93, 1, 2])

    assert len(numberings_of(rising, times, [(2, certain)])) == parts
    assert [(n.first_id, n.last_id) for n in numberings_of(falling, times, [(3, certain)])] == [(91, 93), (1, 2)]
    assert len(numberings_of(rising, times)) == 1


def test_differences_name_what_changed() -> None:
    records = spread(DAY, 50, 1)
    kept = summary_of(records, BUSY, Channel.TRADE, CRYPTO, DAY)
    fresh = summary_of(records[:-1], BUSY, Channel.TRADE, CRYPTO, DAY)

    assert differences(kept, kept) == []
    assert "records: 50 was kept, 49 is stored" in differences(kept, fresh)
