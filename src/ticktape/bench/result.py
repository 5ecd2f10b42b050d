"""What a bench found: a rate with its repeats or a latency with its percentiles, and the peer beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from ticktape.bench.catalogue import Entry
from ticktape.errors import TicktapeError


class Wrong(TicktapeError):
    """The work that was timed did not end in what it should have: its speed means nothing."""


class Spread(NamedTuple):
    """A latency's distribution, in the unit of the bench."""

    p50: float
    p99: float
    max: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What we measured of ourselves. `more` are further figures, by name."""

    value: float
    runs: list[float] = []
    spread: Spread | None = None
    more: dict[str, float] = {}


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What we measured of the peer. `ratio` is how many times better we are; `why` says what is missing or unlike."""

    peer: str | None
    peer_value: float | None = None
    ratio: float | None = None
    why: str = ""


def of_runs(runs: Sequence[float], **more: float) -> Measured:
    """Return the median of repeats, with the repeats."""
    return Measured(value=float(np.median(runs)), runs=[rounded(run) for run in runs], more=more)


def of_latencies(samples: npt.NDArray[np.float64], value: str = "p50", **more: float) -> Measured:
    """Return the percentiles of single latencies, already in the unit of the bench; `value` names the one to lead.

    That may be one of `more`.
    """
    spread = Spread(*(float(np.percentile(samples, percent)) for percent in (50, 99, 100)))
    return Measured(value=more[value] if value in more else float(getattr(spread, value)), spread=spread, more=more)


def rounded(number: float) -> float:
    """Return a number with four significant digits: more would claim what no repeat can show."""
    return float(f"{number:.4g}")


def figures(entry: Entry, measured: Measured, beside: Beside | None = None) -> dict[str, Any]:
    """Return one line of output as a mapping; the order is that in which it is printed."""
    row: dict[str, Any] = {"bench": entry.name, "value": rounded(measured.value), "unit": entry.unit}
    if measured.spread is not None:
        row |= {name: rounded(number) for name, number in measured.spread._asdict().items()}
    row |= {name: rounded(number) for name, number in measured.more.items()}
    if measured.runs:
        row["runs"] = measured.runs
    if beside is not None:
        row |= {"peer": beside.peer, "peer_value": _or_none(beside.peer_value), "ratio": _or_none(beside.ratio)}
        row |= {"why": beside.why} if beside.why else {}
    row["goal"] = ", ".join(goal.text() for goal in entry.goals)
    verdicts = [kept for goal in entry.goals if (kept := goal.reached(row)) is not None]
    row["reached"] = all(verdicts) if verdicts else None
    return row


def failed(entry: Entry, why: str) -> dict[str, Any]:
    """Return the line of a bench that could not be measured."""
    return {"bench": entry.name, "value": None, "unit": entry.unit, "error": why, "reached": False}


def _or_none(number: float | None) -> float | None:
    return None if number is None else rounded(number)
