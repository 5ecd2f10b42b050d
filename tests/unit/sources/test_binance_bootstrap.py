"""A span of past trades: found by time, fetched by id, through the judge, and never fetched twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ticktape.app.importing import Imported, run_source
from ticktape.cli.bootstrap import missing
from ticktape.model.records import Kind, Records
from ticktape.simulate.binance import BinanceVenue, Refuse, VenueSettings
from ticktape.sources.binance.bootstrap import BootstrapSettings, BootstrapSource, Span, span_of
from ticktape.sources.binance.rest import BinanceRest, HistoricalAggTrade
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

MARKET = VenueSettings(rate=500.0, preroll_s=30.0, autorun=False)
US = 1_000_000


class Kept(BinanceRest):
    """A venue that holds aggregated trades; every third id has two trades, and counts what is asked."""

    def __init__(self, times: dict[int, int]) -> None:
        self.times, self.pages = times, 0

    async def agg_trades(self, symbol: str, from_id: int) -> list[HistoricalAggTrade]:
        self.pages += 1
        await asyncio.sleep(0)
        ids = [number for number in sorted(self.times) if number >= from_id][:1000]
        return [HistoricalAggTrade(n, "1", "1", self.times[n], False, first=10 * n, last=10 * n + 3) for n in ids]


@pytest.mark.parametrize("first", [0, 1, 7, 1_000_000, 3_000_000_000])
@pytest.mark.parametrize("count", [1, 2, 999, 1000, 1001, 5000])
async def test_the_first_trade_of_a_span_is_found_wherever_ids_begin(first: int, count: int) -> None:
    times = {first + k: 1000 * US + 5 * k for k in range(count)}
    for since, at in ((0, 0), (1000 * US + 5 * (count // 2), count // 2), (1000 * US + 5 * (count - 1), count - 1)):
        rest = Kept(times)
        assert await span_of(rest, "BTCUSDT", since) == Span(10 * (first + at), 10 * (first + count - 1) + 3)
        assert rest.pages < 120  # of weight 4: less than a tenth of a minute's
    assert await span_of(Kept(times), "BTCUSDT", 1000 * US + 5 * count) is None
    assert await span_of(Kept({}), "BTCUSDT", 0) is None


async def test_ids_that_were_skipped_and_times_that_are_equal_do_not_mislead() -> None:
    times = {n: 1000 * US + (n // 500) for n in range(10_000) if n % 97 and not 3000 <= n < 4000}
    for since in range(1000 * US, 1000 * US + 20):
        expected = min(n for n in times if times[n] >= since)
        assert await span_of(Kept(times), "X", since) == Span(10 * expected, 10 * 9999 + 3)


def trades_on(world: Path) -> Records:
    reader = Reader(world / "tape")
    view = reader.view(reader.first, reader.end)
    return view[view["kind"] == Kind.TRADE].copy()


async def fetched(venue: BinanceVenue, world: Path, span_s: float, asked: list[int], **more: Any) -> Imported:
    settings = BootstrapSettings(symbols=("BTCUSDT", "ETHUSDT"), span_s=span_s, rest_url=venue.rest_url)

    def left(who: int, first: int, last: int) -> Sequence[tuple[int, int]]:
        return missing(world, who, first, last)

    return await run_source(world, lambda d: BootstrapSource(settings, d, left, found=asked.append), **more)


async def test_an_empty_store_gets_every_trade_of_the_span_once(tmp_path: Path) -> None:
    async with BinanceVenue(MARKET) as venue:
        asked: list[int] = []
        first = await fetched(venue, tmp_path, 3600, asked)
        assert first.ok, first.trouble
        assert (first.stored, first.duplicates, first.quarantined) == (asked[0], 0, 0)
        directory = TapeDirectory(tmp_path / "tape")
        found = trades_on(tmp_path)
        for symbol in ("BTCUSDT", "ETHUSDT"):
            mine = found[found["instrument"] == directory.by_symbol(symbol).id]
            ours = {int(r["c"]): (int(r["a"]), int(r["b"]), int(r["ts_event"]) // 1000) for r in mine}
            assert ours == {row.trade_id: (row.price, row.size, row.time_us) for row in venue.ledger(symbol)}
        directory.close()
        again = await fetched(venue, tmp_path, 3600, asked)
        assert (again.ok, again.stored, again.duplicates, asked[1]) == (True, 0, 0, 0)


async def test_a_run_that_was_broken_off_goes_on_where_it_ended(tmp_path: Path) -> None:
    async with BinanceVenue(MARKET) as venue:
        asked: list[int] = []
        part = await fetched(venue, tmp_path, 10, asked)  # as if the rest had not come
        whole = await fetched(venue, tmp_path, 3600, asked)
        assert part.stored > 0
        assert part.stored + whole.stored == len(venue.ledger("BTCUSDT")) + len(venue.ledger("ETHUSDT"))
        assert whole.duplicates == 0
        assert asked[1] == whole.stored


async def test_a_venue_that_refuses_is_asked_again_and_what_came_stays(tmp_path: Path) -> None:
    async with BinanceVenue(MARKET) as venue:
        venue.order(Refuse(path="/api/v3/historicalTrades", status=503, count=2))
        asked: list[int] = []
        first = await fetched(venue, tmp_path, 3600, asked)
        assert not first.ok
        assert "503" in first.trouble
        done = await fetched(venue, tmp_path, 3600, asked, tries=5)
        assert done.ok, done.trouble
        assert len(trades_on(tmp_path)) == len(venue.ledger("BTCUSDT")) + len(venue.ledger("ETHUSDT"))


async def test_an_unknown_symbol_ends_it_with_its_name(tmp_path: Path) -> None:
    async with BinanceVenue(MARKET) as venue:
        settings = BootstrapSettings(symbols=("NOSUCHCOIN",), span_s=60, rest_url=venue.rest_url)
        done = await run_source(tmp_path, lambda d: BootstrapSource(settings, d, lambda who, first, last: []), tries=5)
        assert "NOSUCHCOIN" in done.trouble
