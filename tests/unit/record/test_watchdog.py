"""Each channel is judged by its own rhythm: the busy one that stops is noticed, the quiet one is left alone."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from ticktape.record.watchdog import Patience, Watchdog


def run(watchdog: Watchdog[str], arrivals: dict[str, Iterable[int]], start_s: int = 0) -> dict[str, list[int]]:
    """Look once a second; `arrivals` gives how many came in each. Returns when a channel was called mute."""
    counts = dict.fromkeys(arrivals, 0)
    mute_at: dict[str, list[int]] = {name: [] for name in arrivals}
    for second, came in enumerate(zip(*arrivals.values(), strict=True), start_s + 1):
        for name, n in zip(arrivals, came, strict=True):
            counts[name] += n
        for name in watchdog.look(dict(counts), second)[0]:
            mute_at[name].append(second)
    return mute_at


def started(*names: str) -> Watchdog[str]:
    watchdog: Watchdog[str] = Watchdog()
    watchdog.start(dict.fromkeys(names, 0), 0)
    return watchdog


@pytest.mark.parametrize("per_s", [1, 3, 20, 5000])
def test_r15_a_busy_channel_that_stops_is_called_mute_within_a_minute(per_s: int) -> None:
    busy = [per_s] * 100 + [0] * 60
    mute = run(started("busy"), {"busy": busy})["busy"]
    assert 110 < mute[0] <= 125


def test_r15_a_channel_of_one_arrival_in_a_few_seconds_is_noticed_within_a_minute() -> None:
    chance = random.Random(15)
    stream = [int(chance.random() < 0.6) for _ in range(400)] + [0] * 60
    mute = run(started("some"), {"some": stream})["some"]
    assert mute
    assert mute[0] > 400


@pytest.mark.parametrize("every_s", [5, 20, 60, 300, 3000])
@pytest.mark.parametrize("seed", range(5))
def test_r15_a_quiet_channel_is_never_called_mute(every_s: int, seed: int) -> None:
    chance = random.Random(seed)
    stream = [int(chance.random() < 1 / every_s) for _ in range(20_000)]
    assert run(started("quiet"), {"quiet": stream})["quiet"] == []


@pytest.mark.parametrize("burst", [10, 200, 100_000])
def test_r15_a_burst_on_a_quiet_channel_does_not_make_the_silence_after_it_a_fault(burst: int) -> None:
    stream = ([burst] + [0] * 299) * 10
    assert run(started("bursty"), {"bursty": stream})["bursty"] == []


def test_r15_what_the_tape_holds_from_earlier_is_no_burst_and_no_sign_of_life() -> None:
    watchdog: Watchdog[str] = Watchdog()
    watchdog.start({"known": 5_000_000}, 0)
    for second in range(1, 100):
        mute, never = watchdog.look({"known": 5_000_000}, second)
        assert (mute, never) == ([], [])
    assert watchdog.look({"known": 5_000_000}, 101)[1] == ["known"]


def test_r16_what_never_spoke_is_reported_once_within_two_minutes_and_not_called_mute() -> None:
    watchdog = started("silent", "busy")
    reported: list[int] = []
    for second in range(1, 400):
        mute, never = watchdog.look({"silent": 0, "busy": second * 10}, second)
        assert mute == []
        reported += [second] * ("silent" in never)
        assert "busy" not in never
    assert len(reported) == 1
    assert 100 <= reported[0] <= 120


def test_a_rhythm_outlives_a_reconnection_and_silence_counts_anew() -> None:
    watchdog = started("busy")
    assert run(watchdog, {"busy": [10] * 200})["busy"] == []
    watchdog.start({"busy": 2000}, 200)  # connected again, and now nothing comes
    mute = [s for s in range(201, 260) if watchdog.look({"busy": 2000}, s)[0]]
    assert 210 <= mute[0] <= 215


def test_a_fault_does_not_teach_that_silence_is_normal() -> None:
    watchdog = started("busy")
    mute = run(watchdog, {"busy": [10] * 200 + [0] * 600})["busy"]
    assert mute[-1] == 800  # still a fault after ten minutes of it
    assert mute == list(range(mute[0], 801))


def test_r33_a_closed_market_is_neither_mute_nor_never_seen_and_its_silence_counts_from_the_opening() -> None:
    watchdog = started("busy", "silent")
    assert run(watchdog, {"busy": [10] * 200, "silent": [0] * 200})["busy"] == []
    for second in range(201, 10_000):
        assert watchdog.look({"busy": 2000, "silent": 0}, second, {"busy", "silent"}) == ([], [])
    looks = [(second, watchdog.look({"busy": 2000, "silent": 0}, second)) for second in range(10_000, 10_200)]
    mute = [second for second, (mute, _) in looks if "busy" in mute]
    assert 10_010 <= mute[0] <= 10_015  # as patient as after a connection, and no more


def test_r33_what_comes_out_of_hours_teaches_nothing() -> None:
    watchdog = started("odd")
    for second in range(1, 1000):
        watchdog.look({"odd": second * 10}, second, {"odd"})
    assert [s for s in range(1000, 1090) if watchdog.look({"odd": 9990}, s)[0]] == []


def test_patience_is_what_was_set() -> None:
    watchdog: Watchdog[str] = Watchdog(Patience(min_silence_s=2, never_seen_s=3, certain=1))
    watchdog.start({"busy": 0, "silent": 0}, 0)
    never = [s for s in range(1, 31) if watchdog.look({"busy": s * 50, "silent": 0}, s)[1]]
    assert never == [3]
    looks = {s: watchdog.look({"busy": 1500, "silent": 0}, s)[0] for s in range(31, 40)}
    assert next(s for s, mute in looks.items() if mute) == 33


def test_r15_a_channel_that_has_become_quiet_for_good_is_reconnected_less_and_less() -> None:
    watchdog, second, cuts = started("was-busy"), 200, list[int]()
    run(watchdog, {"was-busy": [10] * 200})
    while second < 7200:
        second += 1
        if watchdog.look({"was-busy": 2000}, second)[0]:
            cuts.append(second)
            watchdog.start({"was-busy": 2000}, second)
    assert len([c for c in cuts if c < 800]) < 20
    assert not [c for c in cuts if c > 3600]
