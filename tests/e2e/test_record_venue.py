"""The recorder on the simulated venue, over real sockets: whatever it does, the tape ends as the venue's ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from ticktape.model.records import BadReason, GapCause, GapState, Kind, Records, Status, unpack_gap
from ticktape.record.process import Recorder, RecordSettings
from ticktape.record.runner import Backoff
from ticktape.record.watchdog import Patience
from ticktape.simulate.binance import (
    BinanceVenue,
    Burst,
    Corrupt,
    Disconnect,
    Drop,
    Duplicate,
    Hole,
    Mute,
    Omit,
    Order,
    Reorder,
    Reset,
    VenueSettings,
)
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.sources.binance.source import BinanceSource
from ticktape.sources.capture.source import CaptureSettings, CaptureSource
from ticktape.tape.reader import Reader

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

CAPTURE = Path(__file__).parents[3] / "shared" / "fixtures" / "binance" / "hftbacktest_spot_btcusdt_20240808.gz"
MARKET = VenueSettings(rate=800.0, preroll_s=2.0, weight_per_m=1_000_000)  # each gap costs a request
BOTH = ("BTCUSDT", "ETHUSDT")


class Run:
    """A recorder at work on a venue, and what its tape holds."""

    def __init__(self, recorder: Recorder, venue: BinanceVenue, data: Path) -> None:
        self.recorder, self.venue, self.data = recorder, venue, data

    @property
    def pump(self) -> Any:
        return self.recorder.runners[0].pump

    @property
    def all(self) -> Records:
        reader = Reader(self.data / "tape")
        return reader.view(reader.first, reader.end).copy()

    def trades(self, symbol: str) -> Records:
        instrument = self.recorder.directory.by_symbol(symbol).id
        records = self.all
        return records[(records["kind"] == Kind.TRADE) & (records["instrument"] == instrument)]

    def gaps(self, cause: GapCause, state: GapState | None = None) -> Records:
        records = self.all
        gaps = records[records["kind"] == Kind.GAP]
        mine = [g for g in gaps if unpack_gap(int(g["d"])).cause == cause and state in (None, int(g["side"]))]
        return np.array(mine, dtype=records.dtype)

    async def trade_on(self, count: int, symbol: str = "BTCUSDT") -> None:
        """Wait until so many more trades of a symbol are stored."""
        want = len(self.trades(symbol)) + count
        await until(lambda: len(self.trades(symbol)) >= want)

    async def complete(self, *symbols: str) -> None:
        """Wait until each trade from our first on is on the tape exactly once, as the venue made it."""
        await until(lambda: all(self._equal(symbol) for symbol in symbols or BOTH), 30)

    def _equal(self, symbol: str) -> bool:
        mine = self.trades(symbol)
        if not len(mine):
            return False
        assert len(np.unique(mine["c"])) == len(mine)
        first, last = int(mine["c"].min()), int(mine["c"].max())
        rows = [row for row in self.venue.ledger(symbol, first) if row.trade_id <= last]
        ours = {int(r["c"]): (int(r["a"]), int(r["b"]), int(r["ts_event"]) // 1000) for r in mine}
        return ours == {row.trade_id: (row.price, row.size, row.time_us) for row in rows}


async def until(what: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait until something is so; fail when it does not come about."""
    async with asyncio.timeout(timeout_s):
        while not what():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.02)


@asynccontextmanager
async def recording(
    data: Path,
    *,
    symbols: tuple[str, ...] = BOTH,
    channels: Any = ("trade",),
    patience: Patience | None = None,
    life_s: float = 86_400.0,
) -> AsyncGenerator[Run]:
    """A venue with a seeded market, and a recorder that has stored its first trades."""
    async with BinanceVenue(replace(MARKET, life_s=life_s)) as venue:
        settings = BinanceSettings(
            symbols=symbols,
            channels=channels,
            ws_url=venue.ws_url,
            rest_url=venue.rest_url,
            answer_timeout_s=5.0,
            reconnect_after_s=life_s / 2,
            overlap_s=min(2.0, life_s / 6),
        )
        recorder = Recorder(
            RecordSettings(
                data=data,
                segment_records=1 << 14,
                settle_s=0.3,
                backoff=Backoff(first_s=0.05, most_s=0.2),
                patience=patience or Patience(),
            ),
            [lambda directory: BinanceSource(settings, directory)],
        )
        stop = asyncio.Event()
        running = asyncio.create_task(recorder.run(stop))
        run = Run(recorder, venue, data)
        try:
            await until(lambda: recorder.runners[0].pump.state is Status.SOURCE_UP)
            await until(lambda: len(run.trades("BTCUSDT")) > 20)
            yield run
        finally:
            stop.set()
            async with asyncio.timeout(10):
                await running


