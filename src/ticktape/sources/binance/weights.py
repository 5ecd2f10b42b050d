"""How much we may ask of the venue. rest-api.md, "IP Limits".

The venue counts request weight per IP and minute; we stay below our share by waiting for the next minute.
After 429 or 418 nothing is sent until Retry-After is over: going on is what turns a pause into a ban.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from ticktape.errors import Throttled

LIMIT_PER_MINUTE = 6000  # until exchangeInfo said otherwise


class Weights:
    """The budget of one address; it outlives connections. Times in s of a monotonic clock."""

    def __init__(
        self,
        share: float = 0.5,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.limit = LIMIT_PER_MINUTE
        self.used = 0  # in the running minute, ours or the venue's word, whichever is more
        self._share = share
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._minute_ends_s = 0.0
        self._held_until_s = 0.0

    async def reserve(self, weight: int) -> None:
        """Wait until the minute has room for a request. Raises Throttled while the venue holds us."""
        while True:
            now_s = self._monotonic_s()
            self.raise_if_held()
            if now_s >= self._minute_ends_s:
                self.used, self._minute_ends_s = 0, now_s + 60.0
            # A request that alone is above the share still goes, first in its minute.
            if self.used == 0 or self.used + weight <= self.limit * self._share:
                self.used += weight
                return
            await self._sleep(self._minute_ends_s - now_s)

    def note(self, used: int) -> None:
        """Believe the venue's count when it is above ours: others may share our address."""
        self.used = max(self.used, used)

    def hold(self, pause_s: float) -> None:
        """Send nothing for `pause_s`."""
        self._held_until_s = max(self._held_until_s, self._monotonic_s() + pause_s)

    def raise_if_held(self) -> None:
        """Raise Throttled with what is left of the pause the venue asked for."""
        left_s = self._held_until_s - self._monotonic_s()
        if left_s > 0:
            raise Throttled(f"binance: asked us to pause; {left_s:.0f} s are left", left_s)
