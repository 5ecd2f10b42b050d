"""The audit on disk: one JSON object a line in `audit/YYYY-MM-DD.jsonl` beside the keys, chained from first to last.

Every line carries its number `n`, the hash of the line before (`prev`) and its own (`hash`): HMAC-SHA-256 of its
canonical JSON without `hash`, under a key made from the pepper. So who cannot read the pepper cannot change, remove
or add a line unnoticed, and `head.json`, hashed alike, says where the chain ends. Who can read the pepper, and who
puts back an older copy of the whole folder, is not found out: keep copies of `head.json` elsewhere against that.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ticktape.errors import Damaged

START = "0" * 64
HEAD = "head.json"


class Head(NamedTuple):
    """The last line of the chain: its number, its hash, the file it is in."""

    n: int
    hash: str
    day: str


NOTHING = Head(0, START, "")


class Finding(NamedTuple):
    """Something that is not as it was written."""

    file: str
    line: int  # 0: the file or the folder as a whole
    what: str


class Seal:
    """Computes hashes. One for all that share a pepper."""

    def __init__(self, pepper: bytes) -> None:
        self._key = hmac.digest(pepper, b"ticktape audit", "sha256")

    def of(self, entry: dict[str, Any]) -> str:
        """Return the hash of an entry, whatever it carries as `hash`."""
        return hmac.digest(self._key, canonical({k: v for k, v in entry.items() if k != "hash"}), "sha256").hex()

    def sealed(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Return an entry with its hash."""
        return {**entry, "hash": self.of(entry)}

    def holds(self, entry: dict[str, Any]) -> bool:
        """Say whether an entry is as it was sealed."""
        return hmac.compare_digest(str(entry.get("hash", "")).encode(), self.of(entry).encode())


def canonical(entry: dict[str, Any]) -> bytes:
    """Return the one way to write an entry."""
    return msgspec.json.encode(entry, order="sorted")


def days(folder: Path) -> list[Path]:
    """Return the files of the audit, oldest first."""
    return sorted(folder.glob("????-??-??.jsonl"))


def read_head(folder: Path, seal: Seal) -> Head:
    """Return where the chain ends; before the first line n is 0. Raises Damaged."""
    try:
        found = msgspec.json.decode((folder / HEAD).read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return NOTHING
    except msgspec.DecodeError:
        found = {}
    if not seal.holds(found):
        raise Damaged(f"{folder / HEAD} is not as it was written", hint="ticktape audit verify")
    return Head(int(found["n"]), str(found["last"]), str(found["day"]))


def write_head(folder: Path, seal: Seal, head: Head) -> None:
    """Say where the chain ends."""
    beside = folder / f"{HEAD}.new"
    with beside.open("wb") as file:
        file.write(canonical(seal.sealed({"n": head.n, "last": head.hash, "day": head.day})))
        file.flush()
        os.fsync(file.fileno())
    beside.rename(folder / HEAD)


# -- verifying ---------------------------------------------------------------------------------------


def verify(folder: Path, seal: Seal) -> tuple[int, list[Finding]]:
    """Return how many lines there are, and what was changed, removed, reordered, cut off or added."""
    found: list[Finding] = []
    lines, n, last = 0, 0, START
    path: Path | None = None
    for path in days(folder):
        for number, line in enumerate(_lines(path), 1):
            lines += 1
            entry = _entry(line)
            if entry is None:
                found.append(Finding(path.name, number, "not a line of the audit: torn or written over"))
                continue
            if canonical(entry) + b"\n" != line or not seal.holds(entry):
                found.append(Finding(path.name, number, f"line {entry.get('n')} was changed"))
            here = entry["n"]
            if here != n + 1:
                found.append(Finding(path.name, number, _jump(n, here)))
            elif entry.get("prev") != last:
                found.append(Finding(path.name, number, f"line {here} does not follow the one before it"))
            if entry.get("head_lost"):
                found.append(Finding(path.name, number, f"{HEAD} was lost: what was cut off before is not known"))
            n, last = max(n, here), str(entry.get("hash"))
    return lines, found + _ends(folder, seal, path, n, last)


def _ends(folder: Path, seal: Seal, path: Path | None, n: int, last: str) -> list[Finding]:
    where = path.name if path is not None else ""
    try:
        head = read_head(folder, seal)
    except Damaged as error:
        return [Finding(HEAD, 0, error.message)]
    if head.n > n:
        return [Finding(where, 0, f"lines {n + 1} to {head.n} were cut off the end")]
    if head.n == n and n and head.hash != last:
        return [Finding(where, 0, f"the last line, {n}, is not the one that was written")]
    if head.n == 0 and n:
        return [Finding(HEAD, 0, "is gone: nothing says where the audit ends")]
    return []


def _jump(n: int, here: int) -> str:
    if here <= n:
        return f"line {here} stands after line {n}: moved or repeated"
    return f"line {n + 1} is gone" if here == n + 2 else f"lines {n + 1} to {here - 1} are gone"


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if line.endswith(b"\n") and type(found.get("n")) is int else None


# -- reading -----------------------------------------------------------------------------------------

MOST_READ = 64 << 20  # bytes looked at for one history, from the newest back
_BLOCK = 1 << 20


def history(folder: Path, who: str, limit: int, most_read: int = MOST_READ) -> tuple[list[dict[str, Any]], bool]:
    """Return the newest entries of a key's prefix, name or model, oldest first, and whether all files were looked at.

    Reads from the end and no more than `most_read`. What is damaged is passed over: `verify` tells of it.
    """
    wanted, found, left = who.removeprefix("tt_")[:8], list[dict[str, Any]](), most_read
    for path in reversed(days(folder)):
        for line in _backwards(path):
            left -= len(line)
            if left < 0:
                return found[::-1], False
            entry = _entry(line)
            if entry is not None and (entry.get("key") == wanted or who in (entry.get("name"), entry.get("model"))):
                found.append(entry)
                if len(found) == limit:
                    return found[::-1], False
    return found[::-1], True


def last_entry(path: Path) -> dict[str, Any] | None:
    """Return the last line of a file, or None when it is none of the audit's."""
    return _entry(next(_backwards(path), b""))


def _backwards(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, the last one first."""
    with path.open("rb") as file:
        at, rest = file.seek(0, os.SEEK_END), b""
        while at > 0:
            step = min(_BLOCK, at)
            at -= step
            file.seek(at)
            lines = (file.read(step) + rest).splitlines(keepends=True)
            rest = lines.pop(0) if at > 0 else b""
            yield from reversed(lines)
