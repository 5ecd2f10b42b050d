"""R12: the time to go by never goes back, never stands still, and does not believe every setting of the wall clock."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticktape.clock import BELIEVE_NS, ManualClock, SystemClock

SECOND = 10**9
HOUR = 3600 * SECOND
NOW = 1_763_640_100_000_000_000


def ticking(clock: ManualClock, seconds: int) -> list[int]:
    """Return the time once a second."""
    times: list[int] = []
    for _ in range(seconds):
        clock.advance(SECOND)
        times.append(clock.now_ns())
    return times


@pytest.mark.parametrize("step", [HOUR, -HOUR, -5 * SECOND])
def test_r12_a_clock_set_wrong_and_put_right_within_a_minute_leaves_no_trace(step: int) -> None:
    clock = ManualClock(NOW)
    ticking(clock, 10)
    for _ in range(3):
        clock.step(step)
        ticking(clock, 50)
        clock.step(-step)
        ticking(clock, 200)
    assert clock.now_ns() == clock.wall_ns() == NOW + 760 * SECOND


def test_r12_a_clock_set_forward_is_believed_after_a_minute_and_put_right_without_standing_still() -> None:
    clock = ManualClock(NOW)
    clock.step(HOUR)
    ticking(clock, 600)
    assert clock.now_ns() == clock.wall_ns() == NOW + HOUR + 600 * SECOND
    clock.step(-HOUR)
    times = ticking(clock, 3 * 3600)
    assert min(b - a for a, b in pairwise(times)) == SECOND // 2
    assert clock.now_ns() == clock.wall_ns()
    caught_up = next(k for k, t in enumerate(times) if t == NOW + (601 + k) * SECOND)
    assert 7200 <= caught_up <= 7200 + BELIEVE_NS // SECOND * 2


def test_r12_what_was_recorded_ahead_of_the_clock_before_a_start_is_caught_up_with_from_the_start() -> None:
    clock = SystemClock(SystemClock().now_ns() + HOUR)
    first = clock.now_ns()
    assert first > clock.wall_ns() + HOUR // 2
    assert clock.now_ns() > first  # moving, though the wall clock is an hour behind


def test_r12_the_drift_of_a_clock_is_followed_at_once() -> None:
    clock = ManualClock(NOW)
    for _ in range(2000):
        clock.advance(SECOND)
        clock.step(500_000)  # 500 ppm, as fast as NTP slews
        assert clock.now_ns() == clock.wall_ns()
    for _ in range(2000):
        clock.advance(SECOND)
        clock.step(-500_000)
        assert clock.now_ns() == clock.wall_ns()


@given(st.lists(st.tuples(st.integers(0, 200 * SECOND), st.integers(-2 * HOUR, 2 * HOUR)), max_size=40))
def test_r12_whatever_is_done_to_the_wall_clock_the_time_to_go_by_moves_on(moves: list[tuple[int, int]]) -> None:
    clock = ManualClock(NOW)
    before = clock.now_ns()
    for passed, step in moves:
        clock.advance(passed)
        clock.step(step)
        now = clock.now_ns()
        assert now - before >= passed // 2
        before = now
