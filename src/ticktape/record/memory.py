"""What the judge and the filler know, in `tape/memory`: so that a tape that was trimmed behind them forgets nothing.

The tape alone tells it all for as long as it is whole. Once its beginning is in the lake only, a quiet channel's last
id and a gap that still waits would be gone with it. So every minute what is known up to a durable position goes into
a file, whole or not at all; a start begins there, and only then may the tape be let go of before it (`head.needed`).

File: `TAPEMEM1`, CRC32C of all that follows (u32), length of the title (u32), the title as JSON, the arrays it names.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import google_crc32c
import msgspec
import numpy as np

from ticktape.errors import Damaged
from ticktape.model.records import RECORD, Records
from ticktape.record import holes as hole_lists
from ticktape.record import judge
from ticktape.tape.segment import sync_folder

_MAGIC = b"TAPEMEM1"
_HEAD = struct.Struct("<8sII")
_TYPES = {"cells": judge.CELL, "holes": hole_lists.HOLE, "pool": np.dtype("<i8"), "gaps": RECORD}


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What was known at `position`: arrays as the kernels have them, and the gaps that waited."""

    tape_id: str
    position: int
    followed: int  # gaps before it are in `gaps`, the later ones on the tape
    cells: Any
    holes: Any
    pool: Any
    gaps: Records

    @property
    def needed(self) -> int:
        """First position of the tape that a start would still have to read."""
        return min(self.position, self.followed)


class _Title(msgspec.Struct, frozen=True):
    tape_id: str
    position: int
    followed: int
    arrays: dict[str, tuple[int, str]]  # how many rows, and of what shape they are


def path_of(folder: Path) -> Path:
    """Return where the memory of a tape is."""
    return folder / "memory"


def save(folder: Path, memory: Memory) -> None:
    """Write it down, durable and whole. Raises OSError; what was there before stays."""
    arrays = {name: np.ascontiguousarray(getattr(memory, name)) for name in _TYPES}
    title = _Title(
        memory.tape_id,
        memory.position,
        memory.followed,
        {name: (len(array), _shape(array.dtype)) for name, array in arrays.items()},
    )
    said = msgspec.json.encode(title)
    body = b"".join([len(said).to_bytes(4, "little"), said, *(array.tobytes() for array in arrays.values())])
    beside = path_of(folder).with_suffix(".new")
    with beside.open("wb") as file:
        file.write(_MAGIC + google_crc32c.value(body).to_bytes(4, "little"))
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path_of(folder))
    sync_folder(folder)


def load(folder: Path) -> Memory | None:
    """Return what was written down, None where nothing was. Raises Damaged, also for another version's."""
    try:
        data = path_of(folder).read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < _HEAD.size or data[:8] != _MAGIC:
        raise Damaged(f"{path_of(folder)}: not a memory of this version")
    _, checksum, length = _HEAD.unpack_from(data)
    if google_crc32c.value(data[12:]) != checksum:
        raise Damaged(f"{path_of(folder)}: its bytes are not what was written")
    title, at = msgspec.json.decode(data[_HEAD.size : _HEAD.size + length], type=_Title), _HEAD.size + length
    arrays: dict[str, Any] = {}
    for name, kind in _TYPES.items():
        rows, shape = title.arrays[name]
        if shape != _shape(kind):
            raise Damaged(f"{path_of(folder)}: `{name}` is of another version")
        arrays[name] = np.frombuffer(data, dtype=kind, count=rows, offset=at).copy()
        at += rows * kind.itemsize
    return Memory(tape_id=title.tape_id, position=title.position, followed=title.followed, **arrays)


def _shape(kind: np.dtype[Any]) -> str:
    return str(kind.descr) + str(kind.itemsize)
