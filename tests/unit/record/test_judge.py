"""The judge: repeats are counted and not stored, everything else is stored and flagged, holes are declared."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from record_support import Judged, cells_of, missing, permuted
from tape_support import T0, trades, without_links

from ticktape.model.records import Channel, Flag, GapCause, GapState, Kind, Records, Side, empty
from ticktape.record.append import Limits

pytestmark = pytest.mark.timeout(120)

MODEST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SECOND = 10**9


@pytest.fixture
def judged(tape_folder: Path) -> Judged:
    return Judged(tape_folder)


# -- R17: repeats ------------------------------------------------------------------------------------------


def test_r17_a_repeat_is_found_at_every_distance_up_to_a_million(judged: Judged) -> None:
    distances = [1, 2, 3, 5, 10, 100, 999, 1000, 1001, 4096, 10_000, 65_536, 100_000, 500_000, 999_999, 1_000_000]
    for start in range(0, 1_000_001, 50_000):
        judged.feed(trades(range(start, min(start + 50_000, 1_000_001))))
    newest = 1_000_000
    judged.feed(trades([newest - distance for distance in distances]))
    assert judged.counts() == {"stored": 1_000_001, "duplicates": len(distances)}
    judged.close()


def test_r17_repeats_at_random_distances_inside_the_stream_are_not_stored(judged: Judged) -> None:
    chance = random.Random(17)
    stream: list[int] = []
    for i in range(20_000):
        stream.append(i)
        if chance.random() < 0.1:
            stream.append(max(0, i - int(10 ** chance.uniform(0, 4.3))))
    for start in range(0, len(stream), 777):
        judged.feed(trades(stream[start : start + 777]))
    assert judged.ids == list(range(20_000))
    assert judged.counts()["duplicates"] == len(stream) - 20_000
    judged.close()


@pytest.mark.parametrize("reopened", [False, True])
def test_r17_a_whole_batch_twice_and_the_overlap_after_a_reconnect_are_not_stored(
    judged: Judged, reopened: bool
) -> None:
    judged.feed(trades(range(500)), trades(range(500)))
    if reopened:
        judged.reopen()
    judged.feed(trades(range(400, 700)), trades(range(200, 650)))
    assert judged.ids == list(range(700))
    assert judged.gaps == []
    judged.close()


def test_r17_the_same_ids_of_two_instruments_and_two_channels_are_no_repeats(judged: Judged) -> None:
    aggregated = trades(range(50))
    aggregated["kind"] = Kind.AGG_TRADE
    judged.feed(trades(range(50)), trades(range(50), instrument=2), aggregated)
    assert len(judged.ids) == 150
    judged.close()


def test_r17_two_equal_prints_with_ids_of_their_own_are_two_trades(judged: Judged) -> None:
    twins = trades([1, 2])
    for name in ("a", "b", "ts_event", "ts_recv", "side"):
        twins[name] = twins[name][0]
    judged.feed(twins)
    assert judged.ids == [1, 2]
    judged.close()


def test_r17_without_ids_equal_prints_are_all_stored(judged: Judged) -> None:
    prints = trades([0] * 5, source=3)
    judged.feed(prints)
    assert len(judged.ids) == 5
    judged.close()


def test_a_quote_has_no_id_and_is_never_taken_for_a_repeat(judged: Judged) -> None:
    """Field c of a quote is its bid size: the rules of ids must not touch it."""
    batch = quotes([(100, 101)] * 4, sizes=[(7, 7), (7, 8), (6, 8), (9, 8)])
    batch["ts_event"] = T0  # of one read
    judged.feed(batch)
    assert len(judged.stored) == 4
    assert judged.gaps == []
    judged.close()


# -- flags ------------------------------------------------------------------------------------------------


def quotes(prices: list[tuple[int, int]], sizes: list[tuple[int, int]] | None = None) -> Records:
    records = empty(len(prices))
    records["kind"], records["instrument"], records["source"] = Kind.QUOTE, 1, 1
    records["a"], records["b"] = [p[0] for p in prices], [p[1] for p in prices]
    records["c"], records["d"] = ([s[k] for s in sizes] if sizes else 5 for k in (0, 1))
    records["ts_event"] = records["ts_recv"] = T0 + np.arange(len(prices)) * 1000
    return records


def flags_of(judged: Judged) -> list[Flag]:
    return [Flag(int(f)) for f in judged.stored["flags"]]


NONE = Flag(0)


def test_r18_what_is_older_than_what_came_before_is_out_of_order_and_late_beyond_the_limit(judged: Judged) -> None:
    batch = trades(range(6))
    batch["ts_event"] = T0 + np.array([10, 11, 10, 9, 12, 12]) * SECOND
    batch["ts_recv"] = T0 + 12 * SECOND
    judged.feed(batch)
    late = Flag.OUT_OF_ORDER | Flag.LATE
    assert flags_of(judged) == [NONE, NONE, Flag.OUT_OF_ORDER, late, NONE, NONE]
    assert judged.counts() == {"stored": 6, "out_of_order": 2, "late": 1}
    judged.close()


def test_r18_shuffled_by_a_millisecond_to_a_day_everything_is_stored_once(judged: Judged) -> None:
    stream = trades(permuted(range(5000), 18))
    stream["ts_event"] = T0 + stream["c"] * 17_280_000_000  # a day over all
    judged.feed(trades([0]), *(stream[k : k + 100] for k in range(0, 5000, 100)))
    assert sorted(judged.ids) == list(range(5000))
    assert missing(judged.appender, 1, 0, 4999) == []
    judged.close()


def test_r12_r13_the_age_and_the_skew_of_a_record_are_flagged_exactly_at_their_limits(judged: Judged) -> None:
    batch = trades(range(5))
    ages_ns = [60 * SECOND, 60 * SECOND + 1, 0, -SECOND, -SECOND - 1]
    batch["ts_event"] = T0 + np.arange(5) * 100 * SECOND
    batch["ts_recv"] = batch["ts_event"] + ages_ns
    judged.feed(batch)
    assert flags_of(judged) == [NONE, Flag.STALE, NONE, NONE, Flag.CLOCK_SKEW]
    assert judged.counts() == {"stored": 5, "stale": 1, "clock_skew": 1}
    judged.close()


def test_r13_without_a_venue_time_there_is_neither_age_nor_skew(judged: Judged) -> None:
    batch = trades(range(2))
    batch["flags"] = Flag.NO_VENUE_TIME
    batch["ts_recv"] = batch["ts_event"] + np.array([100, -100]) * SECOND
    judged.feed(batch)
    assert flags_of(judged) == [Flag.NO_VENUE_TIME] * 2
    judged.close()


def priced(prices: list[int]) -> Records:
    batch = trades(range(len(prices)))
    batch["a"] = prices
    return batch


@pytest.mark.parametrize(
    ("prices", "spikes"),
    [
        ([100, 110, 121, 133], []),  # ten percent each time is no spike
        ([100, 111], [1]),
        ([100, 89], [1]),
        ([100, 200, 101], [1]),  # one wild print: what follows is judged by the price before it
        ([100, 200, 201, 202], [1]),  # a second one near it confirms the new level
        ([100, 200, 300, 400], [1, 2, 3]),  # each as wild as the last: none confirmed
        ([100, 200, 100, 200], [1, 3]),  # a normal price between takes the confirmation back
        ([200, 100, 101, 200], [1, 3]),
    ],
)
def test_r21_a_spike_is_flagged_until_a_second_price_confirms_the_level(
    judged: Judged, prices: list[int], spikes: list[int]
) -> None:
    judged.feed(priced(prices))
    assert [i for i, f in enumerate(flags_of(judged)) if f & Flag.SPIKE] == spikes
    assert judged.counts().get("spike", 0) == len(spikes)
    judged.close()


@pytest.mark.parametrize(("field", "values"), [("a", [0, -1]), ("b", [0, -5])])
def test_r19_zero_and_negative_trades_are_flagged_and_move_no_price(
    judged: Judged, field: str, values: list[int]
) -> None:
    batch = trades(range(4))
    batch["a"], batch["b"] = 100, 1
    batch[field][1:3] = values
    judged.feed(batch)
    assert flags_of(judged) == [NONE, Flag.NON_POSITIVE, Flag.NON_POSITIVE, NONE]
    assert judged.counts() == {"stored": 4, "non_positive": 2}
    judged.close()


def test_r21_crossed_is_flagged_and_locked_is_not(judged: Judged) -> None:
    judged.feed(quotes([(100, 101), (101, 101), (102, 101), (0, 101), (100, -1), (100, 101)]))
    assert flags_of(judged) == [NONE, NONE, Flag.CROSSED, Flag.NON_POSITIVE, Flag.NON_POSITIVE, NONE]
    assert judged.counts() == {"stored": 6, "crossed": 1, "non_positive": 2}
    judged.close()


def test_flags_that_came_with_a_record_stay(judged: Judged) -> None:
    batch = trades(range(2))
    batch["flags"] = Flag.SYNTHETIC | Flag.REPLAYED
    batch["a"][1] *= 2
    judged.feed(batch)
    assert flags_of(judged) == [Flag.SYNTHETIC | Flag.REPLAYED, Flag.SYNTHETIC | Flag.REPLAYED | Flag.SPIKE]
    judged.close()


def test_limits_are_what_was_set(tape_folder: Path) -> None:
    judged = Judged(tape_folder, limits=Limits(max_move=0.5, max_age_s=1, late_after_s=0, max_skew_s=0))
    batch = trades(range(4))
    batch["a"] = [100, 149, 300, 301]
    batch["ts_event"] = T0 + np.array([0, 2, 1, 3]) * SECOND
    batch["ts_recv"] = T0 + 2 * SECOND
    judged.feed(batch)
    assert flags_of(judged) == [
        Flag.STALE,
        NONE,
        Flag.SPIKE | Flag.OUT_OF_ORDER | Flag.LATE,
        Flag.CLOCK_SKEW,
    ]
    judged.close()


# -- holes, against a set ---------------------------------------------------------------------------------

streams = st.tuples(
    st.integers(1, 300),  # ids there are
    st.floats(0, 0.6),  # lost on the way
    st.floats(0, 0.5),  # sent twice
    st.integers(0, 200),  # how far one may be displaced
    st.integers(0, 2**32),
)


def mangled(count: int, loss: float, twice: float, displaced: int, seed: int) -> list[int]:
    rng = np.random.default_rng(seed)
    kept = [i for i in range(count) if i == 0 or rng.random() > loss]
    sent = kept + [i for i in kept if rng.random() < twice]
    order = np.argsort(np.array(sent) + rng.uniform(0, displaced + 1, len(sent)), kind="stable")
    stream: list[int] = [sent[int(i)] for i in order]
    stream.remove(0)
    return [0, *stream]  # what comes before the first is another matter


@given(streams, st.integers(1, 60), st.sets(st.integers(0, 30)))
@MODEST
def test_r17_r18_what_is_stored_and_what_is_missing_is_what_a_set_says(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, float, float, int, int],
    step: int,
    reopen_after: set[int],
) -> None:
    judged = Judged(tmp_path_factory.mktemp("tape"))
    stream = mangled(*shape)
    seen: set[int] = set()
    declared: set[int] = set()
    expected: list[int] = []
    for at in range(0, len(stream), step):
        for i in stream[at : at + step]:
            if i > max(seen, default=i):
                declared |= set(range(max(seen) + 1, i))
            if i not in seen:
                expected.append(i)
            seen.add(i)
        judged.feed(trades(stream[at : at + step]))
        if at // step in reopen_after:
            judged.reopen()
    assert judged.ids == expected
    newest = max(seen)
    assert missing(judged.appender, 1, 0, newest) == sorted(set(range(newest + 1)) - seen)
    assert {i for gap in judged.gaps for i in range(gap.first, gap.last + 1)} == declared
    assert all(gap.state == GapState.CLOSED and gap.cause == GapCause.SEQUENCE for gap in judged.gaps)
    assert all(gap.id == gap.position for gap in judged.gaps)
    judged.close()


def test_missing_counts_a_range_as_a_whole_and_knows_nothing_of_strangers(judged: Judged) -> None:
    judged.feed(trades([10, 11, 15, 16, 20]))
    assert judged.appender.missing(1, Channel.TRADE, 10, 20) == 6
    assert judged.appender.missing(1, Channel.TRADE, 12, 13) == 2
    assert judged.appender.missing(1, Channel.TRADE, 14, 17) == 2
    assert judged.appender.missing(1, Channel.TRADE, 5, 10) == 5  # before the first
    assert judged.appender.missing(1, Channel.TRADE, 21, 25) == 5  # not come yet
    assert judged.appender.missing(9, Channel.TRADE, 1, 5) == 0
    judged.close()


def test_more_holes_than_the_pool_had_room_for(judged: Judged) -> None:
    judged.feed(trades(range(0, 40_000, 2)))  # every other one is missing
    assert judged.appender.missing(1, Channel.TRADE, 0, 39_998) == 19_999
    judged.reopen()
    assert judged.appender.missing(1, Channel.TRADE, 0, 39_998) == 19_999
    judged.feed(trades(range(1, 40_000, 2)))
    assert judged.appender.missing(1, Channel.TRADE, 0, 39_998) == 0
    assert sorted(judged.ids) == list(range(40_000))
    judged.close()


def test_a_gap_says_when_and_which_ids(judged: Judged) -> None:
    judged.feed(trades([100, 101]), trades([105]))
    (gap,) = judged.gaps
    assert (gap.cause, gap.channel, gap.first, gap.last) == (GapCause.SEQUENCE, Channel.TRADE, 102, 104)
    assert (gap.start_ns, gap.end_ns) == (T0 + 101_000_000, T0 + 105_000_000)
    assert (gap.source, gap.instrument) == (1, 1)
    stored = judged.all
    after = stored[gap.position + 1]
    assert after["c"] == 105
    assert after["flags"] & Flag.AFTER_GAP
    assert judged.counts() == {"stored": 3, "gaps": 1, "missing_ids": 3}
    judged.close()


# -- R20 and strange ids ----------------------------------------------------------------------------------


def run_on(ids: range, *, after_ns: int) -> Records:
    """Trades that happen from `after_ns` on, whatever their ids."""
    batch = trades(ids)
    batch["ts_event"] = after_ns + np.arange(len(ids)) * 1_000_000
    batch["ts_recv"] = batch["ts_event"] + 5_000_000
    return batch


RESETS = [
    (range(1_000_000_000, 1_000_000_100), range(1, 200)),  # to ids far below all that were ever seen
    (range(1, 100), range(1, 200)),  # to ids that were seen before
    (range(50, 100), range(1, 200)),  # both
    (range(1, 100), range(10**15, 10**15 + 200)),  # up, by more than any gap
    (range(1000, 1200), range(1100, 1300)),  # into the middle
]


@pytest.mark.parametrize(("before", "after"), RESETS)
@pytest.mark.parametrize("reopened", [0, 1, 2, 50])
@pytest.mark.parametrize("step", [1, 1000])
def test_r20_a_new_numbering_loses_nothing_and_declares_no_million_missing(
    tape_folder: Path, before: range, after: range, reopened: int, step: int
) -> None:
    judged = Judged(tape_folder)
    judged.feed(trades(before))
    start = int(trades(before)["ts_event"][-1]) + SECOND
    batch = run_on(after, after_ns=start)
    for at in range(0, len(batch), step):
        judged.feed(batch[at : at + step])
        if reopened and at // step == reopened - 1:
            judged.reopen()
    assert judged.ids == [*before, *after]
    assert {gap.cause for gap in judged.gaps} == {GapCause.RESET}
    assert len(judged.gaps) == 1
    assert all(gap.last < gap.first for gap in judged.gaps)
    assert judged.counts().get("missing_ids", 0) == 0
    # From here on the new numbering is the numbering: repeats and holes are found again.
    judged.feed(run_on(after, after_ns=start))
    judged.feed(run_on(range(after[-1] + 3, after[-1] + 5), after_ns=start + 10 * SECOND))
    assert judged.ids == [*before, *after, after[-1] + 3, after[-1] + 4]
    assert (judged.gaps[-1].first, judged.gaps[-1].last) == (after[-1] + 1, after[-1] + 2)
    judged.close()


STRANGE = [0, 1, 50, -1, -(2**62), 10**12, 2**62, 2**63 - 1, -(2**63) + 1]


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("newer", [True, False])
def test_r20_one_corrupt_id_costs_nothing_of_what_follows(tape_folder: Path, strange: int, newer: bool) -> None:
    judged = Judged(tape_folder)
    batch = trades([*range(100_000, 100_100), 0, *range(100_100, 100_300)])
    batch["ts_event"] = T0 + np.arange(len(batch)) * 1_000_000
    if not newer:
        batch["ts_event"][100] = T0 + 98 * 1_000_000
    batch["ts_recv"] = batch["ts_event"]
    batch["c"][100] = strange
    for at in range(0, len(batch), 37):
        judged.feed(batch[at : at + 37])
    followed = [i for i in judged.ids if i != strange]
    assert followed == [*range(100_000, 100_300)]
    assert judged.gaps == []
    judged.feed(batch[:100], batch[101:])  # and every repeat is still known
    assert [i for i in judged.ids if i != strange] == followed
    judged.feed(run_on(range(100_310, 100_312), after_ns=T0 + SECOND))
    assert [(g.first, g.last) for g in judged.gaps] == [(100_300, 100_309)]
    judged.close()


@pytest.mark.parametrize("strange", [2**62, 5, -7])
def test_r20_a_corrupt_first_id_does_not_blind_the_judge(tape_folder: Path, strange: int) -> None:
    judged = Judged(tape_folder)
    batch = trades([strange, *range(1000, 1100), *range(1105, 1200)])
    batch["ts_event"] = batch["ts_recv"] = T0 + np.arange(len(batch)) * 1_000_000
    judged.feed(batch)
    assert judged.ids == [strange, *range(1000, 1100), *range(1105, 1200)]
    assert (judged.gaps[-1].first, judged.gaps[-1].last) == (1100, 1104)
    judged.feed(batch)
    assert len(judged.ids) <= len(batch) + 2  # at most the strange one and its neighbour come twice
    judged.close()


def test_r20_two_corrupt_ids_far_apart_are_not_a_new_numbering(tape_folder: Path) -> None:
    judged = Judged(tape_folder)
    batch = trades([*range(500, 600), 7, *range(600, 700), 8, *range(700, 800)])
    batch["ts_event"] = batch["ts_recv"] = T0 + np.arange(len(batch)) * 1_000_000
    judged.feed(batch)
    assert sorted(judged.ids) == [7, 8, *range(500, 800)]
    assert judged.gaps == []
    judged.close()


def test_r18_ids_whose_times_do_not_rise_with_them_are_not_a_new_numbering(judged: Judged) -> None:
    batch = trades([100, 101, 110, 105, 106, 107, 111, 102, 103])
    batch["ts_event"] = batch["ts_recv"] = T0 + np.arange(9) * 1_000_000  # what came late claims to be new
    judged.feed(batch)
    assert judged.ids == [100, 101, 110, 105, 106, 107, 111, 102, 103]
    assert {g.cause for g in judged.gaps} == {GapCause.SEQUENCE}
    judged.close()


# -- books ------------------------------------------------------------------------------------------------


def message(update_id: int, levels: int, ts_ms: int, flags: Flag = NONE) -> Records:
    records = empty(levels)
    records["kind"], records["instrument"], records["source"], records["side"] = Kind.BOOK, 1, 1, Side.BUY
    records["a"], records["b"], records["c"] = 100 + np.arange(levels), 5, update_id
    records["ts_event"] = records["ts_recv"] = T0 + ts_ms * 1_000_000
    records["flags"] = flags
    records["flags"][0] |= np.uint32(Flag.FIRST)
    records["flags"][-1] |= np.uint32(Flag.LAST)
    return records


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), min_size=1, max_size=40), st.integers(1, 9))
@MODEST
def test_r17_book_messages_are_stored_whole_or_not_at_all_wherever_a_batch_is_cut(
    tmp_path_factory: pytest.TempPathFactory, sent: list[tuple[int, int]], cut: int
) -> None:
    judged = Judged(tmp_path_factory.mktemp("tape"))
    sizes = {i: 1 + i % 4 for i in range(100)}
    rows = np.concatenate([message(10 * i, sizes[i], i) for i, _ in sent])
    for at in range(0, len(rows), cut):
        judged.feed(rows[at : at + cut])
    newest, expected = -1, list[int]()
    for i, _ in sent:
        if i > newest:
            expected += [10 * i] * sizes[i]
            newest = i
    assert judged.ids == expected
    judged.close()


def test_r20_a_book_that_numbers_anew_at_a_later_time_is_stored(judged: Judged) -> None:
    judged.feed(message(500, 2, 0), message(510, 2, 1), message(3, 2, 2), message(9, 2, 3), message(3, 2, 2))
    assert judged.ids == [500, 500, 510, 510, 3, 3, 9, 9]
    judged.close()


@pytest.mark.parametrize("strange", [2**62, 1])
def test_r20_one_corrupt_update_id_costs_no_message_that_follows(judged: Judged, strange: int) -> None:
    judged.feed(message(500, 2, 0), message(strange, 2, 1), *(message(510 + i, 2, 2 + i) for i in range(20)))
    assert judged.ids[4:] == [510 + i for i in range(20) for _ in range(2)]
    judged.close()


def test_a_snapshot_is_never_a_repeat_and_our_stamp_on_it_judges_nobody(judged: Judged) -> None:
    ours = Flag.SNAPSHOT | Flag.NO_VENUE_TIME
    judged.feed(
        message(500, 2, 100),
        message(400, 3, 5000, ours),  # stamped by our clock, which is ahead of the venue's
        message(510, 2, 200),
        message(450, 3, 50, ours),
        message(520, 1, 300),
    )
    assert judged.ids == [500] * 2 + [400] * 3 + [510] * 2 + [450] * 3 + [520]
    assert not (judged.stored["flags"] & (Flag.OUT_OF_ORDER | Flag.LATE)).any()
    judged.close()


# -- outages ----------------------------------------------------------------------------------------------


def test_r14_a_gap_opens_at_the_last_good_record_and_closes_at_the_first_new_one(judged: Judged) -> None:
    judged.feed(trades([10, 11]))
    watched = [(1, Channel.TRADE), (1, Channel.QUOTE)]
    assert judged.appender.open_gaps(1, watched, GapCause.DISCONNECTED, T0 + SECOND) == 2
    assert judged.appender.open_gaps(1, watched, GapCause.MUTE, T0 + 2 * SECOND) == 0  # one at a time
    judged.feed(trades([10, 11]))  # the overlap says nothing
    assert [g.state for g in judged.gaps] == [GapState.OPENED] * 2
    judged.feed(trades([14]))
    opened, quote, closed = judged.gaps
    assert (opened.id, opened.start_ns, opened.cause) == (opened.position, T0 + 11_000_000, GapCause.DISCONNECTED)
    assert (quote.id, quote.start_ns, quote.channel) == (quote.position, T0 + SECOND, Channel.QUOTE)
    assert (closed.id, closed.state, closed.cause) == (opened.id, GapState.CLOSED, GapCause.DISCONNECTED)
    assert (closed.first, closed.last) == (12, 13)
    assert (closed.start_ns, closed.end_ns) == (T0 + 11_000_000, T0 + 14_000_000)
    judged.close()


def test_r14_ids_that_go_on_name_an_empty_range_and_unknown_ones_none(judged: Judged) -> None:
    def outage(instrument: int) -> None:
        judged.appender.open_gaps(1, [(instrument, Channel.TRADE)], GapCause.DISCONNECTED, T0)

    judged.feed(trades([10, 11]), trades([5], instrument=2))
    outage(1)
    judged.feed(trades([12]))
    outage(2)
    judged.feed(run_on(range(1), after_ns=T0 + SECOND))
    outage(3)
    judged.feed(trades([70], instrument=3))
    first, third = (g for g in judged.gaps if g.state == GapState.CLOSED)
    assert (first.instrument, first.first, first.last) == (1, 12, 11)
    assert (third.instrument, third.first, third.last) == (3, 0, -1)
    judged.close()


def test_r14_r20_a_strange_id_does_not_close_a_gap_and_a_new_numbering_does(judged: Judged) -> None:
    judged.feed(trades(range(1000, 1010)))
    judged.appender.open_gaps(1, [(1, Channel.TRADE)], GapCause.DISCONNECTED, T0 + 2 * SECOND)
    judged.feed(run_on(range(1, 2), after_ns=T0 + 3 * SECOND))
    assert [g.state for g in judged.gaps] == [GapState.OPENED]
    judged.feed(run_on(range(2, 5), after_ns=T0 + 4 * SECOND))
    closed = judged.gaps[-1]
    assert (closed.state, closed.cause, closed.first, closed.last) == (
        GapState.CLOSED,
        GapCause.DISCONNECTED,
        0,
        -1,
    )
    assert judged.ids == [*range(1000, 1010), 1, 2, 3, 4]
    judged.close()


def test_r14_what_history_brings_back_does_not_close_the_gap_of_the_live_channel(judged: Judged) -> None:
    judged.feed(trades([10, 15]))
    judged.appender.open_gaps(1, [(1, Channel.TRADE)], GapCause.DISCONNECTED, T0 + SECOND)
    filling = trades(range(11, 15))
    filling["flags"] |= np.uint32(Flag.BACKFILLED)
    judged.feed(filling)
    assert [g.state for g in judged.gaps if g.cause == GapCause.DISCONNECTED] == [GapState.OPENED]
    assert judged.appender.missing(1, Channel.TRADE, 10, 15) == 0
    assert judged.counts() == {"stored": 6, "gaps": 1, "missing_ids": 4}  # flagged neither late nor stale
    further = trades([16, 17])
    further["flags"] |= np.uint32(Flag.BACKFILLED)
    judged.feed(further)
    assert [g.state for g in judged.gaps if g.cause == GapCause.DISCONNECTED] == [GapState.OPENED]
    judged.close()


@pytest.mark.parametrize("channels", [1, 255, 256, 257, 5000])
def test_gaps_of_any_number_of_channels_have_their_own_positions_as_ids(tape_folder: Path, channels: int) -> None:
    judged = Judged(tape_folder)
    watched = [(1 + k, Channel.TRADE) for k in range(channels)]
    assert judged.appender.open_gaps(1, watched, GapCause.DISCONNECTED, T0) == channels
    assert all(g.id == g.position for g in judged.gaps)
    assert [g.instrument for g in judged.gaps] == [i for i, _ in watched]
    for k in (0, channels // 2, channels - 1):
        judged.feed(trades([5], instrument=1 + k))
        assert judged.gaps[-1].id == judged.gaps[k].id
    judged.close()


# -- a restart forgets nothing ----------------------------------------------------------------------------


def story() -> list[Records]:
    """A stream with everything in it, in pieces that do not cut a book message."""
    chance = random.Random(1)
    stream = mangled(120, 0.2, 0.3, 15, 1)
    pieces = [trades(stream[k : k + 5]) for k in range(0, len(stream), 5)]
    for piece in pieces[::4]:
        piece["a"][-1] *= 2  # spikes, some confirmed by the next
    for piece in pieces[1::8]:
        piece["a"][0] *= 2
    pieces += [run_on(range(1, 15), after_ns=T0 + SECOND), run_on(range(12, 30), after_ns=T0 + 2 * SECOND)]
    strange = trades([2**61])
    strange["ts_event"] = T0 + 3 * SECOND
    pieces.insert(9, strange)
    books = [message(chance.randrange(60), 1 + chance.randrange(3), k * 3) for k in range(15)]
    prints = [quotes([(100 + chance.randrange(30), 115)]) for _ in range(15)]
    back = trades([3, 4], instrument=2)
    back["flags"] |= np.uint32(Flag.BACKFILLED)
    for piece in [*books, *prints, trades(range(1, 9), instrument=2), back]:
        pieces.insert(chance.randrange(len(pieces)), piece)
    return pieces


def test_continued_after_a_reopening_at_any_point_the_tape_is_the_same(tmp_path: Path) -> None:
    pieces = story()
    whole = Judged(tmp_path / "whole")
    whole.feed(*pieces)
    expected, cells = without_links(whole.stored), cells_of(whole.appender)
    gaps = [g._replace(position=0) for g in whole.gaps]
    whole.close()
    assert len(gaps) > 5
    assert (expected["flags"] & Flag.SPIKE).any()
    for cut in range(len(pieces) + 1):
        judged = Judged(tmp_path / f"cut-{cut}")
        judged.feed(*pieces[:cut])
        before = cells_of(judged.appender)
        judged.reopen()
        after = cells_of(judged.appender)
        n = min(len(before), len(after))
        for name in before.dtype.names:
            assert np.array_equal(before[:n][name], after[:n][name]), name
        judged.feed(*pieces[cut:])
        assert np.array_equal(without_links(judged.stored), expected)
        assert [g._replace(position=0) for g in judged.gaps] == gaps
        assert np.array_equal(cells_of(judged.appender)[: len(cells)], cells[: len(cells_of(judged.appender))])
        judged.close()


def test_an_open_gap_is_still_open_after_a_restart_and_closes_once(judged: Judged) -> None:
    judged.feed(trades([10, 11]))
    judged.appender.open_gaps(1, [(1, Channel.TRADE)], GapCause.RESTART, T0 + SECOND)
    judged.reopen()
    assert judged.appender.open_gaps(1, [(1, Channel.TRADE)], GapCause.RESTART, T0 + 2 * SECOND) == 0
    judged.feed(trades([15]))
    judged.reopen()
    judged.feed(trades([16]))
    assert [(g.state, g.first, g.last) for g in judged.gaps] == [
        (GapState.OPENED, 0, -1),
        (GapState.CLOSED, 12, 14),
    ]
    judged.close()


# -- width ------------------------------------------------------------------------------------------------


def test_100_000_instruments_are_an_ordinary_day(judged: Judged) -> None:
    batch = trades(range(100_000))
    batch["instrument"] = np.arange(1, 100_001)
    judged.feed(batch)
    judged.feed(batch)
    assert judged.counts() == {"stored": 100_000, "duplicates": 100_000}
    judged.reopen()
    judged.feed(batch)
    assert judged.counts() == {"duplicates": 100_000}
    judged.close()


@pytest.mark.parametrize("source", [1023, 1024, 65_535])
def test_every_source_a_record_can_name_has_its_own_counts(judged: Judged, source: int) -> None:
    judged.appender.rule(source, Channel.TRADE, 2)
    judged.feed(trades([1, 2, 2, 5], source=source))
    assert judged.counts(source) == {"stored": 3, "duplicates": 1, "gaps": 1, "missing_ids": 2}
    assert judged.counts() == {}
    judged.reopen()  # and what another configuration wrote is read without harm
    judged.close()


@example(order=[0])
@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
@MODEST
def test_link_chains_survive_what_the_judge_leaves_out(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    judged = Judged(tmp_path_factory.mktemp("tape"))
    for at, instrument in enumerate(order):
        judged.feed(trades([at - at % 3], instrument=1 + instrument))
    stored = judged.all
    for instrument in range(1, 5):
        mine = np.flatnonzero((stored["instrument"] == instrument) & (stored["kind"] == Kind.TRADE))
        steps = stored[mine]["back"].tolist()
        assert steps == [0, *np.diff(mine).tolist()][: len(steps)]
    judged.close()
