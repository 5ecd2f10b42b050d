"""One moment of a world, held still while it is copied and while record and keep go on.

The lake first: each table at one version, with the part of its log that says so. Then the tape up to the position
that is published after that, so that tape and lake together have every row. Then the directory of instruments, whose
rows are older than the first record that uses them. Files are held by hard links in `<world>/.backup`: what the
keeper deletes meanwhile stays for us, and what the recorder appends lies behind our position.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ticktape.errors import Damaged, Misconfigured, Unavailable
from ticktape.keep.backup_manifest import TableAt
from ticktape.lake.catalogue import Catalogue, Version
from ticktape.lake.files import check, stored
from ticktape.lake.schema import TABLES
from ticktape.model.records import RECORD_BYTES
from ticktape.tape import segment
from ticktape.tape.head import Head
from ticktape.tape.meta import Meta, load

STAGING = ".backup"
TRIES = 5
_LOGGED = re.compile(r"(\d{20})\.(json|checkpoint\.parquet)(\.[0-9a-f]{8})?")
_SECRET = re.compile(r"key|secret|token|password|authorization", re.IGNORECASE)
_USERINFO = re.compile(r"://[^/@\s]+@")
LEFT_OUT = "left out of the backup"
KEPT = ("completeness.json", "imports.json")  # what sources said of themselves; which files were imported


class World(NamedTuple):
    """What is backed up: a world, its name in the data folder (empty: it is the folder), where its keys are."""

    folder: Path
    name: str
    keys: Path
    config: Path | None = None


class Item(NamedTuple):
    """A file to take: the first `size` bytes of `source`. Without a mark it is read each time."""

    path: str
    source: Path
    size: int
    mark: str = ""


class Pinned(NamedTuple):
    """What was fixed."""

    meta: Meta
    first: int
    position: int
    epoch: int
    lake: dict[str, TableAt]
    items: list[Item]
    left_out: list[str]


def pin(world: World) -> Pinned:
    """Fix a moment of a world. The caller holds its `backup.lock`, and calls `unpin` when done.

    Raises Misconfigured without a tape, Damaged when the lake's log is, Unavailable when keep deletes faster than
    we look.
    """
    for _ in range(TRIES):
        unpin(world)
        found = _try(world)
        if found is not None:
            return found
    raise Unavailable(f"{world.folder}: what is there changes faster than it can be held", hint="try again")


def unpin(world: World) -> None:
    """Let go of what `pin`, or one that was killed, held."""
    shutil.rmtree(world.folder / STAGING, ignore_errors=True)


def _try(world: World) -> Pinned | None:
    """Return what was fixed, or None when something moved on meanwhile."""
    staging = world.folder / STAGING
    staging.mkdir()
    items: list[Item] = []
    try:
        versions = _lake(world, staging, items)
        meta, first, position, epoch = _tape(world, staging, items)
    except FileNotFoundError:
        if not (world.folder / "tape" / "tape.json").exists():
            raise Misconfigured(f"no tape in {world.folder}", hint="ticktape up") from None
        return None
    if any(0 <= version.position < first for version in versions.values()):
        return None  # trimmed between the two looks: a newer version of the lake has those rows
    left_out = [*_small(world, staging, items), *_config(world, staging, items)]
    tables = {
        name: TableAt(version.number, version.position, version.rows, len(version.files))
        for name, version in versions.items()
    }
    return Pinned(meta, first, position, epoch, tables, items, left_out)


# -- lake ----------------------------------------------------------------------------------------------


def _lake(world: World, staging: Path, items: list[Item]) -> dict[str, Version]:
    lake, versions = world.folder / "lake", dict[str, Version]()
    for name in TABLES:
        catalogue = Catalogue(lake, name)
        if not catalogue.exists:
            continue
        version = versions[name] = catalogue.version()
        for entry in version.files:
            _hold(world, staging, f"lake/{name}/{entry.path}", items)
        for path in _logged(lake / name / "_delta_log", version.number):
            _hold(world, staging, f"lake/{name}/_delta_log/{path.name}", items)
            for copy in (lake / "proof" / name).glob(f"{path.name}.*"):
                if _LOGGED.fullmatch(copy.name):
                    _hold(world, staging, f"lake/proof/{name}/{copy.name}", items)
    return versions


def _logged(folder: Path, number: int) -> list[Path]:
    """Return the files of a log that make up one version: the newest checkpoint and what follows it.

    Raises FileNotFoundError when a commit was cleaned up meanwhile.
    """
    found = {(int(path.name[:20]), path.suffix): path for path in folder.iterdir() if _LOGGED.fullmatch(path.name)}
    start = max((n for n, suffix in found if suffix == ".parquet" and n <= number), default=-1)
    missing = [n for n in range(start + 1, number + 1) if (n, ".json") not in found]
    if missing:
        raise FileNotFoundError(f"{folder}: commit {missing[0]}")
    return [path for (n, _), path in sorted(found.items()) if start <= n <= number and n >= 0]


def damaged(item: Item) -> bool:
    """Say whether a file of the lake is not what was written: a backup of it restores no more than there is."""
    if not item.path.endswith(".parquet") or "_delta_log" in item.path or "/proof/" in item.path:
        return False
    try:
        check(stored(item.source, item.size))
    except Damaged:
        return True
    return False


# -- tape ----------------------------------------------------------------------------------------------


def _tape(world: World, staging: Path, items: list[Item]) -> tuple[Meta, int, int, int]:
    folder = world.folder / "tape"
    meta = load(folder)
    try:
        head = Head(folder, writable=False)
    except ValueError as error:
        raise Misconfigured(f"the tape in {folder} was never written to", hint="ticktape up") from error
    if (folder / "memory").exists():  # held before the end is read: what is remembered must be on the tape
        _hold(world, staging, "tape/memory", items)
    position, epoch = head.published, head.epoch
    last, places = divmod(position, meta.capacity)
    numbers = [n for n in segment.numbers(folder) if n < last or (n == last and places) or n == position == 0]
    if not numbers or numbers != list(range(numbers[0], numbers[-1] + 1)):
        raise FileNotFoundError(f"{folder}: a segment is missing")
    full = segment.HEADER_BYTES + meta.capacity * RECORD_BYTES
    _hold(world, staging, "tape/tape.json", items)
    for number in numbers:
        name = segment.path_of(folder, number).name
        if number < last:
            _hold(world, staging, f"tape/{name}", items, size=full)
        else:
            _hold(world, staging, f"tape/{name}", items, size=segment.HEADER_BYTES + places * RECORD_BYTES, live=True)
        if segment.blob_path(folder, number).exists():
            _hold(world, staging, f"tape/{segment.blob_path(folder, number).name}", items, live=number >= last)
    for kept in sorted(folder.glob("damage-*.bin")):
        _hold(world, staging, f"tape/{kept.name}", items)
    return meta, numbers[0] * meta.capacity, position, epoch


def _hold(
    world: World, staging: Path, path: str, items: list[Item], *, size: int | None = None, live: bool = False
) -> None:
    """Hold a file by a second name. What may still grow (`live`) is read each time."""
    held = staging / path
    held.parent.mkdir(parents=True, exist_ok=True)
    held.hardlink_to(world.folder / path)
    stat = held.stat()
    if size is not None and stat.st_size < size:
        raise Damaged(f"{path}: {stat.st_size} bytes, {size} were published", hint="ticktape tape verify")
    mark = "" if live else f"{stat.st_ino}-{stat.st_mtime_ns}"
    items.append(Item(_within(world, path), held, stat.st_size if size is None else size, mark))


def _within(world: World, path: str) -> str:
    return f"{world.name}/{path}" if world.name else path


# -- what is small ---------------------------------------------------------------------------------------


def _small(world: World, staging: Path, items: list[Item]) -> Iterator[str]:
    """Copy the databases through SQLite's online backup, hold raw frames; yield what stays out."""
    databases = [(world.folder / "tape" / "directory.sqlite", _within(world, "tape/directory.sqlite"))]
    databases.append((world.keys / "keys.sqlite", "keys.sqlite"))
    for source, path in databases:
        if source.exists():
            copy = staging / source.name
            _copied(source, copy)
            items.append(Item(path, copy, copy.stat().st_size))
    for name in KEPT:
        if (world.folder / name).exists():
            copy = staging / name
            copy.write_bytes((world.folder / name).read_bytes())
            items.append(Item(_within(world, name), copy, copy.stat().st_size))
    for frames in sorted((world.folder / "raw").glob("*/*.zst")):
        _hold(world, staging, str(frames.relative_to(world.folder)), items, live=True)
    if (world.keys / "pepper").exists():
        yield "pepper"
    yield from sorted({".env" for folder in (world.folder, world.keys) if (folder / ".env").exists()})


