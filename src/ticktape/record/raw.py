"""Raw frames as they came, compressed: so that a mapping bug can be repaired from the bytes later.

One file an hour and source, `<receive ns> <frame>` a line, zstd; `ticktape up --capture FILE` plays it. A frame with
a newline in it is not JSON of any venue of ours; it is escaped as a JSON string behind a `!`. After a crash or a full
disk the file's end is torn: what comes next goes to a file of its own.
"""

from __future__ import annotations

import json
from io import RawIOBase
from itertools import chain, count
from pathlib import Path
from typing import Any

import zstandard

from ticktape.model.symbols import path_part

_HOUR_NS = 3600 * 10**9
FLUSH_BYTES = 1 << 20


class RawFrames:
    """Writes one source's frames."""

    def __init__(self, folder: Path, source: str, level: int = 3) -> None:
        self._folder = folder / path_part(source)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._level = level
        self._hour = -1
        self._file: RawIOBase | Any = None
        self._out: Any = None
        self._unflushed = 0

    def write(self, frames: list[bytes], ts_recv: int) -> None:
        """Add the frames of one read. Raises OSError."""
        if ts_recv // _HOUR_NS != self._hour:
            self._open(ts_recv // _HOUR_NS)
        stamp = b"%d " % ts_recv
        data = b"".join([stamp + (f if b"\n" not in f else _escaped(f)) + b"\n" for f in frames])
        try:
            self._out.write(data)
            self._unflushed += len(data)
            if self._unflushed >= FLUSH_BYTES:
                self._out.flush(zstandard.FLUSH_FRAME)
                self._unflushed = 0
        except OSError:
            self._leave()
            raise

    def _open(self, hour: int) -> None:
        self.close()
        self._file = _free(self._folder, str(hour * 3600)).open("xb", buffering=0)
        self._out = zstandard.ZstdCompressor(level=self._level).stream_writer(self._file, closefd=False)
        self._hour, self._unflushed = hour, 0

    def close(self) -> None:
        """End the current file whole. Raises OSError."""
        if self._out is not None:
            try:
                self._out.close()
            finally:
                self._leave()

    def _leave(self) -> None:
        self._file.close()
        self._file = self._out = None
        self._hour = -1


def _free(folder: Path, stem: str) -> Path:
    paths = chain([folder / f"{stem}.frames.zst"], (folder / f"{stem}-{k}.frames.zst" for k in count(2)))
    return next(path for path in paths if not path.exists())


def _escaped(frame: bytes) -> bytes:
    return b"!" + json.dumps(frame.decode("latin-1")).encode()
