"""Certificates: what outages leave behind, what each class can prove, and what the ends of a day need."""

from __future__ import annotations

import json
from datetime import date, timedelta

import msgspec
import numpy as np
import pytest
from certificate_support import (
    BUSY,
    DAY,
    EVE,
    MORROW,
    QUIET,
    SECOND_NS,
    Store,
    gap,
    midnight,
    outages,
    refilled,
    rows,
    series,
    spread,
    subject,
    summaries,
    trades,
    without,
)

from ticktape.errors import BadInput
from ticktape.lake.certificate import (
    Certificate,
    Series,
    SpotChecks,
    certify,
    certify_days,
    certify_deep,
    encode_digest,
)
from ticktape.lake.certificate_day import summary_of
from ticktape.lake.certificate_form import Explained, VenueTotal, Verdict
from ticktape.lake.certificate_spot import Compared, Miss
from ticktape.model.gaps import Gap
from ticktape.model.records import Channel, Completeness, GapCause, GapState, Kind, Records, empty
from ticktape.model.sessions import DAY_NS, calendar

PER_DAY = 20_000


def busy_days() -> dict[date, Records]:
    return {day: spread(day, PER_DAY, 1 + i * PER_DAY, seed=i) for i, day in enumerate((EVE, DAY, MORROW))}


def quiet_days() -> dict[date, Records]:
    return {day: spread(day, 12, 1 + i * 12, instrument=QUIET, seed=40 + i) for i, day in enumerate((EVE, DAY, MORROW))}


@pytest.fixture(scope="module")
def whole() -> dict[date, Records]:
    return busy_days()


def of_day(days: dict[date, Records], records: Records) -> dict[date, Records]:
    return {**days, DAY: records}


def test_a_whole_day_is_complete(whole: dict[date, Records]) -> None:
    made = certify(subject(), DAY, [series(summaries(whole))])

    assert (made.verdict, made.recorded) == (Verdict.COMPLETE, Verdict.COMPLETE)
    proof = made.channels[0]
    assert (proof.expected, proof.missing, proof.duplicates) == (PER_DAY, 0, 0)
    assert (proof.first_id, proof.last_id) == (PER_DAY + 1, 2 * PER_DAY)
    assert made.session.covered_open_ns == made.session.expected_open_ns == DAY_NS


def test_fifty_outages_are_all_found_and_none_invented_on_a_quiet_symbol(whole: dict[date, Records]) -> None:
    """Ids alone find them: not one gap is told of."""
    several = outages(11, 50)
    left = without(whole[DAY], several)
    lost = [whole[DAY]["c"][o.lost(whole[DAY])] for o in several]
    expected = [(int(ids[0]), int(ids[-1])) for ids in lost if len(ids)]
    assert len(expected) > 40

    proof = certify(subject(), DAY, [series(summaries(of_day(whole, left)))]).channels[0]

    assert [(m.first_id, m.last_id) for m in proof.missing_ranges] == expected
    assert {m.explained for m in proof.missing_ranges} == {Explained.UNEXPLAINED}
    assert proof.missing == sum(len(ids) for ids in lost)
    assert proof.verdict == Verdict.INCOMPLETE

    quiet = quiet_days()
    always = np.concatenate(list(quiet.values()))
    spared = [o for o in several if not o.lost(quiet[DAY]).any()]
    told = rows(*(o.told(i, always, GapState.FILLED, instrument=QUIET) for i, o in enumerate(spared)), instrument=QUIET)
    assert len(told) > 40
    made = certify(subject(QUIET), DAY, [series(summaries(quiet, told, instrument=QUIET), told)])
    assert made.verdict == Verdict.COMPLETE, made.reasons
    assert made.channels[0].missing == 0
    assert made.channels[0].covered_open_ns == DAY_NS


def test_outages_waiting_to_be_filled_are_explained_by_their_gaps(whole: dict[date, Records]) -> None:
    several = outages(12, 50)
    told = rows(*(o.told(100 + i, whole[DAY], GapState.CLOSED) for i, o in enumerate(several)))

    proof = certify(
        subject(), DAY, [series(summaries(of_day(whole, without(whole[DAY], several)), told), told)]
    ).channels[0]  # fmt: skip

    assert {m.explained for m in proof.missing_ranges} == {Explained.OPEN}
    assert all(m.gap_id == told[(m.gap_id or 0) - 100].gap_id for m in proof.missing_ranges)
    assert proof.covered_open_ns < proof.expected_open_ns
    assert proof.verdict == Verdict.INCOMPLETE


