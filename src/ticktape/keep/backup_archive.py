"""A backup as one file: tar + xz, its list first, then the files by their own paths, so that `tar xJf` reads it too.

An archive from elsewhere is not trusted: it is unpacked as a stream, in bounded memory; only regular files that the
list names, in its order and of its sizes, are taken; and more than 100 times its own size is refused.
"""

from __future__ import annotations

import io
import lzma
import os
import tarfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from ticktape.errors import Damaged, DiskFull, Misconfigured
from ticktape.keep.backup_manifest import MOST_BYTES, File, Manifest, opened
from ticktape.keep.backup_store import CHUNK, no_room
from ticktape.lake.disk import Disk

LIST = "manifest.json"
SUFFIX = ".tar.xz"
MOST_RATIO, FLOOR_BYTES = 100, 1 << 30  # a small archive of zeros is nobody's harm
MEMORY_BYTES = 128 << 20  # xz -9 takes 65 MiB
_HEADER_BYTES = 4096  # of tar, a file
_PRESET = 3
_HINT = "fetch the archive again, or use another one"


def write(
    path: Path, listed: bytes, files: Iterable[tuple[File, Path]], disk: Disk, tell: Callable[[int], None]
) -> None:
    """Write an archive: beside, synced, renamed. Raises DiskFull, Misconfigured where something stands already."""
    if not path.name.endswith(SUFFIX):
        raise Misconfigured(f"{path.name}: an archive is called *{SUFFIX}", hint=f"--archive {path.stem}{SUFFIX}")
    if path.exists():
        raise Misconfigured(f"{path} exists already", hint=f"ticktape restore --check {path}")
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("wb") as raw:
            with (
                lzma.open(raw, "wb", preset=_PRESET) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT, bufsize=CHUNK) as archive,
            ):
                archive.addfile(_member(LIST, len(listed)), io.BytesIO(listed))
                for file, source in files:
                    with source.open("rb") as content:
                        archive.addfile(_member(file.path, file.size), content)
                    tell(file.size)
            raw.flush()
            disk.step("backup.archive.written")
            os.fsync(raw.fileno())
        disk.rename(beside, path)
        disk.sync_folder(path.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise no_room(error, path.parent) from error


def _member(path: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.size, member.mode = size, 0o640
    return member


class _Unpacked:
    """The bytes inside a file of xz, no more of them than allowed."""

    def __init__(self, raw: IO[bytes], allowed: int) -> None:
        self.allowed = allowed
        self._raw = raw
        self._xz = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY_BYTES)

    def read(self, size: int, /) -> bytes:
        """Return some bytes, none at the end."""
        wanted = min(size, CHUNK)
        data = b""
        while not data and not self._xz.eof:
            packed = self._raw.read(1 << 16) if self._xz.needs_input else b""
            if self._xz.needs_input and not packed:
                raise EOFError("it ends in the middle")
            data = self._xz.decompress(packed, wanted)
        self.allowed -= len(data)
        if self.allowed < 0:
            raise Damaged("it unpacks to more than it lists: refused", hint=_HINT)
        return data

    def finish(self) -> None:
        """Read to the end, where xz has its checksum. Raises Damaged for anything behind it."""
        while self.read(CHUNK):
            pass
        if self._xz.unused_data or self._raw.read(1):
            raise Damaged("something follows its end", hint=_HINT)


class Archive:
    """An archive being read: its list, and then its files in order, once."""

    def __init__(self, tar: tarfile.TarFile, unpacked: _Unpacked, where: str, packed_bytes: int) -> None:
        self._tar, self._unpacked = tar, unpacked
        first = tar.next()
        if first is None or not first.isreg() or first.name != LIST or first.size > MOST_BYTES:
            raise Damaged("not an archive of a backup: its list is not its first file", hint=_HINT)
        content = tar.extractfile(first)
        assert content is not None
        self.manifest: Manifest = opened(content.read(first.size), where)
        total = self.manifest.size
        if total > max(FLOOR_BYTES, MOST_RATIO * packed_bytes):
            raise Damaged(f"unpacks from {packed_bytes} to {total} bytes: refused", hint=_HINT)
        unpacked.allowed += total + _HEADER_BYTES * len(self.manifest.files)

    def files(self) -> Iterator[tuple[File, Iterator[bytes]]]:
        """Yield each file and its bytes, in the order of the list. Raises Damaged."""
        for file in self.manifest.files:
            member = self._tar.next()
            if member is None:
                raise Damaged(f"{file.path} and what follows it is missing", hint=_HINT)
            if not member.isreg() or member.issparse() or (member.name, member.size) != (file.path, file.size):
                raise Damaged(f"has something else where {file.path} should be", hint=_HINT)
            content = self._tar.extractfile(member)
            assert content is not None
            yield file, iter(lambda content=content: content.read(CHUNK), b"")
        if self._tar.next() is not None:
            raise Damaged("holds more than it lists", hint=_HINT)
        self._unpacked.finish()


@contextmanager
def reading(path: Path) -> Generator[Archive]:
    """Open an archive. Raises Damaged for one that is cut off, damaged, or not what it should be."""
    try:
        with path.open("rb") as raw:
            unpacked = _Unpacked(raw, MOST_BYTES + (1 << 20))
            with tarfile.open(fileobj=cast(IO[bytes], unpacked), mode="r|", bufsize=tarfile.RECORDSIZE) as tar:
                yield Archive(tar, unpacked, str(path), path.stat().st_size)
    except (lzma.LZMAError, tarfile.TarError, EOFError, UnicodeError) as error:
        raise Damaged(f"{path}: damaged or cut off: {error}", hint=_HINT) from error
    except (Damaged, DiskFull) as error:
        raise type(error)(_at(path, error.message), error.hint) from error


def _at(path: Path, message: str) -> str:
    return message if message.startswith(str(path)) else f"{path}: {message}"
