"""Backups of a world while it is recorded and kept: incremental by file in a folder or bucket, or whole in one archive.

A file is read, hashed, stored under its hash unless it is there already, and read back. The list that makes it a
backup is written last. Secrets stay out: the pepper of the API keys, `.env`, and what the configuration says in clear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from ticktape import __version__
from ticktape.clock import Clock, SystemClock
from ticktape.errors import Damaged, Misconfigured, TicktapeError
from ticktape.keep import backup_archive
from ticktape.keep.backup_manifest import FORMAT, File, Manifest, name_at, opened, sealed, time_of
from ticktape.keep.backup_pin import Item, Pinned, World, damaged, pin, unpin
from ticktape.keep.backup_store import Label, Store, chunks, digest_of
from ticktape.lake.disk import Disk
from ticktape.tape.lock import Lock
from ticktape.tape.segment import VERSION

Tell = Callable[[int, int], None]


@dataclass
class Made:
    """What a backup took. Bytes are those of the files, before any compression."""

    name: str
    where: str
    position: int
    files: int
    size: int
    copied: int = 0  # files that were not there yet
    copied_bytes: int = 0
    forgotten: list[str] = field(default_factory=list[str])  # older backups that were let go
    left_out: list[str] = field(default_factory=list[str])
    damaged: list[str] = field(default_factory=list[str])


def due(names: list[str], now_ns: int, every_ns: int) -> bool:
    """Say whether a place with these backups wants the next one. For a schedule."""
    return every_ns > 0 and (not names or now_ns - time_of(max(names)) >= every_ns)


def backup(
    world: World, store: Store, *, keep: int = 0, clock: Clock | None = None, disk: Disk | None = None,
    tell: Tell | None = None,
) -> Made:  # fmt: skip
    """Back a world up, and keep the newest `keep` backups (0: all). Raises Busy, Misconfigured, Damaged, DiskFull."""
    disk, now_ns = disk or Disk(), (clock or SystemClock()).wall_ns()
    with store.held(), _Held(world, disk) as pinned:
        _own(store, pinned)
        last = _last(store)
        progress = _Progress(tell, pinned)
        made = Made(_name(store, now_ns), store.where, pinned.position, len(pinned.items), 0, left_out=pinned.left_out)
        files = [_stored(item, store, last, made, progress) for item in pinned.items]
        listed = sealed(_manifest(made, pinned, world, files, now_ns))
        disk.step("backup.listing")
        store.finish(made.name, listed)
        if store.manifest(made.name) != listed:
            raise Damaged(f"{store.where}: the list of {made.name} is not what was written", hint="try again")
        disk.step("backup.listed")
        made.size = sum(file.size for file in files)
        made.forgotten = retain(store, keep, disk) if keep else []
    return made


def backup_archive_of(
    world: World, path: Path, *, clock: Clock | None = None, disk: Disk | None = None, tell: Tell | None = None
) -> Made:
    """Back a world up into one new file. Raises as `backup` does."""
    disk, now_ns = disk or Disk(), (clock or SystemClock()).wall_ns()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Held(world, disk) as pinned:
        total = sum(item.size for item in pinned.items)
        made = Made(name_at(now_ns), str(path), pinned.position, len(pinned.items), total, left_out=pinned.left_out)
        made.copied, made.copied_bytes = made.files, total
        progress = _Progress(tell, pinned, rounds=2)
        files = [_hashed(item, made, progress) for item in pinned.items]
        listed = sealed(_manifest(made, pinned, world, files, now_ns))
        sources = ((file, item.source) for file, item in zip(files, pinned.items, strict=True))
        backup_archive.write(path, listed, sources, disk, progress.add)
    try:
        with backup_archive.reading(path) as archive:
            for file, pieces in archive.files():
                if digest_of(pieces) != (file.sha256, file.size):
                    raise Damaged(f"{file.path} is not what was written", hint="try again")
    except TicktapeError:
        path.unlink()
        raise
    return made


# -- steps -----------------------------------------------------------------------------------------------


class _Held:
    """A world's moment, held while it is copied. One backup a world at a time."""

    def __init__(self, world: World, disk: Disk) -> None:
        self._world, self._disk = world, disk

    def __enter__(self) -> Pinned:
        if not (self._world.folder / "tape" / "tape.json").exists():
            raise Misconfigured(f"no tape in {self._world.folder}", hint="ticktape up")
        self._lock = Lock(self._world.folder / "backup.lock", "backup")
        try:
            pinned = pin(self._world)
        except BaseException:
            self._leave()
            raise
        self._disk.step("backup.pinned")
        return pinned

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        unpin(self._world)
        self._lock.release()


