"""From a backup to a world that records on: onto an empty folder, every hash checked before anything has its name.

Files go to `<data>/.restoring` first. The tape is opened there by the ordinary recovery, tape and lake are verified,
and only then each gets its name. A restore that was killed leaves that folder, which the next one throws away.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from ticktape.errors import Damaged, DiskFull, Misconfigured
from ticktape.keep import backup_archive
from ticktape.keep.backup_manifest import File, Manifest, opened
from ticktape.keep.backup_store import Store, digest_of, no_room, store_of
from ticktape.lake.catalogue import Catalogue
from ticktape.lake.disk import Disk
from ticktape.lake.verify import verify as verify_lake
from ticktape.tape import recovery, segment
from ticktape.tape.head import Head
from ticktape.tape.meta import load
from ticktape.tape.reader import Reader
from ticktape.tape.verify import verify
from ticktape.tape.writer import Writer

STAGING = ".restoring"
Tell = Callable[[int, int], None]
Files = Iterator[tuple[File, Iterator[bytes]]]


class Source(Protocol):
    """A backup being read."""

    @property
    def manifest(self) -> Manifest:
        """Its list, already checked."""
        ...

    def files(self) -> Files:
        """Yield each file and its bytes, in the order of the list, once."""
        ...


class _Stored:
    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.manifest = opened(store.manifest(name), f"{store.where}: {name}")
        for file in self.manifest.files:  # what is gone or cut off is told before anything is copied
            if (size := store.size(file.sha256)) != file.size:
                said = "is gone" if size is None else f"has {size} bytes of {file.size}"
                raise Damaged(f"{store.where}: {name}: {file.path} {said}", hint=_older(store, name))

    def files(self) -> Files:
        for file in self.manifest.files:
            yield file, self._store.read(file.sha256)


def _older(store: Store, name: str) -> str:
    older = [each for each in store.names() if each < name]
    return f"ticktape restore {store.where} --name {older[-1]}" if older else "there is no older one"


def _there(where: str) -> bool:
    """Say whether it is an archive, not a place with backups. Raises Misconfigured when there is nothing."""
    if "://" in where:
        return False
    if not Path(where).exists():
        raise Misconfigured(f"{where}: no such file or folder", hint="ticktape restore --help")
    return Path(where).is_file()


@contextmanager
def source_of(where: str, name: str = "") -> Generator[Source]:
    """Open a backup: one of a folder or bucket (the newest unless named), or an archive.

    Raises Damaged, Misconfigured.
    """
    if _there(where):
        with backup_archive.reading(Path(where)) as archive:
            yield archive
        return
    store = store_of(where)
    names = [name] if name else store.names()
    if not names:
        raise Misconfigured(f"{where}: there is no backup", hint=f"ticktape backup --to {where}")
    yield _Stored(store, names[-1])


def listed(where: str) -> list[Manifest]:
    """Return the backups in a place, oldest first. Raises Damaged, Misconfigured."""
    if _there(where):
        with source_of(where) as source:
            return [source.manifest]
    store = store_of(where)
    return [opened(store.manifest(name), f"{where}: {name}") for name in store.names()]


class Restored(msgspec.Struct, kw_only=True):
    """What came back, and whether it is what the backup's list says. `ok` is the verdict."""

    name: str
    world: str
    position: int
    files: int
    size: int
    tape_ok: bool = False
    tape_records: int = 0
    lake_rows: dict[str, int] = {}
    wrong: list[str] = []
    left_out: list[str] = []

    @property
    def ok(self) -> bool:
        """Say whether nothing was found."""
        return self.tape_ok and not self.wrong


def check(source: Source, tell: Tell | None = None) -> int:
    """Read a whole backup and compare every hash, writing nothing. Returns how many files. Raises Damaged."""
    total, done = source.manifest.size, 0
    for file, pieces in source.files():
        _same(file, *digest_of(pieces))
        done += file.size
        if tell is not None:
            tell(done, total)
    return len(source.manifest.files)


def _same(file: File, digest: str, size: int) -> None:
    if (digest, size) != (file.sha256, file.size):
        raise Damaged(f"{file.path} is not what was backed up", hint="ticktape restore FROM --list, for an older one")


def restore(source: Source, data: Path, *, disk: Disk | None = None, tell: Tell | None = None) -> Restored:
    """Put a backup into an empty folder. Raises Misconfigured when it is not empty, Damaged, DiskFull."""
    disk = disk or Disk()
    empty_or_refuse(data)
    data.mkdir(parents=True, exist_ok=True)
    staging = data / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    _room(data, source.manifest)
    try:
        _written(source, staging, tell)
        disk.step("restore.written")
        report = _proven(source.manifest, staging)
        _current(source.manifest, staging)
        disk.step("restore.proven")
        _placed(source.manifest, staging, data, disk)
    except OSError as error:
        raise no_room(error, data) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return report


def empty_or_refuse(data: Path) -> None:
    """Raise Misconfigured unless a folder is empty or absent; what a killed restore left does not count."""
    if data.exists() and (found := sorted(path.name for path in data.iterdir() if path.name != STAGING)):
        raise Misconfigured(f"{data} is not empty: it holds {found[0]}", hint="ticktape restore FROM --data EMPTY_DIR")


