"""One writer: an exclusive lock that names its owner and cannot outlive it.

The kernel drops the lock when its owner dies, however it dies, so a stale owner line is only a story.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

import msgspec

from ticktape.clock import SystemClock
from ticktape.errors import Busy

OWNER_BYTES = 512


class Owner(msgspec.Struct):
    """Who holds the lock."""

    pid: int
    host: str
    since_ns: int
    role: str


class Lock:
    """Holds `path` until `release` or the end of the process."""

    def __init__(self, path: Path, role: str) -> None:
        """Take the lock. Raises Busy naming the owner."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self.taken_over: Owner | None = None
        before = _owner(self._fd)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            who = f"process {before.pid} on {before.host} ({before.role})" if before else "another process"
            raise Busy(
                f"{path.parent} is being written by {who}", hint="stop it, or use another folder: --data DIR"
            ) from None
        self.taken_over = before
        owner = Owner(os.getpid(), socket.gethostname(), SystemClock().wall_ns(), role)
        self._say(msgspec.json.encode(owner))

    def release(self) -> None:
        """Give the lock back, leaving no owner behind."""
        self._say(b"")
        os.close(self._fd)

    def _say(self, owner: bytes) -> None:
        # Always as long as before: on a full disk there is room for what was there, and for no more.
        try:
            os.pwrite(self._fd, owner.ljust(OWNER_BYTES), 0)
        except OSError as error:  # the lock holds without a name
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise


def _owner(fd: int) -> Owner | None:
    data = os.pread(fd, 4096, 0).strip()
    if not data:
        return None
    try:
        return msgspec.json.decode(data, type=Owner)
    except msgspec.DecodeError:
        return None  # its writer died while naming itself
