"""What the recorder remembers of a tape that was trimmed: as if it had not been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from record_support import Judged, cells_of, missing
from tape_support import CAPACITY, trades
from test_judge import story

from ticktape.errors import Damaged
from ticktape.model.records import Kind, Records, empty
from ticktape.record import memory
from ticktape.tape import segment
from ticktape.tape.reader import Reader, trim

GAPS = empty(3)
GAPS["a"] = (7, 8, 9)


class Remembering(Judged):
    """A judge whose memory is written when it closes, and whose tape may then be trimmed."""

    def keep(self, followed: int = 0, gaps: Records = GAPS) -> memory.Memory:
        """Write down what is known."""
        known = self.appender.remember(followed, gaps)
        memory.save(self.folder, known)
        self.tape.head.needed = known.position
        return known

    def forget_tape(self) -> None:
        """Fill whole segments with what says nothing of the market, and trim all before."""
        position = self.tape.position
        while self.tape.position < position + 2 * CAPACITY:
            rows = empty(100)
            rows["kind"], rows["a"] = Kind.CLOCK, 1
            self.tape.append(rows)
        self.keep()
        trim(self.folder, self.tape.position)

    def reopen(self) -> None:
        """Open again, with what was written down."""
        self.tape.close()
        self.remembered = memory.load(self.folder)
        self._open()


def without_links(records: Records) -> Records:
    kept = records.copy()
    kept["back"] = 0
    return kept


def remembered(judged: Remembering) -> memory.Memory:
    found = memory.load(judged.folder)
    assert found is not None
    return found


def test_what_is_written_down_comes_back(tmp_path: Path) -> None:
    judged = Remembering(tmp_path)
    judged.feed(*story())
    known = judged.keep(followed=5)
    found = remembered(judged)
    assert (found.tape_id, found.position, found.followed, found.needed) == (
        judged.tape.meta.tape_id, judged.tape.position, 5, 5,
    )  # fmt: skip
    for name in ("cells", "holes", "pool", "gaps"):
        assert np.array_equal(getattr(found, name), getattr(known, name)), name
    judged.close()


def test_nothing_written_is_no_memory(tmp_path: Path) -> None:
    assert memory.load(tmp_path) is None


@pytest.mark.parametrize("at", range(0, 2000, 37))
def test_any_flipped_byte_is_found(tmp_path: Path, at: int) -> None:
    judged = Remembering(tmp_path)
    judged.feed(trades(range(10)))
    judged.keep()
    judged.close()
    path = memory.path_of(tmp_path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(Damaged):
        memory.load(tmp_path)


@pytest.mark.parametrize("length", [0, 7, 15, 40, 300])
def test_a_cut_file_is_found(tmp_path: Path, length: int) -> None:
    judged = Remembering(tmp_path)
    judged.feed(trades(range(10)))
    judged.keep()
    judged.close()
    path = memory.path_of(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(Damaged):
        memory.load(tmp_path)


def test_a_judge_on_a_trimmed_tape_knows_what_it_knew(tmp_path: Path) -> None:
    """Repeats at any distance, holes, open gaps: all as on a tape that was never trimmed."""
    pieces = story()
    whole = Judged(tmp_path / "whole")
    whole.feed(*pieces)
    expected, cells = without_links(whole.stored), cells_of(whole.appender)
    whole.close()
    for cut in range(1, len(pieces), 3):
        judged = Remembering(tmp_path / f"cut-{cut}")
        judged.feed(*pieces[:cut])
        before, said = without_links(judged.stored), len(judged.gaps)
        judged.keep()
        judged.forget_tape()
        assert len(judged.stored) == 0  # nothing of the market is left on it
        judged.reopen()
        judged.feed(*pieces[cut:])
        after = without_links(judged.stored)
        assert np.array_equal(np.concatenate([before, after]), expected)
        mine = cells_of(judged.appender)
        n = min(len(mine), len(cells))
        for name in mine.dtype.names:
            if name not in {"gap", "count"}:
                assert np.array_equal(mine[:n][name], cells[:n][name]), name
        assert said >= 0
        judged.close()


def test_without_the_memory_a_repeat_from_before_is_stored_twice(tmp_path: Path) -> None:
    """What the memory is for: this is what would happen."""
    judged = Remembering(tmp_path)
    judged.feed(trades(range(50)))
    judged.keep()
    judged.forget_tape()
    memory.path_of(tmp_path).unlink()
    judged.reopen()
    judged.feed(trades(range(50)))
    assert len(judged.ids) == 50
    judged.close()


def test_damage_before_the_memory_is_missing_again_and_can_be_filled(tmp_path: Path) -> None:
    judged = Remembering(tmp_path)
    for start in range(0, 400, 10):
        judged.feed(trades(range(start, start + 10)))
    judged.keep()
    judged.feed(trades(range(400, 410)))
    with segment.path_of(tmp_path, 0).open("r+b") as file:
        file.seek(segment.HEADER_BYTES + 120 * 64)  # two or three batches of them
        file.write(b"\xff" * 64 * 20)
    judged.reopen()
    assert len(judged.lost) > 0
    gone = missing(judged.appender, 1, 0, 409)
    assert 10 <= len(gone) <= 40
    stored = set(judged.ids)
    assert set(gone) == set(range(410)) - stored
    judged.feed(trades(gone))
    assert sorted(judged.ids) == list(range(410))
    assert missing(judged.appender, 1, 0, 409) == []
    judged.close()


def test_trimming_never_takes_what_the_recorder_needs(tmp_path: Path) -> None:
    judged = Remembering(tmp_path)
    while judged.tape.position < 4 * CAPACITY:
        judged.feed(trades(range(judged.tape.position, judged.tape.position + 90)))
    assert trim(tmp_path, judged.tape.position) == 0  # it never said
    judged.tape.head.needed = CAPACITY + 5
    assert trim(tmp_path, judged.tape.position) == 1
    assert Reader(tmp_path).first == CAPACITY
    judged.close()