def test_filled_outages_make_a_day_complete_after_fill_with_the_same_market_hash(whole: dict[date, Records]) -> None:
    several = outages(13, 50)
    told = rows(*(o.told(i, whole[DAY], GapState.FILLED) for i, o in enumerate(several)))
    back = refilled(whole[DAY], several)

    filled = certify(subject(), DAY, [series(summaries(of_day(whole, back), told), told)])
    never = certify(subject(), DAY, [series(summaries(whole))])

    assert filled.verdict == Verdict.AFTER_FILL, filled.reasons
    assert filled.hash == never.hash
    assert filled.channels[0].stored_hash != never.channels[0].stored_hash
    assert filled.channels[0].covered_open_ns == DAY_NS
    assert filled.channels[0].backfilled == sum(int(o.lost(whole[DAY]).sum()) for o in several)
    assert all(g.stored == (g.last_missing or 0) - (g.first_missing or 0) + 1 for g in filled.channels[0].gaps)


def test_ids_that_a_filled_gap_lost_again_are_told(whole: dict[date, Records]) -> None:
    several = outages(14, 3)
    told = rows(*(o.told(i, whole[DAY], GapState.FILLED) for i, o in enumerate(several)))

    proof = certify(
        subject(), DAY, [series(summaries(of_day(whole, without(whole[DAY], several)), told), told)]
    ).channels[0]  # fmt: skip

    assert {m.explained for m in proof.missing_ranges} == {Explained.LOST}
    assert proof.verdict == Verdict.INCOMPLETE


@pytest.mark.parametrize(
    ("has_history", "verdict", "explained"),
    [
        (True, Verdict.AFTER_FILL, Explained.CONFIRMED),
        (False, Verdict.INCOMPLETE, Explained.UNFILLABLE),
    ],
)
def test_what_the_venue_does_not_have_either(
    whole: dict[date, Records], has_history: bool, verdict: Verdict, explained: Explained
) -> None:
    several = outages(15, 2)
    told = rows(*(o.told(i, whole[DAY], GapState.UNFILLABLE) for i, o in enumerate(several)))
    made = summaries(of_day(whole, without(whole[DAY], several)), told)

    proof = certify(subject(), DAY, [series(made, told, has_history=has_history)]).channels[0]

    assert {m.explained for m in proof.missing_ranges} == {explained}
    assert proof.verdict == verdict


# -- the ends of a day -------------------------------------------------------------------------------


def test_a_silent_day_is_proven_by_its_neighbours() -> None:
    days = {EVE: trades([midnight(DAY) - 1], 41), MORROW: trades([midnight(MORROW)], 42)}

    made = certify(subject(), DAY, [series(summaries(days))])

    assert made.verdict == Verdict.COMPLETE
    assert made.channels[0].records == 0
    assert made.reasons == ["trade: nothing happened: the ids before and after the day follow each other"]


def test_ids_missing_around_a_silent_day_make_it_incomplete() -> None:
    days = {EVE: trades([midnight(DAY) - 1], 41), MORROW: trades([midnight(MORROW)], 45)}

    proof = certify(subject(), DAY, [series(summaries(days))]).channels[0]

    assert (proof.verdict, proof.missing) == (Verdict.INCOMPLETE, 3)


def test_without_neighbours_the_ends_cannot_be_proven(whole: dict[date, Records]) -> None:
    made = certify(subject(), DAY, [series(summaries({DAY: whole[DAY]}))])

    assert (made.verdict, made.recorded) == (Verdict.NOT_PROVABLE, Verdict.COMPLETE)
    assert len(made.reasons) == 2


