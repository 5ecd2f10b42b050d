"""Keeps the processes of one data folder alive: starts them, restarts what dies, stops in the order of the data."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger("up")

FIRST_PAUSE_S = 0.5
MOST_PAUSE_S = 30.0
STEADY_S = 30.0
STOP_S = 8.0  # in all; what has not stopped by then is killed


@dataclass(slots=True)
class Child:
    """One process: its name, its command, and how often it had to be started again."""

    name: str
    command: Sequence[str]
    silent: bool = False  # what it prints is for programs
    restarts: int = 0
    process: asyncio.subprocess.Process | None = None
    failed_in_a_row: int = field(default=0)


class Supervisor:
    """Runs the children until `stop`."""

    def __init__(self, children: Sequence[Child], environment: dict[str, str] | None = None) -> None:
        self.children = list(children)
        self._environment = environment

    async def run(self, stop: asyncio.Event) -> None:
        """Start all, keep all, and on `stop` end them one after the other, first to last."""
        async with asyncio.TaskGroup() as tasks:
            keepers = [tasks.create_task(self._keep(c, stop), name=f"keep:{c.name}") for c in self.children]
            await stop.wait()
            for keeper in keepers:
                keeper.cancel()
        await self._stop_all()

    async def _keep(self, child: Child, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            began = loop.time()
            # Its standard input is a pipe that we hold: it ends when we do, however we do, and the child then stops.
            child.process = await asyncio.create_subprocess_exec(
                *child.command,
                env=self._environment,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL if child.silent else None,
                start_new_session=True,
            )
            code = await child.process.wait()
            if stop.is_set():
                return
            steady = loop.time() - began > STEADY_S
            child.failed_in_a_row = 0 if steady else child.failed_in_a_row + 1
            child.restarts += 1
            pause_s = min(FIRST_PAUSE_S * 2 ** min(child.failed_in_a_row, 8), MOST_PAUSE_S)
            log.error("process.died", process=child.name, code=_how(code), retry_s=pause_s, restarts=child.restarts)
            await asyncio.sleep(pause_s)

    async def _stop_all(self) -> None:
        deadline = asyncio.get_running_loop().time() + STOP_S
        for child in self.children:
            await self._end(child, deadline)

    async def _end(self, child: Child, deadline: float) -> None:
        process = child.process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        left = max(deadline - asyncio.get_running_loop().time(), 0.5)
        try:
            async with asyncio.timeout(left):
                await process.wait()
        except TimeoutError:
            log.error("process.killed", process=child.name, after_s=round(left, 1))
            process.kill()
            await process.wait()


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else str(code)


def environment() -> dict[str, str]:
    """Return the environment children get: ours, with output unbuffered so that no last word is lost."""
    return {**os.environ, "PYTHONUNBUFFERED": "1"}
