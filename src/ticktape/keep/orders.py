"""What keep answers on `keep.sock`, one JSON object a line (control.py).

{"call": "stat"}                                              -> {"ok": KeepStat}
{"call": "flush" | "cleanup" | "spot" | "quality" | "backup"} -> {"ok": {"done": true, "result": ...}}

Work that takes longer than ANSWER_S goes on and is answered with {"done": false}; asked again, it is the same work
until it is done. Of each sort one runs at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ticktape.errors import BadInput, TicktapeError, Unavailable

ANSWER_S = 10.0

Work = Callable[[], Awaitable[Any]]


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """A request."""

    call: str


class Answered(msgspec.Struct, frozen=True):
    """What became of an order."""

    done: bool
    result: Any = None


class Orders:
    """Takes orders. `works` by name; `stat` answers at once."""

    def __init__(self, stat: Callable[[], Any], works: Mapping[str, Work], answer_s: float = ANSWER_S) -> None:
        self._stat, self._works, self._answer_s = stat, works, answer_s
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def __call__(self, call: Call) -> Any:
        """Answer one request. Raises BadInput, and what the work raises."""
        if call.call == "stat":
            return self._stat()
        work = self._works.get(call.call)
        if work is None:
            raise BadInput(f"no call '{call.call[:40]!a}'", hint=f"stat, {', '.join(self._works)}")
        task = self._running.get(call.call)
        if task is None:
            task = self._running[call.call] = asyncio.create_task(_told(work), name=f"keep:{call.call}")
        done, _ = await asyncio.wait([task], timeout=self._answer_s)
        if not done:
            return Answered(done=False)
        self._running.pop(call.call, None)
        return Answered(done=True, result=task.result())

    async def close(self) -> None:
        """Wait for what was begun: threads cannot be stopped, and the lake's lock is given back only after them."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)


async def _told(work: Work) -> Any:
    try:
        return await work()
    except (TicktapeError, asyncio.CancelledError):
        raise
    except OSError as error:
        raise Unavailable(f"it failed: {error.strerror or error}", hint="ticktape doctor") from error
