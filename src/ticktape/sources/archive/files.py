"""Opens an archive file: a zip of one CSV, or the CSV itself; checked, bounded, never unpacked to disk.

Names inside a zip are only looked at, never used as a path. The checksum file beside it
(`<file>.CHECKSUM`: sha256 and name) is obeyed when it is there.
"""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from ticktape.errors import Misconfigured
from ticktape.model.symbols import shown

MOST_UNPACKED_BYTES = 64 << 30  # a month of BTCUSDT trades is about 10 GB
MOST_RATIO = 100  # digits compress 4 to 10 times
_NAME = re.compile(r"([A-Z0-9]{1,40})-(aggTrades|trades)-(\d{4}-\d{2}(?:-\d{2})?)\.(?:zip|csv)", re.ASCII)


class Contents(NamedTuple):
    """What a file holds, by its name: BTCUSDT-aggTrades-2025-01-31.zip."""

    symbol: str
    kind: str  # aggTrades or trades
    begins_ns: int  # of its day or month, UTC


def contents_of(path: Path) -> Contents:
    """Return what the file's name says. Raises Misconfigured."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise Misconfigured(
            f"{shown(path.name)}: not the name of an archive of aggTrades or trades",
            hint="BTCUSDT-aggTrades-2025-01-31.zip, as downloaded",
        )
    return Contents(match[1], match[2], _begins(path, match[3]))


def _begins(path: Path, text: str) -> int:
    try:
        day = datetime.fromisoformat(text if len(text) > len("2025-01") else f"{text}-01")
    except ValueError as fault:
        raise Misconfigured(f"{shown(path.name)}: {fault}", hint="BTCUSDT-aggTrades-2025-01-31.zip") from None
    return int(day.replace(tzinfo=UTC).timestamp()) * 10**9


def verify(path: Path) -> bool:
    """Return True when the checksum beside the file agrees, False without one. Raises Misconfigured."""
    beside = path.with_name(path.name + ".CHECKSUM")
    if not beside.exists():
        return False
    words = beside.read_bytes()[:4096].split()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not words or words[0].decode("ascii", "replace").lower() != digest:
        raise Misconfigured(f"{path}: sha256 differs from {beside.name}", hint="download it again")
    return True


@contextmanager
def opened(path: Path) -> Generator[IO[bytes]]:
    """Yield the CSV as a stream of bytes, at most MOST_UNPACKED_BYTES. Raises Misconfigured."""
    try:
        with path.open("rb") as raw:
            if not zipfile.is_zipfile(raw):
                raw.seek(0)
                yield raw
                return
            with zipfile.ZipFile(raw) as archive, archive.open(_only_csv(archive, path)) as member:
                yield member
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as fault:
        raise Misconfigured(f"{path}: damaged zip: {fault}", hint="download it again") from fault
    except OSError as fault:
        raise Misconfigured(f"{path}: cannot be read: {fault.strerror or fault}") from fault


def _only_csv(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    """Return the one member. zipfile stops reading at the size the member declares."""
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) != 1 or not members[0].filename.endswith(".csv"):
        raise Misconfigured(f"{path}: holds {len(members)} files, expected one CSV")
    size, packed = members[0].file_size, max(members[0].compress_size, 1)
    if size > MOST_UNPACKED_BYTES or size > max(packed * MOST_RATIO, 1 << 20):
        raise Misconfigured(f"{path}: unpacks from {packed} to {size} bytes: refused as a zip bomb")
    return members[0]
