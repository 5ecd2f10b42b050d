"""A venue's bars of the last days: fetched page by page, exact, each once, and nothing taken on trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from ticktape.app.importing import run_source
from ticktape.app.klines import Fetched, Tell, fetch_bars
from ticktape.errors import Busy, Unavailable, UnknownSymbol
from ticktape.keep.flush import Flusher
from ticktape.keep.klines import KlineStore
from ticktape.lake.history import Lake
from ticktape.model.bars import BarFlag, Bars, wide
from ticktape.model.instruments import Instrument
from ticktape.simulate.binance import BinanceVenue, Refuse, VenueSettings
from ticktape.sources.binance.bootstrap import BootstrapSettings, BootstrapSource
from ticktape.sources.binance.klines import MINUTE_NS, bars_of
from ticktape.sources.binance.rest import BinanceRest, Kline
from ticktape.sources.binance.weights import Weights
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

MARKET = VenueSettings(rate=2.0, preroll_s=5400.0, autorun=False)
SHORT = VenueSettings(rate=5.0, preroll_s=300.0, autorun=False)
WEEK = 7 * 86_400 * 10**9
EVER = (-(2**62), 2**62)
NAMES = ("BTCUSDT", "ETHUSDT")


async def enrolled(venue: BinanceVenue, world: Path, span_s: float = 0.0) -> None:
    settings = BootstrapSettings(symbols=NAMES, span_s=span_s, rest_url=venue.rest_url)
    done = await run_source(world, lambda d: BootstrapSource(settings, d, lambda _, a, b: [(a, b)]))
    assert done.ok, done.trouble


async def fetched(
    venue: BinanceVenue, world: Path, span_ns: int = WEEK, *, tell: Tell | None = None, **more: Any
) -> Fetched:
    async with BinanceRest(venue.rest_url, Weights()) as rest:
        return await fetch_bars(world, NAMES, span_ns, rest, vendor="binance", tell=tell, **more)


def stored(world: Path, symbol: str, width: int = MINUTE_NS) -> Bars:
    directory = TapeDirectory(world / "tape")
    who = directory.by_symbol(symbol).id
    directory.close()
    return Lake(world / "lake").snapshot().bars([who], *EVER, width).bars


def expected(venue: BinanceVenue, symbol: str) -> dict[int, list[int]]:
    """Return open, high, low, close, volume, count of each whole minute, from the venue's own trades."""
    found: dict[int, list[int]] = {}
    for row in venue.ledger(symbol):
        minute = row.time_us * 1000 // MINUTE_NS * MINUTE_NS
        bar = found.setdefault(minute, [row.price, row.price, row.price, row.price, 0, 0])
        bar[1], bar[2], bar[3] = max(bar[1], row.price), min(bar[2], row.price), row.price
        bar[4], bar[5] = bar[4] + row.size, bar[5] + 1
    running = venue.now_us() * 1000 // MINUTE_NS * MINUTE_NS
    return {minute: bar for minute, bar in found.items() if minute < running}


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_an_empty_store_gets_the_venues_bars_once(tmp_path: Path) -> None:
    async with BinanceVenue(MARKET) as venue:
        await enrolled(venue, tmp_path)
        told: list[tuple[int, int]] = []
        first = await fetched(venue, tmp_path, tell=lambda done, total: told.append((done, total)))
        assert first.ok, first.trouble
        assert told == sorted(told)
        for symbol in NAMES:
            bars = stored(tmp_path, symbol)
            names = ("start", "open", "high", "low", "close", "volume_low", "count")
            ours = {row[0]: list(row[1:]) for row in zip(*(bars[name].tolist() for name in names), strict=True)}
            assert ours == expected(venue, symbol)
            assert len(ours) > 60
            assert (bars["flags"] == int(BarFlag.KLINES)).all()
            hours = stored(tmp_path, symbol, 60 * MINUTE_NS)
            assert int(hours["volume_low"].sum()) == sum(bar[4] for bar in expected(venue, symbol).values())
        again = await fetched(venue, tmp_path)
        rows = Lake(tmp_path / "lake").snapshot().versions["bars"].rows
        assert (again.ok, again.stored, rows) == (True, 0, first.stored)


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_what_is_broken_off_goes_on_and_the_tape_goes_into_the_lake_after(tmp_path: Path) -> None:
    async with BinanceVenue(MARKET) as venue:
        await enrolled(venue, tmp_path, 1800.0)
        refuse = Refuse(path="/api/v3/klines", status=503)

        def after_the_first_page(_done: int, _total: int) -> None:
            venue.order(refuse)

        part = await fetched(venue, tmp_path, tell=after_the_first_page)
        assert not part.ok
        assert "503" in part.trouble
        assert part.stored > 0
        whole = await fetched(venue, tmp_path, tries=3, pause_s=0.01)
        assert whole.ok, whole.trouble
        rows = Lake(tmp_path / "lake").snapshot().versions["bars"].rows
        assert part.stored + whole.stored == rows
        reader = Reader(tmp_path / "tape")
        flusher = Flusher(tmp_path / "lake", reader)
        flusher.flush()
        assert flusher.position() == reader.end
        for symbol in NAMES:  # of trades where there are some, else the venue's: either way the venue's numbers
            bars = stored(tmp_path, symbol)
            closed = expected(venue, symbol)
            own = bars[bars["flags"] & BarFlag.KLINES == 0]
            assert 20 < len(own) < len(bars)
            whole_minutes = [
                row for row in bars if int(row["start"]) in closed and int(row["start"]) != own["start"][0]
            ]
            assert {int(r["start"]): int(r["volume_low"]) for r in whole_minutes} == {
                start: bar[4] for start, bar in closed.items() if start != own["start"][0]
            }


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_a_refusal_in_the_middle_is_waited_out(tmp_path: Path) -> None:
    async with BinanceVenue(SHORT) as venue:
        await enrolled(venue, tmp_path)
        venue.order(Refuse(path="/api/v3/klines", status=503, count=2))
        done = await fetched(venue, tmp_path, tries=3, pause_s=0.01)
        assert done.ok, done.trouble
        assert done.stored == Lake(tmp_path / "lake").snapshot().versions["bars"].rows > 0


