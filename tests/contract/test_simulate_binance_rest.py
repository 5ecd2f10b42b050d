"""The simulated Binance over REST: answers, errors, weights, bans."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from ticktape.simulate.binance import BinanceVenue, Hole, Refuse, Skew, StaleDepth, VenueSettings

pytestmark = pytest.mark.timeout(30)

START = 1_763_640_000_000_000_000
SECOND = 1_000_000_000


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


def still(**fields: Any) -> VenueSettings:
    return VenueSettings(autorun=False, **fields)


async def get(venue: BinanceVenue, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
    """status, body, headers of GET /api/v3/<path>."""
    request = urllib.request.Request(f"{venue.rest_url}/api/v3/{path}", headers=headers or {})

    def call() -> tuple[int, Any, Any]:
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.loads(answer.read()), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers

    return await asyncio.to_thread(call)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("depth?symbol=NOSUCH", -1121),
        ("depth", -1102),
        ("depth?symbol=", -1102),
        ("depth?symbol=btcusdt", -1100),
        ("depth?symbol=..%2Fx", -1100),
        ("trades?symbol=BTCUSDT&limit=ten", -1100),
        ("trades?symbol=BTCUSDT&limit=0", -1130),
        ("klines?symbol=BTCUSDT", -1102),
        ("klines?symbol=BTCUSDT&interval=7m", -1120),
        ("aggTrades?symbol=BTCUSDT&fromId=1&startTime=1", -1128),
        ("exchangeInfo?symbols=%5B%22NOSUCH%22%5D", -1121),
        ("exchangeInfo?symbols=BTCUSDT", -1100),
        ("ping?a=1", -1101),
    ],
)
async def test_a_bad_request_is_answered_with_its_code(path: str, code: int) -> None:
    async with BinanceVenue(still()) as venue:
        status, body, _ = await get(venue, path)

    assert (status, body["code"]) == (400, code)
    assert set(body) == {"code", "msg"}


@pytest.mark.asyncio
async def test_exchange_info_lists_one_some_or_all() -> None:
    async with BinanceVenue(still()) as venue:
        one = (await get(venue, "exchangeInfo?symbol=MNQ"))[1]
        some = (await get(venue, "exchangeInfo?symbols=%5B%22BTCUSDT%22,%22VIX%22%5D"))[1]
        everything = (await get(venue, "exchangeInfo"))[1]

    assert [s["symbol"] for s in one["symbols"]] == ["MNQ"]
    assert one["symbols"][0]["filters"][0]["tickSize"] == "0.25000000"
    assert [s["symbol"] for s in some["symbols"]] == ["BTCUSDT", "VIX"]
    assert len(everything["symbols"]) == 8
    assert everything["rateLimits"][0]["limit"] == 6000


@pytest.mark.asyncio
async def test_history_pages_by_id_without_a_seam() -> None:
    async with BinanceVenue(still(preroll_s=120)) as venue:
        ledger = venue.ledger("BTCUSDT")
        at, found = ledger[0].trade_id, list[int]()
        while page := (await get(venue, f"historicalTrades?symbol=BTCUSDT&fromId={at}&limit=700"))[1]:
            found += [row["id"] for row in page]
            at = found[-1] + 1
        newest = (await get(venue, "trades?symbol=BTCUSDT&limit=3"))[1]

    assert found == [row.trade_id for row in ledger]
    assert [row["id"] for row in newest] == found[-3:]


@pytest.mark.asyncio
async def test_aggregates_cover_every_trade_once_by_id_and_by_time() -> None:
    async with BinanceVenue(still(preroll_s=60), Hand()) as venue:
        ledger = venue.ledger("ETHUSDT")
        by_id: list[Any] = []
        at = 0
        while page := (await get(venue, f"aggTrades?symbol=ETHUSDT&fromId={at}&limit=1000"))[1]:
            by_id += page
            at = by_id[-1]["a"] + 1
        low, high = by_id[10]["T"], by_id[20]["T"]
        between = (await get(venue, f"aggTrades?symbol=ETHUSDT&startTime={low}&endTime={high}"))[1]
        newest = (await get(venue, "aggTrades?symbol=ETHUSDT&limit=2"))[1]

    covered = [trade_id for agg in by_id for trade_id in range(agg["f"], agg["l"] + 1)]
    assert covered == [row.trade_id for row in ledger]
    total = round(sum(float(agg["q"]) for agg in by_id) * 1e8)
    assert abs(total - sum(row.size for row in ledger)) < 10_000
    assert between == [agg for agg in by_id if low <= agg["T"] <= high]
    assert newest == by_id[-2:]
    assert any(agg["l"] > agg["f"] for agg in by_id)


@pytest.mark.asyncio
async def test_klines_add_up_to_the_ledger_and_have_no_missing_rows() -> None:
    clock = Hand()
    async with BinanceVenue(still(preroll_s=200), clock) as venue:
        ledger = venue.ledger("VIX")
        rows = (await get(venue, "klines?symbol=VIX&interval=1s&limit=1000"))[1]
        minutes = (await get(venue, "klines?symbol=VIX&interval=1m"))[1]
        months = (await get(venue, "klines?symbol=VIX&interval=1M"))[1]

    assert all(len(row) == 12 for row in rows)
    opens = [row[0] for row in rows]
    assert opens == list(range(opens[0], opens[-1] + 1, 1000))
    assert any(row[8] == 0 for row in rows)  # VIX is quiet: flat rows exist
    for group in (rows, minutes, months):
        assert sum(row[8] for row in group) == len(ledger)
        assert round(sum(float(row[5]) for row in group) * 1e8) == sum(row.size for row in ledger)
    assert float(months[0][2]) == max(row.price for row in ledger) / 1e8


@pytest.mark.asyncio
async def test_microseconds_are_served_on_request() -> None:
    async with BinanceVenue(still(), Hand()) as venue:
        milli = (await get(venue, "time"))[1]
        micro = (await get(venue, "time", {"X-MBX-TIME-UNIT": "MICROSECOND"}))[1]

    assert milli["serverTime"] == START // 1_000_000
    assert micro["serverTime"] == START // 1_000


@pytest.mark.asyncio
async def test_weight_is_counted_then_429_then_418_then_forgiven() -> None:
    clock = Hand()
    clock.now -= clock.now % (60 * SECOND)
    async with BinanceVenue(still(weight_per_m=300, ban_after=2, ban_s=120), clock) as venue:
        assert (await get(venue, "ping"))[2]["X-MBX-USED-WEIGHT-1M"] == "1"
        assert (await get(venue, "depth?symbol=BTCUSDT&limit=5000"))[2]["X-MBX-USED-WEIGHT-1M"] == "251"
        for _ in range(2):
            status, body, headers = await get(venue, "depth?symbol=BTCUSDT&limit=1000")
            assert (status, body["code"]) == (429, -1003)
            assert int(headers["Retry-After"]) == 61
        status, body, headers = await get(venue, "ping")
        assert (status, body["code"], headers["Retry-After"]) == (418, -1003, "121")
        assert "IP banned until" in body["msg"]
        clock.now += 61 * SECOND
        assert (await get(venue, "ping"))[0] == 418
        clock.now += 60 * SECOND
        assert (await get(venue, "ping"))[2]["X-MBX-USED-WEIGHT-1M"] == "1"


@pytest.mark.asyncio
async def test_refusals_stale_books_skew_and_holes_can_be_ordered() -> None:
    clock = Hand()
    async with BinanceVenue(still(), clock) as venue:
        venue.order(Refuse(status=429, retry_after_s=7, path="/api/v3/time"))
        status, _, headers = await get(venue, "time")
        assert (status, headers["Retry-After"]) == (429, "7")
        assert (await get(venue, "time"))[0] == 200

        venue.order(StaleDepth(symbol="BTCUSDT"))
        frozen = await venue.book("BTCUSDT")
        venue.advance(START + 2 * SECOND)
        assert frozen is not None
        assert (await get(venue, "depth?symbol=BTCUSDT"))[1]["lastUpdateId"] == frozen.last_id
        assert (await get(venue, "depth?symbol=BTCUSDT"))[1]["lastUpdateId"] > frozen.last_id

        venue.order(Skew(offset_ms=-1250))
        assert (await get(venue, "time"))[1]["serverTime"] == START // 1_000_000 - 1250

        last = venue.ledger("BTCUSDT")[-1].trade_id
        venue.order(Hole(symbol="BTCUSDT", count=3))
        venue.advance(START + 4 * SECOND)
        found = (await get(venue, f"historicalTrades?symbol=BTCUSDT&fromId={last}&limit=3"))[1]
        assert [row["id"] for row in found] == [last, last + 4, last + 5]
        covering = (await get(venue, "aggTrades?symbol=BTCUSDT&limit=1000"))[1]
        covered = {i for agg in covering for i in range(agg["f"], agg["l"] + 1)}
        assert not covered & {last + 1, last + 2, last + 3}