# -- R14, R15, R16 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "fin", "rst", "stall"])
async def test_r14_however_the_socket_ends_the_gap_is_declared_and_filled(tmp_path: Path, how: Any) -> None:
    impatient = Patience(dead_s=2.0, min_silence_s=2.0, certain=2.0)
    async with recording(tmp_path, patience=impatient) as run:
        last = {symbol: int(run.trades(symbol)["c"][-1]) for symbol in BOTH}
        run.venue.order(Disconnect(how=how))
        await until(lambda: run.pump.connects == 2)
        await run.trade_on(20)
        await run.complete()
        cause = GapCause.MUTE if how == "stall" else GapCause.DISCONNECTED
        await until(lambda: len(run.gaps(cause, GapState.FILLED)) == 2)
        opened, closed = run.gaps(cause, GapState.OPENED), run.gaps(cause, GapState.CLOSED)
        assert len(opened) == len(closed) == 2
        assert (closed["b"] >= min(last.values())).all()
        assert set(closed["a"].tolist()) == set(opened["a"].tolist())


async def test_r14_the_venues_own_limit_leaves_no_gap(tmp_path: Path) -> None:
    every = ("trade", "bookTicker", "depth@100ms")
    async with recording(tmp_path, channels=every, life_s=3.0) as run:
        ends = asyncio.get_running_loop().time() + 7.0  # more than two lives
        await until(lambda: asyncio.get_running_loop().time() > ends)
        await run.complete()
        assert run.pump.connects == 1
        assert not (run.all["kind"] == Kind.GAP).any()
        assert run.pump.counts()["duplicates"] > 0  # two sockets at a time


async def test_r15_a_mute_socket_that_answers_pings_is_left_and_what_it_kept_back_is_filled(tmp_path: Path) -> None:
    impatient = Patience(min_silence_s=2.0, certain=0.5)
    async with recording(tmp_path, patience=impatient) as run:
        await run.trade_on(1000)  # some seconds: enough to know its rhythm
        run.venue.order(Mute(symbol="BTCUSDT", seconds=6.0))
        await until(lambda: run.pump.connects >= 2)
        assert "mute" in run.pump.trouble.what
        await run.trade_on(20)
        await run.complete()
        assert len(run.gaps(GapCause.MUTE, GapState.OPENED)) >= 1


async def test_r15_a_quiet_symbol_is_not_punished(tmp_path: Path) -> None:
    impatient = Patience(min_silence_s=1.0, certain=3.0)
    async with recording(tmp_path, patience=impatient) as run:
        fault = run.venue.order(Drop(symbol="ETHUSDT", count=0, chance=0.98))  # a trade now and then
        await run.trade_on(800)
        assert run.pump.connects == 1
        run.venue.clear(fault)
        await run.trade_on(20, "ETHUSDT")
        await run.complete()


async def test_r16_a_symbol_that_never_flows_is_flagged_never_seen_and_the_other_goes_on(tmp_path: Path) -> None:
    async with BinanceVenue(MARKET) as venue:
        venue.order(Omit(symbol="ETHUSDT"))
        settings = BinanceSettings(symbols=BOTH, channels=("trade",), ws_url=venue.ws_url, rest_url=venue.rest_url)
        recorder = Recorder(
            RecordSettings(data=tmp_path, segment_records=1 << 14, patience=Patience(never_seen_s=2.0)),
            [lambda directory: BinanceSource(settings, directory)],
        )
        stop = asyncio.Event()
        running = asyncio.create_task(recorder.run(stop))
        run = Run(recorder, venue, tmp_path)
        await until(lambda: len(run.gaps(GapCause.NEVER_SEEN)) > 0)
        (gap,) = run.gaps(GapCause.NEVER_SEEN)
        assert gap["instrument"] == recorder.directory.by_symbol("ETHUSDT").id
        await run.trade_on(20)
        assert run.pump.connects == 1
        stop.set()
        await running


