"""Events of the stream have the text of REST's rows, and bars are announced alike whatever portions come."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from serve_support import MS, SECOND, T0, House
from stream_support import market

from ticktape.model.bars import TIMEFRAMES, Basis
from ticktape.model.instruments import Instrument
from ticktape.model.records import Flag, GapState, Kind, Records, Side
from ticktape.serve import encode
from ticktape.serve.stream.bar_feed import BarEvent, BarFeed
from ticktape.serve.stream.pieces import of_tape
from ticktape.serve.stream.reel import highest
from ticktape.serve.stream.rows import Rows, packed
from ticktape.tape.reader import Reader

MARKET = {
    Kind.TRADE: encode.tick_rows, Kind.AGG_TRADE: encode.tick_rows, Kind.CORRECT: encode.tick_rows,
    Kind.CANCEL: encode.tick_rows, Kind.QUOTE: encode.quote_rows, Kind.BOOK: encode.book_rows,
}  # fmt: skip


@pytest.mark.parametrize("kind", list(MARKET), ids=lambda kind: kind.name)
@pytest.mark.parametrize("scales", [(8, 8), (0, 0), (2, 0)])
def test_an_event_has_the_text_of_a_rest_row(house: House, kind: Kind, scales: tuple[int, int]) -> None:
    about = house.enrol("BRK/B", *scales)
    rows = house.rows(kind, about.id, 4, T0)
    rows["a"], rows["b"], rows["c"], rows["d"] = [1, 10**18, 250, -3], [0, 7, 10**10, 2], [9, 0, 1, 2], [1, 0, 3, 4]
    rows["flags"] = [0, Flag.SPIKE, Flag.SPIKE | Flag.BACKFILLED, Flag.LAST]
    rows["side"] = [Side.NONE, Side.BUY, Side.SELL, Side.BUY]
    positions = np.array([5, 6, 9, 10**12])
    write: Callable[..., object] = MARKET[kind]
    assert Rows(house.directory).texts(rows, positions) == list(
        write(rows, positions, about, {house.source: "binance"})  # type: ignore[call-overload]
    )


def test_messagepack_keeps_every_digit() -> None:
    import msgspec

    text = '{"price":12345678901234567890.12345678,"count":3,"size":null,"flags":["late"]}'
    assert msgspec.msgpack.decode(packed(text)) == {
        "price": "12345678901234567890.12345678", "count": 3, "size": None, "flags": ["late"],
    }  # fmt: skip


def announced(house: House, watched: list[Instrument], cuts: Callable[[int], int]) -> tuple[BarFeed, list[BarEvent]]:
    """Feed a whole tape in pieces of the lengths that `cuts` gives."""
    reader, feed = Reader(house.data / "tape"), BarFeed(house.directory)
    reader.follow()
    feed.watch([(about.id, Basis.TRADES) for about in watched])
    events: list[BarEvent] = []
    at = reader.first
    while at < reader.end:
        piece = of_tape(reader, at, at + cuts(at))
        events += feed.advance(piece, reader, highest(piece))
        at = piece.stop
    return feed, events


def test_bars_are_announced_alike_whatever_portions_come(house: House) -> None:
    instruments = [house.enrol("BTCUSDT"), house.enrol("ETHUSDT")]
    market(house, instruments, 90)
    house.gap(instruments[0].id, GapState.CLOSED, start=T0 + 80 * SECOND, duration_ns=400 * MS)
    correct(house, instruments[0])
    market(house, instruments, 40, 90)
    feed, whole = announced(house, instruments, lambda _: 1 << 20)
    for seed in range(5):
        chance = random.Random(seed)
        assert announced(house, instruments, lambda _, c=chance: c.choice([1, 2, 7, 100]))[1] == whole
    once = [(e.instrument_id, e.timeframe, e.text.partition('"start":')[2]) for e in whole]
    assert len(once) == len(set(once))
    last = {(e.instrument_id, e.timeframe, e.start): e.text for e in whole}
    for about in instruments:
        for name, width in TIMEFRAMES.items():
            bars = feed.bars.latest(about.id, name, Basis.TRADES, 1000)
            closed = bars[bars["start"] + width <= feed.bars.watermark_ns(about.id)]
            for bar, row in zip(closed, feed.rows(about.id, name, Basis.TRADES, closed), strict=True):
                told = last[about.id, name, int(bar["start"])].partition('"start":')[2]
                assert told.partition(',"flags"')[0] == row.partition('"start":')[2].partition(',"flags"')[0]


def correct(house: House, about: Instrument) -> None:
    """Take one trade back and change another."""
    rows: Records = house.rows(Kind.CANCEL, about.id, 2, T0 + 89 * SECOND)
    rows["kind"][1] = Kind.CORRECT
    rows["c"] = [31, 50]
    rows["a"], rows["b"] = [0, 10**12], [0, 10**8]
    house.tape.append(rows)
