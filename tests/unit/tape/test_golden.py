"""R36: a tape of format 1, written once and committed, reads and opens with every later ticktape.

`golden/` holds its files, compressed. `python tests/unit/tape/test_golden.py` writes them anew: only together with a
new format version, beside the old ones.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from ticktape.clock import ManualClock
from ticktape.model.records import Channel, Flag, GapCause, GapState, Kind, Records, Side, Status, empty, pack_gap
from ticktape.tape import kernels
from ticktape.tape.reader import Reader
from ticktape.tape.verify import verify
from ticktape.tape.writer import Writer

GOLDEN = Path(__file__).parent / "golden"
T0 = 1_763_640_000_000_000_000
FILES = ("00000000.tape", "00000001.tape", "00000000.blob", "head", "tape.json")
META = '{"version": 1, "tape_id": "00112233445566778899aabbccddeeff", "capacity": 1024, "sample": false}\n'
BLOB = b"a frame that was no record\n\x00\xff"


def said() -> Records:
    """Every kind of record, with values at the edges of their fields."""
    rows = empty(10)
    rows["ts_event"], rows["ts_recv"] = T0 + np.arange(10) * 1000, T0 + np.arange(10) * 1000 + 7
    rows["kind"] = [
        Kind.TRADE, Kind.QUOTE, Kind.BOOK, Kind.BOOK, Kind.AGG_TRADE, Kind.CORRECT, Kind.CANCEL, Kind.GAP, Kind.STATUS,
        Kind.CLOCK,
    ]  # fmt: skip
    rows["instrument"], rows["source"] = [1, 1, 1, 1, 2, 1, 1, 1, 0, 0], [1, 1, 1, 1, 65_535, 1, 1, 1, 1, 0]
    rows["a"] = [10**18, -1, 100, 101, 2**63 - 1, 5, 0, 7, Status.SOURCE_UP, T0]
    rows["b"] = [1, 2, 3, 0, -(2**63), 6, 0, 11, 3, 12345]
    rows["c"] = [42, 4, 500, 500, 43, 42, 42, 19, 0, 0]
    rows["d"] = [0, 5, 2, 0, 44, 1, 2, pack_gap(GapCause.SEQUENCE, Channel.TRADE, 5_000_000), 0, 0]
    rows["side"] = [Side.BUY, 0, Side.BUY, Side.SELL, Side.SELL, Side.BUY, 0, GapState.CLOSED, 0, 0]
    rows["flags"] = [Flag.SPIKE, Flag.NO_VENUE_TIME, Flag.FIRST, Flag.LAST, Flag.SYNTHETIC, 0, 0, 0, 0, 0]
    return rows


def write(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "tape.json").write_text(META)
    tape = Writer(folder, sync_every_ms=0, clock=ManualClock(T0))
    tape.append(said())
    row = empty(1)
    row["kind"], row["source"], row["ts_recv"] = Kind.QUARANTINE, 1, T0
    row["a"], row["b"], row["c"] = tape.blob(BLOB)
    tape.append(row)
    tape.rotate()  # the rest of the segment is VOID
    for k in range(3):
        tape.append(said()[: 1 + k])
    tape.close()


def unpacked(folder: Path) -> Path:
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(gzip.decompress((GOLDEN / f"{name}.gz").read_bytes()))
    return folder


def plain(records: Records) -> Records:
    same = records.copy()
    same["back"] = 0
    return same


def test_r36_a_tape_of_format_1_reads_as_it_was_written(tmp_path: Path) -> None:
    reader = Reader(unpacked(tmp_path / "tape"))
    stored = reader.view(0, reader.end)
    assert reader.end == 1024 + 2 + 3 + 4
    assert np.array_equal(plain(stored[:10]), said())
    assert (stored[10]["kind"], stored[10]["a"], stored[10]["b"], stored[10]["d"]) == (Kind.COMMIT, 10, 10, 1)
    assert reader.blob(11) == BLOB
    assert (stored["kind"][13:1023] == Kind.VOID).all()
    assert np.array_equal(plain(stored[1024:1025]), said()[:1])
    assert stored["back"][5] == 5  # a correction continues the chain of its trades
    reader.follow()
    assert reader.latest(1, kernels.CHAIN_TRADE, 9).positions.tolist() == [0, 5, 6, 1024, 1026, 1029]


def test_r36_a_tape_of_format_1_is_whole_and_can_be_continued(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "tape")
    assert verify(folder).ok
    tape = Writer(folder, sync_every_ms=0)
    assert (tape.position, tape.opened.found.damaged, tape.opened.found.cut_bytes, tape.epoch) == (1033, [], 0, 2)
    tape.append(said())
    tape.close()
    assert verify(folder).ok


@pytest.mark.parametrize("name", FILES)
def test_r36_what_is_written_today_is_still_format_1_byte_for_byte(tmp_path: Path, name: str) -> None:
    write(tmp_path / "tape")
    now, then = (tmp_path / "tape" / name).read_bytes(), gzip.decompress((GOLDEN / f"{name}.gz").read_bytes())
    if name == "head":  # the process id of whoever wrote it
        now, then = (data[:24] + data[32:] for data in (now, then))
    assert now == then


if __name__ == "__main__":
    target = Path(sys.argv[1])
    write(target)
    GOLDEN.mkdir(exist_ok=True)
    for file in FILES:
        (GOLDEN / f"{file}.gz").write_bytes(gzip.compress((target / file).read_bytes(), mtime=0))
