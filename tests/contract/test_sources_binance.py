"""The Binance source against the simulated venue, over real sockets: what the ledger has is what arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ticktape.clock import SystemClock
from ticktape.errors import Misconfigured, Throttled, Unavailable, UnknownSymbol
from ticktape.model.book import Book
from ticktape.model.instruments import AssetClass, Instrument, Listing
from ticktape.model.records import BadReason, Channel, Flag, GapCause, Kind, Records, Side, empty
from ticktape.simulate.binance import (
    BinanceVenue,
    Corrupt,
    Disconnect,
    Drop,
    Hole,
    Refuse,
    Reset,
    Shutdown,
    StaleDepth,
    VenueSettings,
)
from ticktape.sources import contract
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.sources.binance.source import BinanceSource
from ticktape.sources.contract import Bad, Batch, Source, Watched

pytestmark = pytest.mark.timeout(60)

REAL_CAPTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "binance" / "hftbacktest_spot_btcusdt_20240808.gz"
needs_real_capture = pytest.mark.skipif(
    not REAL_CAPTURE.exists(),
    reason="the real capture is not committed; expected in ../shared/fixtures/binance",
)


class Instruments:
    """A directory in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Instrument] = {}

    def find(self, vendor: str, name: str) -> Instrument | None:
        return self.rows.get((vendor, name))

    def find_at(self, vendor: str, name: str, at_ns: int) -> Instrument | None:
        return self.find(vendor, name)

    def name_of(self, vendor: str, instrument_id: int) -> str | None:
        return next((name for (who, name), it in self.rows.items() if (who, it.id) == (vendor, instrument_id)), None)

    def enrol(self, vendor: str, name: str, listing: Listing) -> Instrument:
        fields = {field: getattr(listing, field) for field in listing.__struct_fields__}
        return self.rows.setdefault((vendor, name), Instrument(id=len(self.rows) + 1, **fields))


class Tape:
    """A sink that keeps what it is given, in order."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.watched: list[Watched] = []
        self.pieces: list[Records] = []
        self.bad: list[Bad] = []
        self.gaps: list[tuple[Watched, GapCause, str]] = []
        self.signs_of_life = 0
        self.reads: list[int] = []
        self._clock = SystemClock()

    def up(self, watched: Sequence[Watched]) -> None:
        self.watched = list(watched)

    def frames(self, frames: list[bytes], ts_recv: int) -> None:
        self.reads.append(len(frames))
        self.batch(self.source.normalise(frames, ts_recv))

    def batch(self, batch: Batch) -> None:
        self.pieces.append(batch.records)
        self.bad += batch.bad

    def lost(self, watched: Watched, cause: GapCause, detail: str) -> None:
        self.gaps.append((watched, cause, detail))

    def alive(self) -> None:
        self.signs_of_life += 1

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def records(self, kind: Kind, instrument_id: int = 1) -> Records:
        every = np.concatenate([empty(0), *self.pieces])
        return every[(every["kind"] == kind) & (every["instrument"] == instrument_id)]

    def ids(self, kind: Kind, instrument_id: int = 1) -> list[int]:
        return self.records(kind, instrument_id)["c"].tolist()

    def book(self, instrument_id: int = 1) -> Book:
        book = Book(instrument_id)
        for piece in self.pieces:
            book.apply(piece)
        return book


def settings(venue: BinanceVenue, **fields: Any) -> BinanceSettings:
    defaults: dict[str, Any] = {
        "symbols": ("BTCUSDT",),
        "ws_url": venue.ws_url,
        "rest_url": venue.rest_url,
        "answer_timeout_s": 5.0,
        "quiet_book_s": 0.2,
    }
    return BinanceSettings(**(defaults | fields))


@asynccontextmanager
async def recording(
    venue: BinanceVenue, **fields: Any
) -> AsyncGenerator[tuple[BinanceSource, Tape, asyncio.Task[None]]]:
    """A connected source, with everything subscribed, and its tape."""
    source = BinanceSource(settings(venue, **fields), Instruments())
    tape = Tape(source)
    task = asyncio.create_task(source.connect(tape))
    try:
        yield source, tape, task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def subscribed_once(source: BinanceSource) -> None:
    """Connect, and disconnect when everything is subscribed."""
    tape = Tape(source)
    task = asyncio.create_task(source.connect(tape))
    await until(lambda: len(tape.watched) == 3, task)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], object], task: asyncio.Task[None] | None = None) -> None:
    """Wait for something to become true; the test's own timeout is the limit."""
    while not true():
        if task is not None and task.done():
            task.result()
            raise AssertionError("the connection ended")
        await asyncio.sleep(0.01)


