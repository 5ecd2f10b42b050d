"""Rates: a burst, then a steady pace; bounded whoever asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticktape.clock import ManualClock
from ticktape.serve.keys import Key
from ticktape.serve.limits import Buckets, Limits, TooMany


@given(st.lists(st.integers(0, 400_000_000), max_size=300))
def test_x06_no_more_than_the_burst_and_the_rate_ever_pass(pauses: list[int]) -> None:
    clock = ManualClock(0)
    buckets, per_s, burst, passed = Buckets(clock), 10.0, 5.0, 0
    for pause in pauses:
        clock.advance(pause)
        passed += buckets.take("k", per_s, burst) == 0.0
    assert passed <= burst + per_s * clock.monotonic_ns() / 1e9 + 1e-6


def test_after_the_wait_it_says_there_is_one_token() -> None:
    clock = ManualClock(0)
    buckets = Buckets(clock)
    assert [buckets.take("k", 4.0, 2.0) for _ in range(3)] == [0.0, 0.0, 0.25]
    clock.advance(250_000_000)
    assert buckets.take("k", 4.0, 2.0) == 0.0
    assert buckets.take("k", 4.0, 2.0) == 0.25
    assert buckets.take("other", 4.0, 2.0) == 0.0


def test_x06_memory_is_bounded_however_many_ask() -> None:
    buckets = Buckets(ManualClock(0), most=100)
    for n in range(10_000):
        buckets.take(f"10.0.{n >> 8}.{n & 255}", 1.0, 1.0)
    assert len(buckets) == 100


def test_one_ipv6_network_is_one_asker() -> None:
    limits = Limits(ManualClock(0), failed_per_minute=2)
    limits.failed("2001:db8::1")
    limits.failed("2001:db8::2")
    with pytest.raises(TooMany):
        limits.failed("2001:db8::3")
    limits.failed("2001:db8:0:1::3")


def test_an_ipv4_address_seen_through_ipv6_is_one_asker_of_its_own() -> None:
    limits = Limits(ManualClock(0), failed_per_minute=1)
    limits.failed("::ffff:10.0.0.1")
    limits.failed("::ffff:10.0.0.2")
    with pytest.raises(TooMany):
        limits.failed("10.0.0.1")


def test_a_key_has_only_so_many_requests_under_way() -> None:
    limits = Limits(ManualClock(0))
    key = Key(
        prefix="p", name="n", scopes=frozenset(), symbols=None, per_s=1.0, created_ns=0, expires_ns=None,
        revoked_ns=None, last_used_ns=None, at_once=2,
    )  # fmt: skip
    limits.begin(key)
    limits.begin(key)
    with pytest.raises(TooMany, match="2 requests at once"):
        limits.begin(key)
    limits.end(key)
    limits.begin(key)
    for _ in range(2):
        limits.end(key)
    assert not limits._under_way  # pyright: ignore[reportPrivateUsage]
