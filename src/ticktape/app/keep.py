"""Wires the keeping process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ticktape.config import Config
from ticktape.keep.process import KeepSettings, keep


async def run_keep(world: Path, config: Config, stop: asyncio.Event) -> None:
    """Keep until `stop` is set."""
    await keep(KeepSettings(data=world, hot_hours=config.keep.hot_hours), stop)
