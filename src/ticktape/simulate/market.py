"""A seeded market: trades, quotes and book diffs that agree with each other, from a seed and the time alone.

`advance(now_ns)` plays everything up to a moment, so the same seed and start give the same market whatever
the steps it is called in. Arrivals are a Hawkes process (Bacry, Mastromatteo, Muzy, "Hawkes processes in
finance", 2015: activity excites itself) simulated by Ogata's thinning; orders chase a fair price (paths.py)
through a real book, which is where bid-ask bounce and sweeps through several levels come from.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from math import exp, pi, sin

import numpy as np

from ticktape.simulate.events import Event
from ticktape.simulate.instrument import Draws, Instrument
from ticktape.simulate.paths import Paths
from ticktape.simulate.sample import SAMPLES, Sample

GRID_NS = 100_000_000  # fair prices move and diffs leave on this grid
BRANCHING = 0.55  # share of events that earlier events caused
DECAY_PER_S = 3.0
BOUND = 1.6  # no hour of the day is busier than this against the mean
DAY_NS = 86_400_000_000_000


def activity(sample: Sample, ts_ns: int) -> float:
    """How busy an instrument is at a time of day (UTC), about 1 on average.

    Index products: the U shape of the New York session 13:30-20:00 (Admati, Pfleiderer, 1988), a quiet night;
    coins: a gentle daily wave. The night keeps a floor, a demo started at 3 a.m. must still move.
    """
    hour = ts_ns % DAY_NS / DAY_NS * 24
    if sample.shape == "crypto":
        return 1.0 + 0.25 * sin((hour - 9) / 24 * 2 * pi)
    if not 13.5 <= hour < 20:
        return 0.75
    from_middle = (hour - 16.75) / 3.25
    return 1.0 + 0.6 * from_middle * from_middle


class Market:
    """All instruments on one clock. `rate` is actions a second over a whole day, all instruments together."""

    def __init__(self, seed: int, start_ns: int, rate: float = 200.0, samples: tuple[Sample, ...] = SAMPLES) -> None:
        self._draws = Draws(np.random.default_rng(seed))
        self._paths = Paths(np.random.default_rng(seed + 1), samples)
        self.instruments = {
            s.symbol: Instrument(s, self._draws, 1_000_000 * (i + 1), 50_000_000 * (i + 1))
            for i, s in enumerate(samples)
        }
        self.rate = rate
        self.boost = 1.0  # the burst fault multiplies arrivals
        self._excited = 0.0  # Hawkes memory, in units of the mean rate
        self._now_ns = start_ns
        self._grid_ns = start_ns - start_ns % GRID_NS + GRID_NS
        self._weigh()
        self._propose()

    @property
    def now_ns(self) -> int:
        """How far the market has been played."""
        return self._now_ns

    def advance(self, now_ns: int) -> Iterator[Event]:
        """Play up to and including `now_ns`; an earlier time than before plays nothing."""
        while (until := min(self._proposed_ns, self._grid_ns)) <= now_ns:
            self._excited *= exp(-DECAY_PER_S * (until - self._now_ns) / 1e9)
            self._now_ns = until
            if until == self._grid_ns:
                yield from self._on_grid(until)
            else:
                accepted = self._draws.uniform() * self._bound < self._intensity()
                # Relative to the boosted rate: a burst must not push the branching ratio past 1 and explode.
                self._excited += BRANCHING * DECAY_PER_S / (self.rate * self.boost) if accepted else 0.0
                self._propose()
                if accepted:
                    instrument = self._pick()
                    yield from instrument.act(self._paths.fair_ticks[instrument.sample.symbol], until)

    def _intensity(self) -> float:
        return self._busy * (1 - BRANCHING) + self._excited

    def _propose(self) -> None:
        """Draw the next candidate arrival; intensity only falls until then, so the bound holds."""
        self._bound = BOUND * (1 - BRANCHING) + self._excited
        gap_s = self._draws.exponential() / (self._bound * self.rate * self.boost)
        self._proposed_ns = self._now_ns + max(1, int(gap_s * 1e9))

    def _weigh(self) -> None:
        self._by_weight = list(self.instruments.values())
        weights = [i.sample.weight * activity(i.sample, self._now_ns) for i in self._by_weight]
        self._cumulative = np.cumsum(weights).tolist()
        self._busy = self._cumulative[-1] / sum(i.sample.weight for i in self._by_weight)

    def _pick(self) -> Instrument:
        drawn = self._draws.uniform() * self._cumulative[-1]
        return self._by_weight[min(bisect_left(self._cumulative, drawn), len(self._by_weight) - 1)]

    def _on_grid(self, ts_ns: int) -> Iterator[Event]:
        self._paths.step()
        self._grid_ns = ts_ns + GRID_NS
        if ts_ns % (60 * 1_000_000_000) < GRID_NS:
            self._weigh()
        for instrument in self.instruments.values():
            instrument.refill()
            diff = instrument.diff(ts_ns)
            if diff is not None:
                yield diff
