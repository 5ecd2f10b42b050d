"""Ranges of the past: lake and tape as one, in pages that hold, with every reason for less."""

from __future__ import annotations

import asyncio
import csv
import io
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from past_support import END, EVERY, KEY, Past, rows_of
from serve_support import MS, SECOND, T0, House

from ticktape.errors import BadInput, TooCostly, UnknownSymbol
from ticktape.model.bars import TIMEFRAMES
from ticktape.model.instruments import Instrument
from ticktape.model.records import Flag, GapState, Kind
from ticktape.serve import answers as a
from ticktape.serve.doors import errors
from ticktape.serve.past import cursors, formats, when
from ticktape.serve.past.cursors import Mark
from ticktape.serve.past.pool import Overloaded

DAY = 86_400 * SECOND
ROW = {"trades": a.Tick, "quotes": a.Quote, "book": a.BookLevel}


@pytest.fixture
def past(house: House) -> Past:
    """Return a desk over a house with one instrument."""
    house.enrol("BTCUSDT")
    return Past(house)


def btc(house: House) -> Instrument:
    return house.directory.by_symbol("BTCUSDT")


def levels(house: House, instrument: Instrument, n: int, ts: int = T0) -> None:
    rows = house.rows(Kind.BOOK, instrument.id, n, ts)
    rows["a"], rows["b"], rows["c"], rows["d"], rows["side"] = 6543210000000, range(n), 7, 3, 1
    house.tape.append(rows)


