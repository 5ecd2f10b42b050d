"""Which channels have gone mute: each is judged by its own rhythm, so a quiet symbol is not a fault.

Per channel it is learned how often a look finds something new. A silence is a fault when that rhythm would have let it
happen once in e^30 (Poisson), stretched to at least `min_silence_s`. Looks count, not records: markets come in bursts,
and a burst of a thousand says no more about the next minute than one trade. What is found in less than two of five
looks can stay silent for a minute and more; what never came at all is reported once, not reconnected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")

CERTAIN = 30.0  # expected arrivals in a silence that make it a fault
ALWAYS = 0.999  # a share of looks above this says no more than this


@dataclass(frozen=True, slots=True)
class Patience:
    """How long silence is borne."""

    min_silence_s: float = 10.0
    learn_s: float = 120.0  # time constant of the rhythm
    never_seen_s: float = 100.0
    dead_s: float = 90.0  # neither a record nor a ping


@dataclass(slots=True)
class Rhythm:
    """What is known of one channel."""

    since_s: float  # silence counts from here
    patience: Patience
    learned_s: float = 0.0
    share: float = 0.0  # of the looks that found something new
    look_s: float = 1.0  # between two looks
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
        self.learned_s += passed_s
        weight = min(passed_s / min(self.patience.learn_s, self.learned_s), 1.0)
        self.look_s += (passed_s - self.look_s) * weight
        if came > 0 or not self.mute(now_s):  # a fault must not teach us that silence is normal
            self.share += ((came > 0) - self.share) * weight

    @property
    def rate(self) -> float:
        """Arrivals a second that would be found in this share of the looks."""
        return -math.log1p(-min(self.share, ALWAYS)) / self.look_s

    def mute(self, now_s: float) -> bool:
        """Say whether the present silence is a fault."""
        rate = self.rate
        if not self.seen or rate <= 0:
            return False
        allowed = max(self.patience.min_silence_s, CERTAIN / rate)
        return now_s - self.last_s > allowed

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
            rhythm = self._rhythms[key] = old.get(key) or Rhythm(now_s, self._patience)
            rhythm.since_s = rhythm.last_s = now_s
            rhythm.count, rhythm.reported = count, False

    def look(self, counts: dict[K, int], now_s: float) -> tuple[list[K], list[K]]:
        """Take in the counts and return (mute channels, channels that never spoke)."""
        passed = max(now_s - self._last_s, 1e-3)
        self._last_s = now_s
        for key, rhythm in self._rhythms.items():
            rhythm.beat(now_s, counts.get(key, 0), passed)
        mute = [key for key, r in self._rhythms.items() if r.mute(now_s)]
        never = [key for key, r in self._rhythms.items() if r.never_seen(now_s)]
        return mute, never
