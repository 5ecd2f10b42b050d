"""Wires the answering process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ticktape.config import Config, keys_of
from ticktape.serve.process import ServeSettings, serve


async def run_serve(world: Path, config: Config, stop: asyncio.Event) -> None:
    """Answer until `stop` is set."""
    settings = ServeSettings(data=world, keys=keys_of(world), host=config.serve.host, port=config.serve.port)
    await serve(settings, stop)
