"""Backups in a folder: what a restore brings back is what was there at that moment, and nothing that is secret."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from backup_support import EVER, Data, backed_up, restored, whole
from lake_support import CAPACITY, market

from ticktape.clock import ManualClock
from ticktape.errors import Busy, Damaged, DiskFull, Misconfigured
from ticktape.keep.backup import backup, due, retain
from ticktape.keep.backup_manifest import name_at, opened, time_of
from ticktape.keep.backup_pin import World
from ticktape.keep.backup_store import FolderStore, store_of
from ticktape.keep.process import Keeper, KeepSettings
from ticktape.keep.restore import check, drill, source_of
from ticktape.lake.history import Lake
from ticktape.model.records import Kind
from ticktape.tape import segment
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.lock import Lock
from ticktape.tape.reader import Reader
from ticktape.tape.verify import verify
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Data]:
    made = Data(tmp_path / "data")
    yield made
    made.close()


def objects(to: Path) -> set[str]:
    return {path.name for path in (to / "objects").glob("*/*")}


def test_r35_a_restore_brings_back_tape_lake_instruments_keys_and_blobs(data: Data, tmp_path: Path) -> None:
    data.grow(2 * CAPACITY)
    data.blob(b"a chain of options")
    data.grow(1000, flush=False)
    before = whole(data.folder / "live")
    made = backed_up(data, tmp_path / "backups")
    done = restored(tmp_path / "backups", tmp_path / "new")
    assert (done.ok, done.wrong, done.position) == (
        True,
        [],
        data.live.tape.position == made.position and made.position,
    )
    after = whole(tmp_path / "new" / "live")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert (tmp_path / "new" / "current").read_text() == "live\n"
    directory = TapeDirectory(tmp_path / "new" / "live" / "tape")
    assert [i.symbol for i in directory.all()] == ["BTCUSDT", "ETHUSDT", "MNQ"]
    directory.close()
    reader = Reader(tmp_path / "new" / "live" / "tape")
    place = int(np.flatnonzero(reader.view(0, reader.end)["kind"] == Kind.BLOB)[0])
    assert reader.blob(place) == b"a chain of options"
    assert (tmp_path / "new" / "live" / "raw" / "acme" / "3600.frames.zst").read_bytes() == b"frames as they came"
    assert not (data.folder / "live" / ".backup").exists()


def test_a_restored_world_records_and_flushes_on(data: Data, tmp_path: Path) -> None:
    data.grow(CAPACITY + 500)
    data.grow(700, flush=False)
    backed_up(data, tmp_path / "backups")
    restored(tmp_path / "backups", tmp_path / "new")
    tape = Writer(tmp_path / "new" / "live" / "tape", sync_every_ms=0)
    assert tape.epoch > data.live.tape.epoch
    assert tape.opened.found.cut_bytes == 0
    tape.append(market(2 * CAPACITY, seed=9))
    tape.close()
    keeper = Keeper(
        KeepSettings(data=tmp_path / "new" / "live", hot_hours=0), Reader(tmp_path / "new" / "live" / "tape")
    )
    keeper.flush()
    keeper.close()
    rows = whole(tmp_path / "new" / "live")["trades"]
    assert len(rows) > len(whole(data.folder / "live")["trades"])
    assert verify(tmp_path / "new" / "live" / "tape").ok


def test_only_what_changed_is_copied_again(data: Data, tmp_path: Path) -> None:
    data.grow(3 * CAPACITY)
    first = backed_up(data, tmp_path / "backups")
    again = backed_up(data, tmp_path / "backups")
    assert again.copied == 0
    data.grow(500)
    third = backed_up(data, tmp_path / "backups")
    assert 0 < third.copied < third.files // 2
    assert third.copied_bytes < first.copied_bytes // 2
    for name in (first.name, third.name):
        done = restored(tmp_path / "backups", tmp_path / name, name)
        assert done.ok
    assert len(FolderStore(tmp_path / "backups").names()) == 3


def test_a_file_that_is_lost_from_the_backup_is_copied_again(data: Data, tmp_path: Path) -> None:
    data.grow()
    made = backed_up(data, tmp_path / "backups")
    for path in (tmp_path / "backups" / "objects").glob("*/*"):
        path.unlink()
    with pytest.raises(Damaged, match="is gone"):
        restored(tmp_path / "backups", tmp_path / "new")
    again = backed_up(data, tmp_path / "backups")
    assert again.copied >= made.copied - 1
    assert restored(tmp_path / "backups", tmp_path / "new").ok


def test_rot_in_what_was_backed_up_does_not_replace_the_good_copy(data: Data, tmp_path: Path) -> None:
    data.grow()
    backed_up(data, tmp_path / "backups")
    before = whole(data.folder / "live")["trades"]
    path = next((data.folder / "live" / "lake" / "trades").glob("date=*/*.parquet"))
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a disk that forgets tells nobody
    backed_up(data, tmp_path / "backups")
    assert restored(tmp_path / "backups", tmp_path / "new").ok
    assert np.array_equal(whole(tmp_path / "new" / "live")["trades"], before)


def test_a_file_damaged_before_its_first_backup_is_told_each_time_and_by_the_restore(
    data: Data, tmp_path: Path
) -> None:
    data.grow()
    path = next((data.folder / "live" / "lake" / "trades").glob("date=*/*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    for _ in range(2):
        assert [Path(p).name for p in backed_up(data, tmp_path / "backups").damaged] == [path.name]
    done = restored(tmp_path / "backups", tmp_path / "new")
    assert not done.ok
    assert path.name in done.wrong[0]


def test_x22_no_secret_is_in_a_backup(data: Data, tmp_path: Path) -> None:
    data.grow(200)
    config = tmp_path / "ticktape.toml"
    config.write_text('[sources.acme]\npassword = "swordfish"\nsymbols = ["BTCUSDT"]\n')
    data.world = data.world._replace(config=config)
    made = backed_up(data, tmp_path / "backups")
    everything = b"".join(p.read_bytes() for p in (tmp_path / "backups").rglob("*") if p.is_file())
    for secret in (b"sk-very-secret", b"hunter2", b"swordfish", b"the-pepper-itself", b"ACME_TOKEN=abc"):
        assert secret not in everything
    assert b"env:ACME_TOKEN" in everything  # a name, not a secret
    assert b"BTCUSDT" in everything
    assert made.left_out == [
        "pepper", ".env", "run.json: sources.acme.api_key", "run.json: sources.acme.proxy",
        "ticktape.toml: sources.acme.password",
    ]  # fmt: skip


def test_keys_come_back_and_their_store_is_closed_to_others(data: Data, tmp_path: Path) -> None:
    data.grow(100)
    with sqlite3.connect(data.folder / "keys.sqlite") as db:
        db.execute("pragma journal_mode = wal")
        db.execute("create table keys (prefix text)")
        db.execute("insert into keys values ('abcdefgh')")
    db.close()
    backed_up(data, tmp_path / "backups")
    restored(tmp_path / "backups", tmp_path / "new")
    store = tmp_path / "new" / "keys.sqlite"
    assert store.stat().st_mode & 0o077 == 0
    db = sqlite3.connect(store)
    assert db.execute("select prefix from keys").fetchall() == [("abcdefgh",)]
    db.close()


def test_retention_keeps_the_newest_and_drops_what_nobody_needs(data: Data, tmp_path: Path) -> None:
    to, clock = tmp_path / "backups", ManualClock(1_763_640_000 * 10**9)
    names: list[str] = []
    for _ in range(4):
        data.grow(600)
        clock.advance(3600 * 10**9)
        names.append(backed_up(data, to, keep=2, clock=clock).name)
    store = FolderStore(to)
    assert store.names() == names[2:]
    needed = {f.sha256 for name in names[2:] for f in opened(store.manifest(name), name).files}
    assert objects(to) == needed
    for name in names[2:]:
        assert restored(to, tmp_path / name, name).ok


def test_nothing_is_dropped_while_a_list_cannot_be_read(data: Data, tmp_path: Path) -> None:
    to = tmp_path / "backups"
    data.grow(100)
    names = [backed_up(data, to).name for _ in range(3)]
    before = objects(to)
    listed = to / "backups" / f"{names[1]}.json"
    listed.write_bytes(listed.read_bytes().replace(b'"position"', b'"positiom"', 1))
    with pytest.raises(Damaged):
        retain(FolderStore(to), 2)
    assert objects(to) == before
    assert len(FolderStore(to).names()) == 3


def test_a_clock_set_back_does_not_mix_up_the_order(data: Data, tmp_path: Path) -> None:
    data.grow(100)
    clock = ManualClock(1_763_640_000 * 10**9)
    first = backed_up(data, tmp_path / "backups", clock=clock)
    clock.step(-86_400 * 10**9)
    assert backed_up(data, tmp_path / "backups", clock=clock).name > first.name


def test_a_backup_is_due_when_the_last_is_old_enough() -> None:
    hour, now = 3600 * 10**9, 1_763_640_000 * 10**9
    assert time_of(name_at(now + 7_000_000)) == now + 7_000_000
    assert due([], now, hour)
    assert not due([name_at(now)], now + hour - 1_000_000, hour)
    assert due([name_at(now - hour), name_at(now)], now + hour, hour)
    assert not due([], now, 0)


# -- while it runs ---------------------------------------------------------------------------------------


def test_r35_a_backup_while_record_and_keep_run_has_every_row_once(tmp_path: Path) -> None:
    data = Data(tmp_path / "data", capacity=1024)
    data.grow(4000)
    stop, failed = threading.Event(), list[BaseException]()
    keeper = Keeper(
        KeepSettings(data=data.world.folder, hot_hours=0.001), Reader(data.world.folder / "tape"), clock=data.live.clock
    )

    def load() -> None:
        seed = 100
        try:
            while not stop.is_set():
                seed += 1
                data.live.append(market(400, seed=seed, start_ns=(1_763_640_000 + seed * 60) * 10**9))
                keeper.flush()
                keeper.tidy()
        except BaseException as error:  # told below  # noqa: BLE001
            failed.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        made = [backed_up(data, tmp_path / "backups") for _ in range(6)]
    finally:
        stop.set()
        thread.join()
        keeper.close()
        data.close()
    assert not failed
    assert made[-1].position > made[0].position
    for each in made:
        done = restored(tmp_path / "backups", tmp_path / each.name, each.name)
        assert done.ok, done.wrong
        assert done.position == each.position
        world = tmp_path / each.name / "live"
        rows = whole(world)
        reader = Reader(world / "tape")
        snapshot = Lake(world / "lake").snapshot()
        seen = [snapshot.read(name, None, *EVER, tape=reader).rows.column("position").to_numpy() for name in
                ("trades", "quotes", "book", "gaps", "quality")]  # fmt: skip
        held = np.sort(np.concatenate(seen))
        assert len(np.unique(held)) == len(held)
        # What no table holds is commits, and the unused ends of segments: nothing else is between 0 and the position.
        commits = each.position - len(held)
        assert 0 < commits <= each.position // 400 + 12
        assert sum(len(r) for r in rows.values()) > 0


def test_two_backups_at_once_are_refused(data: Data, tmp_path: Path) -> None:
    data.grow(100)
    lock = Lock(data.folder / "live" / "backup.lock", "backup")
    with pytest.raises(Busy, match="backup"):
        backed_up(data, tmp_path / "backups")
    lock.release()
    with FolderStore(tmp_path / "backups").held(), pytest.raises(Busy):
        backed_up(data, tmp_path / "backups")
    assert backed_up(data, tmp_path / "backups").files


def test_the_next_backup_clears_away_what_a_killed_one_held(data: Data, tmp_path: Path) -> None:
    data.grow(100)
    (data.folder / "live" / ".backup" / "tape").mkdir(parents=True)
    (data.folder / "live" / ".backup" / "tape" / "00000000.tape").write_bytes(b"")
    assert backed_up(data, tmp_path / "backups").files
    assert not (data.folder / "live" / ".backup").exists()


# -- refused -----------------------------------------------------------------------------------------------


def test_r35_a_damaged_file_is_refused_before_anything_has_its_name(data: Data, tmp_path: Path) -> None:
    data.grow()
    made = backed_up(data, tmp_path / "backups")
    listed = opened(FolderStore(tmp_path / "backups").manifest(made.name), "")
    for file in listed.files[:: max(1, len(listed.files) // 8)]:
        path = tmp_path / "backups" / "objects" / file.sha256[:2] / file.sha256
        good = path.read_bytes()
        path.write_bytes(good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 1]) + good[len(good) // 2 + 1 :])
        with pytest.raises(Damaged), source_of(str(tmp_path / "backups")) as source:
            check(source)
        with pytest.raises(Damaged):
            restored(tmp_path / "backups", tmp_path / "new")
        assert list((tmp_path / "new").iterdir()) == []
        path.write_bytes(good[:-1])
        with pytest.raises(Damaged, match="bytes of"):
            restored(tmp_path / "backups", tmp_path / "new")
        path.write_bytes(good)
    assert restored(tmp_path / "backups", tmp_path / "new").ok


def test_a_damaged_list_is_refused_and_names_no_other_as_good(data: Data, tmp_path: Path) -> None:
    data.grow(100)
    made = backed_up(data, tmp_path / "backups")
    path = tmp_path / "backups" / "backups" / f"{made.name}.json"
    good = path.read_bytes()
    for at in range(0, len(good), max(1, len(good) // 60)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises((Damaged, Misconfigured)):
            restored(tmp_path / "backups", tmp_path / "new")
    path.write_bytes(good[:-40])
    with pytest.raises(Damaged):
        restored(tmp_path / "backups", tmp_path / "new")


def test_a_newer_format_is_refused_by_name(data: Data, tmp_path: Path) -> None:
    data.grow(100)
    made = backed_up(data, tmp_path / "backups")
    path = tmp_path / "backups" / "backups" / f"{made.name}.json"
    path.write_bytes(path.read_bytes().replace(b'{"format":1', b'{"format":2'))
    with pytest.raises(Misconfigured, match="backup format 2, this ticktape reads 1"):
        restored(tmp_path / "backups", tmp_path / "new")


def test_a_folder_that_is_not_empty_is_left_alone(data: Data, tmp_path: Path) -> None:
    data.grow(100)
    backed_up(data, tmp_path / "backups")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "thesis.txt").write_text("mine")
    with pytest.raises(Misconfigured, match="not empty"):
        restored(tmp_path / "backups", tmp_path / "new")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["thesis.txt"]


def test_a_place_belongs_to_one_tape_and_holds_nothing_else(data: Data, tmp_path: Path) -> None:
    data.grow(100)
    backed_up(data, tmp_path / "backups")
    other = Data(tmp_path / "other")
    other.grow(100)
    with pytest.raises(Misconfigured, match="another tape"):
        backed_up(other, tmp_path / "backups")
    other.close()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"a cat")
    with pytest.raises(Misconfigured, match="something else"):
        backed_up(data, tmp_path / "photos")
    with pytest.raises(Misconfigured, match="no tape"):
        backup(World(tmp_path / "empty", "", tmp_path / "empty"), FolderStore(tmp_path / "nowhere"))
    with pytest.raises(Misconfigured, match="folder or to s3"):
        store_of("ftp://nowhere")


def test_a_full_disk_is_told_and_leaves_nothing_half(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.grow(100)
    backed_up(data, tmp_path / "backups")

    def full(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(total=10, used=0, free=10)

    monkeypatch.setattr(shutil, "disk_usage", full)
    with pytest.raises(DiskFull, match="to restore"):
        restored(tmp_path / "backups", tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


# -- drill -------------------------------------------------------------------------------------------------


def test_a_drill_compares_with_what_is_there_and_leaves_nothing_behind(data: Data, tmp_path: Path) -> None:
    data.grow(CAPACITY)
    backed_up(data, tmp_path / "backups")
    data.grow(500)
    place = tmp_path / "drills"
    place.mkdir()
    with source_of(str(tmp_path / "backups")) as source:
        found = drill(source, data.folder / "live", place=place)
    assert (found.ok, found.differs) == (True, [])
    assert found.compared_records > CAPACITY
    assert found.compared_files > 3
    assert list(place.iterdir()) == []


def test_a_drill_tells_what_differs(data: Data, tmp_path: Path) -> None:
    data.grow(CAPACITY)
    backed_up(data, tmp_path / "backups")
    path = segment.path_of(data.folder / "live" / "tape", 0)
    with path.open("r+b") as file:
        file.seek(segment.HEADER_BYTES + 64 * 100)
        file.write(b"\xff")
    next((data.folder / "live" / "lake" / "trades").glob("date=*/*.parquet")).write_bytes(b"gone")
    with source_of(str(tmp_path / "backups")) as source:
        found = drill(source, data.folder / "live")
    assert not found.ok
    assert len(found.differs) == 2
