"""One writer: a second is refused and told by whom; a dead one is replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tape_support import CAPACITY, ids, trades

from ticktape.errors import Busy, Damaged
from ticktape.tape.lock import Lock
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(60)

HOLD = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tape_support import CAPACITY, trades
from ticktape.tape.writer import Writer
tape = Writer(Path(sys.argv[1]), capacity=CAPACITY)
tape.append(trades(range(100)))
print("holding", flush=True)
sys.stdin.readline()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD, str(folder), str(Path(__file__).parent)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def test_r37_a_second_writer_is_refused_and_told_who_the_first_is(tape_folder: Path) -> None:
    with holder(tape_folder) as first:
        before = (tape_folder / "00000000.tape").read_bytes()
        for _ in range(3):  # and asking does not wear the lock out
            with pytest.raises(Busy, match=rf"process {first.pid} on .* \(record\)") as refused:
                Writer(tape_folder)
            assert "--data" in refused.value.hint
        assert (tape_folder / "00000000.tape").read_bytes() == before
        first.kill()


def test_r37_the_lock_of_a_killed_writer_is_taken_over_with_what_it_wrote(tape_folder: Path) -> None:
    with holder(tape_folder) as first:
        first.send_signal(signal.SIGKILL)
        first.wait(20)
    tape = Writer(tape_folder)
    assert tape.opened.taken_over is not None
    assert tape.opened.taken_over.pid == first.pid
    assert (tape.position, tape.epoch, tape.head.pid) == (101, 2, os.getpid())
    tape.append(trades([100]))
    tape.close()
    assert ids(tape_folder) == list(range(101))
    after = Writer(tape_folder)
    assert after.opened.taken_over is None  # a writer that closed leaves no story
    after.close()


def test_a_lock_whose_owner_died_while_naming_itself_is_taken(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b'{"pid": 12')
    lock = Lock(tmp_path / "lock", "record")
    assert lock.taken_over is None
    with pytest.raises(Busy, match=rf"process {os.getpid()} "):
        Lock(tmp_path / "lock", "repair")
    lock.release()
    Lock(tmp_path / "lock", "record").release()


def test_a_writer_that_cannot_open_its_tape_gives_the_lock_back(tape_folder: Path) -> None:
    Writer(tape_folder, capacity=CAPACITY).close()
    meta = (tape_folder / "tape.json").read_bytes()
    (tape_folder / "tape.json").write_bytes(b"{")
    with pytest.raises(Damaged, match=r"tape\.json"):
        Writer(tape_folder)
    (tape_folder / "tape.json").write_bytes(meta)
    Writer(tape_folder).close()
