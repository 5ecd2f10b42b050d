"""The only place that asks the machine for the time; everything else is handed a Clock.

`now_ns` goes on with the time that passes, and follows the wall clock where somebody set it only when that has held
for `BELIEVE_NS`. So a clock set an hour forward and put right within a minute leaves no trace. To a later time it
then jumps; to an earlier one it slows to half its pace until the wall clock has caught up: it never goes back and
never stands still, and two receive times still tell which was first.
"""

from __future__ import annotations

import sys
import time
from typing import Protocol

STEP_NS = 500_000_000  # a wall clock that moves this much against the time that passes was set
BELIEVE_NS = 60 * 10**9


class Clock(Protocol):
    """Wall time that never runs backwards within a process, and a monotonic time for intervals."""

    def now_ns(self) -> int:
        """Return ns UTC, never less than the last answer."""
        ...

    def wall_ns(self) -> int:
        """Return what the machine says, ns UTC, steps included."""
        ...

    def monotonic_ns(self) -> int:
        """Return ns of a clock that no one sets."""
        ...


class Steady:
    """The rule above. An offset is how far the wall clock is ahead of the time that passes, ns."""

    def __init__(self, wall_ns: int, monotonic_ns: int, not_before_ns: int = 0) -> None:
        self._last_ns, self._monotonic_ns = max(wall_ns, not_before_ns), monotonic_ns
        self._offset_ns = self._doubted_ns = wall_ns - monotonic_ns
        self._doubted_since_ns = monotonic_ns

    def now_ns(self, wall_ns: int, monotonic_ns: int) -> int:
        """Return the time to go by, never less than the last."""
        offset = wall_ns - monotonic_ns
        if abs(offset - self._offset_ns) <= STEP_NS:
            self._offset_ns = self._doubted_ns = offset
        elif abs(offset - self._doubted_ns) > STEP_NS:
            self._doubted_ns, self._doubted_since_ns = offset, monotonic_ns
        elif monotonic_ns - self._doubted_since_ns >= BELIEVE_NS:
            self._offset_ns = offset
        passed = max(monotonic_ns - self._monotonic_ns, 0)
        self._monotonic_ns = monotonic_ns
        self._last_ns = max(self._last_ns + passed // 2, self._offset_ns + monotonic_ns)
        return self._last_ns


class SystemClock:
    """The machine's clock."""

    def __init__(self, not_before_ns: int = 0) -> None:
        self._steady = Steady(self.wall_ns(), self.monotonic_ns(), not_before_ns)

    def now_ns(self) -> int:
        """Return ns UTC, never less than the last answer."""
        return self._steady.now_ns(time.time_ns(), self.monotonic_ns())

    def wall_ns(self) -> int:
        """Return what the machine says, ns UTC."""
        return time.time_ns()

    if sys.platform == "linux":

        def monotonic_ns(self) -> int:
            """Return ns of a clock that also counts the time a machine was asleep."""
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    else:

        def monotonic_ns(self) -> int:
            """Return ns of the monotonic clock."""
            return time.monotonic_ns()


class ManualClock:
    """A clock that tests move by hand."""

    def __init__(self, start_ns: int) -> None:
        self._wall_ns = start_ns
        self._monotonic_ns = 0
        self._steady = Steady(start_ns, 0)

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self._wall_ns += ns
        self._monotonic_ns += ns

    def step(self, ns: int) -> None:
        """Set the wall clock by `ns`, as an operator or NTP does; monotonic time does not see it."""
        self._wall_ns += ns

    def now_ns(self) -> int:
        """Return ns UTC, never less than the last answer."""
        return self._steady.now_ns(self._wall_ns, self._monotonic_ns)

    def wall_ns(self) -> int:
        """Return the wall clock, steps included."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """Return the time passed by `advance`."""
        return self._monotonic_ns