def _copied(source: Path, copy: Path) -> None:
    one = sqlite3.connect(f"file:{source}?mode=rw", uri=True)
    other = sqlite3.connect(copy, isolation_level=None)
    try:
        one.backup(other)
        other.execute("pragma journal_mode = delete")  # one file, whoever opens it first
    finally:
        one.close()
        other.close()


def _config(world: World, staging: Path, items: list[Item]) -> Iterator[str]:
    """Take the configuration as JSON without what is secret in it; yield the keys that lost their value."""
    for source, path in ((world.folder / "run.json", _within(world, "run.json")), (world.config, "config.json")):
        if source is None or not source.exists():
            continue
        decode = msgspec.json.decode if source.suffix == ".json" else msgspec.toml.decode
        try:
            found = decode(source.read_bytes(), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise Misconfigured(f"{source}: {error}", hint="see config.example.toml") from None
        lost: list[str] = []
        copy = staging / path.replace("/", "-")
        copy.write_bytes(msgspec.json.format(msgspec.json.encode(_bare(found, "", lost))))
        items.append(Item(path, copy, copy.stat().st_size))
        yield from (f"{source.name}: {key}" for key in lost)


def _bare(value: Any, key: str, lost: list[str]) -> Any:
    if isinstance(value, dict):
        return {name: _bare(each, f"{key}.{name}".lstrip("."), lost) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_bare(each, key, lost) for each in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, str) or value.startswith("env:") or not value:
        return value
    if _SECRET.search(key.rpartition(".")[2]):
        lost.append(key)
        return LEFT_OUT
    if _USERINFO.search(value):
        lost.append(key)
        return _USERINFO.sub(f"://{LEFT_OUT.replace(' ', '-')}@", value)
    return value
