"""Order-book synchronisation against the simulated venue, as the exchange documents it (dossier, section 4)."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from ticktape.simulate.binance import BinanceVenue, StaleDepth, VenueSettings

pytestmark = pytest.mark.timeout(60)

START = 1_763_640_000_000_000_000
Sides = tuple[dict[str, str], dict[str, str]]


class OlderThanFirst(Exception):
    """Step 4: the snapshot is older than the first buffered event."""


async def until_now(ws: ClientConnection) -> list[Any]:
    await ws.send('{"method":"LIST_SUBSCRIPTIONS","id":"mark"}')
    seen: list[Any] = []
    while (message := json.loads(await ws.recv())).get("id") != "mark":
        seen.append(message)
    return seen


async def fetched(venue: BinanceVenue) -> Any:
    def call() -> Any:
        with urllib.request.urlopen(f"{venue.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=5000") as answer:
            return json.loads(answer.read())

    return await asyncio.to_thread(call)


def synchronised(snapshot: Any, events: list[Any]) -> Sides:
    """Steps 4 to 6 and the rule per event."""
    last = snapshot["lastUpdateId"]
    if events and last < events[0]["U"] - 1:
        raise OlderThanFirst
    sides: Sides = (dict(snapshot["bids"]), dict(snapshot["asks"]))
    for event in events:
        if event["u"] <= last:
            continue
        assert event["U"] <= last + 1 <= event["u"]
        for side, changes in zip(sides, (event["b"], event["a"]), strict=True):
            for price, size in changes:
                side.pop(price, None)
                if float(size):
                    side[price] = size
        last = event["u"]
    return sides


@given(
    seed=st.integers(0, 2**32),
    speed=st.sampled_from(["depth", "depth@100ms"]),
    before=st.integers(0, 2500),
    after=st.integers(1000, 4000),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_snapshot_and_the_diffs_give_exactly_the_venues_book(seed: int, speed: str, before: int, after: int) -> None:
    async def run() -> None:
        chosen = VenueSettings(seed=seed, rate=600, autorun=False, preroll_s=1, messages_per_s=100)
        async with BinanceVenue(chosen, lambda: START) as venue:
            async with connect(f"{venue.ws_url}/ws/btcusdt@{speed}", max_queue=None) as ws:
                await until_now(ws)
                venue.advance(START + before * 1_000_000)
                snapshot = await fetched(venue)
                end = START + (before + after) // 1000 * 1_000_000_000  # a moment at which diffs leave
                venue.advance(end)
                events = await until_now(ws)
            sides = synchronised(snapshot, events)
            book = await venue.book("BTCUSDT", 10_000)
        assert book is not None
        expected = [dict(side) for side in (book.bids, book.asks)]
        got = [{round(float(p) * 1e8): round(float(s) * 1e8) for p, s in side.items()} for side in sides]
        assert events[-1]["u"] == book.last_id
        assert got == expected

    asyncio.run(run())


@pytest.mark.asyncio
async def test_a_snapshot_older_than_the_first_event_is_seen_and_the_next_one_works() -> None:
    chosen = VenueSettings(autorun=False, preroll_s=1, messages_per_s=100)
    async with BinanceVenue(chosen, lambda: START) as venue:
        venue.order(StaleDepth(symbol="BTCUSDT"))
        venue.advance(START + 2_000_000_000)
        async with connect(f"{venue.ws_url}/ws/btcusdt@depth@100ms", max_queue=None) as ws:
            await until_now(ws)
            venue.advance(START + 3_000_000_000)
            events = await until_now(ws)
            with pytest.raises(OlderThanFirst):
                synchronised(await fetched(venue), events)
            bids, _ = synchronised(await fetched(venue), events)
    assert bids
