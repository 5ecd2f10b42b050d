"""Worlds with enrolled instruments, and rows of the lake changed behind everybody's back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from lake_support import EVER, World

from ticktape.keep.process import Keeper, KeepSettings
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker, pieces_of
from ticktape.lake.notes import Note, Noted, read
from ticktape.lake.place import place
from ticktape.lake.rows import group_bounds
from ticktape.lake.scan import columns_of, scan
from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import Ints
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

WHO = [1, 2, 3]


def keeper(world: World, **settings: Any) -> Keeper:
    """Return a keeper on the world's own clock."""
    settings.setdefault("hot_hours", 0)
    return Keeper(KeepSettings(data=world.folder, **settings), Reader(world.folder / "tape"), clock=world.clock)


def enrolled(world: World) -> TapeDirectory:
    """Enrol instruments 1 to 3."""
    directory = TapeDirectory(world.folder / "tape")
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        listing = Listing(
            symbol=symbol, venue="binance", asset_class=AssetClass.CRYPTO, tick_size=Decimal("0.01"),
            size_step=Decimal("0.00001"),
        )  # fmt: skip
        directory.enrol("binance", symbol, listing)
    directory.source_id("binance")
    return directory


def change(made: Keeper, table: str, partition: str, how: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite a partition in one file as `how` leaves them. Every checksum is good: only a comparison can tell."""
    catalogue = made.flusher.tables[table]
    version = catalogue.version()
    old = [entry for entry in version.files if entry.partition == partition]
    columns = {
        name: values.copy()
        for name, values in columns_of(scan(catalogue.folder, catalogue.table, old, None, *EVER)).items()
    }
    how(columns)
    ends: Ints = np.cumsum(np.bincount(columns["instrument_id"]), dtype=np.int64)
    bounds = group_bounds(ends, catalogue.table.group_rows)
    file = place(Maker(), catalogue.folder, catalogue.table, partition, pieces_of(columns), bounds, Disk(""))
    catalogue.commit(version.number, [file], old)


def notes_of(world: World, *kinds: Noted) -> list[Note]:
    """Return the notes in the lake, of any time."""
    return read(world.snapshot(), kinds, [0, *WHO], *EVER)
