"""The stream as the Python client sees it: records, resumption, silence, notices, replay, callbacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal
from typing import Any

import pytest
from client_support import Wire, streaming
from mcp_support import answering
from serve_support import MS, T0, House

import ticktape
from ticktape.client import Bar, Client, Denied, Event, Gap, Lost, Missed, Other, Quote, Refused, Trade, live
from ticktape.errors import BadInput
from ticktape.model.records import GapState


def client_of(house: House, port: int, **key: Any) -> Client:
    return Client(house.key(**key), "http://127.0.0.1:1", stream=f"ws://127.0.0.1:{port}")


async def take(feed: live.Feed, count: int) -> list[Event]:
    found = list[Event]()
    async with aclosing(aiter(feed)) as events:
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
    return found


def ids(events: list[Event]) -> list[int]:
    return [event.venue_id for event in events if isinstance(event, Trade)]


@pytest.mark.asyncio
async def test_live_and_historical_records_are_the_same(house: House) -> None:
    one = house.enrol("BTCUSDT")
    house.trades(one, 20)
    house.quotes(one, 20)
    house.gap(one.id, GapState.CLOSED, start=T0, duration_ns=MS)
    async with answering(house) as server, streaming(house) as port:
        client = Client(house.key(), f"http://127.0.0.1:{server.port}", stream=f"ws://127.0.0.1:{port}")
        feed = client.live(["BTCUSDT"], ["trades", "quotes"], from_position=0, throttle=0)
        events = await take(feed, 41)
        for schema, kind in (("trades", Trade), ("quotes", Quote)):
            table = await asyncio.to_thread(
                client.timeseries.get_range, symbols="BTCUSDT", schema=schema, start="2025-11-20", end="2025-11-21"
            )
            assert list(table) == [event for event in events if isinstance(event, kind)]
            assert len(table) == 20
        assert await asyncio.to_thread(client.gaps) == [event for event in events if isinstance(event, Gap)]
        client.close()


@pytest.mark.asyncio
async def test_a_cut_connection_loses_nothing_and_repeats_nothing(house: House) -> None:
    one = house.enrol("BTCUSDT")
    house.trades(one, 1900)  # in one commit: messages end within it
    async with streaming(house) as port:
        wire = Wire(port)
        wire.cut_after = 200_000  # a message of 500 trades is about half of it
        async with wire.open() as front:
            feed = client_of(house, front).live(["BTCUSDT"], from_position=0)

            async def write() -> None:
                for step in range(19, 30):
                    house.trades(one, 100, ts=T0 + step * 100 * MS, first_id=1 + step * 100)
                    await asyncio.sleep(0.01)

            writing = asyncio.create_task(write())
            events = await take(feed, 3000)
            await writing
    assert ids(events) == list(range(1, 3001))
    assert feed.reconnects >= 2
    assert wire.opened == feed.reconnects + 1


@pytest.mark.asyncio
async def test_a_silent_connection_counts_as_dead(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    one = house.enrol("BTCUSDT")
    house.trades(one, 3)
    monkeypatch.setattr(live, "SILENT_S", 0.3)
    async with streaming(house) as port:
        wire = Wire(port)
        async with wire.open() as front:
            feed = client_of(house, front).live(["BTCUSDT"], from_position=0)
            seen = list[Event]()
            async with aclosing(aiter(feed)) as events:
                async for event in events:
                    seen.append(event)
                    if len(seen) == 3:
                        wire.mute = True
                        house.trades(one, 3, ts=T0 + 10 * MS, first_id=4)
                        asyncio.get_running_loop().call_later(0.5, setattr, wire, "mute", False)
                    if len(seen) == 6:
                        break
    assert ids(seen) == [1, 2, 3, 4, 5, 6]
    assert feed.reconnects >= 1


@pytest.mark.asyncio
async def test_a_server_that_comes_back_goes_on_where_it_was(house: House) -> None:
    one = house.enrol("BTCUSDT")
    house.trades(one, 3)
    wire = Wire(0)
    async with wire.open() as front:
        feed = client_of(house, front).live(["BTCUSDT"], from_position=0)
        async with aclosing(aiter(feed)) as events:
            seen = list[Event]()
            for number in range(3):
                async with streaming(house) as port:
                    wire.port = port
                    seen += [await anext(events) for _ in range(3)]
                house.trades(one, 3, ts=T0 + (number + 1) * 10 * MS, first_id=4 + 3 * number)
    assert ids(seen) == list(range(1, 10))


@pytest.mark.asyncio
async def test_bars_close_once_and_snapshots_come_first(house: House) -> None:
    one = house.enrol("BTCUSDT")
    house.trades(one, 5)
    async with streaming(house) as port:
        feed = client_of(house, port).live(["BTC*"], ["trades", "bars.1s"], snapshot=True)
        async with aclosing(aiter(feed)) as events:
            first = await anext(events)
            assert isinstance(first, Trade)
            assert first.venue_id == 5
            house.trades(one, 1, ts=T0 + 1500 * MS, first_id=6)
            later = [event async for event in _upto(events, Bar)]
    bars = [event for event in later if isinstance(event, Bar) and event.closed]
    assert [(bar.symbol, bar.timeframe, bar.start, bar.count) for bar in bars] == [("BTCUSDT", "1s", T0, 5)]
    assert bars[0].close == Decimal("65432.14")


async def _upto(events: AsyncIterator[Event], kind: type) -> AsyncIterator[Event]:
    async for event in events:
        yield event
        if isinstance(event, kind) and getattr(event, "closed", True):
            return


@pytest.mark.asyncio
async def test_what_coming_back_would_not_change_is_raised(house: House) -> None:
    house.enrol("BTCUSDT")
    async with streaming(house) as port:
        bad = Client("tt_nobody", stream=f"ws://127.0.0.1:{port}")
        with pytest.raises(Denied):
            await take(bad.live(["BTCUSDT"]), 1)
        with pytest.raises(Denied):
            await take(client_of(house, port, scopes=["realtime"]).live(["BTCUSDT"]), 1)
        with pytest.raises(Refused) as told:
            await take(client_of(house, port).live(["NOBODY"]), 1)
        assert told.value.code == "unknown_symbol"
        assert told.value.hint
        with pytest.raises(Refused):
            await take(client_of(house, port).live(["BTCUSDT"], ["colours"]), 1)
        with pytest.raises(BadInput):
            client_of(house, port).live("BTCUSDT")
        key = house.keys.create("gone", ["stream"])
        house.trades(house.enrol("BTCUSDT"), 1)
        feed = Client(key.key, stream=f"ws://127.0.0.1:{port}").live(["BTCUSDT"], from_position=0)
        with pytest.raises(Denied):
            await _revoking(house, feed, key.info.prefix)


async def _revoking(house: House, feed: live.Feed, prefix: str) -> None:
    async for _ in feed:
        house.keys.revoke(prefix)


@pytest.mark.asyncio
async def test_a_replay_is_what_live_sent_and_ends(house: House) -> None:
    one = house.enrol("BTCUSDT")
    house.trades(one, 700)
    async with streaming(house) as port:
        client = client_of(house, port)
        sent = await take(client.live(["BTCUSDT"], from_position=0), 700)
        feed = client.replay(["BTCUSDT"], start="2025-11-20", end="2025-11-21")
        assert [event async for event in feed] == sent
        assert feed.reconnects == 0


@pytest.mark.asyncio
async def test_a_replay_that_is_cut_goes_on(house: House) -> None:
    house.trades(house.enrol("BTCUSDT"), 3000)
    async with streaming(house) as port:
        wire = Wire(port)
        wire.cut_after = 300_000
        async with wire.open() as front:
            feed = client_of(house, front).replay(["BTCUSDT"], start="2025-11-20")
            assert ids([event async for event in feed]) == list(range(1, 3001))
    assert feed.reconnects >= 2


@pytest.mark.asyncio
async def test_callbacks_run_on_their_own_thread_and_hand_back_what_they_raise(house: House) -> None:
    house.trades(house.enrol("BTCUSDT"), 50)
    async with streaming(house) as port:

        def run() -> tuple[list[Event], str]:
            client, found = client_of(house, port), list[Event]()
            client.add_callback(found.append, client.replay(["BTCUSDT"], start="2025-11-20"))
            client.start()
            client.join()
            client.close()
            broken = client_of(house, port)
            broken.add_callback(_raises, broken.live(["BTCUSDT"], from_position=0))
            broken.start()
            with pytest.raises(ZeroDivisionError) as told:
                broken.join()
            broken.close()
            endless = client_of(house, port)
            endless.add_callback(lambda _: None, endless.live(["BTCUSDT"], from_position=0))
            endless.start()
            endless.stop()
            endless.close()
            return found, str(told.value)

        found, said = await asyncio.to_thread(run)
    assert ids(found) == list(range(1, 51))
    assert said == "in a callback"


def _raises(_event: Event) -> None:
    raise ZeroDivisionError("in a callback")


def test_notices_and_kinds_from_the_future_are_events() -> None:
    feed = ticktape.Client("tt_x").live(["BTCUSDT"])
    told = b'{"type":"update","position":9,"missed":3,"events":[{"kind":"weather","position":9,"wind":1.5}]}'
    assert feed.taken(live.understood(told)) == [
        Other(position=9, name="weather", fields={"kind": "weather", "position": 9, "wind": 1.5}),
        Missed(position=9, count=3),
    ]
    assert (feed.position, feed.missed) == (9, 3)
    gap = b'{"type":"gap","from_position":10,"to_position":99,"why":"trimmed"}'
    assert feed.taken(live.understood(gap)) == [Lost(position=10, to_position=99, why="trimmed")]
    assert feed.position == 99
    assert feed.taken(live.understood(b'{"type":"heartbeat","position":120}')) == []
    assert b'"from_position":121' in feed.subscription.message(feed.position)