def test_a_day_that_began_late_and_is_not_over_says_so(whole: dict[date, Records]) -> None:
    since, until = midnight(DAY) + 3600 * SECOND_NS, midnight(DAY) + 7200 * SECOND_NS
    part = whole[DAY][(whole[DAY]["ts_event"] >= since) & (whole[DAY]["ts_event"] < until)]
    one = msgspec.structs.replace(series(summaries({DAY: part})), since_ns=since, until_ns=until)

    made = certify(subject(), DAY, [one])

    assert (made.verdict, made.recorded) == (Verdict.INCOMPLETE, Verdict.COMPLETE)
    assert made.session.covered_open_ns == 3600 * SECOND_NS
    assert any("recording began at 2025-11-20T01:00:00Z" in reason for reason in made.reasons)
    assert any("up to 2025-11-20T02:00:00Z" in reason for reason in made.reasons)


def test_disorder_around_midnight_is_no_hole() -> None:
    night = midnight(MORROW)
    swapped = trades([night - 3, night - 2, night - 1, night, night + 1], 10)
    swapped["c"] = [10, 11, 13, 12, 14]
    days = {EVE: trades([midnight(DAY) - 1], 9), DAY: swapped[:3], MORROW: swapped[3:]}

    for day in (DAY, MORROW):
        proof = certify(subject(), day, [series(summaries(days))]).channels[0]
        assert proof.missing == 0, (day, proof.reasons)


def test_an_outage_over_midnight_counts_where_it_was() -> None:
    night = midnight(MORROW)
    days = {
        EVE: trades([midnight(DAY) - 1], 1),
        DAY: trades([night - 500], 2),
        MORROW: trades([night + 500], 9),
        MORROW + timedelta(days=1): trades([night + DAY_NS], 10),
    }
    later = rows(gap(1, night + 100, night + 500, (3, 8)))
    across = rows(gap(1, night - 500, night + 500, (3, 8)))

    def verdicts(told: list[Gap]) -> list[str]:
        return [certify(subject(), d, [series(summaries(days), told)]).verdict for d in (DAY, MORROW)]

    assert verdicts(later) == [Verdict.COMPLETE, Verdict.INCOMPLETE]
    assert verdicts(across) == [Verdict.INCOMPLETE, Verdict.INCOMPLETE]
    assert verdicts([]) == [Verdict.INCOMPLETE, Verdict.INCOMPLETE]


def test_a_venue_that_numbers_anew_leaves_no_million_tick_hole() -> None:
    noon = midnight(DAY) + DAY_NS // 2
    first = trades(range(noon - 50, noon), 5_000_000)
    second = trades(range(noon, noon + 50), 1)
    told = rows(gap(1, noon - 1, noon, cause=GapCause.RESET))
    day = np.concatenate([first, second])
    days = {EVE: trades([midnight(DAY) - 1], 4_999_999), DAY: day, MORROW: trades([midnight(MORROW)], 51)}

    proof = certify(subject(), DAY, [series(summaries(days, told), told)]).channels[0]

    assert proof.missing == 0
    assert (proof.first_id, proof.last_id, proof.expected) == (5_000_000, 50, 100)
    assert proof.verdict == Verdict.NOT_PROVABLE
    assert "numbered anew" in proof.reasons[0]


@pytest.mark.parametrize("first_id", [1, 500])
def test_numbering_anew_overnight_is_not_taken_for_a_repeat(first_id: int) -> None:
    days = {
        EVE: trades([midnight(DAY) - 1, midnight(DAY) - 2], 1),
        DAY: trades([midnight(DAY) + 5, midnight(DAY) + 6], 1),
        MORROW: trades([midnight(MORROW)], 3),
    }
    if first_id == 500:
        days[EVE]["c"] += 10**9

    proof = certify(subject(), DAY, [series(summaries(days))]).channels[0]

    assert proof.verdict == Verdict.NOT_PROVABLE
    assert proof.missing == 0


def test_a_stored_repeat_is_counted(whole: dict[date, Records]) -> None:
    doubled = np.concatenate([whole[DAY], whole[DAY][:3]])

    assert certify(subject(), DAY, [series(summaries(of_day(whole, doubled)))]).channels[0].duplicates == 3


# -- the other classes -------------------------------------------------------------------------------


