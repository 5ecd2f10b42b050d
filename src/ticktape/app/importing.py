"""Runs a recorder on one source until that is finished: how files and history get onto a tape at rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ticktape.errors import Busy, Misconfigured, TicktapeError
from ticktape.model.records import Status
from ticktape.record.process import Recorder, RecordSettings, SourceMaker
from ticktape.serve.control import Control
from ticktape.serve.past.desk import Classes
from ticktape.sources.archive.source import ArchiveSource
from ticktape.sources.contract import Sink, Watched
from ticktape.tape.meta import load
from ticktape.tape.segment import DEFAULT_CAPACITY

LOOK_S = 0.05
NEVER_S = 1e12  # gaps of a file stay as they are: it has no history to fill them from

Tell = Callable[[int], None]


class Imported(msgspec.Struct, kw_only=True):
    """What became of one source's records."""

    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    gaps: int = 0
    trouble: str = ""  # why it ended early

    @property
    def ok(self) -> bool:
        """Say whether it was read to its end."""
        return not self.trouble


def sample_world(world: Path) -> bool:
    """Say whether a world is SAMPLE; a world without a tape yet is real."""
    try:
        return load(world / "tape").sample
    except Misconfigured:
        if (world / "tape" / "tape.json").exists():
            raise
        return False


async def run_source(
    world: Path, make: SourceMaker, *, sample: bool = False, tell: Tell | None = None, tries: int = 1
) -> Imported:
    """Record one source to its end, which may fail `tries` times. Raises Busy while somebody records."""
    settings = RecordSettings(data=world, sample=sample, segment_records=DEFAULT_CAPACITY, settle_s=NEVER_S)
    try:
        recorder = Recorder(settings, [make])
    except Busy as error:
        raise Busy(error.message, hint="stop `ticktape up` or `ticktape record`, import, start it again") from None
    runner, stop = recorder.runners[0], asyncio.Event()
    running = asyncio.create_task(recorder.run(stop), name="import:record")
    started, fell = False, set[int]()
    while not running.done():
        await asyncio.wait([running], timeout=LOOK_S)
        if tell is not None:
            counts = runner.pump.counts()
            tell(counts["stored"] + counts["duplicates"] + counts["quarantined"])
        # A small file may be over between two looks: that it was begun shows in what is left of it.
        started = started or runner.running or runner.pump.source.finished or runner.pump.trouble is not None
        if runner.pump.state is Status.SOURCE_DOWN and runner.pump.trouble is not None:
            fell.add(runner.pump.trouble.at_ns)
        if started and (not runner.running or len(fell) >= tries):
            break
    if started and not running.done():
        await _remember(world)
    stop.set()
    await running
    counts, trouble = runner.pump.counts(), runner.pump.trouble
    done = Imported(
        stored=counts["stored"], duplicates=counts["duplicates"], quarantined=counts["quarantined"], gaps=counts["gaps"]
    )
    if not runner.pump.source.finished:
        done.trouble = trouble.what if trouble else "it was stopped"
    elif done.quarantined and not done.stored + done.duplicates:
        done.trouble = "nothing in it was a record"
    return done


class HistoryArchive(ArchiveSource):
    """Archive files of days gone by: that nobody watched the channel since its last record is no gap."""

    async def connect(self, sink: Sink) -> None:
        """Read every file; see ArchiveSource."""
        await super().connect(_Unwatched(sink))


class _Unwatched:
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.frames, self.batch, self.lost = sink.frames, sink.batch, sink.lost
        self.alive, self.now_ns = sink.alive, sink.now_ns

    def up(self, watched: Sequence[Watched]) -> None:
        del watched
        self._sink.up([])


async def _remember(world: Path) -> None:
    """Have it noted how far this source can prove its channels, for certificates."""
    try:
        await Classes(world, Control(world / "record.sock")).known()
    except (TicktapeError, OSError):
        return  # a certificate will say that nobody told
