"""X2, by the clock: how long a refusal takes tells nothing of which keys there are.

No bound on time itself: the three kinds of bad key are tried in turns, a block each, and compared with each other by
the medians of their blocks. A difference counts when it is both sure (a permutation test: the labels within a turn
are exchanged) and large enough to be seen from outside (a tenth of the check). That the measure would notice is
shown with stores that return early.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt
import pytest

from ticktape.serve.keys import BadKey, Key, KeyStore

TRIES, BLOCK = 100_000, 200
LARGE = 0.10  # of the time that a check takes
SURE = 0.001
KINDS = ("no header", "unknown prefix", "wrong secret")

Floats = npt.NDArray[np.float64]
Check = Callable[[str | None], Key]


class EarlyForStrangers(KeyStore):
    """Refuses a prefix that nobody has before it computes anything."""

    def check(self, header: str | None) -> Key:
        """Raise BadKey."""
        if (header or "")[10:18] not in self._rows and header is not None:
            self._refresh()
            raise BadKey("no valid API key")
        return super().check(header)


class EarlyForNothing(KeyStore):
    """Refuses a missing header before it computes anything."""

    def check(self, header: str | None) -> Key:
        """Raise BadKey."""
        if header is None:
            self._refresh()
            raise BadKey("no valid API key")
        return super().check(header)


class Slower(KeyStore):
    """Computes more digests for a prefix that somebody has."""

    def check(self, header: str | None) -> Key:
        """Raise BadKey."""
        if (header or "")[10:18] in self._rows:
            for _ in range(3):
                hmac.digest(b"pepper", (header or "").encode(), "sha256")
        return super().check(header)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def block(check: Check, header: str | None) -> float:
    """Return the median of one block of refusals, ns each."""
    took = np.empty(BLOCK, dtype=np.int64)
    for k in range(BLOCK):
        began = perf_counter_ns()
        try:
            check(header)
        except BadKey:
            took[k] = perf_counter_ns() - began
    return float(np.median(took))


def medians(store: KeyStore, tries: int) -> Floats:
    """Return (turns, kinds) block medians; the order within a turn changes, so that drift favours nobody."""
    known = store.create("k", ["realtime"]).info.prefix
    strange, wrong = (f"Bearer tt_{prefix}_{'A' * 43}" for prefix in ("00000000", known))
    headers: list[str | None] = [None, strange, wrong]
    chance = np.random.default_rng(1)
    found = np.empty((tries // BLOCK, len(headers)))
    for turn in range(len(found)):
        for kind in map(int, chance.permutation(len(headers))):
            found[turn, kind] = block(store.check, headers[kind])
    return found


def leaks(found: Floats) -> list[tuple[str, str]]:
    """Return the pairs of kinds that an asker could tell apart."""
    chance, told = np.random.default_rng(2), list[tuple[str, str]]()
    for a, b in combinations(range(len(KINDS)), 2):
        difference = found[:, a] - found[:, b]
        seen = abs(np.median(difference))
        signs = chance.choice([-1.0, 1.0], size=(2000, len(difference)))
        by_chance = np.abs(np.median(signs * difference, axis=1))
        if seen > LARGE * np.median(found) and np.mean(by_chance >= seen) < SURE:
            told.append((KINDS[a], KINDS[b]))
    return told


def test_x02_a_refusal_takes_as_long_whatever_was_wrong(folder: Path) -> None:
    store = KeyStore(folder)
    assert leaks(medians(store, TRIES)) == []
    store.close()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (EarlyForStrangers, {("no header", "unknown prefix"), ("unknown prefix", "wrong secret")}),
        (EarlyForNothing, {("no header", "unknown prefix"), ("no header", "wrong secret")}),
        (Slower, {("no header", "wrong secret"), ("unknown prefix", "wrong secret")}),
    ],
)
def test_x02_the_measure_sees_a_store_that_returns_early(
    folder: Path, kind: type[KeyStore], told: set[tuple[str, str]]
) -> None:
    store = kind(folder)
    assert set(leaks(medians(store, TRIES // 5))) == told
    store.close()
