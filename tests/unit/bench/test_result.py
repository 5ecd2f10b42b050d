"""What a line of output holds: the figures of the issue, nothing that no repeat can show."""

from __future__ import annotations

import numpy as np

from ticktape.bench.catalogue import Entry, Goal
from ticktape.bench.result import Beside, Measured, failed, figures, of_latencies, of_runs

RATE = Entry("x.rate", "records/s", "a rate", (Goal("value", 100), Goal("ratio", 2)), "tape:append")
LATENCY = Entry("x.latency", "ms", "a latency", (Goal("p50", 3, at_most=True),), "tape:append_power")


def test_a_rate_is_the_median_of_its_repeats() -> None:
    row = figures(RATE, of_runs([90.0, 300.0, 123.456789]))
    assert (row["bench"], row["value"], row["unit"]) == ("x.rate", 123.5, "records/s")
    assert row["runs"] == [90.0, 300.0, 123.5]
    assert "p50" not in row
    assert "peer" not in row


def test_a_latency_leads_with_the_percentile_its_goal_speaks_of() -> None:
    samples = np.arange(1.0, 102.0)
    assert of_latencies(samples).value == 51.0
    measured = of_latencies(samples, "p99")
    row = figures(LATENCY, measured)
    assert (row["value"], row["p50"], row["p99"], row["max"]) == (100.0, 51.0, 100.0, 101.0)
    assert row["reached"] is False


def test_beside_a_peer_its_figures_and_the_ratio_are_there() -> None:
    row = figures(RATE, of_runs([200.0]), Beside(peer="other 1.0", peer_value=150.0, ratio=200 / 150))
    assert (row["peer"], row["peer_value"], row["ratio"]) == ("other 1.0", 150.0, 1.333)
    assert row["reached"] is False, "the rate is reached, the ratio is not"


def test_a_missing_peer_is_null_with_a_reason_and_does_not_count_against_us() -> None:
    row = figures(RATE, of_runs([200.0]), Beside(peer="other", why="not installed"))
    assert (row["peer"], row["peer_value"], row["ratio"], row["why"]) == ("other", None, None, "not installed")
    assert row["reached"] is True


def test_further_figures_stand_beside_the_value() -> None:
    assert figures(RATE, Measured(value=1, more={"growth": 2.0}))["growth"] == 2.0


def test_what_could_not_be_measured_says_why() -> None:
    row = failed(RATE, "no disk")
    assert (row["value"], row["error"], row["reached"]) == (None, "no disk", False)
