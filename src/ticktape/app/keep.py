"""Wires the keeping process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from ticktape.config import Config, convert, keys_of
from ticktape.errors import Misconfigured
from ticktape.keep.process import KeepSettings
from ticktape.keep.run import keep
from ticktape.keep.schedule import world_of
from ticktape.keep.spot import Venue
from ticktape.keep.venue import BinanceVenue
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.tape.directory import TapeDirectory

log = structlog.get_logger("keep")


def settings_of(world: Path, config: Config) -> KeepSettings:
    """Return what keep is told of a world. Raises Misconfigured."""
    keep_config = config.keep
    if keep_config.backup_to and keep_config.backup_every_h <= 0:
        raise Misconfigured("keep.backup_every_h must be above 0", hint="see config.example.toml")
    return KeepSettings(
        data=world,
        hot_hours=keep_config.hot_hours,
        flush_every_s=keep_config.flush_every_s,
        retain_days=keep_config.retain_days,
        spot_every_s=keep_config.spot_every_s,
        quality_every_s=keep_config.quality_every_s,
        backup_to=keep_config.backup_to,
        backup_every_h=keep_config.backup_every_h,
        backup_keep=keep_config.backup_keep,
        drill_every_days=keep_config.drill_every_days,
    )


def venues(config: Config, directory: TapeDirectory) -> Mapping[str, Venue]:
    """Return the sources whose venue can be asked again, by name; the recorder tells what is wrong with the others."""
    found: dict[str, Venue] = {}
    for name, table in config.sources.items():
        rest = dict(table)
        if rest.pop("kind", name) != "binance" or not config.keep.spot_venue:
            continue
        try:
            found[name] = BinanceVenue(convert(rest, BinanceSettings, f"sources.{name}"), directory)
        except Misconfigured as error:
            log.warning("spot.venue_misconfigured", source=name, error=error.message)
    return found


async def run_keep(world: Path, config: Config, stop: asyncio.Event) -> None:
    """Keep until `stop` is set."""
    backed_up = world_of(world, keys_of(world))
    await keep(settings_of(world, config), stop, world=backed_up, venues=lambda directory: venues(config, directory))
