"""R31: questions while the keeper flushes, compacts, expires and trims: every row once, in every answer."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from lake_support import EVER, NOON, SECOND, World, market

from ticktape.keep.compact import compact
from ticktape.keep.expire import vacuum
from ticktape.keep.process import Keeper, KeepSettings
from ticktape.lake.disk import Disk
from ticktape.lake.files import Maker
from ticktape.lake.history import Lake
from ticktape.lake.tail import Trimmed
from ticktape.model.records import Ints, Kind
from ticktape.tape.reader import Reader


class Watched(World):
    """A world that remembers where its trades stand."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._trades: list[Ints] = []
        self._lock = threading.Lock()

    def put(self, k: int) -> None:
        records = market(60, seed=k, start_ns=NOON + k * 40 * SECOND)
        records["kind"][records["kind"] == Kind.AGG_TRADE] = Kind.TRADE
        records["flags"] = 0
        with self._lock:
            start = self.tape.position
            self.tape.append(records)
            self._trades.append(start + np.flatnonzero(records["kind"] == Kind.TRADE))

    def trade_positions(self, end: int) -> Ints:
        with self._lock:
            positions = np.concatenate(self._trades)
        return positions[positions < end]


class Asking(threading.Thread):
    """Asks for everything, over and over, and holds each answer against what was on the tape before and after."""

    def __init__(self, world: Watched, most: int, over: threading.Event) -> None:
        super().__init__()
        self.world, self.most, self.over = world, most, over
        self.asked, self.again, self.wrong = 0, 0, list[str]()

    def run(self) -> None:
        reader, lake = Reader(self.world.folder / "tape"), Lake(self.world.lake)
        while self.asked < self.most and not self.over.is_set():
            try:
                self._ask(reader, lake)
            except Trimmed:
                self.again += 1
            except Exception as error:  # noqa: BLE001  # any error is what this test is about
                self.wrong.append(repr(error))
                return
            self.asked += 1

    def _ask(self, reader: Reader, lake: Lake) -> None:
        snapshot = lake.snapshot()
        end = reader.refresh()
        reader.release()
        positions, _ = snapshot.records("trades", None, *EVER, tape=reader)
        found = np.sort(positions)
        wanted = self.world.trade_positions(end)
        if not np.array_equal(found, wanted):
            self.wrong.append(f"{len(found)} rows of {len(wanted)} up to {end}, {len(np.unique(found))} different ones")
        count = int(snapshot.bars(None, *EVER, 3600 * SECOND, tape=reader).bars["count"].sum())
        if count != len(wanted):
            self.wrong.append(f"bars of {count} ticks, there are {len(wanted)}")


def campaign(folder: Path, flushes: int, questions: int) -> tuple[int, int, list[str]]:
    world, over = Watched(folder), threading.Event()
    world.put(0)
    keeper = Keeper(KeepSettings(data=folder, hot_hours=0.2), world.reader)
    askers = [Asking(world, questions // 2, over) for _ in range(2)]
    for k in range(1, flushes + 1):
        world.put(k)
        keeper.flush()
        if k == 1:
            for asker in askers:
                asker.start()
        if k % 5 == 0:
            for name, partition in (("trades", "2025-11-20"), ("bars", "2025-11")):
                compact(keeper.flusher.tables[name], partition, Disk(""), Maker())
            vacuum(keeper.flusher.tables["trades"], Disk(""))
    for asker in askers:
        asker.join()
    keeper.close()
    world.close()
    return sum(a.asked for a in askers), sum(a.again for a in askers), [text for a in askers for text in a.wrong]


def test_questions_during_flush_compaction_and_trim_get_every_row_once(tmp_path: Path) -> None:
    asked, again, wrong = campaign(tmp_path, flushes=25, questions=60)
    assert wrong == []
    assert (asked, again) == (60, 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_r31_1000_questions_during_200_flushes(tmp_path: Path) -> None:
    asked, _, wrong = campaign(tmp_path, flushes=200, questions=1000)
    assert (wrong, asked) == ([], 1000)