@pytest.mark.parametrize("completeness", [Completeness.RISING, Completeness.HEARTBEAT, Completeness.NONE])
def test_without_dense_ids_nothing_is_called_complete(whole: dict[date, Records], completeness: Completeness) -> None:
    one = msgspec.structs.replace(series(summaries(whole)), completeness=completeness)

    proof = certify(subject(), DAY, [one]).channels[0]

    assert proof.verdict == Verdict.NOT_PROVABLE
    assert (proof.expected, proof.missing) == (None, None)


@pytest.mark.parametrize("completeness", [Completeness.RISING, Completeness.HEARTBEAT, Completeness.NONE])
@pytest.mark.parametrize("state", [GapState.CLOSED, GapState.UNFILLABLE, GapState.OPENED])
def test_a_known_gap_makes_any_class_incomplete(
    whole: dict[date, Records], completeness: Completeness, state: GapState
) -> None:  # fmt: skip
    start = midnight(DAY) + 1000 * SECOND_NS
    told = rows(gap(1, start, start + 60 * SECOND_NS, state=state))
    one = msgspec.structs.replace(series(summaries(whole, told), told), completeness=completeness)

    proof = certify(subject(), DAY, [one]).channels[0]

    assert proof.verdict == Verdict.INCOMPLETE
    if state != GapState.OPENED:
        assert 0 <= proof.expected_open_ns - proof.covered_open_ns - 60 * SECOND_NS < 1000


@pytest.mark.parametrize(
    ("total", "verdict"),
    [
        (VenueTotal(records=PER_DAY), Verdict.COMPLETE),
        (VenueTotal(records=PER_DAY + 4), Verdict.INCOMPLETE),
        (VenueTotal(volume=1), Verdict.INCOMPLETE),
        (None, Verdict.NOT_PROVABLE),
    ],
)
def test_counts_prove_what_the_venue_counted(
    whole: dict[date, Records], total: VenueTotal | None, verdict: Verdict
) -> None:
    totals = {DAY: total} if total else {}
    one = msgspec.structs.replace(series(summaries(whole)), completeness=Completeness.COUNT, totals=totals)

    assert certify(subject(), DAY, [one]).verdict == verdict


def test_a_quote_stream_without_ids_does_not_hide_that_all_trades_are_there(whole: dict[date, Records]) -> None:
    quotes = whole[DAY].copy()
    quotes["kind"] = Kind.QUOTE
    made = summaries({DAY: quotes}, channel=Channel.QUOTE)
    start = midnight(DAY)
    told = rows(gap(1, start, start + SECOND_NS, channel=Channel.QUOTE), channel=Channel.QUOTE)
    both = [
        series(summaries(whole)),
        Series(channel=Channel.QUOTE, completeness=Completeness.HEARTBEAT, summaries=made, gaps=told),
    ]

    made = certify(subject(), DAY, both)

    assert made.verdict == Verdict.COMPLETE
    assert [c.verdict for c in made.channels] == [Verdict.COMPLETE, Verdict.INCOMPLETE]
    assert certify(subject(), DAY, both[1:]).verdict == Verdict.INCOMPLETE


# -- sessions ----------------------------------------------------------------------------------------


def test_a_futures_holiday_expects_only_its_open_hours() -> None:
    cme, day = "CME Globex Equity", date(2025, 1, 9)
    noon = midnight(day) + 12 * 3600 * SECOND_NS
    days = {
        date(2025, 1, 8): trades([midnight(day) - 1], 1),
        day: trades([noon, noon + 60 * SECOND_NS], 2),
        date(2025, 1, 10): trades([midnight(day) + DAY_NS], 4),
    }
    made = certify(subject(name=cme), day, [series(summaries(days, name=cme))])

    assert made.verdict == Verdict.COMPLETE
    assert made.session.expected_open_ns == (14 * 3600 + 1800 + 3600) * SECOND_NS  # to 08:30 Chicago, from 17:00
    assert made.trade_dates == ["2025-01-10"]
    assert "Mourning" in made.session.notes[0].text


