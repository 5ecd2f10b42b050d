"""The next segment, made ready in the background: its file created, its space reserved.

So the appender never waits for the disk to find room, and a full disk shows one segment ahead, while there is
still a whole reserved segment to say so in.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from ticktape.errors import DiskFull
from ticktape.tape import segment
from ticktape.tape.meta import Meta

RETRY_S = 0.5


class Reserve:
    """Keeps one segment ahead of the writer."""

    def __init__(self, folder: Path, meta: Meta, disk: segment.Disk) -> None:
        self._folder, self._meta, self._disk = folder, meta, disk
        self._changed = threading.Condition()
        self._wanted: int | None = None
        self._ready: dict[int, int] = {}  # number -> descriptor
        self._failure: OSError | None = None
        self._stopping = False
        self.low_space = False
        self._thread = threading.Thread(target=self._run, name="tape:reserve", daemon=True)
        self._thread.start()

    def want(self, number: int) -> None:
        """Start to make a segment ready."""
        with self._changed:
            self._wanted = number
            self._changed.notify_all()

    def ready(self, number: int) -> bool:
        """Say whether `take` would return at once; waits until that is known."""
        if number not in self._ready:
            with self._changed:
                self._changed.wait_for(lambda: number in self._ready or self.low_space or self._failure is not None)
        return number in self._ready

    def take(self, number: int) -> int:
        """Return the descriptor of a segment asked for by `want`, waiting until it is ready.

        Raises DiskFull at once when there is no room, OSError when the disk fails a second time, on a new file.
        """
        again = True
        with self._changed:
            while number not in self._ready:
                if self.low_space:
                    raise DiskFull(f"no room for segment {number} in {self._folder}", hint=f"df -h {self._folder}")
                if self._failure is not None:
                    failure, self._failure = self._failure, None
                    self._changed.notify_all()
                    if not again:
                        raise failure
                    again = False
                self._changed.wait()
            return self._ready.pop(number)

    def close(self) -> None:
        """Stop the thread; a segment made ready stays for the next start."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        for fd in self._ready.values():
            os.close(fd)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopping and (self._wanted is None or self._failure is not None):
                    self._changed.wait()
                if self._stopping or self._wanted is None:
                    return
                number = self._wanted
            self._try(number)

    def _try(self, number: int) -> None:
        try:
            fd = self._make(number)
        except DiskFull:
            with self._changed:
                self.low_space = True
                self._changed.notify_all()
                self._changed.wait(RETRY_S)
            return
        except OSError as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            return
        with self._changed:
            self.low_space = False
            self._ready[number] = fd
            self._wanted = None
            self._changed.notify_all()

    def _make(self, number: int) -> int:
        path = segment.path_of(self._folder, number)
        if path.exists():  # made ready before a restart
            return os.open(path, os.O_RDWR)
        header = segment.Header(number, self._meta.capacity, self._meta.id_bytes)
        return segment.create(self._folder, header, self._disk)