START = 1_763_640_000_000_000_000
SECOND = 1_000_000_000
DEEP = 50


class Hand:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class Market:
    """A venue that moves only when told."""

    def __init__(self, venue: BinanceVenue) -> None:
        self.venue = venue
        self._now = START

    def move(self, seconds: float) -> None:
        self._now += int(seconds * SECOND)
        self.venue.advance(self._now)

    async def agrees(self, tape: Tape, symbol: str = "BTCUSDT", instrument_id: int = 1) -> None:
        """Wait until all that was sent is recorded, then compare the books."""
        theirs = await self.venue.book(symbol, DEEP)
        assert theirs is not None
        await until(lambda: tape.book(instrument_id).update_id >= theirs.last_id)
        ours = tape.book(instrument_id)
        assert ours.synced
        assert ours.levels(Side.BUY, DEEP) == theirs.bids[:DEEP]
        assert ours.levels(Side.SELL, DEEP) == theirs.asks[:DEEP]


@asynccontextmanager
async def still(**fields: Any) -> AsyncGenerator[Market]:
    async with BinanceVenue(VenueSettings(autorun=False, preroll_s=5, **fields), Hand()) as venue:
        yield Market(venue)


@pytest.mark.asyncio
async def test_every_trade_of_the_ledger_is_a_record_once_in_order_and_exact() -> None:
    async with BinanceVenue(VenueSettings(rate=2000)) as venue:
        async with recording(venue) as (_, tape, task):
            await until(lambda: len(tape.ids(Kind.TRADE)) > 500, task)
        first, last = tape.ids(Kind.TRADE)[0], tape.ids(Kind.TRADE)[-1]
        ledger = [row for row in venue.ledger("BTCUSDT", first) if row.trade_id <= last]

    trades = tape.records(Kind.TRADE)
    assert trades["c"].tolist() == list(range(first, last + 1)) == [row.trade_id for row in ledger]
    assert trades["a"].tolist() == [row.price for row in ledger]
    assert trades["b"].tolist() == [row.size for row in ledger]
    assert not tape.bad
    assert not tape.gaps


@pytest.mark.asyncio
async def test_the_book_read_from_the_records_is_the_venues() -> None:
    async with still() as market, recording(market.venue, symbols=("BTCUSDT", "ETHUSDT")) as (_, tape, task):
        await until(lambda: len(tape.watched) == 6, task)
        for _ in range(20):
            market.move(0.1)
            await asyncio.sleep(0.01)
        await until(lambda: tape.book(1).synced and tape.book(2).synced, task)
        market.move(2)
        await market.agrees(tape)
        await market.agrees(tape, "ETHUSDT", 2)

    assert not tape.gaps
    assert not tape.bad
    assert all(instrument_id in (1, 2) for instrument_id, _ in tape.watched)


@pytest.mark.asyncio
async def test_a_quiet_book_gets_its_snapshot_without_any_diff() -> None:
    async with still() as market, recording(market.venue) as (_, tape, task):
        await until(lambda: tape.book().synced, task)
        await market.agrees(tape)
        market.move(1)
        await market.agrees(tape)
    assert not tape.gaps


