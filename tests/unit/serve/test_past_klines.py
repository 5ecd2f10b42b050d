"""Bars that a venue made, asked for like any: they say where they come from, and when they were not known yet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from past_support import Past
from serve_support import MS, SECOND, T0, House

from ticktape.keep.klines import KlineStore
from ticktape.model.bars import BAR, BarFlag, Bars
from ticktape.model.records import Kind
from ticktape.tape.reader import Reader

pytestmark = pytest.mark.asyncio
MINUTE = 60 * SECOND
START = T0 // MINUTE * MINUTE


@pytest.fixture
def past(house: House) -> Past:
    """Return a desk over six minutes of a venue, the last without a trade, and own trades in the third and fourth."""
    one = house.enrol("BTCUSDT", 2, 3)
    minutes: Bars = np.zeros(6, dtype=BAR)
    minutes["start"] = minutes["open_ts"] = START + np.arange(6) * MINUTE
    minutes["close_ts"] = minutes["start"] + MINUTE - 1000
    for name, value in {"open": 100, "high": 120, "low": 80, "close": 101, "volume_low": 2000}.items():
        minutes[name] = value
    minutes["notional_low"], minutes["count"], minutes["flags"] = 2000 * 110, 7, int(BarFlag.KLINES)
    minutes["count"][5] = minutes["volume_low"][5] = minutes["notional_low"][5] = 0
    rows = house.rows(Kind.TRADE, one.id, 4, START + 2 * MINUTE + SECOND, MINUTE // 2)
    rows["a"], rows["b"], rows["c"] = 105, 500, [1, 2, 3, 4]
    house.tape.append(rows)
    made = Past(house)
    made.flush()
    house.clock.advance(3600 * SECOND)
    store = KlineStore(Reader(house.data / "tape"), clock=house.clock)
    store.add(one.id, minutes)
    store.close()
    return made


def said(answer: dict[str, Any]) -> list[tuple[int, float, bool, list[str]]]:
    return [((bar["start"] - START) // MINUTE, bar["volume"], bar["closed"], bar["flags"]) for bar in answer["bars"]]


async def test_bars_of_a_venue_say_so_and_bars_of_ticks_come_first(past: Past) -> None:
    answer = await past.ask("bars", "BTCUSDT", "1m", one=True)
    assert said(answer) == [
        (0, 2.0, True, ["klines"]),
        (1, 2.0, True, ["klines"]),
        (2, 1.0, True, []),
        (3, 1.0, True, []),
        (4, 2.0, True, ["klines"]),
    ]
    assert answer["bars"][0] | {"start": 0} == {
        "start": 0, "open": 1.0, "high": 1.2, "low": 0.8, "close": 1.01, "volume": 2.0, "vwap": 1.1, "count": 7,
        "open_ts": START, "close_ts": START + MINUTE - 1000, "closed": True, "revision": 0, "flags": ["klines"],
    }  # fmt: skip
    assert answer["source"] == ["binance", "venue klines"]
    assert "klines" in answer["flags"]
    assert answer["watermark"] == START + 6 * MINUTE
    hist = await past.ask("bars", "BTCUSDT", "3m")  # ticks/historical?interval=3m
    assert [(v, f) for _, v, _, f in said(hist)] == [(5.0, ["klines"]), (3.0, ["klines"])]
    assert [closed for _, _, closed, _ in said(hist)] == [True, True]  # the sixth minute is known to be empty
    own = await past.ask("bars", "BTCUSDT", "1m", start_time=str(START + 2 * MINUTE), end_time=str(START + 4 * MINUTE))
    assert (own["source"], own["flags"]) == (["binance"], [])


async def test_pages_of_both_are_one_answer(past: Past) -> None:
    whole = await past.ask("bars", "BTCUSDT", "1m")
    pages = await past.pages("bars", "BTCUSDT", "1m", limit=2)
    assert [bar for page in pages for bar in page["bars"]] == whole["bars"]
    assert len(pages) == 3


async def test_as_known_at_before_the_fetch_there_are_none(past: Past) -> None:
    fetched = past.house.clock.now_ns()
    before = await past.ask("bars", "BTCUSDT", "1m", as_known_at=str(fetched))
    assert [(at, flags) for at, _, _, flags in said(before)] == [(2, []), (3, [])]
    assert before["source"] == ["binance"]
    after = await past.ask("bars", "BTCUSDT", "1m", as_known_at=str(fetched + MS))
    assert after["bars"] == (await past.ask("bars", "BTCUSDT", "1m"))["bars"]
    tape = await past.ask("bars", "BTCUSDT", "1m", as_known_at=f"position:{past.house.tape.position}")
    assert [at for at, _, _, _ in said(tape)] == [2, 3]  # what a position knows is the tape's


async def test_finer_bars_and_bars_of_quotes_are_never_the_venues(past: Past) -> None:
    assert all(not flags for _, _, _, flags in said(await past.ask("bars", "BTCUSDT", "10s")))
    assert (await past.ask("bars", "BTCUSDT", "1m", quotes=True))["bars"] == []
