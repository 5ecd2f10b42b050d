"""Runs a part until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop


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
