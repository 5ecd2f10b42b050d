"""Rows put in their place as files that nobody sees until a commit names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker, Piece, Written
from ticktape.lake.schema import Table


def place(
    maker: Maker, folder: Path, table: Table, partition: str, piece: Piece, bounds: Sequence[int], disk: Disk,
    *, level: int = 1,
) -> Written:  # fmt: skip
    """Write one file of a partition. It is durable on return, and an orphan until it is committed."""
    made = maker.image(table, piece, bounds, level=level)
    home = folder / f"{table.partition}={partition}"
    if not home.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        disk.sync_folder(folder)
    disk.step(f"{table.name}.writing")
    disk.place(home / made.name, made.pieces)
    disk.step(f"{table.name}.written")
    path = f"{home.name}/{made.name}"
    return Written(path, made.size, bounds[-1], partition, made.low, made.high, made.nulls)


def clean(folder: Path) -> int:
    """Delete what a crash left half-written. Only for the keeper. Returns how many files."""
    gone: list[Any] = [path.unlink() for path in folder.glob("*/*.new")]
    return len(gone)
