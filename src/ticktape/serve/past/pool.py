"""The workers: a few processes, started at the first question, bounded in number, queue, time and memory.

A process and not a thread: encoding rows would take turns with the event loop, a thread cannot be stopped, and what
a library leaks goes with the process. The policy when all are busy: a short queue, then 503; one key cannot fill it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import structlog

from ticktape.errors import BadInput, Damaged, TicktapeError, TooCostly, Unavailable
from ticktape.serve.limits import TooMany
from ticktape.serve.past.asks import LENGTH, Allowance, Ask, AskOlder, AskSql, Reply, Trouble, frame, read_reply

log = structlog.get_logger("serve")

WATCH_S = 0.05
START_S = 60.0
GRACE_S = 2.0  # a worker stops itself; this long after its time it is stopped
IDLE_S = 300.0
KEEP_BYTES = 512 << 20  # a worker that holds more after its answer is replaced
CHUNK = 256 << 10
MOST_SENDING = 256 << 20  # bytes of answers on their way to clients
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Overloaded(TicktapeError):
    """All workers are busy and the queue is full: come back in a moment (HTTP 503)."""

    retry_after_s = 1.0


class PoolSettings(NamedTuple):
    """How much may go on at once."""

    workers: int = 2
    queue: int = 8
    per_key: int = 4


class Body(NamedTuple):
    """An answer: its head and its bytes."""

    reply: Reply
    pieces: list[bytes]


class Pool:
    """Asks workers. Made without starting any."""

    def __init__(self, data: Path, settings: PoolSettings = PoolSettings()) -> None:  # noqa: B008
        self._data, self._settings = data, settings
        self._slots = asyncio.Semaphore(settings.workers)
        # Statements, and filling the rings after a start, take long: never in all workers at once, where
        # there are several.
        self._statements = asyncio.Semaphore(max(1, settings.workers - 1))
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._asking: Counter[str] = Counter()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self.sending = 0  # bytes; whoever sends keeps count

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers there are."""
        return sorted(worker.pid for worker in self._all)

    @property
    def asking(self) -> int:
        """How many questions are being answered or wait."""
        return self._asking.total()

    async def ask(self, key: str, ask: Ask) -> Body:
        """Return the answer. Raises TooMany, Overloaded, TooCostly, Unavailable, and what the worker refuses."""
        async with self._admitted(key), self._turn(ask):
            worker = self._idle.pop() if self._idle else await self._start()
            try:
                body = await worker.ask(ask, ask.allowance)
            except BaseException:
                await self._end(worker)
                raise
            odd = body.reply.trouble is not None and body.reply.trouble.kind == "internal"
            if odd or body.reply.held_bytes > KEEP_BYTES or self._closed:
                await self._end(worker)
            else:
                self._idle.append(worker)
                self._reap_later()
        if body.reply.trouble is not None:
            raise _error(body.reply.trouble)
        return body

    @asynccontextmanager
    async def _admitted(self, key: str) -> AsyncGenerator[None]:
        most = self._settings
        if self._asking[key] >= most.per_key:
            raise TooMany(f"more than {most.per_key} questions about the past at once", 1.0, hint="one after the other")
        if self.asking >= most.workers + most.queue or self.sending > MOST_SENDING:
            raise Overloaded("too many questions about the past are being answered", hint="try again in a second")
        self._asking[key] += 1
        try:
            yield
        finally:
            self._asking[key] -= 1
            self._asking += Counter()  # forget who asks nothing

    @asynccontextmanager
    async def _turn(self, ask: Ask) -> AsyncGenerator[None]:
        if isinstance(ask, AskSql | AskOlder):
            async with self._statements, self._slots:
                yield
        else:
            async with self._slots:
                yield

    async def _start(self) -> _Worker:
        worker = await _Worker.start(self._data)
        self._all.add(worker)
        return worker

    async def _end(self, worker: _Worker) -> None:
        self._all.discard(worker)
        await worker.end()

    def _reap_later(self) -> None:
        if self._reaper is not None:
            self._reaper.cancel()
        self._reaper = asyncio.get_running_loop().call_later(IDLE_S, self._reap)

    def _reap(self) -> None:
        # Nobody asked for a while: the memory goes back. A worker ends when its socket does.
        idle, self._idle = self._idle, []
        for worker in idle:
            self._all.discard(worker)
            worker.leave()

    async def close(self) -> None:
        """End every worker."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for worker in list(self._all):
            await self._end(worker)


class _Worker:
    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self.pid = process.pid

    @classmethod
    async def start(cls, data: Path) -> _Worker:
        ours, theirs = socket.socketpair()
        try:
            # Its standard input is our socket: it ends when we do, however we do.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "ticktape.serve.past.worker", str(data), stdin=theirs.fileno()
            )
        except OSError as error:
            ours.close()
            raise Unavailable(f"no worker can be started: {error.strerror}", hint="ticktape doctor") from error
        finally:
            theirs.close()
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=CHUNK)
        worker = cls(process, reader, writer)
        try:
            async with asyncio.timeout(START_S):  # loading libraries is not the question's time
                await worker.exchange()
        except (TimeoutError, Unavailable):
            await worker.end()
            raise Unavailable("a worker did not start", hint="ticktape doctor") from None
        except BaseException:
            await worker.end()
            raise
        return worker

    async def ask(self, ask: Ask, allowance: Allowance) -> Body:
        exchange = asyncio.create_task(self.exchange(frame(ask)), name="serve:past")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + allowance.seconds + GRACE_S
        try:
            while not (await asyncio.wait({exchange}, timeout=WATCH_S))[0]:
                if loop.time() > deadline:
                    raise TooCostly(f"it took longer than {allowance.seconds:g} s", hint="a shorter range")
                if self._held() > allowance.memory_mb << 20:
                    raise TooCostly(f"it took more than {allowance.memory_mb} MiB", hint="a shorter range, or pages")
            return exchange.result()
        finally:
            exchange.cancel()
            with suppress(asyncio.CancelledError, TicktapeError):
                await exchange

    async def exchange(self, question: bytes = b"") -> Body:
        """Return what it says to a question; at first, that it is ready."""
        try:
            self._writer.write(question)
            await self._writer.drain()
            (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
            reply = read_reply(await self._reader.readexactly(length))
            pieces, left = list[bytes](), reply.size
            while left:
                pieces.append(await self._reader.readexactly(min(left, CHUNK)))
                left -= len(pieces[-1])
        except (OSError, EOFError) as error:
            log.error("serve.worker_died", pid=self.pid)
            raise Unavailable("the worker that read the past died", hint="ask again, or for less") from error
        return Body(reply, pieces)

    def _held(self) -> int:
        # Memory of its own, in bytes; what it maps of the tape belongs to everybody.
        try:
            fields = Path(f"/proc/{self.pid}/statm").read_text().split()
        except OSError:
            return 0
        return (int(fields[1]) - int(fields[2])) * _PAGE

    def leave(self) -> None:
        """Let it end by itself."""
        self._writer.close()

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        await self._process.wait()


_ERRORS: dict[str, type[TicktapeError]] = {
    "bad_input": BadInput,
    "too_costly": TooCostly,
    "unavailable": Unavailable,
    "damaged": Damaged,
}


def _error(trouble: Trouble) -> TicktapeError:
    if trouble.kind not in _ERRORS:
        raise RuntimeError(trouble.message)
    return _ERRORS[trouble.kind](trouble.message, trouble.hint)
