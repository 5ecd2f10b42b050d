"""The only wiring: configuration in, running parts out."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from ticktape.config import Config, convert, keys_of
from ticktape.errors import Misconfigured
from ticktape.keep.process import KeepSettings, keep
from ticktape.record.append import Limits
from ticktape.record.process import Recorder, RecordSettings, SourceMaker
from ticktape.serve.process import ServeSettings, serve
from ticktape.simulate.listings import listings
from ticktape.sources.archive.source import ArchiveSettings, ArchiveSource
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.sources.binance.source import BinanceSource
from ticktape.sources.capture.source import CaptureSettings, CaptureSource
from ticktape.sources.contract import Directory, Source
from ticktape.tape.directory import TapeDirectory

_KINDS: dict[str, tuple[type[msgspec.Struct], Callable[[Any, Directory, str], Source]]] = {
    "binance": (BinanceSettings, BinanceSource),
    "capture": (CaptureSettings, CaptureSource),
    "archive": (ArchiveSettings, ArchiveSource),
}


def source_maker(name: str, table: dict[str, Any]) -> SourceMaker:
    """Return what builds a configured source. Raises Misconfigured naming the key."""
    rest = dict(table)
    kind = rest.pop("kind", name)
    if kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise Misconfigured(f"sources.{name}: no kind '{kind}'; there are {known}", hint="see ADD_A_SOURCE.md")
    settings_type, make = _KINDS[kind]
    settings = convert(rest, settings_type, f"sources.{name}")
    return lambda directory: make(settings, directory, name)


def source_makers(config: Config) -> tuple[list[SourceMaker], list[Misconfigured]]:
    """Return the makers of the healthy sources, and what is wrong with the others."""
    makers: list[SourceMaker] = []
    wrong: list[Misconfigured] = []
    for name, table in config.sources.items():
        try:
            makers.append(source_maker(name, table))
        except Misconfigured as error:
            wrong.append(error)
    return makers, wrong


def recorder(world: Path, config: Config, makers: list[SourceMaker]) -> Recorder:
    """Open the tape of a world and put its sources behind it."""
    limits = Limits(**msgspec.to_builtins(config.record.limits))
    settings = RecordSettings(
        data=world,
        sample=config.sample,
        durability=config.record.durability,
        sync_every_ms=config.record.sync_every_ms,
        segment_records=config.record.segment_records,
        keep_raw=config.record.keep_raw,
        limits=limits,
    )
    if config.sample:
        _enrol_samples(world / "tape")
    return Recorder(settings, makers)


def _enrol_samples(folder: Path) -> None:
    # The simulated venue speaks a crypto venue's protocol; what its futures and shares are, only we know.
    directory = TapeDirectory(folder)
    for listing in listings():
        if directory.find(listing.venue, listing.symbol) is None:
            directory.enrol(listing.venue, listing.symbol, listing)
    directory.close()


async def run_record(world: Path, config: Config, makers: list[SourceMaker], stop: asyncio.Event) -> None:
    """Record until `stop` is set."""
    await recorder(world, config, makers).run(stop)


async def run_serve(world: Path, config: Config, stop: asyncio.Event) -> None:
    """Answer until `stop` is set."""
    settings = ServeSettings(data=world, keys=keys_of(world), host=config.serve.host, port=config.serve.port)
    await serve(settings, stop)


async def run_keep(world: Path, config: Config, stop: asyncio.Event) -> None:
    """Keep until `stop` is set."""
    await keep(KeepSettings(data=world, hot_hours=config.keep.hot_hours), stop)


def until_told(part: Callable[[asyncio.Event], Coroutine[Any, Any, None]], *, supervised: bool = False) -> None:
    """Run a part until SIGTERM or SIGINT asks it to stop, or, when supervised, until the supervisor is gone."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if supervised:
            loop.add_reader(sys.stdin.fileno(), _gone, loop, stop)
        await part(stop)

    uvloop.run(main())


def _gone(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # The supervisor writes nothing, so that anything to read is the end of its pipe.
    loop.remove_reader(sys.stdin.fileno())
    stop.set()