def _room(data: Path, manifest: Manifest) -> None:
    free = shutil.disk_usage(data).free
    if manifest.size > free:
        raise DiskFull(f"{data}: {manifest.size >> 20} MiB to restore, {free >> 20} MiB free", hint=f"df -h {data}")


def _written(source: Source, staging: Path, tell: Tell | None) -> None:
    total, done = source.manifest.size, 0
    for file, pieces in source.files():
        path = staging / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        secret = path.name == "keys.sqlite"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o640), "wb") as out:
            _same(file, *digest_of(_through(pieces, out.write)))
            out.flush()
            os.fsync(out.fileno())
        done += file.size
        if tell is not None:
            tell(done, total)


def _through(pieces: Iterator[bytes], write: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        write(piece)
        yield piece


def _proven(manifest: Manifest, staging: Path) -> Restored:
    """Open the tape by the ordinary recovery, then verify tape and lake against the list."""
    world = staging / manifest.world
    report = Restored(
        name=manifest.name, world=manifest.world, position=manifest.position, files=len(manifest.files),
        size=manifest.size, left_out=manifest.left_out,
    )  # fmt: skip
    for number in segment.numbers(world / "tape"):
        recovery.mend_file(world / "tape", number, load(world / "tape"))  # the last was taken up to the position only
    Head(world / "tape", writable=True).epoch = manifest.epoch
    writer = Writer(world / "tape", sample=manifest.sample, sync_every_ms=0, role="restore")
    report.position = writer.position
    writer.close()
    found = verify(world / "tape")
    report.tape_ok, report.tape_records = found.ok, found.records
    if report.position != manifest.position:
        report.wrong.append(f"tape: ends at {report.position}, {manifest.position} was backed up")
    if not found.ok:
        report.wrong.append("tape: not all as written: ticktape tape verify")
    lake = verify_lake(world / "lake")
    report.wrong += [*lake.logs_damaged, *(f"{bad.table}: {bad.why}" for bad in lake.damaged)]
    for name, table in manifest.lake.items() if not lake.logs_damaged else ():
        version = Catalogue(world / "lake", name).version()
        report.lake_rows[name] = version.rows
        if (version.rows, version.position) != (table.rows, table.position):
            report.wrong.append(f"{name}: {version.rows} rows, {table.rows} were backed up")
    return report


def _current(manifest: Manifest, staging: Path) -> None:
    if manifest.world:
        (staging / "current").write_text(f"{manifest.world}\n")


def _placed(manifest: Manifest, staging: Path, data: Path, disk: Disk) -> None:
    """Give everything its name, what says that there is a world last."""
    last = manifest.world or "tape"
    for path in sorted(staging.iterdir(), key=lambda path: (path.name == "current", path.name == last)):
        disk.rename(path, data / path.name)
        disk.step("restore.placing")
    disk.sync_folder(data)


# -- drill -----------------------------------------------------------------------------------------------


class Drill(msgspec.Struct, kw_only=True):
    """A backup restored somewhere else, and compared with what is there now."""

    restored: Restored
    compared_records: int
    compared_files: int
    differs: list[str]

    @property
    def ok(self) -> bool:
        """Say whether nothing was found."""
        return self.restored.ok and not self.differs


def drill(source: Source, world: Path, *, place: Path | None = None, tell: Tell | None = None) -> Drill:
    """Restore a backup into a temporary folder, compare it with a world as far as that still has it, and delete it."""
    with tempfile.TemporaryDirectory(prefix="ticktape-drill-", dir=place) as folder:
        data = Path(folder) / "data"
        restored = restore(source, data, tell=tell)
        found = data / source.manifest.world
        records, wrong = _compare_tapes(found / "tape", world / "tape")
        files, others = _compare_lakes(found / "lake", world / "lake", source.manifest)
    return Drill(restored=restored, compared_records=records, compared_files=files, differs=[*wrong, *others])


def _compare_tapes(restored: Path, live: Path) -> tuple[int, list[str]]:
    """Compare records, byte for byte, as far back as the living tape still goes."""
    one, other = Reader(restored), Reader(live)
    if one.meta.tape_id != other.meta.tape_id:
        return 0, ["tape: it is another tape"]
    start, stop, step = max(one.first, other.first), min(one.end, other.end), one.meta.capacity
    if one.end > other.end:
        return 0, [f"tape: the backup ends at {one.end}, the tape at {other.end}"]
    for at in range(start, stop, step):
        until = min(at + step, stop)
        mine, theirs = one.view(at, until), other.view(at, until)
        if len(mine) != len(theirs) or not np.array_equal(mine.view(np.uint64), theirs.view(np.uint64)):
            return at - start, [f"tape: positions {at}-{until - 1} differ"]
    return max(0, stop - start), []


def _compare_lakes(restored: Path, live: Path, manifest: Manifest) -> tuple[int, list[str]]:
    """Compare, byte for byte, the files that the living lake still has."""
    count, wrong = 0, list[str]()
    prefix = f"{manifest.world}/lake/" if manifest.world else "lake/"
    for file in manifest.files:
        path = file.path.removeprefix(prefix)
        if path == file.path or not path.endswith(".parquet") or "_delta_log" in path:
            continue
        try:
            same = (live / path).read_bytes() == (restored / path).read_bytes()
        except FileNotFoundError:  # compacted or expired since
            continue
        count += 1
        if not same:
            wrong.append(f"{path}: differs")
    return count, wrong
