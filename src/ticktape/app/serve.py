"""Wires the answering process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ticktape.config import Config, keys_of
from ticktape.serve.past.asks import Allowance
from ticktape.serve.process import ServeSettings, serve


async def run_serve(world: Path, config: Config, stop: asyncio.Event) -> None:
    """Answer until `stop` is set."""
    past = config.serve.past
    settings = ServeSettings(
        data=world,
        keys=keys_of(world),
        host=config.serve.host,
        port=config.serve.port,
        past=Allowance(
            seconds=past.seconds, memory_mb=past.memory_mb, rows_read=past.rows_read, answer_mb=past.answer_mb
        ),
        past_workers=past.workers,
        past_queue=past.queue,
        past_per_key=past.per_key,
        retain_days=config.keep.retain_days,
    )
    await serve(settings, stop)
