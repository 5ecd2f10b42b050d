"""What other processes do for a bench: `python -m ticktape.bench.roles ROLE '{...}'`. One JSON line says each step.

Each ends at the end of its standard input, which its parent holds, so that none outlives a bench.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import msgspec
import uvloop

from ticktape import log
from ticktape.bench.feed import RoundsSource
from ticktape.bench.scratch import appender
from ticktape.bench.ticks import Live, Rounds, pace
from ticktape.keep.flush import Flusher
from ticktape.record.process import Recorder, RecordSettings
from ticktape.tape.reader import Reader

T = TypeVar("T", bound=msgspec.Struct)


class Fill(msgspec.Struct, frozen=True):
    """Append `records` trades in batches of 1,000, say so, and go on slowly until killed."""

    folder: Path
    records: int
    quick: bool


class Pace(msgspec.Struct, frozen=True):
    """Append at a rate in batches each millisecond; says when it has begun."""

    folder: Path
    per_s: float
    instruments: int
    quick: bool


class Record(msgspec.Struct, frozen=True):
    """Run a recorder whose source delivers `ticks` in `portions`; says each portion."""

    data: Path
    ticks: int
    portions: int
    per_s: float  # ticks a second of the machine
    market_per_s: float  # ticks a second of market time
    quick: bool


class Flush(msgspec.Struct, frozen=True):
    """Be the keeper of a tape at rest: flush it whole; says when it begins, and what became of it."""

    folder: Path


def say(**what: object) -> None:
    """Print one line of JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def _ended() -> threading.Event:
    over = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        over.set()

    threading.Thread(target=wait, name="stdin", daemon=True).start()
    return over


def fill(told: Fill) -> None:
    """Write the past of a tape."""
    over, done, rounds = _ended(), 0, Rounds()
    with appender(told.folder, quick=told.quick) as made:
        while not over.is_set():
            for batch in rounds.advance():
                made.append(batch)
                done += len(batch)
            if done >= told.records:
                say(records=done)
                time.sleep(0.001)


def paced(told: Pace) -> None:
    """Be the recorder of a busy market, at the default durability."""
    over, live = _ended(), Live(told.instruments)
    with appender(told.folder, sync_every_ms=20.0, quick=told.quick) as made:
        say(position=made.append(live.take(told.instruments)))

        def send(due: int) -> int:
            batch = live.take(due)
            made.append(batch)
            return len(batch)

        pace(told.per_s, over.is_set, send)


def record(told: Record) -> None:
    """Be `ticktape record` with a source that needs no socket."""
    over = _ended()
    capacity = 1 << 16 if told.quick else 1 << 20
    settings = RecordSettings(data=told.data, sample=True, segment_records=capacity)

    async def main() -> None:
        stop = asyncio.Event()
        source = RoundsSource(told.ticks, told.portions, told.per_s, told.market_per_s, lambda n: say(ticks=n))
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(None, over.wait)
        waiting.add_done_callback(lambda _: stop.set())
        await Recorder(settings, [source.made]).run(stop)

    uvloop.run(main())


def flush(told: Flush) -> None:
    """Move a tape into the lake beside it, after everything was loaded on a tape of its own."""
    over = _ended()
    with TemporaryDirectory(dir=told.folder) as warm:
        with appender(Path(warm) / "tape", quick=True) as made:
            made.append(Rounds().advance()[0])
        Flusher(Path(warm) / "lake", Reader(Path(warm) / "tape")).flush()
    flusher = Flusher(told.folder / "lake", Reader(told.folder / "tape"))
    say(begun=True)
    began = time.perf_counter()
    done = flusher.flush()
    took = time.perf_counter() - began
    trades = [each for each in done if each.table == "trades"]
    say(rows=sum(each.rows for each in trades), trades_s=sum(each.seconds for each in trades), all_s=took)
    over.wait()


def main() -> None:
    """Entry point."""
    log.configure("error")
    name, told = sys.argv[1:3]
    if name == "fill":
        fill(_told(told, Fill))
    elif name == "pace":
        paced(_told(told, Pace))
    elif name == "flush":
        flush(_told(told, Flush))
    else:
        record(_told(told, Record))


def _told(text: str, kind: type[T]) -> T:
    return msgspec.json.decode(text, type=kind, dec_hook=lambda path, value: path(value))


if __name__ == "__main__":
    main()
