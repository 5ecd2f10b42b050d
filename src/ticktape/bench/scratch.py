"""A tape to be thrown away: a real writer and a real judge on the real disk, closed without making it last."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ticktape.bench.result import Wrong
from ticktape.bench.ticks import SOURCE
from ticktape.model.records import Channel
from ticktape.record import judge
from ticktape.record.append import Appender
from ticktape.tape import segment
from ticktape.tape.writer import Writer

SEGMENT = 1 << 20  # as the recorder makes them
SMALL_SEGMENT = 1 << 16


class ForgetfulDisk(segment.Disk):
    """A real disk until `forget`: from then on it syncs nothing, because all of it is about to be deleted."""

    def __init__(self) -> None:
        self._forgets = False

    def forget(self) -> None:
        """Sync no more."""
        self._forgets = True

    def sync(self, fd: int) -> None:
        """Bring a file's bytes to stable storage, unless nobody will want them."""
        if not self._forgets:
            super().sync(fd)


@contextmanager
def appender(folder: Path, *, sync_every_ms: float = 0.0, quick: bool = False) -> Generator[Appender]:
    """Open a tape in `folder`, which may hold one, with the strictest rule for ids: dense, every hole a gap."""
    disk = ForgetfulDisk()
    capacity = SMALL_SEGMENT if quick else SEGMENT
    tape = Writer(folder, sample=True, capacity=capacity, sync_every_ms=sync_every_ms, disk=disk, role="bench")
    try:
        made = Appender(tape)
        made.rule(SOURCE, Channel.TRADE, judge.RULE_DENSE)
        made.rebuild()
        yield made
    finally:
        disk.forget()
        tape.close()


def insist(made: Appender, stored: int) -> None:
    """Raise Wrong unless exactly `stored` records went in and the judge found nothing to say of them."""
    counts = dict(zip(judge.COUNTED, made.counts[SOURCE].tolist(), strict=True))
    if counts.pop("stored") != stored or any(counts.values()):
        raise Wrong(f"{stored} records went in, and the judge counted {made.counts[SOURCE].tolist()}")
