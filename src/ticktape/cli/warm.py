"""Compiles every kernel by using it once on a small tape, so that no first tick waits for a compiler.

Numba keeps what it compiled beside the source (or in NUMBA_CACHE_DIR), so a second call takes a second.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

CAPACITY = 8192  # records: a small tape will do


def warm() -> None:
    """Run each kernel once, with one line of progress each on stderr when it took long."""
    with TemporaryDirectory(prefix="ticktape-warm-") as folder:
        for name, use in (
            ("tape", _tape),
            ("judge", _judge),
            ("bars", _bars),
            ("stream", _stream),
            ("decimals", _decimals),
        ):
            start = time.monotonic()
            use(Path(folder))
            took_s = time.monotonic() - start
            if took_s > 1:
                typer.echo(f"compiled {name} ({took_s:.0f} s)", err=True)


def _tape(folder: Path) -> None:
    """Append, follow, read back, verify and recover."""
    from ticktape.model.records import Kind, empty
    from ticktape.tape.kernels import CHAIN_TRADE
    from ticktape.tape.reader import Reader
    from ticktape.tape.verify import verify
    from ticktape.tape.writer import Writer

    batch = empty(3)
    batch["kind"], batch["instrument"] = Kind.TRADE, 1
    for _ in range(2):  # the second time it recovers
        tape = Writer(folder, sample=True, capacity=CAPACITY, sync_every_ms=0, role="warm")
        tape.append(batch)
        reader = Reader(folder)
        reader.follow()
        reader.latest(1, CHAIN_TRADE, 2)
        tape.close()
    verify(folder)


def _judge(folder: Path) -> None:
    """Judge and append, and rebuild what the judge knows."""
    from ticktape.model.records import Channel, Kind, empty
    from ticktape.record import judge
    from ticktape.record.append import Appender
    from ticktape.tape.writer import Writer

    batch = empty(3)
    batch["kind"], batch["instrument"], batch["source"] = Kind.TRADE, 1, 1
    batch["a"] = batch["b"] = 1
    batch["c"] = (1, 3, 2)
    tape = Writer(folder, sample=True, capacity=CAPACITY, sync_every_ms=0, role="warm")
    try:
        appender = Appender(tape)
        appender.rule(1, Channel.TRADE, judge.RULE_DENSE)
        appender.rebuild()
        appender.append(batch)
        appender.missing(1, Channel.TRADE, 0, 3)
    finally:
        tape.close()


def _bars(folder: Path) -> None:
    """Build bars from the small tape and copy them out."""
    from ticktape.model.bars import TIMEFRAMES, Basis
    from ticktape.serve.readers.bars import BarReader
    from ticktape.tape.reader import Reader

    reader, bars = Reader(folder), BarReader()
    bars.absorb(reader, reader.first, reader.end)
    bars.latest(1, next(iter(TIMEFRAMES)), Basis.TRADES, 10)
    bars.pass_over(reader, reader.end, reader.end)


def _stream(folder: Path) -> None:
    """Choose from the small tape."""
    from ticktape.serve.stream.feed import warm_kernels

    warm_kernels(folder)


def _decimals(_: Path) -> None:
    """Parse a price."""
    from ticktape.sources import decimals

    decimals.warm()
