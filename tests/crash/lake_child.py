"""A keeper to be killed: flushes, compacts and expires one world over and over, in a process of its own."""

from __future__ import annotations

import os
import signal
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from ticktape import log
from ticktape.keep import compact
from ticktape.keep.expire import vacuum
from ticktape.keep.process import Keeper, KeepSettings
from ticktape.lake.disk import Disk
from ticktape.tape.reader import Reader

ROUNDS, STEP = 8, 400
_SERVER = get_context("forkserver")
_SERVER.set_forkserver_preload(["lake_child"])  # imports are most of a run


def keep_for_a_while(folder: Path, crash_at: str) -> None:
    """Take the tape in a few rounds, tidying up after each; end in `os._exit(3)` when all was done."""
    log.configure("critical")
    compact.MOST_FILES = 3
    disk = Disk(crash_at)
    settings = KeepSettings(data=folder, hot_hours=1.0, retain_days={"book": 1})
    keeper = Keeper(settings, Reader(folder / "tape"), disk=disk)
    first = keeper.reader.first
    for k in range(ROUNDS):
        keeper.flusher.flush(None if k == ROUNDS - 1 else first + (k + 1) * STEP)
        keeper.tidy()
        for catalogue in keeper.flusher.tables.values():
            vacuum(catalogue, disk, 0)
        keeper.trim()
    keeper.close()
    os._exit(3)


def start(folder: Path, crash_at: str = "") -> BaseProcess:
    """Start a keeper, to be killed at a named step or by the caller."""
    process = _SERVER.Process(target=keep_for_a_while, args=(folder, crash_at))
    process.start()
    return process


def ended(process: BaseProcess, timeout_s: float | None = None) -> str:
    """Wait, and return how it ended: killed, done, running, or failed."""
    process.join(timeout_s)
    return {-signal.SIGKILL: "killed", 3: "done", None: "running"}.get(process.exitcode, "failed")
