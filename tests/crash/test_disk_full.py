"""R7 on a real small file system: no crash, no SIGBUS, an answer all the while, and on again when there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tape_support import market, poll, trades

from ticktape.errors import DiskFull
from ticktape.model.records import Kind, empty
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer

pytestmark = pytest.mark.timeout(60)

CAPACITY = 16_384  # 1 MiB


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """Return a file system of 6 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command: cannot make a small file system")
    if made.returncode:
        pytest.skip(f"cannot mount a small file system: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def blobs_until_full(tape: Writer) -> int:
    for count in range(100):
        try:
            tape.blob(bytes(1 << 20))
        except DiskFull:
            return count
    return 100


def use_up(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        while True:
            ballast.write(bytes(4096))


def test_r07_a_small_disk_fills_up_and_is_emptied_under_a_writer(small: Path) -> None:
    ballast = small / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    folder, done, refused = small / "tape", 0, 0
    tape = Writer(folder, capacity=CAPACITY, sync_every_ms=5)
    while refused < 5:
        try:
            tape.append(trades(range(done, done + 500)))
            done += 500
        except DiskFull:
            refused += 1
            assert blobs_until_full(tape) < 5
    status = empty(1)
    status["kind"] = Kind.STATUS
    for _ in range(1000):
        tape.append(status, system=True)  # the tape can still speak
    reader = Reader(folder)
    stored = market(reader.view(0, reader.end))["c"]
    assert np.array_equal(stored[:done], np.arange(done))  # and be read
    assert done > 3 * CAPACITY

    ballast.unlink()
    poll(lambda: not tape.low_space)
    for k in range(3):
        tape.append(trades(range(10**6 + k * 100, 10**6 + k * 100 + 100)))
    assert tape.sync.flush(tape.position)
    tape.close()
    again = Reader(folder)
    assert market(again.view(0, again.end))["c"][-300:].tolist() == list(range(10**6, 10**6 + 300))


def test_r07_a_tape_opens_on_a_disk_that_is_full(small: Path) -> None:
    folder = small / "tape"
    tape = Writer(folder, capacity=CAPACITY, sync_every_ms=0)
    tape.append(trades(range(100)))
    tape.close()
    with pytest.raises(OSError, match="No space"):
        use_up(small)
    again = Writer(folder, sync_every_ms=0)
    assert f'"pid":{os.getpid()}' in (folder / "writer.lock").read_text()  # and can still say who writes it
    again.append(trades(range(100, 200)))
    again.close()
    reader = Reader(folder)
    assert market(reader.view(0, reader.end))["c"].tolist() == list(range(200))
