"""Which channels have gone mute: each is judged by its own rhythm, so a quiet symbol is not a fault.

Per channel the rate is learned as records come. A silence is a fault when the rhythm would have let it happen once in
e^30 (Poisson), stretched to at least MIN_SILENCE_S because real markets come in bursts. What trades less than once
in two seconds can stay silent for a minute and more; what never came at all is reported once, not reconnected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")

MIN_SILENCE_S = 10.0
MAX_SILENCE_S = 60.0
CERTAIN = 30.0  # expected records in a silence that make it a fault
LEARN_S = 120.0  # time constant of the rate
NEVER_SEEN_S = 100.0
DEAD_S = 90.0  # neither a record nor a ping


@dataclass(slots=True)
class Rhythm:
    """What is known of one channel."""

    since_s: float
    rate: float = 0.0  # records a second
    count: int = 0
    last_s: float = 0.0
    seen: bool = False
    reported: bool = False

    def beat(self, now_s: float, count: int, passed_s: float) -> None:
        """Take in the channel's record count at a time."""
        came = count - self.count
        self.count = count
        if came > 0:
            self.last_s, self.seen, self.reported = now_s, True, False
        alive_s = max(now_s - self.since_s, passed_s)
        weight = passed_s / min(LEARN_S, alive_s) if alive_s else 1.0
        if came > 0 or not self.mute(now_s):  # a fault must not teach us that silence is normal
            self.rate += (came / passed_s - self.rate) * min(weight, 1.0)

    def mute(self, now_s: float) -> bool:
        """Say whether the present silence is a fault."""
        if not self.seen or self.rate <= 0:
            return False
        allowed = max(MIN_SILENCE_S, CERTAIN / self.rate)
        if self.rate * MAX_SILENCE_S >= CERTAIN:
            allowed = min(allowed, MAX_SILENCE_S)
        return now_s - self.last_s > allowed

    def never_seen(self, now_s: float) -> bool:
        """Say, once, that nothing ever came."""
        if self.seen or self.reported or now_s - self.since_s < NEVER_SEEN_S:
            return False
        self.reported = True
        return True


class Watchdog(Generic[K]):
    """The rhythms of one source's channels."""

    def __init__(self) -> None:
        self._rhythms: dict[K, Rhythm] = {}
        self._last_s = 0.0

    def start(self, keys: Iterable[K], now_s: float) -> None:
        """(Re)start watching: after a connection, silence counts from now."""
        self._last_s = now_s
        old, self._rhythms = self._rhythms, {}
        for key in keys:
            before = old.get(key)
            self._rhythms[key] = Rhythm(now_s, before.rate if before else 0.0, before.count if before else 0, now_s)
            if before is not None:
                self._rhythms[key].seen = before.seen

    def look(self, counts: dict[K, int], now_s: float) -> tuple[list[K], list[K]]:
        """Take in the counts and return (mute channels, channels that never spoke)."""
        passed = max(now_s - self._last_s, 1e-3)
        self._last_s = now_s
        for key, rhythm in self._rhythms.items():
            rhythm.beat(now_s, counts.get(key, 0), passed)
        mute = [key for key, r in self._rhythms.items() if r.mute(now_s)]
        never = [key for key, r in self._rhythms.items() if r.never_seen(now_s)]
        return mute, never