@pytest.mark.asyncio
@pytest.mark.timeout(120)
async def test_it_needs_the_lake_for_itself_and_symbols_that_are_enrolled(tmp_path: Path) -> None:
    async with BinanceVenue(SHORT) as venue:
        await enrolled(venue, tmp_path)
        keep = KlineStore(Reader(tmp_path / "tape"))
        with pytest.raises(Busy):
            await fetched(venue, tmp_path)
        keep.close()
        async with BinanceRest(venue.rest_url, Weights()) as rest:
            with pytest.raises(UnknownSymbol):
                await fetch_bars(tmp_path, ["DOGEUSDT"], WEEK, rest, vendor="binance")


# -- what a page says ------------------------------------------------------------------------------------

T = 1_763_640_000 * 10**6  # us
ROW: Kline = (
    T, "61832.50", "61900.00", "61800.10", "61850.00", "1.50000", T + 60_000_000 - 1, "92775.12345678", 12,
    "1", "1", "0",
)  # fmt: skip


def about() -> Instrument:
    return msgspec.convert(
        {"id": 1, "symbol": "BTCUSDT", "venue": "binance", "asset_class": "crypto", "tick_size": "0.01",
         "size_step": "0.00001"}, Instrument,
    )  # fmt: skip


def test_a_row_is_read_exactly_also_beyond_64_bits() -> None:
    huge = (*ROW[:7], "123456789012345678.5", *ROW[8:])
    bars = bars_of([ROW], about(), T * 1000, (T + 60_000_000) * 1000)
    bar = bars[0]
    assert [int(bar[name]) for name in ("start", "open_ts", "close_ts")] == [
        T * 1000, T * 1000, (T + 60_000_000) * 1000 - 1000
    ]  # fmt: skip
    assert [int(bar[name]) for name in ("open", "high", "low", "close")] == [
        6183250000000, 6190000000000, 6180010000000, 6185000000000
    ]  # fmt: skip
    assert (int(bar["volume_low"]), int(bar["count"])) == (150_000_000, 12)
    assert wide(bar["notional_high"], bar["notional_low"]) == 9277512345678 * 10**8
    bar = bars_of([huge], about(), T * 1000, (T + 60_000_000) * 1000)[0]
    assert wide(bar["notional_high"], bar["notional_low"]) == 1234567890123456785 * 10**15


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, T + 1), (0, T - 60_000_000), (0, T + 120_000_000), (0, -(10**30)), (6, T + 60_000_000), (6, 10**40),
        (1, "NaN"), (1, "70000"), (2, "61000"), (3, "-1"), (3, "0"), (4, "1e5"), (5, "-1.5"),
        (5, "99999999999999999999"), (5, "1.123456789"), (7, "-1"), (7, "1e9"), (7, "9" * 40), (7, "٣"),
        (8, -1), (8, 2**60),
    ],
)  # fmt: skip
def test_a_row_that_is_no_bar_of_the_minute_is_refused(place: int, value: Any) -> None:
    row: Any = (*ROW[:place], value, *ROW[place + 1 :])
    with pytest.raises(Unavailable, match="no bar of a minute"):
        bars_of([row], about(), T * 1000, (T + 60_000_000) * 1000)


def test_minutes_that_repeat_or_go_back_are_refused() -> None:
    later: Kline = (T + 60_000_000, *ROW[1:6], T + 120_000_000 - 1, *ROW[7:])  # pyright: ignore[reportAssignmentType]
    span = T * 1000, (T + 120_000_000) * 1000
    assert np.array_equal(bars_of([ROW, later], about(), *span)["start"], [T * 1000, T * 1000 + MINUTE_NS])
    for rows in ([ROW, ROW], [later, ROW]):
        with pytest.raises(Unavailable):
            bars_of(rows, about(), *span)