class _Progress:
    def __init__(self, tell: Tell | None, pinned: Pinned, rounds: int = 1) -> None:
        self._tell, self._done = tell, 0
        self._total = rounds * sum(item.size for item in pinned.items)

    def add(self, size: int) -> None:
        self._done += size
        if self._tell is not None:
            self._tell(self._done, self._total)


def _own(store: Store, pinned: Pinned) -> None:
    """Write to a place of this tape's backups only: what is let go is judged by the lists that are there."""
    data = store.label()
    if data is None:
        store.mark(msgspec.json.encode(Label(FORMAT, pinned.meta.tape_id)))
        return
    try:
        label = msgspec.json.decode(data, type=Label)
    except msgspec.MsgspecError as error:
        raise Damaged(f"{store.where}: its label cannot be read: {error}", hint="use another place") from None
    if label.format > FORMAT:
        raise Misconfigured(
            f"{store.where}: backup format {label.format}, this ticktape writes {FORMAT}",
            hint="pip install -U ticktape",
        )
    if label.tape_id != pinned.meta.tape_id:
        raise Misconfigured(f"{store.where} holds backups of another tape", hint="use another place: --to DIR")


class _Last(NamedTuple):
    files: dict[str, File]
    damaged: list[str]


def _last(store: Store) -> _Last:
    """Return the files of the newest backup that can be read, by path: what has their mark need not be read again."""
    for name in reversed(store.names()):
        try:
            found = opened(store.manifest(name), name)
        except Damaged:
            continue
        return _Last({file.path: file for file in found.files}, found.damaged)
    return _Last({}, [])


def _name(store: Store, now_ns: int) -> str:
    # Names in order are backups in order, also when the clock was set back.
    newest = max(store.names(), default="")
    name = name_at(now_ns)
    return name if name > newest else name_at(time_of(newest) + 1_000_000)


def _stored(item: Item, store: Store, last: _Last, made: Made, progress: _Progress) -> File:
    before = last.files.get(item.path)
    same = before is not None and item.mark and (before.mark, before.size) == (item.mark, item.size)
    if before is not None and same and store.size(before.sha256) == item.size:
        progress.add(item.size)
        if item.path in last.damaged:
            made.damaged.append(item.path)
        return before
    file = _hashed(item, made, progress)
    if store.size(file.sha256) != file.size:
        store.put(file.sha256, item.source, file.size)
        if digest_of(store.read(file.sha256)) != (file.sha256, file.size):
            store.drop(file.sha256)
            raise Damaged(f"{store.where}: {item.path} is not what was written", hint="check the disk, then try again")
        made.copied += 1
        made.copied_bytes += file.size
    return file


def _hashed(item: Item, made: Made, progress: _Progress) -> File:
    digest, size = digest_of(chunks(item.source, item.size))
    if damaged(item):
        made.damaged.append(item.path)
    progress.add(size)
    return File(item.path, size, digest, item.mark)


def _manifest(made: Made, pinned: Pinned, world: World, files: list[File], now_ns: int) -> Manifest:
    return Manifest(
        name=made.name,
        made_ns=now_ns,
        ticktape=__version__,
        tape_format=VERSION,
        tape_id=pinned.meta.tape_id,
        sample=pinned.meta.sample,
        world=world.name,
        first=pinned.first,
        position=pinned.position,
        epoch=pinned.epoch,
        lake=pinned.lake,
        left_out=pinned.left_out,
        damaged=made.damaged,
        files=files,
    )


def retain(store: Store, keep: int, disk: Disk | None = None) -> list[str]:
    """Let go of all but the newest `keep` backups, and of files that none of those names. Returns the names.

    Raises Damaged when a list that stays cannot be read: then nobody knows which files it needs.
    """
    disk, names = disk or Disk(), store.names()
    old, stay = names[: max(0, len(names) - keep)], names[max(0, len(names) - keep) :]
    needed = {file.sha256 for name in stay for file in opened(store.manifest(name), name).files}
    for name in old:
        store.forget(name)
        disk.step("backup.forgotten")
    for digest in list(store.digests()):
        if digest not in needed:
            store.drop(digest)
            disk.step("backup.dropped")
    return old