# -- R17, R18, R20 ----------------------------------------------------------------------------------------

FAULTS: dict[str, Order] = {
    "dropped": Drop(count=0, chance=0.1),
    "twice": Duplicate(count=0, chance=0.2),
    "twice, later": Duplicate(count=0, chance=0.1, distance=40),
    "whole batches twice": Duplicate(count=5, batch=50, distance=10),
    "shuffled": Reorder(count=0, chance=0.3, distance=7),
}


@pytest.mark.parametrize("what", FAULTS)
async def test_r17_r18_dropped_doubled_and_shuffled_trades_end_exactly_once(tmp_path: Path, what: str) -> None:
    async with recording(tmp_path) as run:
        run.venue.order(FAULTS[what])
        await run.trade_on(300)
        run.venue.clear()
        await run.trade_on(20)
        await run.complete()
        assert run.pump.connects == 1
        counts = run.pump.counts()
        assert counts["duplicates"] > 0 or "twice" not in what
        assert counts["missing_ids"] > 0 or what not in ("dropped", "shuffled")


async def test_r17_everything_at_once_ends_exactly_once(tmp_path: Path) -> None:
    async with recording(tmp_path) as run:
        for fault in FAULTS.values():
            run.venue.order(fault)
        run.venue.order(Disconnect(how="rst"))
        await run.trade_on(400)
        run.venue.clear()
        run.venue.order(Disconnect(how="fin"))
        await until(lambda: run.pump.connects == 3)
        await run.trade_on(20)
        await run.complete()


async def test_r28_a_burst_of_forty_times_the_rate_loses_nothing_and_opens_no_gap(tmp_path: Path) -> None:
    async with recording(tmp_path, channels=("trade", "bookTicker")) as run:
        before = len(run.trades("BTCUSDT"))
        run.venue.order(Burst(factor=40.0, seconds=3.0))
        await until(lambda: len(run.trades("BTCUSDT")) > before + 10_000, 40)
        run.venue.clear()
        await run.trade_on(100)
        await run.complete()
        assert run.pump.connects == 1
        assert run.pump.shed == 0
        assert not len(run.all[run.all["kind"] == Kind.GAP])


async def test_r20_a_reset_of_the_venues_ids_costs_no_trade_and_declares_no_million(tmp_path: Path) -> None:
    async with recording(tmp_path, symbols=("BTCUSDT",)) as run:
        before = len(run.trades("BTCUSDT"))
        run.venue.order(Reset(symbol="BTCUSDT"))
        await until(lambda: len(run.gaps(GapCause.RESET)) > 0)
        await run.trade_on(50)
        mine = run.trades("BTCUSDT")
        ids = mine["c"].tolist()
        first = ids.index(1)
        assert first >= before
        assert ids[first:] == list(range(1, len(ids) - first + 1))
        assert ids[:first] == list(range(ids[0], ids[0] + first))
        assert run.pump.counts()["missing_ids"] == 0
        await until(lambda: len(run.gaps(GapCause.RESET, GapState.UNFILLABLE)) == 1)


async def test_r20_ids_that_never_existed_are_confirmed_and_called_unfillable(tmp_path: Path) -> None:
    async with recording(tmp_path, symbols=("BTCUSDT",)) as run:
        run.venue.order(Hole(symbol="BTCUSDT", count=7))
        await until(lambda: len(run.gaps(GapCause.SEQUENCE, GapState.UNFILLABLE)) == 1)
        (gap,) = run.gaps(GapCause.SEQUENCE, GapState.UNFILLABLE)
        assert gap["c"] - gap["b"] == 6
        await run.complete("BTCUSDT")


