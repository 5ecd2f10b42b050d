"""Trims the tape behind the hot window, where one is set. It never trims by itself: what it deletes is gone.

Until the lake exists nothing else holds the ticks, so the default keeps everything of real data. SAMPLE data and
replays are kept an hour. Age is read from the tape, so a wrong clock deletes nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import structlog

from ticktape.errors import Misconfigured
from ticktape.tape.reader import Reader, trim

log = structlog.get_logger("keep")

LOOK_EVERY_S = 10.0


class KeepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What keep is told."""

    data: Path
    hot_hours: float = 0.0  # trim what is older; 0 keeps everything


def behind(reader: Reader, hot_ns: int) -> int:
    """Return the position behind which every record is older than the hot window."""
    end = reader.refresh()
    if end <= reader.first:
        return reader.first
    capacity = reader.meta.capacity
    newest = int(reader.records[end - 1 - reader.base]["ts_recv"])
    position = reader.first
    while position + capacity <= end:
        last = position + capacity - 1 - reader.base
        if int(reader.records[last]["ts_recv"]) > newest - hot_ns:
            break
        position += capacity
    return position


async def keep(settings: KeepSettings, stop: asyncio.Event) -> None:
    """Trim now and then until `stop` is set."""
    reader = await _reader(settings.data / "tape", stop)
    if reader is None:
        return
    log.info("keep.started", hot_hours=settings.hot_hours or "everything")
    while not stop.is_set():
        if settings.hot_hours > 0:
            gone = trim(reader.folder, behind(reader, int(settings.hot_hours * 3600e9)))
            if gone:
                log.info("tape.trimmed", segments=gone, first=reader.release())
        await _pause(stop, LOOK_EVERY_S)
    log.info("keep.stopped")


async def _reader(folder: Path, stop: asyncio.Event) -> Reader | None:
    while not stop.is_set():
        try:
            return Reader(folder)
        except (Misconfigured, FileNotFoundError):  # the recorder has not made it yet
            await _pause(stop, 0.5)
    return None


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
