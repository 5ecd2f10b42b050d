"""How often and how much at once somebody may ask: token buckets by key and by address, in bounded memory.

Written here because `limits` 5.8, measured for this, starts about 60 threads a second under load, keeps an entry
for every address it ever saw within the window (100,000 addresses, 300,000 entries), and reads only the wall clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

from ticktape.clock import Clock
from ticktape.errors import TicktapeError
from ticktape.serve.addresses import asker_of
from ticktape.serve.keys import Key

MOST_KEPT = 10_000


class TooMany(TicktapeError):
    """Asked too often; come back after `retry_after_s` seconds (HTTP 429)."""

    def __init__(self, message: str, retry_after_s: float, hint: str = "") -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class Buckets:
    """A bucket for each name, `burst` deep, refilled at `per_s`. The generic cell rate algorithm.

    Of a bucket only one number is kept: when it will be full again. Beyond `most` names the one not seen for
    longest is forgotten, which only gives it its full burst back.
    """

    def __init__(self, clock: Clock, most: int = MOST_KEPT) -> None:
        self._clock = clock
        self._most = most
        self._full_at_ns: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at_ns)

    def take(self, name: str, per_s: float, burst: float) -> float:
        """Take one token. Returns 0.0, or how many seconds until there is one again (nothing was taken)."""
        now, each = self._clock.monotonic_ns(), 1e9 / per_s
        full_at = max(self._full_at_ns.get(name, now), now) + each
        wait = full_at - now - burst * each
        if wait > 0.5:  # half a nanosecond: rounding, not use
            return wait / 1e9
        self._full_at_ns[name] = int(full_at)
        self._full_at_ns.move_to_end(name)
        if len(self._full_at_ns) > self._most:
            self._full_at_ns.popitem(last=False)
        return 0.0


class Limits:
    """The limits of the public port."""

    def __init__(self, clock: Clock, *, failed_per_minute: float = 30.0, public_per_s: float = 50.0) -> None:
        self._by_key = Buckets(clock)
        self._failed = Buckets(clock)
        self._public = Buckets(clock)
        self._failed_per_minute = failed_per_minute
        self._public_per_s = public_per_s
        self._under_way: Counter[str] = Counter()

    def request(self, key: Key) -> None:
        """Count a request with a good key; a second's worth may come at once. Raises TooMany."""
        wait = self._by_key.take(key.prefix, key.per_s, max(key.per_s, 1.0))
        if wait:
            raise TooMany(
                f"more than {key.per_s:g} requests per second", wait, hint="slow down, or ask for more at once"
            )

    def begin(self, key: Key) -> None:
        """Count a request as under way; `end` it. Raises TooMany when the key has as many as it may."""
        if self._under_way[key.prefix] >= key.at_once:
            raise TooMany(f"more than {key.at_once} requests at once", 1.0, hint="wait for an answer before you ask")
        self._under_way[key.prefix] += 1

    def end(self, key: Key) -> None:
        """Count a request as answered."""
        self._under_way[key.prefix] -= 1
        if self._under_way[key.prefix] <= 0:
            del self._under_way[key.prefix]

    def failed(self, address: str) -> None:
        """Count a request with a bad key. Raises TooMany.

        Only failures are held back: a good key is never locked out by a neighbour's bad one.
        """
        wait = self._failed.take(asker_of(address), self._failed_per_minute / 60, self._failed_per_minute)
        if wait:
            raise TooMany("too many requests with a bad key", wait, hint="ticktape key create")

    def public(self, address: str) -> None:
        """Count a request that needs no key. Raises TooMany."""
        wait = self._public.take(asker_of(address), self._public_per_s, 2 * self._public_per_s)
        if wait:
            raise TooMany("too many requests", wait, hint="slow down")
