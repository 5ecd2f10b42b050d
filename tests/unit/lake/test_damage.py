"""R6: a flipped bit anywhere in the lake is found; an answer names the rows it lacks and is never wrong."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lake_support import EVER, NOON, World, market, same_rows

from ticktape.errors import Damaged, TicktapeError
from ticktape.keep.mend import mend, mend_logs
from ticktape.lake import files
from ticktape.lake.catalogue import Catalogue
from ticktape.lake.history import Lake
from ticktape.lake.schema import TABLES
from ticktape.lake.verify import verify
from ticktape.model.records import Kind


def flip(path: Path, at: float, bit: int) -> None:
    """Flip one bit at a share of the file."""
    data = bytearray(path.read_bytes())
    data[min(int(len(data) * at), len(data) - 1)] ^= 1 << bit
    path.write_bytes(bytes(data))
    files.stored.cache_clear()


@pytest.fixture(scope="module")
def damaged_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("world"))
    for k in range(3):
        world.append(market(2000, seed=k, start_ns=NOON + k * 10**11))
        world.flush()
    return world


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 2))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_r06_any_flipped_bit_of_a_file_is_found_and_the_rest_is_right(
    damaged_world: World, at: float, bit: int, which: int
) -> None:
    world = damaged_world
    entry = world.snapshot().versions["trades"].files[which]
    path = world.lake / "trades" / entry.path
    before = path.read_bytes()
    flip(path, at, bit)
    try:
        page = world.snapshot().read("trades", None, *EVER)
        first, end = entry.positions
        if page.missing:
            assert (page.missing[0].first_position, page.missing[0].end_position) == (first, end)
            assert page.missing[0].rows == entry.rows
        wanted, _ = world.on_tape(*TABLES["trades"].kinds)
        kept = [p for p in wanted.tolist() if not page.missing or not first <= p < end]
        assert sorted(page.rows.column("position").to_pylist()) == sorted(kept)
        report = verify(world.lake)
        # Only the first four bytes and padding are in no chunk and no tail: harmless, and not read.
        assert [bad.path for bad in report.damaged] == [entry.path] if page.missing else True
    finally:
        path.write_bytes(before)
        files.stored.cache_clear()


def test_r06_a_cut_or_lost_file_is_found(world: World) -> None:
    world.append(market(500))
    world.flush()
    (entry,) = world.snapshot().versions["trades"].files
    path = world.lake / "trades" / entry.path
    data = path.read_bytes()
    for left in (data[:-20], b"", None):
        path.unlink()
        if left is not None:
            path.write_bytes(left)
        files.stored.cache_clear()
        page = world.snapshot().read("trades", None, *EVER)
        assert (page.rows.num_rows, [m.rows for m in page.missing]) == (0, [entry.rows])
        with pytest.raises(Damaged):
            world.snapshot().records("trades", None, *EVER)
        path.write_bytes(data)


@pytest.mark.parametrize("seed", range(25))
def test_r06_any_flipped_bit_of_the_log_is_found_and_mended(world: World, seed: int) -> None:
    chance = random.Random(seed)
    for k in range(chance.choice([2, 25])):  # 25: past a checkpoint
        world.append(market(20, seed=k))
        world.flusher().flush_table("trades", world.tape.position)
    wanted = world.on_tape(*TABLES["trades"].kinds)
    log = world.lake / "trades" / "_delta_log"
    paths = sorted(path for path in log.iterdir() if path.name[0].isdigit())
    path = chance.choice(
        [p for p in paths if p.name[:20] >= max((q.name[:20] for q in paths if "check" in q.name), default="")]
    )
    flip(path, chance.random(), chance.randrange(8))
    with pytest.raises(TicktapeError):
        Lake(world.lake).snapshot()
    assert verify(world.lake).logs_damaged
    assert mend_logs(world.lake, {"trades": Catalogue(world.lake, "trades")}) == [f"trades/{path.name}"]
    assert same_rows(Lake(world.lake).snapshot().records("trades", None, *EVER), wanted)


def test_r06_what_the_tape_still_has_is_made_again_and_the_bad_file_is_kept_apart(world: World) -> None:
    for k in range(3):
        world.append(market(800, seed=k))
        world.flush()
    entry = world.snapshot().versions["trades"].files[1]
    flip(world.lake / "trades" / entry.path, 0.3, 2)
    done = mend(world.flusher(), verify(world.lake))
    assert (done.files, done.beyond) == ([f"trades/{entry.path}"], [])
    assert verify(world.lake).ok
    assert same_rows(world.snapshot().records("trades", None, *EVER), world.on_tape(*TABLES["trades"].kinds))


def test_r06_what_the_tape_no_longer_has_is_said_and_stays_named(world: World) -> None:
    from ticktape.tape.reader import trim

    world.append(market(20_000))
    world.flush()
    trim(world.folder / "tape", world.tape.position)
    (entry,) = world.snapshot().versions["gaps"].files
    flip(world.lake / "gaps" / entry.path, 0.3, 2)
    flusher = world.flusher()
    assert flusher.reader.first > 0
    assert mend(flusher, verify(world.lake)).beyond == [f"gaps/{entry.path}"]
    page = world.snapshot().read("gaps", None, *EVER)
    assert [m.table for m in page.missing] == ["gaps"]
    assert page.rows.num_rows == 0
    assert Kind.GAP not in page.rows.column("kind").to_pylist()
