"""REQUEST_WEIGHT accounting: 429 when a minute's weight is spent, 418 for who goes on regardless.

rest-api.md "IP Limits"; weights per endpoint from the dossier, section 6. The message texts are those of
errors.md, -1003.
"""

from __future__ import annotations

from collections.abc import Callable

from ticktape.simulate.binance.settings import VenueSettings

MINUTE_MS = 60_000


class RestError(Exception):
    """An error answer: HTTP status, the venue's code and text, and Retry-After where it has one."""

    def __init__(self, status: int, code: int, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


class Weights:
    """One address's account: everybody on loopback shares it, as everybody behind one IP does."""

    def __init__(self, settings: VenueSettings, clock: Callable[[], int]) -> None:
        self.limit = settings.weight_per_m
        self._ban_after = settings.ban_after
        self._ban_ms = int(settings.ban_s * 1000)
        self._clock = clock
        self._minute = 0
        self._refused = 0
        self._banned_until_ms = 0
        self.used = 0

    def charge(self, weight: int) -> None:
        """Take the weight of one request. Raises RestError when it is not to be had."""
        now_ms = self._clock() // 1_000_000
        if now_ms < self._banned_until_ms:
            raise self._banned(now_ms)
        if now_ms // MINUTE_MS != self._minute:
            self._minute, self.used, self._refused = now_ms // MINUTE_MS, 0, 0
        self.used += weight
        if self.used <= self.limit:
            return
        self._refused += 1
        if self._refused > self._ban_after:
            self._banned_until_ms = now_ms + self._ban_ms
            raise self._banned(now_ms)
        text = (
            f"Too much request weight used; current limit is {self.limit} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
        raise RestError(429, -1003, text, 1 + (MINUTE_MS - now_ms % MINUTE_MS) // 1000)

    def _banned(self, now_ms: int) -> RestError:
        text = (
            f"Way too much request weight used; IP banned until {self._banned_until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        return RestError(418, -1003, text, 1 + (self._banned_until_ms - now_ms) // 1000)


def depth_weight(limit: int) -> int:
    """GET /depth costs by size."""
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250
