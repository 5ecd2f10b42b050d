"""A segment file: one page-aligned header, then a fixed number of record places.

    bytes 0..63   magic, version, record size, header size, number, capacity, tape id, CRC32C
    bytes 65536.. capacity x 64 bytes of records; what was never written is zeros

The header is as large as the largest page in use (64 KiB on some ARM machines), so that the records can be
mapped at a fixed address. Files appear whole: written beside, reserved, fsynced, renamed, folder fsynced.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import NamedTuple

from google_crc32c import value as crc32c

from ticktape.errors import Damaged, DiskFull, Misconfigured
from ticktape.model.records import RECORD_BYTES

MAGIC = b"TICKTAPE"
VERSION = 1
HEADER_BYTES = 65536
DEFAULT_CAPACITY = 1 << 20  # records: 64 MiB a segment

_HEADER = struct.Struct("<8sHHIQQ16sI12x")
assert _HEADER.size == 64


class Header(NamedTuple):
    """What a segment says of itself."""

    number: int
    capacity: int
    tape_id: bytes  # 16 random bytes shared by all segments of one tape


class Disk:
    """The few calls that can fail for want of space or of a working disk; tests hand in failing ones."""

    def reserve(self, fd: int, size: int) -> None:
        """Reserve `size` bytes. Raises OSError(ENOSPC)."""
        os.posix_fallocate(fd, 0, size)

    def sync(self, fd: int) -> None:
        """Bring a file's bytes to stable storage. Raises OSError(EIO)."""
        os.fdatasync(fd)

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Write bytes at an offset; may write fewer. Raises OSError."""
        return os.pwrite(fd, data, offset)


def path_of(folder: Path, number: int) -> Path:
    """Return the path of a segment."""
    return folder / f"{number:08d}.tape"


def blob_path(folder: Path, number: int) -> Path:
    """Return the path of the blobs beside a segment."""
    return folder / f"{number:08d}.blob"


def numbers(folder: Path) -> list[int]:
    """Return the numbers of the segments in a folder, ascending."""
    return sorted(int(p.stem) for p in folder.glob("*.tape") if p.stem.isdigit())


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in a folder durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def create(folder: Path, header: Header, disk: Disk) -> int:
    """Create a segment with its space reserved and return its descriptor. Raises DiskFull."""
    path = path_of(folder, header.number)
    beside = path.with_suffix(".new")
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o640)
    size = HEADER_BYTES + header.capacity * RECORD_BYTES
    try:
        disk.reserve(fd, size)
        disk.write(fd, pack(header), 0)
        disk.sync(fd)
    except OSError as error:
        os.close(fd)
        beside.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no room for the next segment ({size >> 20} MiB) in {folder}", hint=f"df -h {folder}"
            ) from error
        raise
    os.rename(beside, path)
    sync_folder(folder)
    return fd


def pack(header: Header) -> bytes:
    """Return the header's 64 bytes."""
    head = _HEADER.pack(MAGIC, VERSION, RECORD_BYTES, HEADER_BYTES, header.number, header.capacity, header.tape_id, 0)
    return _HEADER.pack(
        MAGIC, VERSION, RECORD_BYTES, HEADER_BYTES, header.number, header.capacity, header.tape_id, crc32c(head)
    )


def read_header(path: Path) -> Header:
    """Return a segment's header. Raises Damaged, or Misconfigured for another version."""
    with path.open("rb") as file:
        data = file.read(_HEADER.size)
    if len(data) < _HEADER.size or data[:8] != MAGIC:
        raise Damaged(f"{path.name}: not a segment", hint="ticktape tape verify")
    _, version, record, header, number, capacity, tape_id, checksum = _HEADER.unpack(data)
    whole = crc32c(data[:48] + bytes(16)) == checksum and not any(data[52:])
    if whole and version != VERSION:  # a flipped bit is no newer format
        raise Misconfigured(
            f"{path.name}: tape format {version}, this ticktape reads {VERSION}", hint="pip install -U ticktape"
        )
    if not whole or (record, header) != (RECORD_BYTES, HEADER_BYTES):
        raise Damaged(f"{path.name}: header differs from its checksum", hint="ticktape tape repair")
    if path.stat().st_size < HEADER_BYTES + capacity * RECORD_BYTES:
        raise Damaged(f"{path.name}: shorter than its header says", hint="ticktape tape repair")
    return Header(number, capacity, tape_id)
