"""The request budget, by a hand-moved clock."""

from __future__ import annotations

import pytest

from ticktape.errors import Throttled
from ticktape.sources.binance.weights import Weights


class Hand:
    """A monotonic clock that sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def made(share: float = 0.5) -> tuple[Weights, Hand]:
    hand = Hand()
    return Weights(share, hand, hand.sleep), hand


@pytest.mark.asyncio
async def test_the_share_of_a_minute_is_not_exceeded_and_the_next_minute_goes_on() -> None:
    weights, hand = made()
    for _ in range(12):
        await weights.reserve(250)
    assert (weights.used, hand.slept) == (3000, [])
    hand.now_s += 20
    await weights.reserve(250)
    assert hand.slept == [40.0]
    assert weights.used == 250


@pytest.mark.asyncio
async def test_the_venues_own_count_is_believed_when_it_is_more() -> None:
    weights, hand = made()
    await weights.reserve(5)
    weights.note(2990)
    weights.note(10)
    await weights.reserve(25)
    assert len(hand.slept) == 1


@pytest.mark.asyncio
async def test_the_limit_is_what_exchange_info_said() -> None:
    weights, hand = made()
    weights.limit = 100
    await weights.reserve(40)
    await weights.reserve(20)
    assert len(hand.slept) == 1


@pytest.mark.asyncio
async def test_nothing_goes_while_the_venue_holds_us_and_it_goes_afterwards() -> None:
    weights, hand = made()
    weights.hold(30)
    weights.hold(10)  # a shorter pause does not shorten the longer
    hand.now_s += 12
    with pytest.raises(Throttled) as held:
        await weights.reserve(1)
    assert held.value.retry_after_s == 18
    hand.now_s += 18
    await weights.reserve(1)
