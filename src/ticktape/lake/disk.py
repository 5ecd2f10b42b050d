"""The calls that put files in their place: the seam at which tests fill the disk, break it and kill the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path


class Disk:
    """Files appear whole: written beside, synced, renamed, the folder synced."""

    def __init__(self, crash_at: str | None = None) -> None:
        self._crash_at = os.environ.get("TICKTAPE_CRASH_AT", "") if crash_at is None else crash_at

    def step(self, name: str) -> None:
        """Pass a named point; kill -9 ourselves there when TICKTAPE_CRASH_AT says so."""
        if name == self._crash_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, path: Path, pieces: Sequence[memoryview]) -> None:
        """Write a whole new file and make its bytes durable."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            for piece in pieces:
                done = 0
                while done < len(piece):
                    done += os.write(fd, piece[done:])
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, path: Path, name: Path) -> None:
        """Give a file its name."""
        os.rename(path, name)

    def sync_folder(self, folder: Path) -> None:
        """Make names durable."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_file(self, path: Path) -> None:
        """Make a file's bytes durable, whoever wrote them."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def place(self, path: Path, pieces: Sequence[memoryview]) -> None:
        """Make a file appear whole under its name, durably. A crash leaves at most `<name>.new`."""
        beside = path.with_name(path.name + ".new")
        try:
            self.write(beside, pieces)
            self.rename(beside, path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        self.sync_folder(path.parent)
