"""The only place that asks the machine for the time; everything else is handed a Clock."""

from __future__ import annotations

import time
from typing import Protocol


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


class SystemClock:
    """The machine's clock. A step back of the wall clock holds `now_ns` still until it has caught up."""

    def __init__(self, not_before_ns: int = 0) -> None:
        self._last_ns = not_before_ns

    def now_ns(self) -> int:
        """Return ns UTC, never less than the last answer."""
        self._last_ns = max(self._last_ns, time.time_ns())
        return self._last_ns

    def wall_ns(self) -> int:
        """Return what the machine says, ns UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return ns of the monotonic clock."""
        return time.monotonic_ns()


class ManualClock:
    """A clock that tests move by hand."""

    def __init__(self, start_ns: int) -> None:
        self._wall_ns = start_ns
        self._monotonic_ns = 0
        self._last_ns = start_ns

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self._wall_ns += ns
        self._monotonic_ns += ns

    def step(self, ns: int) -> None:
        """Set the wall clock by `ns`, as an operator or NTP does; monotonic time does not see it."""
        self._wall_ns += ns

    def now_ns(self) -> int:
        """Return ns UTC, never less than the last answer."""
        self._last_ns = max(self._last_ns, self._wall_ns)
        return self._last_ns

    def wall_ns(self) -> int:
        """Return the wall clock, steps included."""
        return self._wall_ns

    def monotonic_ns(self) -> int:
        """Return the time passed by `advance`."""
        return self._monotonic_ns