# -- R19 --------------------------------------------------------------------------------------------------

REASONS: dict[str, set[BadReason]] = {
    "truncated": {BadReason.NOT_JSON},
    "nan": {BadReason.NOT_JSON, BadReason.BAD_NUMBER, BadReason.WRONG_TYPE},
    "infinity": {BadReason.NOT_JSON, BadReason.BAD_NUMBER, BadReason.WRONG_TYPE},
    "huge_string": {BadReason.TOO_LARGE, BadReason.BAD_NUMBER, BadReason.OUT_OF_RANGE},
    "wrong_types": {BadReason.WRONG_TYPE, BadReason.UNKNOWN_MESSAGE},
    "invalid_utf8": {BadReason.NOT_JSON, BadReason.WRONG_TYPE, BadReason.BAD_NUMBER},
    "unknown_symbol": {BadReason.UNKNOWN_SYMBOL},
    "size_2_63": {BadReason.OUT_OF_RANGE, BadReason.BAD_NUMBER},
}


@pytest.mark.parametrize("how", REASONS)
async def test_r19_a_corrupt_frame_is_quarantined_with_reason_and_bytes_while_the_feed_stays_up(
    tmp_path: Path, how: Any
) -> None:
    async with recording(tmp_path, symbols=("BTCUSDT",)) as run:
        run.venue.order(Corrupt(how=how, channel="trade", count=3, after=5))
        await until(lambda: run.pump.counts()["quarantined"] >= 3)
        await run.trade_on(20)
        await run.complete("BTCUSDT")  # REST still has the intact ones
        assert run.pump.connects == 1
        records = run.all
        kept = np.flatnonzero(records["kind"] == Kind.QUARANTINE)
        assert {BadReason(int(r)) for r in records["d"][kept]} <= REASONS[how]
        reader = Reader(tmp_path / "tape")
        for position in kept.tolist():
            detail, length, payload = reader.blob(position).split(b"\n", 2)
            assert detail.isascii()
            assert payload[:20].startswith(b'{"')
            assert min(int(length), 1 << 16) == len(payload)


@pytest.mark.parametrize("how", ["zero_price", "negative_price"])
async def test_r19_a_price_that_cannot_be_is_never_stored_unflagged(tmp_path: Path, how: Any) -> None:
    async with recording(tmp_path, symbols=("BTCUSDT",)) as run:
        run.venue.order(Corrupt(how=how, channel="trade", count=3, after=5))
        await run.trade_on(60)
        assert run.pump.connects == 1
        mine = run.trades("BTCUSDT")
        odd = mine[mine["a"] <= 0]
        assert (odd["flags"] & 1 << 5).all()
        assert len(odd) + run.pump.counts()["quarantined"] == 3


# -- R13 --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CAPTURE.exists(), reason="the real capture is not committed; expected in ../shared/fixtures")
async def test_r13_the_skew_of_the_real_capture_is_reported_as_skew_and_drops_nothing(tmp_path: Path) -> None:
    settings = CaptureSettings(path=str(CAPTURE), speed=0)
    recorder = Recorder(RecordSettings(data=tmp_path, segment_records=1 << 17), [lambda d: CaptureSource(settings, d)])
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    pump = recorder.runners[0].pump
    await until(lambda: pump.source.finished and not recorder.runners[0].running)
    recorder.tick()
    stop.set()
    await running
    assert 1.2e9 < pump.skew_ns < 1.35e9
    counts = pump.counts()
    assert counts["clock_skew"] > 0.9 * counts["stored"] or counts["clock_skew"] > 1000
    reader = Reader(tmp_path / "tape")
    records = reader.view(reader.first, reader.end)
    skews = records[(records["kind"] == Kind.STATUS) & (records["a"] == Status.SKEW)]
    assert 1.2e9 < skews["b"][-1] < 1.35e9
    trades = records[records["kind"] == Kind.TRADE]
    assert trades["c"].tolist() == list(range(int(trades["c"][0]), int(trades["c"][0]) + len(trades)))
