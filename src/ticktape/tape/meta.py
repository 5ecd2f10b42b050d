"""What a tape is: its id, its segment size, and whether its data are real. One small JSON file.

A tape of SAMPLE data says so from its first byte, and a real source never appends to it, nor the other way.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ticktape.errors import Damaged, Misconfigured
from ticktape.model.records import RECORD_BYTES
from ticktape.tape.segment import DEFAULT_CAPACITY, HEADER_BYTES, VERSION, sync_folder


class Meta(msgspec.Struct, forbid_unknown_fields=True):
    """The content of `tape.json`."""

    version: int
    tape_id: str  # 32 hexadecimal digits
    capacity: int  # records a segment
    sample: bool  # SAMPLE data: made by the simulator

    @property
    def id_bytes(self) -> bytes:
        """Return the id as it stands in each segment's header."""
        return bytes.fromhex(self.tape_id)


def load(folder: Path) -> Meta:
    """Return the meta data of a tape. Raises Misconfigured when there is no tape, Damaged when unreadable."""
    path = folder / "tape.json"
    try:
        meta = msgspec.json.decode(path.read_bytes(), type=Meta)
    except FileNotFoundError:
        raise Misconfigured(f"no tape in {folder}", hint="ticktape up") from None
    except msgspec.DecodeError as error:
        raise Damaged(f"{path}: {error}", hint="ticktape tape repair") from error
    if meta.version != VERSION:
        raise Misconfigured(
            f"{path}: tape format {meta.version}, this ticktape reads {VERSION}", hint="pip install -U ticktape"
        )
    return meta


def load_or_create(folder: Path, *, capacity: int = DEFAULT_CAPACITY, sample: bool = False) -> Meta:
    """Return the meta data, written first for a new tape. Raises Misconfigured when real meets SAMPLE."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tape.json"
    if not path.exists():
        if capacity <= 0 or capacity * RECORD_BYTES % HEADER_BYTES:  # each segment is mapped at a page of its own
            whole = HEADER_BYTES // RECORD_BYTES
            raise Misconfigured(
                f"{capacity} records a segment: it must be a multiple of {whole}", hint="segment_records = 1048576"
            )
        meta = Meta(VERSION, os.urandom(16).hex(), capacity, sample)
        beside = path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(meta)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, path)
        sync_folder(folder)
    meta = load(folder)
    if meta.sample != sample:
        has, wants = ("SAMPLE", "real") if meta.sample else ("real", "SAMPLE")
        raise Misconfigured(
            f"{folder} holds {has} data and never takes {wants} data", hint="use another folder: --data DIR"
        )
    return meta
