"""A world to back up: a data folder with a tape, a lake, instruments, keys and a configuration that has secrets."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from lake_support import World as LakeWorld
from lake_support import market

from ticktape.keep import backup as backups
from ticktape.keep.backup import Made, backup
from ticktape.keep.backup_pin import World
from ticktape.keep.backup_store import FolderStore
from ticktape.keep.restore import Restored, restore, source_of
from ticktape.lake.history import Lake
from ticktape.lake.schema import TABLES
from ticktape.model.instruments import AssetClass, Listing
from ticktape.model.records import Records, empty
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

EVER = (-(2**62), 2**62)
PEPPER = b"0123456789abcdef-the-pepper-itself"
RUN = {
    "record": {"durability": "power"},
    "sources": {
        "acme": {"api_key": "sk-very-secret", "token": "env:ACME_TOKEN", "proxy": "http://joe:hunter2@proxy:3128"}
    },
}


class Data:
    """A data folder with one world in use."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.live = LakeWorld(folder / "live", **more)
        (folder / "current").write_text("live\n")
        (folder / "pepper").write_bytes(PEPPER)
        (folder / ".env").write_text("ACME_TOKEN=abc\n")
        (folder / "live" / "run.json").write_text(json.dumps(RUN))
        raw = folder / "live" / "raw" / "acme"
        raw.mkdir(parents=True)
        (raw / "3600.frames.zst").write_bytes(b"frames as they came")
        directory = TapeDirectory(folder / "live" / "tape")
        for symbol in ("BTCUSDT", "ETHUSDT", "MNQ"):
            step = Decimal("0.01")
            listing = Listing(
                symbol=symbol, venue="acme", asset_class=AssetClass.CRYPTO, tick_size=step, size_step=step
            )
            directory.enrol("acme", symbol, listing)
        directory.source_id("acme")
        directory.close()
        self.world = World(folder / "live", "live", folder)
        self._seed = 0

    def grow(self, n: int = 3000, *, flush: bool = True) -> None:
        """Record more, and flush it."""
        self._seed += 1
        self.live.append(market(n, seed=self._seed))
        if flush:
            self.live.flush()

    def blob(self, content: bytes) -> None:
        """Record something that does not fit in a record."""
        record = empty(1)
        record["kind"], record["ts_recv"] = 20, 1
        record["a"], record["b"], record["c"] = self.live.tape.blob(content)
        self.live.tape.append(record)

    def close(self) -> None:
        """Stop recording."""
        self.live.close()


def backed_up(data: Data, to: Path, **more: Any) -> Made:
    """Back up into a folder."""
    return backup(data.world, FolderStore(to), **more)


def restored(where: Path, to: Path, name: str = "") -> Restored:
    """Restore from a folder or an archive."""
    with source_of(str(where), name) as source:
        return restore(source, to)


def archive(data: Data, path: Path) -> Made:
    """Back up into an archive."""
    return backups.backup_archive_of(data.world, path)


def whole(world: Path) -> dict[str, Records]:
    """Return every row of every table, lake and tape together, in the order of the tape. Positions are checked."""
    reader = Reader(world / "tape")
    snapshot, found = Lake(world / "lake").snapshot(), dict[str, Records]()
    for name in ("trades", "quotes", "book", "gaps"):
        positions, records = snapshot.records(name, None, *EVER, tape=reader)
        assert len(np.unique(positions)) == len(positions), f"{name}: a row twice"
        found[name] = records[np.argsort(positions)]
        everything = reader.view(reader.first, reader.end)
        mine = np.flatnonzero(np.isin(everything["kind"], TABLES[name].kinds)) + reader.first
        assert np.isin(mine, positions).all(), f"{name}: a row of the tape is missing"
    return found
