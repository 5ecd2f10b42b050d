"""The list of benches is the table of what ticktape promises to reach, and goals say what they mean."""

from __future__ import annotations

import pytest

from ticktape.bench.catalogue import ENTRIES, NAMES, Goal, chosen
from ticktape.errors import BadInput

# "What it must reach"; besides, bars.build with many instruments, and stream.send beside a second peer.
TABLE = {
    "tape.append", "tape.append_one", "tape.append_power", "tape.latest", "tape.reopen", "tape.tail",
    "bars.build", "binance.decode", "binance.wire", "query.realtime", "memory",
    "lake.flush", "lake.bytes", "lake.year_raw", "lake.year_bars", "lake.day", "lake.asof", "lake.gaps", "lake.restart",
    "query.100", "mcp.call", "client.arrow",
    "stream.latency", "stream.10k", "stream.slow", "stream.send", "replay.fast", "replay.jitter",
    "ui.paint", "ui.interactive", "ui.frame", "ui.bytes",
}  # fmt: skip
LATENCIES = {"tape.append_power": "ms", "tape.latest": "us", "tape.tail": "ms", "query.realtime": "ms",
             "lake.year_bars": "ms", "lake.day": "ms"}  # fmt: skip


def test_the_names_are_those_of_the_table() -> None:
    assert set(NAMES) == TABLE | {"bars.build_1000", "stream.broadcast"}
    assert len(NAMES) == len(set(NAMES))


def test_latencies_have_the_units_of_the_table() -> None:
    assert {entry.name: entry.unit for entry in ENTRIES if entry.name in LATENCIES} == LATENCIES


def test_every_bench_of_the_table_has_a_goal() -> None:
    assert all(entry.goals for entry in ENTRIES if entry.name in TABLE)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_what_is_named_can_be_loaded_and_says_what_it_measures(entry: object) -> None:
    assert entry in ENTRIES
    found = next(e for e in ENTRIES if e is entry)
    assert found.function().__doc__
    if found.peer:
        assert found.peer_function().__doc__


def test_none_named_means_all_in_the_order_of_the_list() -> None:
    assert [entry.name for entry in chosen([])] == list(NAMES)
    assert [entry.name for entry in chosen(["tape.tail", "tape.append"])] == ["tape.append", "tape.tail"]


def test_an_unknown_name_is_refused_with_the_list() -> None:
    with pytest.raises(BadInput) as refused:
        chosen(["tape.apend"])
    assert all(name in str(refused.value) for name in NAMES)


@pytest.mark.parametrize(
    ("goal", "found", "reached"),
    [
        (Goal("value", 10), 10, True),
        (Goal("value", 10), 9.9, False),
        (Goal("p99", 10, at_most=True), 10, True),
        (Goal("p99", 10, at_most=True), 10.1, False),
        (Goal("ratio", 2), None, None),
    ],
)
def test_a_goal_is_reached_at_its_bound(goal: Goal, found: float | None, reached: bool | None) -> None:
    assert goal.reached({goal.figure: found}) is reached


def test_a_goal_reads_as_a_person_writes_it() -> None:
    assert Goal("value", 8e6).text() == ">= 8,000,000"
    assert Goal("p99", 30, at_most=True).text() == "p99 <= 30"
    assert Goal("ratio", 50).text() == "ratio >= 50x"
