"""Frames to records: exact values, order, and a reason for everything that cannot be a record."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from sources_support import REAL_CAPTURE, Instruments, needs_real_capture

from ticktape.model.records import BadReason, Flag, Kind, Side
from ticktape.sources.binance import messages as wire
from ticktape.sources.binance.names import Names
from ticktape.sources.binance.normalise import (
    MAX_FRAME_BYTES,
    MICROSECOND_NS,
    MILLISECOND_NS,
    Parsed,
    normalise,
)

NOW = 1_735_689_600_200_000_000
TRADE = (
    b'{"e":"trade","E":1735689600123,"s":"ETHUSDT","t":501,"p":"3310.12000000","q":"0.40000000",'
    b'"T":1735689600121,"m":false,"M":true}'
)
AGG = (
    b'{"e":"aggTrade","E":1735689600123,"s":"BTCUSDT","a":9,"p":"61837.63000000","q":"0.02000000","f":100,'
    b'"l":104,"T":1735689600122,"m":true,"M":true}'
)
TICKER = b'{"u":400900217,"s":"BTCUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}'
DEPTH = (
    b'{"e":"depthUpdate","E":1735689600125,"s":"ETHUSDT","U":157,"u":160,"b":[["3310.11000000","10.00000000"],'
    b'["3310.10000000","0.00000000"]],"a":[["3310.13000000","100.00000000"]]}'
)
SHUTDOWN = b'{"e":"serverShutdown","E":1735689600125}'


def wrapped(stream: str, payload: bytes) -> bytes:
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)


def parsed(*frames: bytes, unit_ns: int = MILLISECOND_NS, symbols: tuple[str, ...] = ()) -> Parsed:
    symbols = symbols or ("BTCUSDT", "ETHUSDT", "PEPEUSDT")
    names = Names(Instruments(*symbols))
    assert [names.id_of(symbol) for symbol in symbols] == list(range(1, len(symbols) + 1))
    return normalise(frames, NOW, names, unit_ns)


def rows(found: Parsed) -> list[dict[str, Any]]:
    names = found.records.dtype.names or ()
    return [dict(zip(names, row, strict=True)) for row in found.records.tolist()]


def row(**fields: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("ts_event", "a", "b", "c", "d", "back", "instrument", "flags", "source", "side"), 0)
    return nothing | {"ts_recv": NOW} | fields


def test_each_kind_becomes_its_records_in_the_order_of_arrival() -> None:
    found = parsed(TICKER, DEPTH, TRADE, wrapped("btcusdt@aggTrade", AGG))

    book = {"kind": Kind.BOOK, "instrument": 2, "ts_event": 1_735_689_600_125_000_000, "c": 160}
    assert rows(found) == [
        row(
            kind=Kind.QUOTE, instrument=1, ts_event=NOW, flags=Flag.NO_VENUE_TIME,
            a=2_535_190_000, b=2_536_520_000, c=3_121_000_000, d=4_066_000_000,
        ),
        row(**book, side=Side.BUY, a=331_011_000_000, b=1_000_000_000, flags=Flag.FIRST),
        row(**book, side=Side.BUY, a=331_010_000_000, b=0),
        row(**book, side=Side.SELL, a=331_013_000_000, b=10_000_000_000, flags=Flag.LAST),
        row(
            kind=Kind.TRADE, instrument=2, ts_event=1_735_689_600_121_000_000, side=Side.BUY,
            a=331_012_000_000, b=40_000_000, c=501,
        ),
        row(
            kind=Kind.AGG_TRADE, instrument=1, ts_event=1_735_689_600_122_000_000, side=Side.SELL,
            a=6_183_763_000_000, b=2_000_000, c=9, d=104,
        ),
    ]  # fmt: skip
    assert found.bad == []
    assert [(d.instrument_id, d.first_id, d.last_id, d.start, d.stop) for d in found.diffs] == [(2, 157, 160, 1, 4)]


def test_bare_wrapped_and_oddly_spelled_frames_say_the_same() -> None:
    odd = json.dumps({"data": json.loads(TRADE), "stream": "ethusdt@trade"}, indent=1).encode()
    spellings = [TRADE, wrapped("ethusdt@trade", TRADE), odd, b" " + TRADE]
    expected = rows(parsed(TRADE))
    for spelling in spellings:
        found = parsed(spelling)
        assert rows(found) == expected, spelling
        assert found.bad == []


def test_microseconds_are_read_as_the_connection_asked() -> None:
    found = parsed(TRADE.replace(b"1735689600121", b"1735689600121456"), unit_ns=MICROSECOND_NS)
    assert found.records["ts_event"].tolist() == [1_735_689_600_121_456_000]


def test_the_other_unit_is_a_bad_time_and_not_another_year() -> None:
    for frame, unit_ns in ((TRADE, MICROSECOND_NS), (TRADE.replace(b"121,", b"121456,"), MILLISECOND_NS)):
        assert [bad.reason for bad in parsed(frame, unit_ns=unit_ns).bad] == [BadReason.BAD_TIME]


def test_a_pepe_trade_of_ten_billion_units_round_trips() -> None:
    frame = TRADE.replace(b"ETHUSDT", b"PEPEUSDT").replace(b'"0.40000000"', b'"10000000000.00000001"')
    assert parsed(frame).records["b"].tolist() == [10**18 + 1]


@pytest.mark.parametrize("price", [b"0.00000000", b"-1.00000000"])
def test_zero_and_negative_prices_are_records_for_the_judge(price: bytes) -> None:
    found = parsed(TRADE.replace(b"3310.12000000", price))
    assert found.records["a"].tolist() == [int(Decimal(price.decode()) * 10**8)]
    assert found.bad == []


BAD_FRAMES = [
    (TRADE[:-1], BadReason.NOT_JSON, "truncated"),
    (TRADE[:40], BadReason.NOT_JSON, "truncated"),
    (b"", BadReason.NOT_JSON, "truncated"),
    (b"null", BadReason.WRONG_TYPE, "Expected `object`"),
    (b"[" * 100_000, BadReason.WRONG_TYPE, "Expected `object`"),
    (b'{"x":' * 100_000, BadReason.NOT_JSON, ""),
    (TRADE + b"x", BadReason.NOT_JSON, "trailing"),
    (TRADE.replace(b"501", b"NaN"), BadReason.NOT_JSON, "malformed"),
    (TRADE.replace(b'"3310.12000000"', b"Infinity"), BadReason.NOT_JSON, "malformed"),
    (TRADE.replace(b'"3310.12000000"', b"3310.12"), BadReason.WRONG_TYPE, "got `float` - at `$.p`"),
    (TRADE.replace(b"501", b'"501"'), BadReason.WRONG_TYPE, "Expected `int`, got `str` - at `$.t`"),
    (TRADE.replace(b'"m":false', b'"m":0'), BadReason.WRONG_TYPE, "$.m"),
    (TRADE.replace(b'"q":"0.40000000",', b""), BadReason.WRONG_TYPE, "missing required field `q`"),
    (TRADE.replace(b"3310.12000000", b"NaN"), BadReason.BAD_NUMBER, "not a decimal number: 'NaN'"),
    (TRADE.replace(b"3310.12000000", b"Inf"), BadReason.BAD_NUMBER, "'Inf'"),
    (TRADE.replace(b"3310.12000000", b"1e5"), BadReason.BAD_NUMBER, "'1e5'"),
    (TRADE.replace(b"3310.12000000", b""), BadReason.BAD_NUMBER, "''"),
    (TRADE.replace(b"3310.12000000", b"1\\n2"), BadReason.BAD_NUMBER, "1\\n2"),
    (TRADE.replace(b"3310.12000000", b"0.000000001"), BadReason.BAD_NUMBER, "more decimals"),
    (TRADE.replace(b"0.40000000", b"9223372036854775808"), BadReason.OUT_OF_RANGE, "beyond int64"),
    (TRADE.replace(b"501", b"9223372036854775808"), BadReason.OUT_OF_RANGE, "$.t"),
    (TRADE.replace(b"501", b"99999999999999999999999999"), BadReason.OUT_OF_RANGE, "$.t"),
    (TRADE.replace(b"501", b"-1"), BadReason.OUT_OF_RANGE, "$.t"),
    (TRADE.replace(b"1735689600121", b"-1"), BadReason.BAD_TIME, "$.T"),
    (TRADE.replace(b"1735689600121", b"0"), BadReason.BAD_TIME, "years 2000 to 2100"),
    (TRADE.replace(b"1735689600121", b"9223372036854775807"), BadReason.BAD_TIME, "years 2000 to 2100"),
    (TRADE.replace(b"1735689600121", b"99999999999999999999"), BadReason.BAD_TIME, "$.T"),
    (TRADE.replace(b"ETHUSDT", b"NOPEUSDT"), BadReason.UNKNOWN_SYMBOL, "NOPEUSDT"),
    (TRADE.replace(b"ETHUSDT", b"../../x"), BadReason.UNKNOWN_SYMBOL, "../../x"),
    (TRADE.replace(b"ETHUSDT", b""), BadReason.UNKNOWN_SYMBOL, "''"),
    (TRADE.replace(b"ETHUSDT", "\u0415THUSDT".encode()), BadReason.UNKNOWN_SYMBOL, "\\u0415THUSDT"),
    (TRADE.replace(b"ETHUSDT", b"X" * 300), BadReason.UNKNOWN_SYMBOL, "300 characters"),
    (TRADE.replace(b"ETHUSDT", b"\xff\xfe"), BadReason.NOT_JSON, "utf-8"),
    (TRADE.replace(b'"M":true', b'"M":"\xff"'), BadReason.NOT_JSON, "utf-8"),
    (TRADE.replace(b'"M":true', b'"M":"' + b"x" * 10**7 + b'"'), BadReason.TOO_LARGE, str(MAX_FRAME_BYTES)),
    (DEPTH.replace(b'"10.00000000"', b'"x"'), BadReason.BAD_NUMBER, "'x'"),
    (DEPTH.replace(b'["3310.10000000","0.00000000"]', b'["1"]'), BadReason.WRONG_TYPE, "$.b[1]"),
    (DEPTH.replace(b'["3310.10000000","0.00000000"]', b'["1","2","3"]'), BadReason.WRONG_TYPE, "$.b[1]"),
    (DEPTH.replace(b"1735689600125", b"1"), BadReason.BAD_TIME, "years 2000 to 2100"),
    (TICKER.replace(b'"25.36520000"', b"null"), BadReason.WRONG_TYPE, "$.a"),
    (b'{"e":"kline","E":1,"s":"BTCUSDT"}', BadReason.UNKNOWN_MESSAGE, "'kline'"),
    (b'{"e":"trade\\u0000","E":1}', BadReason.UNKNOWN_MESSAGE, "unknown event type"),
    (b"{}", BadReason.UNKNOWN_MESSAGE, "neither"),
    (wrapped("b@depth5", b'{"lastUpdateId":1,"bids":[],"asks":[]}'), BadReason.UNKNOWN_MESSAGE, "depth5"),
    (b'{"lastUpdateId":1,"bids":[],"asks":[]}', BadReason.UNKNOWN_SYMBOL, "does not say"),
    (b'{"code":2,"msg":"Invalid request: x","id":1}', BadReason.VENUE_ERROR, "Invalid request: x"),
    (wrapped("x", TRADE[:-1]), BadReason.NOT_JSON, ""),
    (wrapped('x","y":"', TRADE)[:-2], BadReason.NOT_JSON, "truncated"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("frame", "reason", "words"),
    BAD_FRAMES,
    ids=[f"{i}-{reason.name}" for i, (_, reason, _) in enumerate(BAD_FRAMES)],
)
def test_what_cannot_be_a_record_is_named_and_its_neighbours_are_kept(
    frame: bytes, reason: BadReason, words: str
) -> None:
    found = parsed(AGG, frame, TRADE, symbols=("BTCUSDT", "ETHUSDT"))

    assert [(bad.reason, bad.payload) for bad in found.bad] == [(reason, frame)]
    assert words in found.bad[0].detail
    assert len(found.bad[0].detail) < 500
    assert found.bad[0].detail.isprintable()
    assert rows(found) == rows(parsed(AGG, TRADE, symbols=("BTCUSDT", "ETHUSDT")))


@settings(deadline=None)  # the first example loads the kernel
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([TRADE, AGG, TICKER, DEPTH, SHUTDOWN]))))
def test_any_bytes_are_taken_without_an_exception(frames: list[bytes]) -> None:
    found = parsed(*frames)
    assert len(found.bad) <= len(frames)
    assert sum(frame == TRADE for frame in frames) == np.count_nonzero(found.records["kind"] == Kind.TRADE)


@settings(deadline=None)  # the first example loads the kernel
@given(st.data())
def test_a_frame_with_one_byte_changed_is_a_record_or_bad_never_both(data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from([TRADE, AGG, TICKER, DEPTH, wrapped("ethusdt@trade", TRADE)]))
    at = data.draw(st.integers(0, len(frame) - 1))
    found = parsed(frame[:at] + bytes([data.draw(st.integers(0, 255))]) + frame[at + 1 :])
    assert (len(found.records) > 0) != (len(found.bad) > 0)


def test_control_messages_are_handed_on_and_are_not_records() -> None:
    found = parsed(b'{"result":null,"id":7}', SHUTDOWN, wrapped("!serverShutdown", SHUTDOWN))
    answer, *shutdowns = found.control
    assert isinstance(answer, wire.Answer)
    assert answer.id == 7
    assert all(isinstance(shutdown, wire.Shutdown) for shutdown in shutdowns)
    assert (len(found.records), found.bad, len(shutdowns)) == (0, [], 2)


def test_an_error_answer_is_in_quarantine_and_handed_on() -> None:
    found = parsed(b'{"code":2,"msg":"Invalid request","id":7}')
    assert [bad.reason for bad in found.bad] == [BadReason.VENUE_ERROR]
    assert len(found.control) == 1


def test_a_message_without_levels_still_moves_the_update_ids() -> None:
    frame = b'{"e":"depthUpdate","E":1735689600125,"s":"ETHUSDT","U":157,"u":160,"b":[],"a":[]}'
    found = parsed(TRADE, frame, TRADE)
    assert len(found.records) == 2
    assert [(d.first_id, d.last_id, d.start, d.stop) for d in found.diffs] == [(157, 160, 1, 1)]


def test_each_instrument_has_its_own_scale() -> None:
    instruments = Instruments("BTCUSDT", "ETHUSDT")
    key = ("binance", "ETHUSDT")
    instruments.rows[key] = structs.replace(instruments.rows[key], price_scale=2, size_scale=1)
    found = normalise([TRADE, AGG], NOW, Names(instruments), MILLISECOND_NS)
    assert found.records[["a", "b"]].tolist() == [(331_012, 4), (6_183_763_000_000, 2_000_000)]


def oracle(line: bytes) -> list[tuple[int, ...]]:
    """What a frame of the real capture says, by json and Decimal alone."""

    def scaled(text: str) -> int:
        value = Decimal(text) * 10**8
        assert value == int(value)
        return int(value)

    stamp, _, frame = line.partition(b" ")
    message = json.loads(frame)
    if "stream" not in message:
        return []
    it, recv = message["data"], int(stamp)
    if it.get("e") == "trade":
        side = Side.SELL if it["m"] else Side.BUY
        return [(it["T"] * 10**6, recv, scaled(it["p"]), scaled(it["q"]), it["t"], 0, 0, Kind.TRADE, side)]
    if it.get("e") == "depthUpdate":
        levels = [(Side.BUY, *level) for level in it["b"]] + [(Side.SELL, *level) for level in it["a"]]
        flags = [0] * len(levels)
        flags[0] |= Flag.FIRST
        flags[-1] |= Flag.LAST
        return [
            (it["E"] * 10**6, recv, scaled(price), scaled(size), it["u"], 0, flag, Kind.BOOK, side)
            for (side, price, size), flag in zip(levels, flags, strict=True)
        ]
    values = (scaled(it["b"]), scaled(it["a"]), scaled(it["B"]), scaled(it["A"]))
    return [(recv, recv, *values, int(Flag.NO_VENUE_TIME), Kind.QUOTE, 0)]


@needs_real_capture
def test_every_frame_of_the_real_capture_is_exact() -> None:
    with gzip.open(REAL_CAPTURE) as file:
        lines = [line.rstrip(b"\n") for line in file]
    expected = [one for line in lines for one in oracle(line)]
    frames = [line.partition(b" ")[2] for line in lines]
    stamps = np.array([int(line.partition(b" ")[0]) for line in lines], np.int64)

    found = normalise(frames, stamps, Names(Instruments("BTCUSDT")), MILLISECOND_NS)

    assert found.bad == []
    columns = ["ts_event", "ts_recv", "a", "b", "c", "d", "flags", "kind", "side"]
    assert [row[:9] for row in found.records[columns].tolist()] == expected
    trades = found.records["c"][found.records["kind"] == Kind.TRADE]
    assert len(trades) == 9757
    assert (np.diff(trades) == 1).all()
    assert len(found.diffs) == 3451
    assert all(b.first_id == a.last_id + 1 for a, b in zip(found.diffs, found.diffs[1:], strict=False))
    assert np.count_nonzero(found.records["kind"] == Kind.QUOTE) == 28_040
    assert len(found.snapshots) == 1
