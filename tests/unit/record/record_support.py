"""What the recorder's tests share: a judge on a tape of its own, and a source without a venue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tape_support import CAPACITY, market

from ticktape.clock import Clock
from ticktape.model.records import Channel, Completeness, GapCause, GapState, Ints, Kind, Records, unpack_gap
from ticktape.record import judge
from ticktape.record.append import Appender, Limits
from ticktape.record.memory import Memory
from ticktape.sources.contract import Batch, Directory, Hole, Sink, Watched
from ticktape.tape import segment
from ticktape.tape.reader import Reader
from ticktape.tape.writer import Writer


class Gap(NamedTuple):
    """A GAP record, unpacked."""

    id: int
    state: GapState
    cause: GapCause
    channel: Channel
    first: int
    last: int
    start_ns: int
    end_ns: int
    source: int
    instrument: int
    position: int


def gaps_in(records: Records, first: int = 0) -> list[Gap]:
    """Return the GAP records among those of a tape that begins at `first`."""
    out: list[Gap] = []
    for place in np.flatnonzero(records["kind"] == Kind.GAP).tolist():
        r, shape = records[place], unpack_gap(int(records[place]["d"]))
        start = int(r["ts_event"])
        out.append(
            Gap(
                int(r["a"]), GapState(int(r["side"])), shape.cause, shape.channel, int(r["b"]), int(r["c"]),
                start, start + shape.duration_ns, int(r["source"]), int(r["instrument"]), first + place,
            )
        )  # fmt: skip
    return out


class Judged:
    """A judge and its tape. Sources 1 and 2 number trades densely and books rising; source 3 not at all."""

    def __init__(self, folder: Path, *, limits: Limits | None = None, disk: segment.Disk | None = None) -> None:
        self.folder, self._limits, self._disk = folder, limits, disk
        self.remembered: Memory | None = None  # what the next opening is told
        self._open()

    def _open(self) -> None:
        self.tape = Writer(self.folder, capacity=CAPACITY, sync_every_ms=0, disk=self._disk)
        self.appender = Appender(self.tape, self._limits)
        for source in (1, 2):
            for channel in (Channel.TRADE, Channel.AGG_TRADE, Channel.QUOTE):
                self.appender.rule(source, channel, judge.RULE_DENSE)
            self.appender.rule(source, Channel.BOOK, judge.RULE_RISING)
        self.lost: Any = self.appender.rebuild(self.remembered)

    def reopen(self) -> None:
        """Close and open again: the judge knows only what the tape tells."""
        self.tape.close()
        self._open()

    def feed(self, *batches: Records) -> None:
        """Append batches."""
        for batch in batches:
            self.appender.append(batch)

    def close(self) -> None:
        """Close the tape."""
        self.tape.close()

    @property
    def all(self) -> Records:
        """Everything on the tape."""
        reader = Reader(self.folder)
        return reader.view(reader.first, reader.end).copy()

    @property
    def stored(self) -> Records:
        """What the market said, as stored."""
        return market(self.all)

    @property
    def ids(self) -> list[int]:
        """The ids stored, in order."""
        return self.stored["c"].tolist()

    @property
    def gaps(self) -> list[Gap]:
        """The gap records, in order."""
        return gaps_in(self.all)

    def counts(self, source: int = 1) -> dict[str, int]:
        """What was counted since the last opening, without the zeros."""
        row = self.appender.counts[source].tolist()
        return {name: n for name, n in zip(judge.COUNTED, row, strict=True) if n}


def cells_of(appender: Appender) -> Any:
    """Return a copy of what the judge remembers, without where its holes lie and which repeats it met."""
    cells = appender._cells.copy()  # pyright: ignore[reportPrivateUsage]
    for name in ("hole", "repeats", "twin_id", "twin_ts", "twin_price", "twin_size"):
        cells[name] = 0
    return cells


def missing(appender: Appender, instrument: int, first: int, last: int) -> list[int]:
    """Return which ids were never stored, one by one."""
    return [i for i in range(first, last + 1) if appender.missing(instrument, Channel.TRADE, i, i)]


def permuted(ids: Ints | Sequence[int], seed: int) -> Ints:
    """Return ids in random order."""
    return np.random.default_rng(seed).permutation(np.asarray(ids, dtype=np.int64))


Script = Callable[["Scripted", Sink], Any]


class Scripted:
    """A source whose connections run a script; the `Source` contract without a venue."""

    def __init__(
        self,
        script: Script,
        *,
        name: str = "scripted",
        completeness: Mapping[Channel, Completeness] | None = None,
        history: Callable[[Hole], AsyncIterator[Batch]] | None = None,
    ) -> None:
        self.name = name
        self.completeness = completeness or {Channel.TRADE: Completeness.SEQUENCE}
        self.symbols: list[str] = []
        self.finished = False
        self.connections = 0
        self.open_now = 0
        self.most_open = 0
        self._script, self._history = script, history

    def __call__(self, directory: Directory) -> Scripted:
        return self

    async def connect(self, sink: Sink) -> None:
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await self._script(self, sink)
        finally:
            self.open_now -= 1

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        raise AssertionError("a scripted source delivers batches")

    async def fill(self, hole: Hole) -> AsyncIterator[Batch]:
        if self._history is not None:
            async for batch in self._history(hole):
                yield batch

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        await asyncio.sleep(0)
        self.symbols = [s for s in self.symbols if s not in remove] + list(add)


TRADES = [Watched(1, Channel.TRADE)]


async def until(what: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait until something is so; fail when it does not come about."""
    async with asyncio.timeout(timeout_s):
        while not what():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)


def stamped(records: Records, clock: Clock) -> Records:
    """Return records as if they happened and came now."""
    records["ts_event"] = records["ts_recv"] = clock.now_ns()
    return records
