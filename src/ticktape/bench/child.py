"""Other processes of a bench: started, listened to line by line, and ended with it, Ctrl-C included."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from ticktape.errors import Unavailable

STOP_S = 8.0
_MOST_SAID = 400  # characters of a log in an error


def role(name: str, told: msgspec.Struct) -> list[str]:
    """Return the command that plays a part of roles.py."""
    return [sys.executable, "-m", "ticktape.bench.roles", name, msgspec.json.encode(told, enc_hook=str).decode()]


class Child:
    """A process in its own session: Ctrl-C reaches us alone, and we end it. Its stderr goes to a file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        self._heard = b""
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def said(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Return the next line of JSON that it printed. Raises Unavailable when it ended or says nothing."""
        assert self._process.stdout is not None
        fd, deadline = self._process.stdout.fileno(), time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise Unavailable(f"a process of the bench said nothing for {timeout_s:.0f} s: {self._last_words()}")
            data = os.read(fd, 1 << 16)
            if not data:
                raise Unavailable(f"a process of the bench ended ({self._process.wait()}): {self._last_words()}")
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return msgspec.json.decode(line, type=dict[str, Any])

    def alive(self) -> None:
        """Raise Unavailable when it ended."""
        if self._process.poll() is not None:
            raise Unavailable(f"a process of the bench ended ({self._process.returncode}): {self._last_words()}")

    def kill(self) -> None:
        """End it as a power switch would: SIGKILL."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Ask it to stop, and kill it when it does not."""
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if process.stdout is not None:
            process.stdout.close()

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-_MOST_SAID:].strip() or "it left no word"
