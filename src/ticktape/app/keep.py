"""Wires the keeping process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ticktape.config import Config
from ticktape.keep.process import KeepSettings, keep


async def run_keep(world: Path, config: Config, stop: asyncio.Event) -> None:
    """Keep until `stop` is set."""
    settings = KeepSettings(
        data=world,
        hot_hours=config.keep.hot_hours,
        flush_every_s=config.keep.flush_every_s,
        retain_days=config.keep.retain_days,
    )
    await keep(settings, stop)
