"""Events handed to functions, on a thread of its own: for programs that know nothing of asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from ticktape.client.live import Feed
from ticktape.client.records import Event
from ticktape.errors import BadInput

Callback = Callable[[Event], None]


class Callbacks:
    """Feeds and the functions that take their events. A function that raises ends all; `stop` and `join` raise it."""

    def __init__(self) -> None:
        self._added: list[tuple[Feed, Callback]] = []
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._ready = threading.Event()
        self._failed: BaseException | None = None

    def add(self, feed: Feed, callback: Callback) -> None:
        """Have a function called with each event of a feed. Raises BadInput once it runs."""
        if self._thread is not None:
            raise BadInput("it runs already", hint="add_callback before start")
        self._added.append((feed, callback))

    def start(self) -> None:
        """Begin. Raises BadInput when there is nothing to do, or it runs."""
        if self._thread is not None or not self._added:
            raise BadInput("nothing to start, or it runs already", hint="add_callback, then start")
        self._ready.clear()
        self._failed = None
        self._thread = threading.Thread(target=self._main, name="ticktape-callbacks", daemon=True)
        self._thread.start()
        self._ready.wait()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until every feed ended (a replay does). Raises what a function or a feed raised."""
        if self._thread is None:
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return
        self._thread = None
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed

    def stop(self) -> None:
        """End it: when this returns, no function is called any more. Raises what a function or a feed raised."""
        if self._thread is None:
            return
        if self._thread is threading.current_thread():
            raise BadInput("stop from within a callback", hint="raise, or call it from another thread")
        if self._thread.is_alive() and self._loop is not None and self._over is not None:
            with suppress(RuntimeError):  # it ended by itself a moment ago
                self._loop.call_soon_threadsafe(self._over.set)
        self.join()

    def _main(self) -> None:
        try:
            asyncio.run(self._all())
        except* Exception as several:  # noqa: BLE001  # raised again in the thread that asks
            self._failed = several.exceptions[0]
        finally:
            self._ready.set()

    async def _all(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_hand_on(feed, callback)) for feed, callback in self._added]
            waiting = group.create_task(self._until_over(tasks))
            self._ready.set()
            await asyncio.wait(tasks)
            waiting.cancel()

    async def _until_over(self, tasks: list[asyncio.Task[None]]) -> None:
        assert self._over is not None
        await self._over.wait()
        for task in tasks:
            task.cancel()


async def _hand_on(feed: Feed, callback: Callback) -> None:
    async for event in feed:
        callback(event)
