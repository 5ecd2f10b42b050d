"""The list of what a backup holds, format 1: each file with its SHA-256, and one over the list itself.

A list comes from outside when it is read: every path and size in it is checked before anything is written by it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import PurePosixPath

import msgspec

from ticktape.errors import Damaged, Misconfigured
from ticktape.model.symbols import shown

FORMAT = 1
MOST_BYTES = 64 << 20  # of the list: about 300,000 files
MOST_FILES = 1_000_000
MOST_FILE_BYTES = 1 << 40
NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z", re.ASCII)
_WORLD = re.compile(r"[a-z]{0,20}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9_.=-]{1,150}(/[A-Za-z0-9_.=-]{1,150}){0,8}", re.ASCII)
_HINT = "restore an older one: ticktape restore FROM --list"


class File(msgspec.Struct, frozen=True):
    """One file."""

    path: str  # in the data folder
    size: int
    sha256: str
    mark: str = ""  # inode and time of change where it was taken: the same mark and size, the same bytes


class TableAt(msgspec.Struct, frozen=True):
    """A table of the lake at the version that was taken."""

    version: int
    position: int  # of the tape, up to which rows are in; -1: none
    rows: int
    files: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A backup. Fields are only ever added; `format` rises when one changes."""

    format: int = FORMAT
    name: str
    made_ns: int
    ticktape: str  # the version that made it
    tape_format: int
    tape_id: str
    sample: bool
    world: str  # live, sample, replay; empty where the data folder is the world itself
    first: int  # of the tape's positions
    position: int  # the first free one: everything before is in
    epoch: int
    lake: dict[str, TableAt]
    left_out: list[str]  # what a restore has to bring from elsewhere
    damaged: list[str] = []  # files that were not what had been written already when they were taken
    files: list[File]
    sha256: str = ""  # of this list with this field empty

    @property
    def size(self) -> int:
        """How many bytes its files have."""
        return sum(file.size for file in self.files)


def name_at(ns: int) -> str:
    """Return the name of a backup made at a time: names in order are times in order."""
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y%m%dT%H%M%S") + f".{ns % 10**9 // 10**6:03d}Z"


def time_of(name: str) -> int:
    """Return when a backup was made, ns UTC, by its name."""
    moment = datetime.strptime(name[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 10**9 + int(name[16:19]) * 10**6


def _digest(manifest: Manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(manifest, sha256=""))).hexdigest()


def sealed(manifest: Manifest) -> bytes:
    """Return the list as it is stored, with its own SHA-256."""
    return msgspec.json.encode(msgspec.structs.replace(manifest, sha256=_digest(manifest)))


def opened(data: bytes, where: str) -> Manifest:
    """Return what `sealed` wrote. Raises Damaged; Misconfigured for a newer format."""
    try:
        found = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        number = msgspec.json.decode(found.get("format", b"0"), type=int)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Damaged(f"{where}: not the list of a backup: {error}", hint=_HINT) from None
    if number > FORMAT:
        raise Misconfigured(
            f"{where}: backup format {number}, this ticktape reads {FORMAT}", hint="pip install -U ticktape"
        )
    # Fields that a later ticktape added are unknown here, and yet under the digest: it is taken over the bytes.
    digest = hashlib.sha256(re.sub(rb'"sha256":"[0-9a-f]{64}"}$', b'"sha256":""}', data)).hexdigest()
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Damaged(f"{where}: not the list of a backup: {error}", hint=_HINT) from None
    if manifest.format != FORMAT or manifest.sha256 != digest:
        raise Damaged(f"{where}: its list differs from its own SHA-256", hint=_HINT)
    _check(manifest, where)
    return manifest


def _check(manifest: Manifest, where: str) -> None:
    """Refuse a list that would have us write where we should not. Raises Damaged."""
    if not NAME.fullmatch(manifest.name) or not _WORLD.fullmatch(manifest.world):
        raise Damaged(f"{where}: not a name of ours: '{shown(manifest.name)}'")
    if len(manifest.files) > MOST_FILES:
        raise Damaged(f"{where}: lists {len(manifest.files)} files, {MOST_FILES} are the most")
    seen: set[str] = set()
    folders: set[str] = set()
    for file in manifest.files:
        check_path(file.path, where)
        if not 0 <= file.size <= MOST_FILE_BYTES or not _DIGEST.fullmatch(file.sha256):
            raise Damaged(f"{where}: {shown(file.path)}: no size and SHA-256 that can be")
        if file.path in seen:
            raise Damaged(f"{where}: {shown(file.path)} is listed twice")
        seen.add(file.path)
        folders.update(str(parent) for parent in PurePosixPath(file.path).parents)
    if both := sorted(seen & folders)[:1]:
        raise Damaged(f"{where}: {both[0]} is a file and a folder")


def check_path(path: str, where: str) -> None:
    """Refuse what is no plain path inside the data folder. Raises Damaged."""
    if not _PATH.fullmatch(path) or any(part in (".", "..") for part in path.split("/")):
        raise Damaged(f"{where}: refused a path: '{shown(path)}'")


def described(manifests: Iterable[Manifest]) -> list[dict[str, object]]:
    """Return what a person wants to know of backups."""
    return [
        {
            "name": m.name, "world": m.world, "sample": m.sample, "position": m.position, "files": len(m.files),
            "bytes": m.size, "rows": {name: table.rows for name, table in m.lake.items()}, "left_out": m.left_out,
            "damaged": m.damaged,
        }
        for m in manifests
    ]  # fmt: skip
