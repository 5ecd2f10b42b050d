"""Wires the recorder: sources by their kind, the tape of a world, limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ticktape.config import Config, convert
from ticktape.errors import Misconfigured
from ticktape.record.append import Limits
from ticktape.record.process import Recorder, RecordSettings, SourceMaker
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