def market(house: House, n: int = 100) -> None:
    """Two instruments on two days, with a correction, a cancel and a late row."""
    one, two = btc(house), house.enrol("ETHUSDT", 2, 3)
    for day in (0, 1):
        house.trades(one, n, T0 + day * DAY, 1 + day * n)
        house.trades(two, n // 2, T0 + day * DAY, 1 + day * n)
        house.quotes(one, n, T0 + day * DAY)
        levels(house, one, n, T0 + day * DAY)
    rows = house.rows(Kind.CORRECT, one.id, 2, T0 + 5 * MS)
    rows["kind"], rows["c"], rows["a"], rows["b"] = [Kind.CORRECT, Kind.CANCEL], [6, 7], 10**12, 10**8
    rows["ts_recv"] += DAY
    house.tape.append(rows)


# -- lake and tape as one ------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["trades", "quotes", "book"])
async def test_pages_of_any_size_are_the_whole_and_rows_are_as_in_realtime(past: Past, kind: str) -> None:
    market(past.house)
    whole = await past.ask("ticks", "BTCUSDT,ETHUSDT", kind, limit=100_000)
    for stop in (None, past.house.tape.position // 3, past.house.tape.position):
        if stop is not None:
            past.flush(stop)
        for limit in (1, 7, 100, 101):
            if limit == 1 and stop is not None:
                continue
            pages = await past.pages("ticks", "BTCUSDT,ETHUSDT", kind, limit=limit)
            assert rows_of(pages) == whole["ticks"], (stop, limit)
            assert all(len(page["ticks"]) <= limit for page in pages)
    msgspec.convert(whole["ticks"], list[ROW[kind]], strict=False)
    assert sum(part["count"] for part in whole["symbols"]) == len(whole["ticks"])
    positions = [row["position"] for row in whole["ticks"]]
    assert len(set(positions)) == len(positions)


@pytest.mark.asyncio
async def test_rows_are_those_of_ticks_realtime(past: Past) -> None:
    past.house.trades(btc(past.house), 50)
    live = msgspec.json.decode(past.house.queries().ticks(["BTCUSDT"], 100).ticks)
    past.flush(30)
    assert (await past.ask("ticks", "BTCUSDT", "trades"))["ticks"] == live


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60), st.booleans()), max_size=6))
def test_a_row_is_there_once_wherever_the_flush_stands(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    house = House(tmp_path_factory.mktemp("house") / "data")
    one = house.enrol("BTCUSDT")
    past, wanted = Past(house), set[int]()
    try:
        for n, late, flush in steps:
            first = len(wanted) + 1
            if n:
                house.trades(one, n, T0 + (first - late) * SECOND, first)
            wanted |= set(range(first, first + n))
            if flush:
                past.flush()
            pages = asyncio.run(past.pages("ticks", "BTCUSDT", "trades", limit=17))
            assert sorted(row["venue_id"] for row in rows_of(pages)) == sorted(wanted)
            bars = asyncio.run(past.ask("bars", "BTCUSDT", "7s", limit=10_000))["bars"]
            assert sum(bar["count"] for bar in bars) == len(wanted)
    finally:
        house.close()


@pytest.mark.asyncio
async def test_a_cursor_holds_while_rows_come_late_and_are_flushed(past: Past) -> None:
    house = past.house
    house.trades(btc(house), 100)
    first = await past.ask("ticks", "BTCUSDT", "trades", limit=40)
    house.trades(btc(house), 30, T0 - SECOND, 1000)  # late: before where the page ended
    house.trades(btc(house), 30, T0 + SECOND, 2000)  # and after it
    past.flush()
    rest = await past.ask("ticks", "BTCUSDT", "trades", limit=1000, cursor=first["next_cursor"])
    assert [row["venue_id"] for row in first["ticks"] + rest["ticks"]] == list(range(1, 101))
    fresh = await past.ask("ticks", "BTCUSDT", "trades", limit=1000)
    assert len(fresh["ticks"]) == 160


@pytest.mark.asyncio
async def test_an_instrument_without_trades_answers_with_its_aggregated_ones(past: Past) -> None:
    house = past.house
    both, only = btc(house), house.enrol("ETHUSDT")
    for who in (both, only):
        rows = house.rows(Kind.AGG_TRADE, who.id, 20, T0)
        rows["a"], rows["b"], rows["c"] = 10**8, 10**8, range(20)
        house.tape.append(rows)
    house.trades(both, 5)
    for _ in range(2):
        pages = await past.pages("ticks", "BTCUSDT,ETHUSDT", "trades", limit=3)
        kinds = [(row["symbol"], row["kind"]) for row in rows_of(pages)]
        assert kinds == [("BTCUSDT", "trade")] * 5 + [("ETHUSDT", "agg_trade")] * 20
        past.flush()


# -- bars ----------------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("quotes", [False, True])
async def test_bars_are_those_of_ohlc(past: Past, quotes: bool) -> None:
    house = past.house
    house.trades(btc(house), 2000, T0)
    house.quotes(btc(house), 2000, T0)
    past.flush(2500)
    from ticktape.model.bars import Basis

    for name in TIMEFRAMES:
        ohlc = house.queries().ohlc("BTCUSDT", name, 1000, Basis(quotes))
        wanted = msgspec.json.decode(ohlc.bars)
        pages = await past.pages("bars", "BTCUSDT", name, quotes=quotes, one=True, limit=2)
        found = rows_of(pages, "bars")
        for bar in (*found, *wanted):
            bar.pop("flags")  # the live state knows where its own recording began
        assert found == wanted, name


@pytest.mark.asyncio
async def test_bars_of_any_width_and_several_symbols_come_in_pages(past: Past) -> None:
    market(past.house, 400)
    past.flush(500)
    for interval in ("1ms", "37ms", "100ms", "37s", "1m", "90m", "1d", "2d"):
        whole = await past.ask("bars", "BTCUSDT,ETHUSDT", interval, limit=100_000)
        pages = await past.pages("bars", "BTCUSDT,ETHUSDT", interval, limit=max(len(whole["bars"]) // 3, 1))
        assert rows_of(pages, "bars") == whole["bars"], interval
        msgspec.convert(whole["bars"], list[a.NamedBar], strict=False)
        counts = {s: sum(b["count"] for b in whole["bars"] if b["symbol"] == s) for s in ("BTCUSDT", "ETHUSDT")}
        assert counts == {"BTCUSDT": 799, "ETHUSDT": 400}, interval  # one was cancelled
        starts = [bar["start"] for bar in whole["bars"]]
        assert all(start % when.parse_width(interval) == 0 for start in starts)


@pytest.mark.asyncio
async def test_bars_that_span_a_gap_say_so(past: Past) -> None:
    house = past.house
    house.trades(btc(house), 3000)
    gap = house.gap(btc(house).id, GapState.CLOSED, start=T0 + 1200 * MS, duration_ns=100 * MS, ids=(3, 41))
    past.flush()
    found = await past.ask("bars", "BTCUSDT", "1s", one=True)
    assert [bar["flags"] for bar in found["bars"]] == [[], ["gap"], []]
    assert [g["gap_id"] for g in found["gaps"]] == [gap]
    assert found["flags"] == ["gap"]


# -- as known then ------------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("flushed", [False, True])
async def test_as_known_at_leaves_out_what_came_later(past: Past, flushed: bool) -> None:
    house = past.house
    house.trades(btc(house), 10)
    known = house.tape.position
    gap = house.gap(btc(house).id, GapState.CLOSED, start=T0, duration_ns=MS)
    rows = house.rows(Kind.TRADE, btc(house).id, 5, T0 + 3 * MS)
    rows["a"], rows["b"], rows["c"], rows["flags"] = 10**10, 10**8, range(100, 105), Flag.BACKFILLED
    rows["ts_recv"] = T0 + 3600 * SECOND
    house.tape.append(rows)
    if flushed:
        past.flush()
    for moment in (f"position:{known}", "2025-11-20T12:59:59Z"):
        found = await past.ask("ticks", "BTCUSDT", "trades", as_known_at=moment)
        assert [row["venue_id"] for row in found["ticks"]] == list(range(1, 11))
        assert [g["gap_id"] for g in found["gaps"]] == ([] if moment.startswith("p") else [gap])
        bars = await past.ask("bars", "BTCUSDT", "1m", as_known_at=moment)
        assert [bar["count"] for bar in bars["bars"]] == [10]
    now = await past.ask("ticks", "BTCUSDT", "trades")
    assert len(now["ticks"]) == 15
    assert now["flags"] == ["backfilled"]


# -- as of --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_each_trade_has_the_quote_that_was_in_force(past: Past) -> None:
    house = past.house
    house.trades(btc(house), 4, T0 - 10 * MS)
    house.quotes(btc(house), 300, T0 - 8 * MS)
    house.trades(btc(house), 400, T0, 100)
    past.flush(200)
    whole = await past.ask("asof", limit=1000)
    msgspec.convert(whole["ticks"], list[a.AsofTick], strict=False)
    for row in whole["ticks"]:
        behind = min((row["ts_event"] - (T0 - 8 * MS)) // MS, 299)
        assert row["quote_ts_event"] == (None if behind < 0 else T0 - 8 * MS + behind * MS)
        assert (row["bid_price"] is None) == (behind < 0)
    assert rows_of(await past.pages("asof", "BTCUSDT", limit=33)) == whole["ticks"]
    late = await past.ask("asof", start_time="2025-11-20T12:00:00.39Z")
    assert {row["quote_ts_event"] for row in late["ticks"]} == {T0 + 291 * MS}


# -- why there is less --------------------------------------------------------------------------


async def codes(past: Past, start: str, end: str | None, symbol: str = "BTCUSDT", kind: str = "trades") -> list[str]:
    found = await past.ask("ticks", symbol, kind, start_time=start, end_time=end)
    assert found["ticks"] == []
    assert [n["text"] for n in found["notes"] if n["code"] != "only_tape"] == found["missing"]
    bars = await past.ask("bars", symbol, "1h", start_time=start, end_time=end) if kind == "trades" else found
    assert bars["notes"] == found["notes"]
    return [n["code"] for n in found["notes"] if n["code"] != "only_tape"]


@pytest.mark.asyncio
@pytest.mark.parametrize("flushed", [False, True])
async def test_every_reason_for_an_empty_answer_is_another(past: Past, flushed: bool) -> None:
    house = past.house
    house.trades(btc(house), 10)
    house.trades(btc(house), 10, T0 + 2 * DAY)
    house.gap(btc(house).id, GapState.CLOSED, start=T0 + DAY, duration_ns=60 * SECOND)
    shares = house.directory.enrol("x", "AAPL", msgspec.structs.replace(_listing(house, "AAPL"), calendar="NYSE"))
    house.trades(shares, 1, T0 - DAY)
    house.trades(shares, 1, T0 + 3 * DAY)
    house.enrol("NEVER")
    house.clock.advance(5 * DAY)
    if flushed:
        past.flush()
    assert await codes(past, "2025-11-26", None) == ["future"]
    assert await codes(past, "2023-01-01", "2023-01-02") == ["before_retention"]
    assert await codes(past, "2025-11-01", "2025-11-02") == ["not_recorded_yet"]
    assert await codes(past, "2025-11-20", "2025-11-21", "NEVER") == ["never_recorded"]
    assert await codes(past, "2025-11-20", "2025-11-21", kind="book") == ["never_recorded"]
    assert await codes(past, "2025-11-21T11:00:00Z", "2025-11-21T13:00:00Z") == ["gap"]
    assert await codes(past, "2025-11-21T15:00:00Z", "2025-11-21T16:00:00Z") == ["no_rows"]
    assert await codes(past, "2025-11-22T02:00:00Z", "2025-11-23", "AAPL") == ["market_closed"]  # a Saturday
    assert await codes(past, "2025-11-21T15:00:00Z", "2025-11-21T16:00:00Z", "AAPL") == ["no_rows"]
    with pytest.raises(UnknownSymbol):
        await past.ask("ticks", "NOBODY", "trades")


def _listing(house: House, symbol: str) -> Any:
    from ticktape.model.instruments import Listing

    known = btc(house)
    fields: dict[str, Any] = {name: getattr(known, name) for name in Listing.__struct_fields__}
    fields["symbol"] = symbol
    return Listing(**fields)


@pytest.mark.asyncio
async def test_a_partly_old_range_answers_and_says_what_may_be_gone(past: Past) -> None:
    past.house.trades(btc(past.house), 3)
    found = await past.ask("ticks", "BTCUSDT", "trades", start_time="2023-01-01")
    assert len(found["ticks"]) == 3
    assert [n["code"] for n in found["notes"]] == ["before_retention", "only_tape"]


@pytest.mark.asyncio
async def test_a_damaged_file_is_left_out_and_said(past: Past) -> None:
    house = past.house
    house.trades(btc(house), 300)
    past.flush()
    house.trades(btc(house), 20, T0 + DAY, 1000)
    path = next((house.data / "lake" / "trades").glob("date=*/*.parquet"))
    data = bytearray(path.read_bytes())
    data[40] ^= 0xFF
    path.write_bytes(data)
    found = await past.ask("ticks", "BTCUSDT", "trades")
    assert [row["venue_id"] for row in found["ticks"]] == list(range(1000, 1020))
    assert [n["code"] for n in found["notes"]] == ["damaged"]
    assert str(house.data) not in msgspec.json.encode(found).decode()


# -- limits -------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_question_that_costs_too_much_is_refused_and_the_estimate_says_so(house: House) -> None:
    house.trades(house.enrol("BTCUSDT"), 500)
    past = Past(house, rows_read=100)
    past.flush()
    with pytest.raises(TooCostly, match="500 rows to read"):
        await past.ask("ticks", "BTCUSDT", "trades")
    estimate = await past.ask("estimate", "BTCUSDT", "trades", None)
    assert (estimate["rows"], estimate["files"], estimate["allowed"]) == (500, 1, False)
    assert (await past.ask("estimate", "BTCUSDT", "trades", "1h"))["table"] == "bars"
    assert (await past.ask("estimate", "BTCUSDT", "trades", None, start_time="2025-12-01"))["rows"] == 0
    assert len((await past.ask("bars", "BTCUSDT", "1h"))["bars"]) == 1


@pytest.mark.asyncio
async def test_an_answer_of_too_many_bytes_is_refused(house: House) -> None:
    house.trades(house.enrol("BTCUSDT"), 5000)
    with pytest.raises(TooCostly, match="MiB"):
        await Past(house, answer_mb=0).ask("ticks", "BTCUSDT", "trades", limit=5000)


# -- cursors, times, widths ---------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_cursor_belongs_to_its_question(past: Past) -> None:
    market(past.house)
    first = await past.ask("ticks", "BTCUSDT", "trades", limit=10)
    cursor = first["next_cursor"]
    others: list[tuple[Any, ...]] = [
        ("ticks", "ETHUSDT", "trades"),
        ("ticks", "BTCUSDT,ETHUSDT", "trades"),
        ("ticks", "BTCUSDT", "quotes"),
        ("bars", "BTCUSDT", "1m"),
        ("asof", "BTCUSDT"),
    ]
    for what, symbols, *args in others:
        with pytest.raises(BadInput, match="another question"):
            await past.ask(what, symbols, *args, cursor=cursor)
    for more in ({"start_time": "2025-01-02"}, {"end_time": None}, {"as_known_at": "2026-01-01"}):
        with pytest.raises(BadInput, match="another question"):
            await past.ask("ticks", "BTCUSDT", "trades", **{"cursor": cursor, **more})
    for bad in ("", "x", cursor[:-1], cursor + "A", "A" + cursor[1:], cursor * 20, "é" * 40, "=" * 8):
        with pytest.raises(BadInput):
            await past.ask("ticks", "BTCUSDT", "trades", cursor=bad)
    assert await past.ask("ticks", "BTCUSDT", "trades", limit=10, cursor=cursor) != first


@given(st.binary(max_size=80))
def test_no_bytes_make_a_cursor(noise: bytes) -> None:
    binding = cursors.binding_of("x")
    good = cursors.encode(Mark(start_ns=1, end_ns=2, before=3), binding)
    assert cursors.decode(good, binding) == Mark(start_ns=1, end_ns=2, before=3)
    for text in (noise.hex(), noise.decode("latin-1"), good[:-4] + noise.hex()):
        if text != good:
            with pytest.raises(BadInput):
                cursors.decode(text, binding)


GOOD_TIMES = {
    "2025-11-20": T0 - 12 * 3600 * SECOND,
    "2025-11-20T12:00:00Z": T0,
    "2025-11-20t12:00:00z": T0,
    "2025-11-20 12:00:00Z": T0,
    "2025-11-20T12:00:00.5Z": T0 + SECOND // 2,
    "2025-11-20T12:00:00.000000001Z": T0 + 1,
    "2025-11-20T13:00:00+01:00": T0,
    "2025-11-20T13:00:00 01:00": T0,
    "2025-11-20T07:00:00-05:00": T0,
    "2025-11-20T11:59:60Z": T0,
    str(T0 + 7): T0 + 7,
    "0": 0,
}
BAD_TIMES = ["\u0662\u0660\u0662\u0665-\u0661\u0661-\u0662\u0660",
             "", "now", "1763640000", "1763640000000", "2025-11-20T12:00:00", "2025-13-01", "2025-02-30", "-5", "1e18",
             "9" * 19, "9" * 30, "2025-11-20T25:00:00Z", "2025-11-20T12:00:00+24:00", "1969-12-31", "2500-01-01",
             "2025-11-20\n", "0x10", "2025-11-20T12:00:00.0000000001Z", "' OR 1=1"]  # fmt: skip


@pytest.mark.parametrize(("text", "ns"), GOOD_TIMES.items())
def test_a_time_is_read_exactly(text: str, ns: int) -> None:
    assert when.parse_time(text, "start_time") == ns


@pytest.mark.parametrize("text", BAD_TIMES)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="start_time"):
        when.parse_time(text, "start_time")


@pytest.mark.parametrize(
    "text", ["", "0s", "1", "s", "-1s", "1.5m", "1w", "1M", "367d", "999999999d", "1s;", "1 s", "\u0663s", "1s\n"]
)
def test_what_is_no_width_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="interval"):
        when.parse_width(text)


def test_an_empty_or_turned_range_is_refused() -> None:
    for start, end in (("2025-11-20", "2025-11-20"), ("2025-11-21", "2025-11-20")):
        with pytest.raises(BadInput, match="not after"):
            when.parse_range(start, end, T0)
    assert when.parse_range("2025-11-20", None, T0) == (T0 - 12 * 3600 * SECOND, T0)


# -- forms --------------------------------------------------------------------------------------


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: Decimal(str(v)) if isinstance(v, int | float | Decimal) and not isinstance(v, bool) else v
         for name, v in row.items()}
        for row in rows
    ]  # fmt: skip


