"""Which channels have gone mute: each is judged by its own rhythm, so a quiet symbol is not a fault.

Per channel it is learned how often a look finds something new. A silence is a fault when that rhythm would have let it
happen once in e^30 (Poisson), stretched to at least `min_silence_s`. Looks count, not records: markets come in bursts,
and a burst of a thousand says no more about the next minute than one trade. What is found in less than two of five
looks can stay silent for a minute and more; what never came at all is reported once, not reconnected.

A channel whose market is closed is asleep: nothing is asked or learned of it, and its silence counts from the opening.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")

ALWAYS = 0.999  # a share of looks above this says no more than this


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is borne."""

    certain: float = 30.0  # expected arrivals in a silence that make it a fault
    min_silence_s: float = 10.0
    max_silence_s: float = 300.0  # a rhythm that would allow more is none
    learn_s: float = 120.0  # time constant of the rhythm
    never_seen_s: float = 100.0
    dead_s: float = 90.0  # neither a record nor a ping


@dataclass(slots=True)
class Rhythm:
    """What is known of one channel."""

    since_s: float
    patience: Patience
    share: float = 0.0  # of the looks that found something new, up to the last of them
    learned_s: float = 10.0  # as if it had been silent for so long: the first records prove no rhythm
    look_s: float = 1.0  # between two looks
    count: int = 0
    last_s: float = 0.0
    seen: bool = False
    reported: bool = False

    def beat(self, now_s: float, count: int, passed_s: float) -> None:
        """Take in the channel's record count at a time."""
        came = count - self.count
        self.count = count
        self.look_s += (passed_s - self.look_s) / 10
        if came > 0:
            self.rest(now_s - passed_s)
            self.share += (1.0 - self.share) * self._weight(passed_s)
            self.last_s, self.seen, self.reported = now_s, True, False

    def sleep(self, now_s: float, count: int) -> None:
        """Let time pass that says nothing of the channel: its market is closed."""
        self.count, self.since_s, self.last_s = count, now_s, now_s

    def rest(self, now_s: float) -> None:
        """Learn from the silence that ends here, as far as it was no fault: it is not judged by itself."""
        silent_s = min(now_s - self.last_s, self.allowed_s)
        if silent_s > 0:
            self.share *= 1.0 - self._weight(silent_s)
        self.last_s = now_s

    def _weight(self, passed_s: float) -> float:
        self.learned_s += passed_s
        if self.learned_s < self.patience.learn_s:
            return passed_s / self.learned_s
        return -math.expm1(-passed_s / self.patience.learn_s)

    @property
    def allowed_s(self) -> float:
        """How long a silence is borne."""
        rate = -math.log1p(-min(self.share, ALWAYS)) / self.look_s  # what would be found in this share of the looks
        if rate * self.patience.max_silence_s < self.patience.certain:
            return math.inf
        return max(self.patience.min_silence_s, self.patience.certain / rate)

    def mute(self, now_s: float) -> bool:
        """Say whether the present silence is a fault."""
        return self.seen and now_s - self.last_s > self.allowed_s

    def never_seen(self, now_s: float) -> bool:
        """Say, once, that nothing ever came."""
        if self.seen or self.reported or now_s - self.since_s < self.patience.never_seen_s:
            return False
        self.reported = True
        return True


class Watchdog(Generic[K]):
    """The rhythms of one source's channels."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._rhythms: dict[K, Rhythm] = {}
        self._last_s = 0.0

    def start(self, counts: dict[K, int], now_s: float) -> None:
        """(Re)start watching: after a connection, silence counts from now, and records from `counts`."""
        self._last_s = now_s
        old, self._rhythms = self._rhythms, {}
        for key, count in counts.items():
            rhythm = self._rhythms[key] = old.get(key) or Rhythm(now_s, self._patience, last_s=now_s)
            rhythm.rest(now_s)  # a reconnection that brings nothing teaches a little
            rhythm.since_s, rhythm.count, rhythm.reported = now_s, count, False

    def look(self, counts: dict[K, int], now_s: float, asleep: Container[K] = ()) -> tuple[list[K], list[K]]:
        """Take in the counts and return (mute channels, channels that never spoke), none of them `asleep`."""
        passed = max(now_s - self._last_s, 1e-3)
        self._last_s = now_s
        for key, rhythm in self._rhythms.items():
            if key in asleep:
                rhythm.sleep(now_s, counts.get(key, 0))
            else:
                rhythm.beat(now_s, counts.get(key, 0), passed)
        mute = [key for key, r in self._rhythms.items() if r.mute(now_s)]
        never = [key for key, r in self._rhythms.items() if r.never_seen(now_s)]
        return mute, never
