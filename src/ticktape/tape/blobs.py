"""What does not fit in 64 bytes: a blob file beside each segment, written before the record that points at it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NamedTuple

from google_crc32c import value as crc32c

from ticktape.errors import Damaged, DiskFull
from ticktape.tape import segment


class BlobAt(NamedTuple):
    """Where a blob lies: what its record carries as a, b, c."""

    offset: int
    length: int
    checksum: int


class BlobWriter:
    """Appends to the blob file of the current segment."""

    def __init__(self, folder: Path, number: int, disk: segment.Disk) -> None:
        self._disk = disk
        self._path = segment.blob_path(folder, number)
        self.fd = -1
        self._end = 0
        self.dirty = False  # holds bytes that no fsync has seen

    def append(self, data: bytes) -> BlobAt:
        """Write a blob. Raises DiskFull; a piece written in vain is overwritten by the next blob."""
        done = 0
        try:
            if self.fd < 0:
                self._open()
            while done < len(data):
                done += self._disk.write(self.fd, data[done:], self._end + done)
        except OSError as error:
            why = "no room for" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"{error.strerror} while writing"
            raise DiskFull(f"{why} a blob in {self._path}", hint=f"df -h {self._path.parent}") from error
        at = BlobAt(self._end, len(data), crc32c(data))
        self._end += len(data)
        self.dirty = True
        return at

    def _open(self) -> None:
        self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._end = os.fstat(self.fd).st_size  # after a crash: beyond what no record points at
        segment.sync_folder(self._path.parent)

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def read_blob(folder: Path, number: int, at: BlobAt) -> bytes:
    """Return a blob. Raises Damaged when its bytes are not what was written."""
    path = segment.blob_path(folder, number)
    with path.open("rb") as file:
        file.seek(at.offset)
        data = file.read(at.length)
    if len(data) != at.length or crc32c(data) != at.checksum:
        raise Damaged(f"{path.name}: blob at byte {at.offset} differs from its checksum", hint="ticktape tape verify")
    return data