def _exact(data: bytes) -> Any:
    return msgspec.json.Decoder(float_hook=Decimal).decode(data)


def _numbers(row: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    return {n: Decimal(v) if isinstance(like[n], Decimal | int) and isinstance(v, str) else v for n, v in row.items()}


@pytest.mark.asyncio
@pytest.mark.parametrize(("what", "args"), [("ticks", ["trades"]), ("ticks", ["quotes"]), ("ticks", ["book"]),
                                           ("bars", ["37s"]), ("asof", [])])  # fmt: skip
async def test_every_form_carries_the_same_rows_exactly(past: Past, what: str, args: list[str]) -> None:
    market(past.house)
    huge = past.house.enrol("PEPEUSDT", 12, 8)
    past.house.trades(huge, 3, T0, price=2**62)
    past.flush(700)
    symbols = "BTCUSDT" if what == "asof" else "BTCUSDT,ETHUSDT,PEPEUSDT"

    async def get(form: str) -> tuple[Any, bytes]:
        body = await past.body(what, symbols, *args, format=form, limit=77)
        return body.reply, body.pieces[0]

    name = "bars" if what == "bars" else "ticks"
    _, data = await get("json")
    whole = _exact(data)
    wanted = _plain(whole[name])
    about = {**whole, "ticks": None, "bars": None} if "bars" in whole else {**whole, "ticks": None}

    reply, data = await get("ndjson")
    assert _plain([_exact(line) for line in data.splitlines()]) == wanted
    assert _exact(dict(reply.headers)["Ticktape-About"]) == about
    assert dict(reply.headers).get("Ticktape-Next-Cursor") == whole["next_cursor"]

    _, data = await get("msgpack")
    packed = msgspec.msgpack.decode(data)
    assert _plain([_numbers(row, like) for row, like in zip(packed.pop(name), wanted, strict=True)]) == wanted
    assert packed.keys() == whole.keys() - {name}

    for form, read in (("arrow", _arrow), ("parquet", _parquet)):
        reply, data = await get(form)
        table = read(data)
        assert _plain(table.to_pylist()) == wanted, form
        assert _exact(table.schema.metadata[b"ticktape"]) == about

    _, data = await get("csv")
    lines = list(csv.DictReader(io.StringIO(data.decode())))
    assert len(lines) == len(wanted)
    for line, row in zip(lines, wanted, strict=True):
        for column, value in row.items():
            text = line[column]
            if column == "flags":
                assert text == "|".join(value)
            elif isinstance(value, Decimal):
                assert Decimal(text) == value
            else:
                assert text == ("" if value is None else str(value).lower() if isinstance(value, bool) else value)


def _arrow(data: bytes) -> Any:
    return pa.ipc.open_stream(data).read_all()


def _parquet(data: bytes) -> Any:
    return pq.read_table(io.BytesIO(data))


@pytest.mark.asyncio
@pytest.mark.parametrize(("what", "args"), [("ticks", ["trades"]), ("bars", ["37s"]), ("asof", [])])
async def test_an_answer_without_rows_has_the_same_columns_and_types(past: Past, what: str, args: list[str]) -> None:
    market(past.house)
    some, none = [
        _arrow((await past.body(what, "BTCUSDT", *args, format="arrow", end_time=end)).pieces[0])
        for end in (END, "2025-01-02")
    ]
    assert none.num_rows == 0 < some.num_rows
    assert some.schema.remove_metadata() == none.schema.remove_metadata()


# -- the day's certificate ----------------------------------------------------------------------


async def certified(past: Past, day: str = "2025-11-20") -> dict[str, Any]:
    return msgspec.json.decode((await past.desk.day(KEY, past.house.queries(), "BTCUSDT", day, "utc")).pieces[0])


@pytest.mark.asyncio
async def test_a_running_day_is_judged_by_what_was_recorded_and_a_hole_is_found(past: Past) -> None:
    house = past.house
    (house.data / "completeness.json").write_text('{"binance":{"trade":"sequence"}}')
    house.trades(btc(house), 500)
    past.flush(200)
    found = await certified(past)
    assert (found["running"], found["verdict"], found["notes"]) == (True, "complete", [])
    (channel,) = found["certificate"]["channels"]
    assert (channel["completeness"], channel["records"], channel["missing"]) == ("sequence", 500, 0)
    house.trades(btc(house), 10, T0 + SECOND, 511)
    found = await certified(past)
    assert found["verdict"] == "incomplete"
    assert found["certificate"]["channels"][0]["missing_ranges"][0]["first_id"] == 501
    past.flush()
    again = await certified(past)
    assert again["certificate"] == found["certificate"]  # wherever the rows are


@pytest.mark.asyncio
async def test_without_a_class_nothing_is_proven_and_the_answer_says_what_to_do(past: Past) -> None:
    past.house.trades(btc(past.house), 5)
    found = await certified(past)
    assert found["verdict"] == "not provable"
    assert "start the recorder once" in found["notes"][0]


@pytest.mark.asyncio
async def test_a_day_that_is_none_or_has_not_begun_is_refused(past: Past) -> None:
    for day in ("2025-13-01", "20251120", "2025-11-2", "today", "2025-11-20T00", "1969-01-01", "2025-11-21"):
        with pytest.raises(BadInput):
            await certified(past, day)


@pytest.mark.asyncio
async def test_what_the_recorder_said_of_its_sources_is_remembered_when_it_is_away(past: Past) -> None:
    async def recorder(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"ok":[{"name":"binance","running":true,"completeness":{"trade":"sequence"}}]}\n')
        writer.close()

    past.house.trades(btc(past.house), 5)
    async with await asyncio.start_unix_server(recorder, past.house.data / "record.sock"):
        assert (await certified(past))["verdict"] == "complete"
    assert (await certified(past))["verdict"] == "complete"


def test_a_header_carries_any_text_as_json() -> None:
    text = msgspec.json.encode({"a": "Fête \u2013 \U0001f600"}).decode()
    assert msgspec.json.decode(formats._ascii(text)) == msgspec.json.decode(text)  # pyright: ignore[reportPrivateUsage]
    assert formats._ascii(text).isascii()  # pyright: ignore[reportPrivateUsage]


def test_an_overload_says_when_to_come_back() -> None:
    answer = errors.of_error(Overloaded("busy", "again"), "0" * 16)
    assert answer is not None
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_every_is_a_time() -> None:
    assert when.parse_time(EVERY, "x") < T0 < when.parse_time(END, "x")
