"""Where backups are kept: a folder. Files under their SHA-256, each once; a backup is its list.

    objects/ab/ab12...   the bytes of a file
    backups/20251120T120000.000Z.json   the list of one backup
    ticktape-backup.json   which tape's backups these are

What did not change since the last backup is there already. A backup exists from the moment its list has its name,
so a crash leaves the last good one as it was, and at most files that no list names.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from ticktape.errors import Busy, Damaged, DiskFull, Misconfigured
from ticktape.keep.backup_manifest import MOST_BYTES, NAME
from ticktape.lake.disk import Disk

CHUNK = 1 << 20
LABEL = "ticktape-backup.json"


class Label(msgspec.Struct, frozen=True):
    """What a place of backups says of itself."""

    format: int
    tape_id: str


class Store(Protocol):
    """A place for the backups of one tape."""

    where: str

    def label(self) -> bytes | None:
        """Return what `mark` wrote, or None."""
        ...

    def mark(self, label: bytes) -> None:
        """Say whose backups these are."""
        ...

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Keep other backups out meanwhile, where that can be. Raises Busy."""
        ...

    def names(self) -> list[str]:
        """Return the names of the backups, oldest first."""
        ...

    def manifest(self, name: str) -> bytes:
        """Return the list of a backup. Raises Misconfigured when there is none."""
        ...

    def finish(self, name: str, data: bytes) -> None:
        """Give a backup its list, whole or not at all: from here on it exists."""
        ...

    def forget(self, name: str) -> None:
        """Delete the list of a backup."""
        ...

    def size(self, digest: str) -> int | None:
        """Return how long a stored file is, or None when it is not there."""
        ...

    def put(self, digest: str, source: Path, size: int) -> None:
        """Store the first `size` bytes of a file, whole or not at all."""
        ...

    def read(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes of a stored file. Raises Damaged when it is not there."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield every stored file."""
        ...

    def drop(self, digest: str) -> None:
        """Delete a stored file."""
        ...


def chunks(path: Path, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file. Raises Damaged when it is shorter."""
    left = size
    with path.open("rb", buffering=0) as file:
        while left:
            piece = file.read(min(CHUNK, left))
            if not piece:
                raise Damaged(f"{path}: {left} of {size} bytes are missing", hint="ticktape tape verify")
            left -= len(piece)
            yield piece


def digest_of(pieces: Iterator[bytes]) -> tuple[str, int]:
    """Return (SHA-256, length) of bytes that come in pieces."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    return digest.hexdigest(), size


class FolderStore:
    """Backups in a folder."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.folder = folder
        self.where = str(folder)
        self._disk = disk or Disk()

    def label(self) -> bytes | None:
        """Return what `mark` wrote, or None."""
        try:
            return (self.folder / LABEL).read_bytes()[:MOST_BYTES]
        except FileNotFoundError:
            return None

    def mark(self, label: bytes) -> None:
        """Say whose backups these are. Raises Misconfigured for a folder that holds something else."""
        if self.folder.exists() and any(path.name != "lock" for path in self.folder.iterdir()):
            raise Misconfigured(f"{self.folder} holds something else than backups", hint="ticktape backup --to DIR")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._disk.place(self.folder / LABEL, [memoryview(label)])

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Keep other backups out meanwhile, and clear away what a crash left half-written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise Busy(f"another backup is being written to {self.folder}", hint="wait for it") from None
        try:
            for half in [*self.folder.glob("objects/*/*.new"), *self.folder.glob("backups/*.new")]:
                half.unlink()
            yield
        finally:
            os.close(fd)

    def names(self) -> list[str]:
        """Return the names of the backups, oldest first."""
        return sorted(p.stem for p in (self.folder / "backups").glob("*.json") if NAME.fullmatch(p.stem))

    def manifest(self, name: str) -> bytes:
        """Return the list of a backup. Raises Misconfigured when there is none."""
        path = self._list(name)
        if not NAME.fullmatch(name) or not path.is_file():
            raise Misconfigured(f"{self.folder}: no backup '{name[:40]}'", hint="ticktape restore FROM --list")
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)

    def _list(self, name: str) -> Path:
        return self.folder / "backups" / f"{name}.json"

    def _object(self, digest: str) -> Path:
        return self.folder / "objects" / digest[:2] / digest

    def finish(self, name: str, data: bytes) -> None:
        """Give a backup its list, after the names of all its files are durable."""
        for shard in (self.folder / "objects").glob("*"):
            self._disk.sync_folder(shard)
        self._list(name).parent.mkdir(exist_ok=True)
        self._disk.place(self._list(name), [memoryview(data)])

    def forget(self, name: str) -> None:
        """Delete the list of a backup."""
        self._list(name).unlink()
        self._disk.sync_folder(self._list(name).parent)

    def size(self, digest: str) -> int | None:
        """Return how long a stored file is, or None when it is not there."""
        try:
            return self._object(digest).stat().st_size
        except FileNotFoundError:
            return None

    def put(self, digest: str, source: Path, size: int) -> None:
        """Store the first `size` bytes of a file: beside, synced, renamed. Raises DiskFull."""
        path = self._object(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{digest}.new")
        try:
            with beside.open("wb") as file:
                for piece in chunks(source, size):
                    file.write(piece)
                file.flush()
                self._disk.step("backup.object.written")
                os.fsync(file.fileno())
            self._disk.rename(beside, path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise no_room(error, self.folder) from error
        self._disk.step("backup.object.placed")

    def read(self, digest: str) -> Iterator[bytes]:
        """Yield the bytes of a stored file. Raises Damaged when it is not there."""
        path = self._object(digest)
        try:
            with path.open("rb", buffering=0) as file:
                while piece := file.read(CHUNK):
                    yield piece
        except OSError as error:
            raise Damaged(f"{path}: {error.strerror}", hint="ticktape restore FROM --list") from error

    def digests(self) -> Iterator[str]:
        """Yield every stored file."""
        for path in (self.folder / "objects").glob("??/*"):
            yield path.name

    def drop(self, digest: str) -> None:
        """Delete a stored file."""
        self._object(digest).unlink(missing_ok=True)


def no_room(error: OSError, folder: Path) -> Exception:
    """Return DiskFull for a disk that is full, else the error itself."""
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return DiskFull(f"no room in {folder}", hint=f"df -h {folder}")
    return error


def store_of(where: str, disk: Disk | None = None) -> Store:
    """Return the place that a folder's path or an s3:// address names. Raises Misconfigured."""
    if where.startswith("s3://"):
        from ticktape.keep.backup_s3 import S3Store  # noqa: PLC0415  # an optional library

        return S3Store(where)
    if "://" in where:
        raise Misconfigured(f"{where}: backups go to a folder or to s3://bucket/prefix", hint="ticktape backup --help")
    return FolderStore(Path(where), disk)
