"""Answers: exact, in tape order, and honest about what they lack."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from serve_support import MS, SECOND, T0, House

from ticktape.errors import BadInput, BadSymbol, UnknownSymbol
from ticktape.model.bars import Basis
from ticktape.model.records import Channel, Flag, GapState, Kind
from ticktape.serve import answers as a


def ticks_of(answer: a.Ticks) -> list[a.Tick]:
    return msgspec.json.decode(bytes(answer.ticks), type=list[a.Tick])


def bars_of(answer: a.Ohlc) -> list[a.Bar]:
    return msgspec.json.decode(bytes(answer.bars), type=list[a.Bar])


def test_the_latest_trades_come_oldest_first_with_their_places(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 10)
    answer = house.queries().ticks(["BTCUSDT"], 3)
    assert [(t.position, t.venue_id, t.side) for t in ticks_of(answer)] == [
        (7, 8, "sell"),
        (8, 9, "buy"),
        (9, 10, "sell"),
    ]
    assert answer.positions == a.Positions(7, 9)
    assert answer.as_of_position == 11  # ten trades and their commit
    assert (answer.source, answer.flags, answer.gaps, answer.missing, answer.sample) == (["binance"], [], [], [], False)
    assert answer.symbols[0].count == 3


def test_every_number_is_what_the_tape_holds(house: House) -> None:
    pepe = house.enrol("PEPEUSDT", price_scale=10, size_scale=8)
    rows = house.rows(Kind.TRADE, pepe.id, 1, T0)
    rows["a"], rows["b"], rows["c"] = 123456789, 10**18 + 1, 2**62
    house.tape.append(rows)
    (tick,) = ticks_of(house.queries().ticks(["PEPEUSDT"], 1))
    assert (tick.price, tick.size, tick.venue_id) == (Decimal("0.0123456789"), Decimal("10000000000.00000001"), 2**62)
    assert (tick.ts_event, tick.ts_recv) == (T0, T0 + MS)


def test_several_symbols_come_as_one_list_in_tape_order(house: House) -> None:
    btc, eth = house.enrol("BTCUSDT"), house.enrol("ETHUSDT")
    for n in range(3):
        house.trades(btc, 1, T0 + n * SECOND, n)
        house.trades(eth, 1, T0 + n * SECOND, n)
    answer = house.queries().ticks(["ETHUSDT", "BTCUSDT"], 2)
    assert [t.symbol for t in ticks_of(answer)] == ["BTCUSDT", "ETHUSDT"] * 2
    assert [t.position for t in ticks_of(answer)] == sorted(t.position for t in ticks_of(answer))
    assert [part.symbol for part in answer.symbols] == ["ETHUSDT", "BTCUSDT"]


def test_what_is_published_while_we_run_is_in_the_next_answer(house: House) -> None:
    btc, queries = house.enrol("BTCUSDT"), house.queries()
    for n in range(1, 4):
        house.trades(btc, 1, T0 + n * SECOND, n)
        assert ticks_of(queries.ticks(["BTCUSDT"], 1))[0].venue_id == n
        assert bars_of(queries.ohlc("BTCUSDT", "1s", 1))[0].start == T0 + n * SECOND


def test_flags_are_named_on_the_row_and_on_the_answer(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    rows = house.rows(Kind.TRADE, btc.id, 2, T0)
    rows["a"], rows["b"], rows["flags"] = 10**8, 10**8, [Flag.SPIKE | Flag.LATE, 0]
    house.tape.append(rows)
    answer = house.queries().ticks(["BTCUSDT"], 5)
    assert [t.flags for t in ticks_of(answer)] == [["late", "spike"], []]
    assert answer.flags == ["late", "spike"]


def test_a_trade_taken_back_is_seen_as_such(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.trades(btc, 1)
    rows = house.rows(Kind.CANCEL, btc.id, 1, T0 + SECOND)
    rows["c"] = 1
    house.tape.append(rows)
    _, cancel = ticks_of(house.queries().ticks(["BTCUSDT"], 5))
    assert (cancel.kind, cancel.venue_id, cancel.price, cancel.size) == ("cancel", 1, None, None)


def test_aggregated_trades_answer_where_there_are_no_others(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    rows = house.rows(Kind.AGG_TRADE, btc.id, 2, T0)
    rows["a"] = rows["b"] = 10**8
    house.tape.append(rows)
    assert [t.kind for t in ticks_of(house.queries().ticks(["BTCUSDT"], 5))] == ["agg_trade"] * 2


def test_the_newest_quote_goes_by_venue_time_not_by_arrival(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.quotes(btc, 3, T0 + SECOND)
    house.quotes(btc, 1, T0)  # came later, happened earlier
    house.trades(btc, 1, T0)
    answer = house.queries().latest_quote("BTCUSDT")
    quote = msgspec.json.decode(bytes(answer.quote), type=a.Quote)
    assert (quote.ts_event, quote.position) == (T0 + SECOND + 2 * MS, 2)
    assert quote.bid_price == Decimal("65432.12")
    assert msgspec.json.decode(bytes(answer.trade), type=a.Tick).price == Decimal("65432.1")
    history = house.queries().quote_history("BTCUSDT", 10)
    assert [q.position for q in msgspec.json.decode(bytes(history.quotes), type=list[a.Quote])] == [0, 1, 2, 4]


def test_what_is_not_there_is_said(house: House) -> None:
    house.enrol("BTCUSDT")
    queries = house.queries()
    quote = queries.latest_quote("BTCUSDT")
    assert (bytes(quote.quote), bytes(quote.trade)) == (b"null", b"null")
    assert quote.missing == ["no quote of BTCUSDT on the tape"]
    assert quote.freshness == a.Freshness(None, None, None)
    assert queries.ticks(["BTCUSDT"], 5).missing == ["no trade of BTCUSDT on the tape"]
    assert queries.ohlc("BTCUSDT", "1m", 5).missing == ["no bar of BTCUSDT from trades"]


def test_freshness_is_the_age_of_the_stalest(house: House) -> None:
    btc, eth = house.enrol("BTCUSDT"), house.enrol("ETHUSDT")
    house.trades(btc, 1, T0)
    house.quotes(eth, 1, T0 + 2 * SECOND)
    house.trades(eth, 1, T0 + SECOND)
    house.clock.advance(10 * SECOND + MS)
    answer = house.queries().ticks(["BTCUSDT", "ETHUSDT"], 1)
    assert [part.freshness.age_s for part in answer.symbols] == [10.0, 8.0]
    assert answer.freshness == a.Freshness(T0, T0 + MS, 10.0)


def test_an_answer_that_spans_a_gap_says_so(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.gap(btc.id, GapState.CLOSED, start=T0 - 100 * SECOND, duration_ns=SECOND)  # before the range
    house.trades(btc, 2, T0)
    number = house.gap(btc.id, GapState.CLOSED, start=T0 + MS, duration_ns=SECOND, ids=(3, 7))
    house.gap(btc.id, GapState.CLOSED, start=T0 + MS, duration_ns=SECOND, channel=Channel.BOOK)  # not of trades
    house.trades(btc, 2, T0 + 2 * SECOND, 8)
    opened = house.gap(btc.id, GapState.OPENED, start=T0 + 2 * SECOND + MS)
    first, last = house.queries().ticks(["BTCUSDT"], 10).gaps
    assert (first.gap_id, first.state, first.cause, first.first_missing, first.last_missing) == (
        number, "closed", "sequence", 3, 7,
    )  # fmt: skip
    assert (first.start, first.end, first.symbol, first.source) == (T0 + MS, T0 + MS + SECOND, "BTCUSDT", "binance")
    assert (last.gap_id, last.state, last.end) == (opened, "opened", None)


def test_a_gap_of_the_whole_source_concerns_its_instruments_only(house: House) -> None:
    btc, eth = house.enrol("BTCUSDT"), house.enrol("ETHUSDT")
    house.trades(btc, 1)
    house.gap(0, GapState.OPENED, start=T0, channel=Channel.ALL)
    house.source = house.directory.source_id("other")
    house.trades(eth, 1)
    queries = house.queries()
    assert len(queries.ticks(["BTCUSDT"], 1).gaps) == 1
    assert queries.ticks(["BTCUSDT"], 1).gaps[0].symbol is None
    assert queries.ticks(["ETHUSDT"], 1).gaps == []


def test_bars_are_exact_and_the_forming_one_is_last(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    rows = house.rows(Kind.TRADE, btc.id, 4, T0, SECOND // 2)
    rows["a"], rows["b"], rows["c"] = (
        np.array([100, 102, 99, 101]) * 10**8,
        np.array([1, 3, 2, 2]) * 10**8,
        np.arange(4),
    )
    house.tape.append(rows)
    answer = house.queries().ohlc("BTCUSDT", "1s", 10)
    first, second = bars_of(answer)
    assert (first.open, first.high, first.low, first.close) == (100, 102, 100, 102)
    assert (first.volume, first.vwap, first.count, first.closed) == (4, Decimal("101.5"), 2, True)
    assert (second.start, second.open, second.close, second.closed) == (T0 + SECOND, 99, 101, False)
    assert (answer.positions.last, answer.source, answer.watermark) == (3, ["binance"], T0 + 3 * SECOND // 2)


def test_bars_of_quotes_are_of_the_mid_and_have_no_volume(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    house.quotes(btc, 1)
    (bar,) = bars_of(house.queries().ohlc("BTCUSDT", "1m", 1, Basis.QUOTES))
    assert (bar.open, bar.volume, bar.vwap, bar.count) == (Decimal("65432.105"), None, None, 1)


def test_a_bar_that_spans_a_gap_is_flagged_and_no_other(house: House) -> None:
    btc = house.enrol("BTCUSDT")
    for n in range(3):
        house.trades(btc, 2, T0 + n * SECOND, 1 + 2 * n)
    house.gap(btc.id, GapState.CLOSED, start=T0 + SECOND + 5 * MS, duration_ns=100 * MS)
    answer = house.queries().ohlc("BTCUSDT", "1s", 5)
    assert ["gap" in bar.flags for bar in bars_of(answer)] == [False, True, False]
    assert "gap" in answer.flags
    latest = house.queries().ohlc_latest("BTCUSDT")
    frames = msgspec.json.decode(bytes(latest.timeframes), type=dict[str, a.Bar | None])
    assert list(frames) == ["1s", "1m", "5m", "15m", "1h", "4h", "1d"]
    assert [name for name, bar in frames.items() if bar and "gap" in bar.flags] == ["1m", "5m", "15m", "1h", "4h", "1d"]


def test_gaps_are_asked_for_by_symbol_state_and_key(house: House) -> None:
    btc, eth = house.enrol("BTCUSDT"), house.enrol("ETHUSDT")
    one = house.gap(btc.id, GapState.OPENED, start=T0)
    two = house.gap(eth.id, GapState.CLOSED, start=T0, duration_ns=SECOND)
    three = house.gap(0, GapState.CLOSED, start=T0, duration_ns=SECOND, channel=Channel.ALL)
    queries = house.queries()

    def ids(answer: a.GapsAnswer) -> list[int]:
        return [row.gap_id for row in answer.gaps]

    assert ids(queries.gaps(None, None, 10)) == [one, two, three]
    assert ids(queries.gaps(None, None, 2)) == [two, three]
    assert ids(queries.gaps("BTCUSDT", None, 10)) == [one]
    assert ids(queries.gaps(None, "closed", 10)) == [two, three]
    assert ids(queries.gaps(None, None, 10, frozenset({"ETHUSDT"}))) == [two, three]
    assert queries.gaps(None, None, 10).open == 1
    with pytest.raises(BadInput, match="no gap state"):
        queries.gaps(None, "lost", 10)


def test_what_cannot_be_asked_is_refused(house: House) -> None:
    house.enrol("BTCUSDT")
    queries = house.queries()
    with pytest.raises(UnknownSymbol, match="did you mean BTCUSDT"):
        queries.ticks(["BTCUSD"], 1)
    with pytest.raises(BadSymbol):
        queries.latest_quote("../x")
    with pytest.raises(BadInput, match="no timeframe"):
        queries.ohlc("BTCUSDT", "7m", 1)
    with pytest.raises(BadInput, match="more than"):
        queries.ticks([f"S{n}" for n in range(50)], 5000)


def test_an_instrument_enrolled_while_we_run_is_found(house: House) -> None:
    queries = house.queries()
    eth = house.enrol("ETHUSDT")
    house.trades(eth, 1)
    assert len(ticks_of(queries.ticks(["ETHUSDT"], 1))) == 1
    assert [row.symbol for row in queries.instruments().instruments] == ["ETHUSDT"]
    assert queries.instruments(frozenset({"BTCUSDT"})).instruments == []


def test_sample_data_says_so_in_every_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    house = House(tmp_path_factory.mktemp("sample"), sample=True)
    house.enrol("BTCUSDT")
    queries = house.queries()
    answers = [
        queries.ticks(["BTCUSDT"], 1), queries.latest_quote("BTCUSDT"), queries.quote_history("BTCUSDT", 1),
        queries.ohlc("BTCUSDT", "1m", 1), queries.ohlc_latest("BTCUSDT"), queries.gaps(None, None, 1),
        queries.status(), queries.instruments(),
    ]  # fmt: skip
    assert all(answer.sample for answer in answers)
    house.close()