@pytest.mark.asyncio
async def test_a_snapshot_older_than_the_first_diff_is_fetched_again() -> None:
    async with still() as market, recording(market.venue, quiet_book_s=60) as (_, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        market.venue.order(StaleDepth(symbol="BTCUSDT", count=1))
        market.move(1)
        await until(lambda: tape.book().synced, task)
        market.move(1)
        await market.agrees(tape)


@pytest.mark.asyncio
async def test_a_jump_of_update_ids_is_told_and_the_book_comes_back_exact() -> None:
    async with still() as market, recording(market.venue) as (_, tape, task):
        await until(lambda: tape.book().synced, task)
        market.move(1)
        market.venue.order(Drop(symbol="BTCUSDT", channel="depth"))
        market.move(1)
        await until(lambda: tape.gaps, task)
        await until(lambda: tape.book().synced, task)
        market.move(1)
        await market.agrees(tape)

    assert [(watched, cause) for watched, cause, _ in tape.gaps] == [(Watched(1, Channel.BOOK), GapCause.BOOK_SYNC)]
    book = tape.records(Kind.BOOK)
    jumps = book[(book["flags"] & Flag.AFTER_GAP > 0) & (book["flags"] & Flag.SNAPSHOT == 0)]
    assert len(jumps) in (1, 2)  # the jump, and the first diff where it came before the first snapshot


@pytest.mark.asyncio
async def test_a_book_whose_ids_start_anew_comes_back_exact() -> None:
    async with still() as market, recording(market.venue) as (_, tape, task):
        await until(lambda: tape.book().synced, task)
        market.move(1)
        await market.agrees(tape)
        market.venue.order(Reset(symbol="BTCUSDT"))
        market.move(1)
        await until(lambda: tape.gaps and tape.book().synced, task)
        market.move(1)
        await market.agrees(tape)


@pytest.mark.asyncio
@needs_real_capture
async def test_the_real_capture_played_by_the_venue_arrives_as_sent() -> None:
    played = VenueSettings(capture=REAL_CAPTURE, speed=0)
    async with (
        BinanceVenue(played) as venue,
        recording(venue, time_unit="ms", quiet_book_s=60) as (_, tape, task),
    ):
        await until(lambda: venue.status()["finished"] and tape.book().synced, task)
        ledger = venue.ledger("BTCUSDT")
        await until(lambda: tape.ids(Kind.TRADE)[-1:] == [ledger[-1].trade_id], task)
        theirs = await venue.book("BTCUSDT", DEEP)
        assert theirs is not None
        await until(lambda: tape.book().update_id >= theirs.last_id, task)
    trades = tape.records(Kind.TRADE)
    assert trades["c"].tolist() == [row.trade_id for row in ledger]
    assert trades[["a", "b"]].tolist() == [(row.price, row.size) for row in ledger]
    assert len(trades) == 9757
    assert tape.book().levels(Side.BUY, DEEP) == theirs.bids
    assert tape.book().levels(Side.SELL, DEEP) == theirs.asks
    assert not tape.gaps
    assert not tape.bad


@pytest.mark.asyncio
async def test_bad_frames_are_quarantined_and_the_feed_stays_up() -> None:
    reasons = {
        "truncated": BadReason.NOT_JSON,
        "nan": BadReason.NOT_JSON,
        "infinity": BadReason.NOT_JSON,
        "huge_string": BadReason.TOO_LARGE,
        "wrong_types": BadReason.WRONG_TYPE,
        "invalid_utf8": BadReason.NOT_JSON,
        "unknown_symbol": BadReason.UNKNOWN_SYMBOL,
        "size_2_63": BadReason.OUT_OF_RANGE,
    }
    async with still() as market, recording(market.venue) as (_, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        for how in reasons:
            market.venue.order(Corrupt(symbol="BTCUSDT", channel="trade", how=how))  # pyright: ignore[reportArgumentType]
            before = market.venue.ledger("BTCUSDT")[-1].trade_id
            while market.venue.ledger("BTCUSDT")[-1].trade_id == before:
                market.move(0.05)
        market.venue.clear()
        market.move(1)
        last = market.venue.ledger("BTCUSDT")[-1].trade_id
        await until(lambda: tape.ids(Kind.TRADE)[-1:] == [last], task)

    assert {bad.reason for bad in tape.bad} == set(reasons.values())
    assert all(bad.detail and bad.payload for bad in tape.bad)


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_lost_connection_is_unavailable(how: Any) -> None:
    async with still() as market, recording(market.venue) as (_, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        market.venue.order(Disconnect(how=how))
        with pytest.raises(Unavailable, match="connection lost"):
            await task


@pytest.mark.asyncio
async def test_a_planned_restart_and_a_clean_close_return() -> None:
    for order in (Shutdown(seconds=-1), Disconnect(how="close")):
        async with still() as market, recording(market.venue) as (_, tape, task):
            await until(lambda: len(tape.watched) == 3, task)
            market.venue.order(order)
            await task


@pytest.mark.asyncio
async def test_the_venues_own_limit_cuts_nothing_because_the_next_socket_overlaps() -> None:
    async with BinanceVenue(VenueSettings(rate=2000, life_s=2.0, messages_per_s=100)) as venue:
        every = ("trade", "aggTrade", "bookTicker", "depth@100ms")
        short = recording(venue, channels=every, reconnect_after_s=1.0, overlap_s=0.3)
        async with short as (source, tape, task):
            first = source._connection  # pyright: ignore[reportPrivateUsage]
            met = {id(first): first}
            while len(met) < 5:
                await until(lambda: id(source._connection) not in met, task)  # pyright: ignore[reportPrivateUsage]
                met[id(source._connection)] = source._connection  # pyright: ignore[reportPrivateUsage]
            await until(lambda: tape.book().synced, task)
        first_id, last_id = min(tape.ids(Kind.TRADE)), max(tape.ids(Kind.TRADE))
        ledger = [row.trade_id for row in venue.ledger("BTCUSDT", first_id) if row.trade_id <= last_id]

    trades = list(dict.fromkeys(tape.ids(Kind.TRADE)))  # the judge knows the repeats by their ids
    assert trades == ledger
    book = tape.records(Kind.BOOK)
    assert int(((book["flags"] & Flag.SNAPSHOT > 0) & (book["flags"] & Flag.FIRST > 0)).sum()) == 1
    aggregates = list(dict.fromkeys(tape.ids(Kind.AGG_TRADE)))
    assert aggregates == list(range(aggregates[0], aggregates[-1] + 1))
    assert not tape.gaps
    assert not tape.bad


@pytest.mark.asyncio
async def test_what_only_the_next_socket_has_read_when_it_takes_over_is_recorded() -> None:
    async with still(messages_per_s=100) as market:
        async with recording(market.venue, reconnect_after_s=0.3, overlap_s=0.8) as (source, tape, task):
            sockets = market.venue.hub.connections
            await until(lambda: tape.book().synced, task)
            market.move(1)
            await market.agrees(tape)
            first = source._connection  # pyright: ignore[reportPrivateUsage]
            await until(lambda: len(sockets) == 2 and len(sockets[1].subscriptions.names) == 3, task)
            sockets[0].drop("stall")
            market.move(1)
            last = market.venue.ledger("BTCUSDT")[-1].trade_id
            assert tape.ids(Kind.TRADE)[-1] < last
            await until(lambda: source._connection is not first, task)  # pyright: ignore[reportPrivateUsage]
            await until(lambda: tape.ids(Kind.TRADE)[-1:] == [last], task)
            await market.agrees(tape)
        ids = tape.ids(Kind.TRADE)
    assert ids == list(range(ids[0], last + 1))
    assert not tape.gaps


@pytest.mark.asyncio
async def test_quotes_that_both_sockets_bring_are_recorded_once() -> None:
    async with still(messages_per_s=100) as market:
        overlapping = recording(market.venue, channels=("bookTicker",), reconnect_after_s=0.4, overlap_s=0.4)
        alone = recording(market.venue, channels=("bookTicker",))
        async with overlapping as (source, ours, task), alone as (_, theirs, other):
            await until(lambda: ours.watched and theirs.watched, task)
            first = source._connection  # pyright: ignore[reportPrivateUsage]
            while source._connection is first:  # pyright: ignore[reportPrivateUsage]
                market.move(0.02)
                await asyncio.sleep(0.01)
            market.move(1)
            await until(lambda: market.venue.status()["frames_sent"] and not other.done())
            await until(lambda: len(ours.records(Kind.QUOTE)) >= len(theirs.records(Kind.QUOTE)), task)
            await asyncio.sleep(0.1)  # room for one too many
            fields = ["a", "b", "c", "d"]
            assert ours.records(Kind.QUOTE)[fields].tolist() == theirs.records(Kind.QUOTE)[fields].tolist()
            assert len(theirs.records(Kind.QUOTE)) > 20


@pytest.mark.asyncio
async def test_a_next_socket_that_does_not_come_about_leaves_the_first_alone() -> None:
    async with still(connections_per_5m=1) as market, recording(market.venue, reconnect_after_s=0.2) as (_, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        await asyncio.sleep(0.6)
        market.move(1)
        last = market.venue.ledger("BTCUSDT")[-1].trade_id
        await until(lambda: tape.ids(Kind.TRADE)[-1:] == [last], task)
        assert not task.done()


@pytest.mark.asyncio
async def test_pings_are_answered_and_are_a_sign_of_life() -> None:
    venue = still(ping_every_s=0.05, pong_timeout_s=0.2, messages_per_s=100)
    async with venue as market, recording(market.venue) as (_, tape, task):
        await until(lambda: tape.signs_of_life > 10, task)  # 0.5 s: unanswered pings would have cut it


@pytest.mark.asyncio
async def test_nobody_there_is_unavailable() -> None:
    async with still() as market:
        gone = settings(market.venue, ws_url="ws://127.0.0.1:1")
    source = BinanceSource(gone, Instruments())
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        await source.connect(Tape(source))


@pytest.mark.asyncio
async def test_an_unknown_symbol_is_named_and_the_others_start() -> None:
    async with still() as market, recording(market.venue, symbols=("BTCUSDT", "NOPEUSDT")) as (_, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        market.move(1)
        await until(lambda: tape.ids(Kind.TRADE), task)

    assert [(bad.reason, bad.payload) for bad in tape.bad] == [(BadReason.UNKNOWN_SYMBOL, b"NOPEUSDT")]


@pytest.mark.asyncio
async def test_only_unknown_symbols_is_misconfigured() -> None:
    async with still() as market:
        source = BinanceSource(settings(market.venue, symbols=("NOPEUSDT",)), Instruments())
        with pytest.raises(Misconfigured, match="NOPEUSDT"):
            await source.connect(Tape(source))


@pytest.mark.asyncio
async def test_instruments_carry_the_venues_steps() -> None:
    instruments = Instruments()
    async with still() as market:
        source = BinanceSource(settings(market.venue), instruments)
        await subscribed_once(source)

    found = instruments.rows[("binance", "BTCUSDT")]
    assert found.tick_size == Decimal("0.01")
    assert (found.price_scale, found.size_scale) == (8, 8)


@pytest.mark.asyncio
async def test_symbols_change_while_connected() -> None:
    async with still() as market, recording(market.venue) as (source, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        await source.change(["ETHUSDT"], [])
        assert {watched.instrument_id for watched in tape.watched} == {1, 2}
        market.move(1)
        await until(lambda: tape.ids(Kind.TRADE, 2), task)

        await source.change([], ["BTCUSDT"])
        assert {watched.instrument_id for watched in tape.watched} == {2}
        assert source.symbols == ["ETHUSDT"]
        seen = len(tape.ids(Kind.TRADE, 1))
        market.move(1)
        last = market.venue.ledger("ETHUSDT")[-1].trade_id
        await until(lambda: tape.ids(Kind.TRADE, 2)[-1] == last, task)
        assert len(tape.ids(Kind.TRADE, 1)) == seen


@pytest.mark.asyncio
async def test_a_refused_change_changes_nothing() -> None:
    async with still() as market, recording(market.venue) as (source, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        with pytest.raises(UnknownSymbol, match="NOPEUSDT"):
            await source.change(["ETHUSDT", "NOPEUSDT"], ["BTCUSDT"])
        with pytest.raises(UnknownSymbol, match="SOLUSDT"):
            await source.change([], ["SOLUSDT"])
        assert source.symbols == ["BTCUSDT"]
        assert len(tape.watched) == 3


@pytest.mark.asyncio
async def test_the_stream_starts_without_rest_when_every_name_is_known() -> None:
    instruments = Instruments()
    async with still() as market:
        await subscribed_once(BinanceSource(settings(market.venue), instruments))
        second = BinanceSource(settings(market.venue, rest_url="http://127.0.0.1:1"), instruments)
        tape = Tape(second)
        task = asyncio.create_task(second.connect(tape))
        await until(lambda: len(tape.watched) == 3, task)
        market.move(1)
        await until(lambda: tape.ids(Kind.TRADE), task)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def filled(source: BinanceSource, hole: contract.Hole) -> Records:
    pieces = [batch.records async for batch in source.fill(hole)]
    return np.concatenate([empty(0), *pieces])


@pytest.mark.asyncio
@pytest.mark.parametrize("channel", [Channel.TRADE, Channel.AGG_TRADE])
async def test_a_hole_is_filled_from_history_over_several_pages_and_nothing_else(channel: Channel) -> None:
    kind = Kind.TRADE if channel is Channel.TRADE else Kind.AGG_TRADE
    both = ("trade", "aggTrade")
    async with still(rate=3000) as market, recording(market.venue, channels=both) as (source, tape, task):
        await until(lambda: len(tape.watched) == 2, task)
        market.move(5)
        last = market.venue.ledger("BTCUSDT")[-1].trade_id
        await until(lambda: tape.ids(Kind.TRADE)[-1:] == [last], task)
        live = tape.records(kind)
        hole = contract.Hole(1, channel, int(live["c"][3]), int(live["c"][-5]))
        again = await filled(source, hole)

    assert len(again) > 1000
    expected = live[3:-4].copy()
    for name in ("ts_event", "a", "b", "c", "d", "side", "instrument", "kind"):
        assert np.array_equal(again[name], expected[name]), name
    assert (again["flags"] & Flag.BACKFILLED).all()


@pytest.mark.asyncio
async def test_ids_that_never_existed_are_confirmed_by_an_end_and_the_newest_cannot_be_told_yet() -> None:
    async with still() as market, recording(market.venue) as (source, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        market.move(1)
        before = market.venue.ledger("BTCUSDT")[-1].trade_id
        market.venue.order(Hole(symbol="BTCUSDT", count=7))
        cannot_tell = contract.Hole(1, Channel.TRADE, before + 1, before + 7)
        with pytest.raises(Unavailable):
            await filled(source, cannot_tell)
        market.move(2)
        assert market.venue.ledger("BTCUSDT", before + 1)[0].trade_id == before + 8
        assert len(await filled(source, cannot_tell)) == 0


@pytest.mark.asyncio
async def test_many_small_holes_cost_as_many_requests_as_they_have_pages() -> None:
    async with still(rate=3000) as market, recording(market.venue) as (source, tape, task):
        await until(lambda: len(tape.watched) == 3 and tape.book().synced, task)
        market.move(20)
        last = market.venue.ledger("BTCUSDT")[-1].trade_id
        await until(lambda: tape.ids(Kind.TRADE)[-1:] == [last], task)
        ids = tape.ids(Kind.TRADE)
        near, far = ids[0:3000:3], ids[4500:4503]
        assert len(far) == 3
        parts = tuple((i, i) for i in (*near, *far))
        before = market.venue.weights.used
        again = await filled(source, contract.Hole(1, Channel.TRADE, near[0], far[-1], parts))
        assert again["c"].tolist() == [*near, *far]
        assert market.venue.weights.used - before == 4 * 25  # three pages, and one after a leap


@pytest.mark.asyncio
async def test_a_symbol_that_is_not_configured_any_more_still_has_its_history() -> None:
    async with still() as market, recording(market.venue) as (source, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        market.move(1)
        ids = [row.trade_id for row in market.venue.ledger("BTCUSDT")]
        await until(lambda: tape.ids(Kind.TRADE)[-1:] == ids[-1:], task)
        instruments: Any = source._directory  # pyright: ignore[reportPrivateUsage]
        other = BinanceSource(settings(market.venue, symbols=("ETHUSDT",)), instruments)
        assert (await filled(other, contract.Hole(1, Channel.TRADE, ids[0], ids[4])))["c"].tolist() == ids[:5]


@pytest.mark.asyncio
async def test_what_cannot_be_asked_for_now_is_not_said_to_be_missing() -> None:
    instruments = Instruments()
    listing = Listing(
        symbol="GONEUSDT", venue="binance", asset_class=AssetClass.CRYPTO, tick_size=Decimal(1), size_step=Decimal(1)
    )
    gone = instruments.enrol("binance", "GONEUSDT", listing).id
    async with still() as market:
        source = BinanceSource(settings(market.venue), instruments)
        for instrument_id in (gone, 77):  # one the venue does not list any more, one that nobody knows
            with pytest.raises(Unavailable):
                await filled(source, contract.Hole(instrument_id, Channel.TRADE, 1, 2))


@pytest.mark.asyncio
async def test_quotes_have_no_history() -> None:
    async with still() as market, recording(market.venue) as (source, tape, task):
        await until(lambda: len(tape.watched) == 3, task)
        with pytest.raises(Misconfigured, match="QUOTE"):
            await filled(source, contract.Hole(1, Channel.QUOTE, 1, 2))


@pytest.mark.asyncio
async def test_a_refusal_holds_every_call_until_the_venue_said() -> None:
    async with still() as market, recording(market.venue) as (source, tape, task):
        await until(lambda: len(tape.watched) == 3 and tape.book().synced, task)
        market.venue.order(Refuse(status=429, count=1, path="/api/v3/historicalTrades", retry_after_s=30))
        hole = contract.Hole(1, Channel.TRADE, 1, 2)
        for _ in range(2):  # the second is not sent: the venue would have answered it
            with pytest.raises(Throttled) as refused:
                await filled(source, hole)
            assert 28 < refused.value.retry_after_s <= 30


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [500, 503])
async def test_a_failing_venue_is_unavailable(status: int) -> None:
    async with still() as market, recording(market.venue) as (source, tape, task):
        await until(lambda: len(tape.watched) == 3 and tape.book().synced, task)
        market.venue.order(Refuse(status=status, count=1, path="/api/v3/historicalTrades"))
        with pytest.raises(Unavailable):
            await filled(source, contract.Hole(1, Channel.TRADE, 1, 2))


@pytest.mark.asyncio
async def test_a_paced_stream_arrives_whole_and_in_batches() -> None:
    async with BinanceVenue(VenueSettings(paced_per_s=20_000, bulk_frames=20_000)) as venue:
        symbols = tuple(venue.listings)
        async with recording(venue, symbols=symbols, channels=("trade",)) as (_, tape, task):
            await until(lambda: venue.status()["finished"] and not task.done())
            sent = {symbol: [row.trade_id for row in venue.ledger(symbol)] for symbol in symbols}
            count = sum(map(len, sent.values()))
            await until(lambda: sum(map(len, tape.pieces)) >= count, task)

    for i, symbol in enumerate(symbols, 1):
        assert tape.ids(Kind.TRADE, i) == sent[symbol]


@pytest.mark.live
@pytest.mark.asyncio
async def test_the_live_venue_speaks_as_the_dossier_says() -> None:
    source = BinanceSource(BinanceSettings(symbols=("BTCUSDT",), channels=("trade", "depth@100ms")), Instruments())
    tape = Tape(source)
    task = asyncio.create_task(source.connect(tape))
    try:
        await until(lambda: len(tape.ids(Kind.TRADE)) > 20 and tape.book().synced, task)
        ids = tape.ids(Kind.TRADE)
        assert ids == list(range(ids[0], ids[-1] + 1))
        again = await filled(source, contract.Hole(1, Channel.TRADE, ids[0], ids[5]))
        assert again["c"].tolist() == ids[:6]
    except Unavailable as fault:
        pytest.skip(f"no way to Binance from here: {fault.message}")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not tape.bad
