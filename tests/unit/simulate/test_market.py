"""The seeded market: deterministic, consistent with its own book, and believable."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticktape.simulate.events import Depth, Event, Quote, Trade
from ticktape.simulate.market import Market, activity
from ticktape.simulate.sample import SAMPLES

pytestmark = pytest.mark.timeout(60)

START = 1_763_640_000_000_000_000
SECOND = 1_000_000_000


def played(seed: int, seconds: float, rate: float = 200.0) -> list[Event]:
    return list(Market(seed, START, rate).advance(START + int(seconds * SECOND)))


@given(st.integers(0, 2**32), st.lists(st.integers(1, 700_000_000), min_size=1, max_size=12))
@settings(max_examples=15, deadline=None)
def test_the_market_is_the_same_whatever_steps_it_is_played_in(seed: int, steps: list[int]) -> None:
    stepped = Market(seed, START, 300.0)
    events: list[Event] = []
    now = START
    for step in steps:
        now += step
        events += stepped.advance(now)

    assert events == list(Market(seed, START, 300.0).advance(now))


def test_time_stepping_back_plays_nothing() -> None:
    market = Market(1, START)
    list(market.advance(START + 5 * SECOND))

    assert list(market.advance(START + 2 * SECOND)) == []


@given(st.integers(0, 2**32))
@settings(max_examples=8, deadline=None)
def test_diffs_applied_to_a_snapshot_give_the_book_at_every_update_id(seed: int) -> None:
    market = Market(seed, START, 500.0)
    list(market.advance(START + SECOND))
    books = {s: market.instruments[s].snapshot(10_000) for s in market.instruments}
    local = {s: (dict(bids), dict(asks)) for s, (_, bids, asks) in books.items()}
    known = {s: last for s, (last, _, _) in books.items()}
    for event in market.advance(START + 4 * SECOND):
        if not isinstance(event, Depth) or event.last_id <= known[event.symbol]:
            continue
        assert event.first_id <= known[event.symbol] + 1 <= event.last_id
        known[event.symbol] = event.last_id
        for side, changes in zip(local[event.symbol], (event.bids, event.asks), strict=True):
            for price, size in changes:
                if size:
                    side[price] = size
                else:
                    side.pop(price, None)
        last, bids, asks = market.instruments[event.symbol].snapshot(10_000)
        assert last == event.last_id
        assert local[event.symbol] == (dict(bids), dict(asks))


def test_ids_are_dense_quotes_are_the_books_top_and_never_crossed() -> None:
    market = Market(3, START, 1000.0)
    trade_ids: dict[str, int] = {}
    quote_ids: dict[str, int] = {}
    diff_ids: dict[str, int] = {}
    for event in market.advance(START + 5 * SECOND):
        instrument = market.instruments[event.symbol]
        if isinstance(event, Trade):
            assert event.trade_id == trade_ids.get(event.symbol, event.trade_id - 1) + 1
            assert event.size > 0
            assert event.price % instrument.sample.tick == event.size % instrument.sample.step == 0
            trade_ids[event.symbol] = event.trade_id
        elif isinstance(event, Quote):
            assert event.update_id > quote_ids.get(event.symbol, 0)
            quote_ids[event.symbol] = event.update_id
            assert event == instrument.quote(event.ts_ns)
            assert 0 < event.bid_price < event.ask_price
        else:
            assert event.first_id == diff_ids.get(event.symbol, event.first_id - 1) + 1
            diff_ids[event.symbol] = event.last_id
    assert set(trade_ids) == {sample.symbol for sample in SAMPLES}


def test_the_index_family_moves_together_and_vix_against_it() -> None:
    closes: dict[str, list[float]] = defaultdict(list)
    market = Market(5, START, 400.0)
    for second in range(1, 1201):
        list(market.advance(START + second * SECOND))
        if second % 5 == 0:
            for symbol, instrument in market.instruments.items():
                bid, _, ask, _ = instrument.book.top()
                closes[symbol].append((bid + ask) / 2)
    moves = {symbol: np.diff(np.log(np.array(values))[::6]) for symbol, values in closes.items()}

    def together(one: str, other: str) -> float:
        return float(np.corrcoef(moves[one], moves[other])[0, 1])

    assert together("NQ", "MNQ") > 0.9
    assert together("NQ", "QQQ") > 0.9
    assert together("MES", "SPY") > 0.9
    assert together("NQ", "MES") > 0.6
    assert together("VIX", "SPY") < -0.5


def test_activity_comes_in_bursts_at_the_rate_asked_for() -> None:
    stamps = np.array([e.ts_ns for e in played(7, 300) if isinstance(e, Trade | Quote)])
    per_second = np.bincount((stamps - START) // SECOND)

    assert 150 < per_second.mean() < 350
    assert per_second.var() > 3 * per_second.mean()  # a Poisson stream has var = mean


def test_prices_bounce_between_bid_and_ask() -> None:
    prices = np.array([e.price for e in played(11, 300) if isinstance(e, Trade) and e.symbol == "MES"])
    moves = np.diff(prices)

    assert np.corrcoef(moves[1:], moves[:-1])[0, 1] < -0.1


def test_the_session_is_u_shaped() -> None:
    mnq = next(sample for sample in SAMPLES if sample.symbol == "MNQ")
    day = START - START % (86_400 * SECOND)
    at = {hour: activity(mnq, day + int(hour * 3600) * SECOND) for hour in (3, 13.6, 16.75, 19.9)}

    assert at[13.6] > at[16.75] > at[3]
    assert at[19.9] > at[16.75]
    assert at[3] > 0.5  # a demo at night still moves