def test_a_trade_date_has_a_certificate_of_its_own() -> None:
    cme, day = "CME Globex Equity", date(2025, 1, 10)
    evening = midnight(date(2025, 1, 8)) + 23 * 3600 * SECOND_NS
    records = trades([evening - 4000 * SECOND_NS, evening, evening + 1, midnight(day) + DAY_NS + 1], 1)
    made = [
        summary_of(records, BUSY, Channel.TRADE, calendar(cme), d, basis="trade_date")
        for d in (date(2025, 1, 8), day, date(2025, 1, 13))
    ]

    found = certify(subject(name=cme), day, [series(made)], basis="trade_date")

    assert (found.channels[0].first_id, found.channels[0].last_id) == (2, 3)
    assert found.verdict == Verdict.COMPLETE
    with pytest.raises(BadInput, match="no trade date"):
        certify(subject(name=cme), date(2025, 1, 9), [series(made)], basis="trade_date")


def test_an_outage_while_the_market_is_closed_costs_no_coverage() -> None:
    cme, day = "CME Globex Equity", date(2025, 3, 8)  # a Saturday
    start = midnight(day)
    told = rows(gap(1, start, start + DAY_NS))
    one = series(summaries({day: empty(0)}, told, name=cme), told, completeness=Completeness.HEARTBEAT)

    made = certify(subject(name=cme), day, [one])

    assert made.session.expected_open_ns == 0
    assert made.verdict == Verdict.COMPLETE


def test_an_unverified_calendar_is_a_reason_given() -> None:
    cme, day = "CME Globex Equity", date(2027, 1, 18)

    made = certify(subject(name=cme), day, [series([])])

    assert not made.session.verified
    assert any("could not be checked" in reason for reason in made.reasons)


# -- shape -------------------------------------------------------------------------------------------


def test_the_same_data_give_the_same_certificate_to_the_byte(whole: dict[date, Records]) -> None:
    shuffled = {d: np.random.default_rng(3).permutation(r) for d, r in whole.items()}
    for r in shuffled.values():
        r["back"] = 9

    one, other = (certify(subject(), DAY, [series(summaries(d))]) for d in (whole, shuffled))

    assert one.json() == other.json()
    assert one.certificate == encode_digest(one)
    assert msgspec.json.decode(one.json(), type=Certificate) == one


def test_one_changed_price_changes_every_hash(whole: dict[date, Records]) -> None:
    changed = whole[DAY].copy()
    changed["a"][77] += 1

    one, other = (certify(subject(), DAY, [series(summaries(of_day(whole, r)))]) for r in (whole[DAY], changed))

    assert one.hash != other.hash
    assert one.certificate != other.certificate


def test_deep_mode_reads_the_raw_records_and_agrees(whole: dict[date, Records]) -> None:
    store = Store(np.concatenate(list(whole.values())))

    deep = certify_deep(store, subject(), DAY, [series([])])

    assert deep == certify(subject(), DAY, [series(summaries(whole))])


def test_a_year_of_days_comes_from_summaries_alone() -> None:
    first = date(2025, 1, 1)
    days = [first + timedelta(days=n) for n in range(365)]
    made = summaries({day: trades([midnight(day) + 5, midnight(day) + 9], 1 + 2 * i) for i, day in enumerate(days)})

    verdicts = [c.verdict for c in certify_days(subject(), days, [series(made)])]

    assert verdicts[:-1] == [Verdict.COMPLETE] * 364
    assert verdicts[-1] == Verdict.NOT_PROVABLE  # nothing is stored after it


def test_a_missed_spot_check_spoils_the_day(whole: dict[date, Records]) -> None:
    miss = Compared(10, 9, [Miss("lake against venue", "trade 5", "price", 1, 2)])
    spots = SpotChecks(checked=miss.checked, passed=miss.passed, pass_rate=miss.pass_rate, misses=["trade 5: 1, 2"])

    made = certify(subject(), DAY, [series(summaries(whole))], spots=spots)

    assert made.verdict == Verdict.INCOMPLETE


def test_the_documented_fields_are_there(whole: dict[date, Records]) -> None:
    shape = json.loads(certify(subject(), DAY, [series(summaries(whole))]).json())

    assert list(shape) == [
        "format", "symbol", "venue", "instrument_id", "date", "basis", "trade_dates", "start", "end", "sample",
        "verdict", "recorded", "reasons", "session", "channels", "spot_checks", "quality", "hash_version", "hash",
        "certificate",
    ]  # fmt: skip
