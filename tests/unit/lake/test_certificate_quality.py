"""Daily quality checks and spot checks: what is remarkable is found, what is usual is not."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from certificate_support import (
    BUSY,
    DAY,
    SECOND_NS,
    Outage,
    gap,
    midnight,
    rows,
    series,
    spread,
    subject,
    summaries,
    trades,
    without,
)

from ticktape.lake.certificate import certify
from ticktape.lake.certificate_day import DaySummary, summary_of
from ticktape.lake.certificate_form import Check, Finding
from ticktape.lake.certificate_quality import check_day, check_summary
from ticktape.lake.certificate_spot import bars_of, compare_bars, compare_records, total
from ticktape.model.bars import wide
from ticktape.model.records import Channel, Completeness, Flag, Kind, Records, empty
from ticktape.model.sessions import calendar

CRYPTO = calendar("24/7")
MINUTE = 60 * SECOND_NS


def weeks(per_day: int, count: int = 21) -> list[DaySummary]:
    days = [DAY - timedelta(days=n) for n in range(1, count + 1)]
    return [summary_of(spread(d, per_day, 1, seed=i), BUSY, Channel.TRADE, CRYPTO, d) for i, d in enumerate(days)]


@pytest.fixture(scope="module")
def usual() -> list[DaySummary]:
    return weeks(20_000)


def checked(records: Records, usual: list[DaySummary]) -> list[Finding]:
    return check_summary(summary_of(records, BUSY, Channel.TRADE, CRYPTO, DAY), usual, CRYPTO)


def test_a_usual_day_has_no_findings(usual: list[DaySummary]) -> None:
    assert checked(spread(DAY, 21_000, 1, seed=77), usual) == []


def test_a_tenth_of_the_volume_is_told(usual: list[DaySummary]) -> None:
    found = checked(spread(DAY, 2_000, 1, seed=77), usual)

    assert {f.check for f in found} == {Check.VOLUME, Check.RECORDS}
    assert found[1].usual == pytest.approx(20_000, rel=0.01)  # pyright: ignore[reportUnknownMemberType]


def test_without_weeks_to_compare_nothing_is_called_unusual(usual: list[DaySummary]) -> None:
    assert checked(spread(DAY, 2_000, 1, seed=77), usual[:3]) == []


def test_a_silence_inside_the_session_is_told_with_its_place(usual: list[DaySummary]) -> None:
    away = Outage(midnight(DAY) + 40_000 * SECOND_NS, midnight(DAY) + 41_800 * SECOND_NS)
    left = without(spread(DAY, 20_000, 1, seed=77), [away])

    found = checked(left, usual)

    assert [f.check for f in found] == [Check.MISSING_INTERVAL]
    assert found[0].start is not None
    assert found[0].start <= away.start < away.end <= (found[0].end or 0)
    assert not found[0].known_gap
    told = rows(gap(1, away.start, away.end))
    known = check_summary(summary_of(left, BUSY, Channel.TRADE, CRYPTO, DAY), usual, CRYPTO, told)
    assert known[0].known_gap


def test_a_quiet_instrument_may_be_silent_for_hours() -> None:
    found = checked(spread(DAY, 9, 1, seed=77), weeks(12))

    assert found == []


def test_an_instrument_that_went_silent_is_told_and_one_that_hardly_trades_is_not(usual: list[DaySummary]) -> None:
    assert [f.check for f in checked(empty(0), usual)] == [Check.SILENT]
    assert checked(empty(0), weeks(0)) == []


def test_records_while_closed_are_told() -> None:
    saturday = DAY + timedelta(days=2)
    cme = calendar("CME Globex Equity")
    made = summary_of(trades([midnight(saturday) + 5], 1), BUSY, Channel.TRADE, cme, saturday)

    assert [f.check for f in check_summary(made, [], cme)] == [Check.OUTSIDE]


def test_the_daily_report_says_who_covered_what(usual: list[DaySummary]) -> None:
    made = summaries({DAY: spread(DAY, 20_000, 1, seed=77)})
    told = rows(gap(1, midnight(DAY), midnight(DAY) + 8640 * SECOND_NS))
    certificates = [certify(subject(), DAY, [series(made, told, completeness=Completeness.HEARTBEAT)])]

    report = check_day(DAY, made, {(BUSY, "trade"): usual}, {BUSY: CRYPTO}, {}, certificates)

    assert (report.checked, report.findings) == (1, [])
    assert [(c.source, c.instruments, c.records) for c in report.coverage] == [("binance", 1, 20_000)]
    assert report.coverage[0].covered == pytest.approx(0.9)  # pyright: ignore[reportUnknownMemberType]


# -- spot checks -------------------------------------------------------------------------------------


def test_equal_records_pass_in_any_order() -> None:
    records = spread(DAY, 500, 1)

    compared = compare_records(records, np.random.default_rng(1).permutation(records), "lake against tape")

    assert (compared.checked, compared.passed, compared.pass_rate, compared.misses) == (500, 500, 1.0, [])


def test_a_miss_names_both_values() -> None:
    left, right = spread(DAY, 500, 1), spread(DAY, 500, 1)
    right["a"][7] += 3
    right = np.delete(right, 400)

    compared = compare_records(left, right, "lake against venue")

    assert (compared.checked, compared.passed) == (500, 498)
    price, gone = compared.misses
    assert (price.field, price.left, price.right) == ("a", int(left["a"][7]), int(left["a"][7]) + 3)
    assert (gone.field, gone.right) == ("missing", None)
    assert total([compared, compared]).checked == 1000


def test_quotes_without_ids_are_compared_in_canonical_order() -> None:
    quotes = spread(DAY, 200, 1)
    quotes["kind"] = Kind.QUOTE
    quotes["c"] = 5

    assert compare_records(quotes, quotes[::-1], "lake against tape", by_id=False).pass_rate == 1.0
    assert compare_records(quotes, quotes[:-1], "lake against tape", by_id=False).passed == 199


def test_nothing_compared_has_no_pass_rate() -> None:
    assert compare_records(empty(0), empty(0), "lake against tape").pass_rate is None


def test_bars_recomputed_from_ticks_are_exact() -> None:
    records = spread(DAY, 3000, 1)
    records["a"] += 2**61
    records["b"] += 2**61
    bars = bars_of(np.random.default_rng(1).permutation(records), MINUTE)

    assert int(bars["count"].sum()) == 3000
    first = records[records["ts_event"] < bars["start"][0] + MINUTE]
    notional = sum(int(r["a"]) * int(r["b"]) for r in first)
    assert wide(int(bars["notional_high"][0]), int(bars["notional_low"][0])) == notional
    assert int(bars["open"][0]) == int(first["a"][0])
    assert int(bars["close"][0]) == int(first["a"][-1])


def test_corrected_cancelled_and_flagged_trades_do_not_make_bars() -> None:
    start = midnight(DAY)
    records = trades([start + 1, start + 2, start + 3, start + 4], 1)
    records["a"], records["b"] = [100, 900, 101, 102], 1
    records["flags"][1] = int(Flag.SPIKE)
    changes = trades([start + 5, start + 6], 3)
    changes["kind"], changes["a"], changes["b"] = [Kind.CORRECT, Kind.CANCEL], [99, 0], [5, 0]

    bar = bars_of(np.concatenate([records, changes]), MINUTE)[0]

    assert (int(bar["count"]), int(bar["high"]), int(bar["low"]), int(bar["close"])) == (2, 100, 99, 99)
    assert wide(int(bar["volume_high"]), int(bar["volume_low"])) == 6


def test_bars_that_differ_are_told_with_both_values() -> None:
    bars = bars_of(spread(DAY, 3000, 1), MINUTE)
    wrong = bars.copy()
    wrong["high"][3] += 1
    wrong["volume_low"][4] += 9
    wrong = wrong[:-1]

    compared = compare_bars(bars, wrong)

    assert compared.checked - compared.passed == 3
    assert {(m.field, (m.right or 0) - (m.left or 0)) for m in compared.misses[:2]} == {("high", 1), ("volume", 9)}
    assert compared.misses[2].right is None
