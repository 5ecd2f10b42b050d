"""Fair prices of a correlated family: common paths with regimes, plus each instrument's own small noise.

Source of the shape: Cont, "Empirical properties of asset returns: stylized facts and statistical issues"
(2001): volatility clusters, returns have fat tails, an index and its volatility move against each other.
"""

from __future__ import annotations

from math import exp, sqrt

import numpy as np

from ticktape.simulate.sample import SCALE, Sample

STEP_S = 0.1
CALM_RETURN = 5.0  # log distance is pulled home over this many hours, so a demo left running stays believable
VOL_PER_SQRT_S = {"coin": 6.5e-5, "tech": 5.0e-5, "broad": 3.8e-5}  # 0.3-0.5 % an hour
REGIMES = (
    (0.0, 0.6),
    (0.0, 1.0),
    (0.9, 1.1),
    (-0.9, 1.2),
    (0.0, 2.2),
)  # (drift in vol per minute, vol multiple)
REGIME_S = 150.0  # mean length
FEAR_BETA = -7.0  # VIX rises about 7 % when the index falls 1 %


class Paths:
    """Moves every instrument's fair price in steps of 100 ms; deterministic from the generator."""

    def __init__(self, rng: np.random.Generator, samples: tuple[Sample, ...]) -> None:
        self._rng = rng
        self._samples = samples
        self._log = dict.fromkeys((*VOL_PER_SQRT_S, "fear"), 0.0)
        self._regime = dict.fromkeys(VOL_PER_SQRT_S, REGIMES[1])
        self._left_s = dict.fromkeys(VOL_PER_SQRT_S, 30.0)
        self._noise = {sample.symbol: 0.0 for sample in samples}
        self.fair_ticks = {sample.symbol: float(sample.ticks) for sample in samples}

    def step(self) -> None:
        """Advance all paths by one step."""
        broad = float(self._rng.standard_normal())
        shock = {
            "coin": 0.35 * broad + 0.937 * float(self._rng.standard_normal()),
            "tech": 0.92 * broad + 0.392 * float(self._rng.standard_normal()),
            "broad": broad,
        }
        for name, vol in VOL_PER_SQRT_S.items():
            self._log[name] += self._move(name, vol, shock[name])
        own = 0.0004 * float(self._rng.standard_normal()) * sqrt(STEP_S)
        self._log["fear"] = FEAR_BETA * self._log["broad"] + 0.98 * own
        noise = self._rng.standard_normal(len(self._samples)).tolist()
        for sample, normal in zip(self._samples, noise, strict=True):
            self._noise[sample.symbol] = 0.97 * self._noise[sample.symbol] + 0.24 * normal
            drift = exp(sample.beta * self._log[sample.factor])
            ticks = sample.price * SCALE / sample.tick * drift
            self.fair_ticks[sample.symbol] = max(50.0, ticks + sample.noise_ticks * self._noise[sample.symbol])

    def _move(self, name: str, vol: float, normal: float) -> float:
        self._left_s[name] -= STEP_S
        if self._left_s[name] <= 0:
            self._left_s[name] = float(self._rng.exponential(REGIME_S))
            self._regime[name] = REGIMES[int(self._rng.integers(len(REGIMES)))]
        drift, multiple = self._regime[name]
        home = -self._log[name] * STEP_S / (CALM_RETURN * 3600)
        return home + drift * vol * STEP_S * 0.13 + vol * multiple * sqrt(STEP_S) * normal
