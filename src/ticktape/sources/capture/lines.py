"""Capture files: a line a frame, `<receive ns> <json>`, plain, gzip or zstd, told by the first bytes.

No header and no footer, so that files can be cut and joined. What `record` captures has this form too.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec
import zstandard

from ticktape.errors import Misconfigured
from ticktape.model.records import BadReason
from ticktape.model.symbols import shown
from ticktape.sources.contract import Bad

MAX_LINE_BYTES = 33 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_BUFFER_BYTES = 1 << 20


class Line(NamedTuple):
    """One recorded frame."""

    ts_recv: int
    frame: bytes


def read_lines(path: Path) -> Iterator[Line | Bad]:
    """Yield the frames of a file in order; a line that is none yields a Bad. Memory is bounded.

    A file that was cut off ends with a Bad. Raises Misconfigured when it is absent or damaged inside.
    """
    number = 0
    try:
        with path.open("rb") as raw, _unpacked(raw) as lines:
            while text := lines.readline(MAX_LINE_BYTES):
                number += 1
                yield _parsed(text, number, lines)
    except EOFError:
        yield Bad(BadReason.NOT_JSON, f"{path.name}: compressed data is cut off after line {number}", b"")
    except (zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as fault:
        raise Misconfigured(f"{path}: damaged after line {number}: {fault}") from fault
    except OSError as fault:
        raise Misconfigured(f"{path}: cannot be read: {fault.strerror or fault}") from fault


def _unpacked(raw: BinaryIO) -> io.BufferedReader:
    start = raw.read(4)
    raw.seek(0)
    if start.startswith(_GZIP):
        return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=raw)), _BUFFER_BYTES)
    if start == _ZSTD:
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=False)
        return io.BufferedReader(cast(io.RawIOBase, reader), _BUFFER_BYTES)
    return cast(io.BufferedReader, raw)


def _parsed(text: bytes, number: int, lines: io.BufferedReader) -> Line | Bad:
    if len(text) == MAX_LINE_BYTES and not text.endswith(b"\n"):
        while (rest := lines.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
        return Bad(BadReason.TOO_LARGE, f"line {number}: above {MAX_LINE_BYTES} bytes", text)
    stamp, _, frame = text.rstrip(b"\r\n").partition(b" ")
    if not (stamp.isdigit() and len(stamp) <= 18 + 1 and int(stamp) < 2**63):
        detail = f"line {number}: no receive time in ns at its start: '{shown(repr(stamp[:40]))}'"
        return Bad(BadReason.BAD_TIME, detail, text)
    return Line(int(stamp), _unescaped(frame) if frame.startswith(b"!") else frame)


def _unescaped(frame: bytes) -> bytes:
    """Return a frame that had a newline in it: `record` writes those as a JSON string behind a `!`."""
    try:
        return msgspec.json.decode(frame[1:], type=str).encode("latin-1")
    except (msgspec.MsgspecError, UnicodeError):
        return frame  # not JSON either way: the normaliser refuses it with its bytes
