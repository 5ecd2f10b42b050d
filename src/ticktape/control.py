"""How processes on one machine ask each other: a Unix socket in the data folder, one JSON object a line each way.

{"call": ..., ...}  -> {"ok": ...}
any error           -> {"error": {"code", "message", "hint"}}
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from ticktape.errors import BadInput, Busy, DiskFull, Misconfigured, TicktapeError, Unavailable, UnknownSymbol

MAX_LINE = 1 << 20
IDLE_S = 30.0
MAX_PATH = 107  # sun_path of unix(7), without its closing zero
TIMEOUT_S = 5.0

T = TypeVar("T")

_CODES: tuple[tuple[type[TicktapeError], str], ...] = (
    (UnknownSymbol, "not_found"),
    (BadInput, "bad_input"),
    (Unavailable, "unavailable"),
    (Busy, "busy"),
    (DiskFull, "disk_full"),
)


class Server(Generic[T]):
    """Serves calls of one type until closed. Whoever makes one owns the folder by a lock."""

    def __init__(self, path: Path, kind: type[T], handler: Callable[[T], Awaitable[Any]]) -> None:
        if len(os.fsencode(path)) > MAX_PATH:
            raise Misconfigured(
                f"{path}: too long for a Unix socket ({MAX_PATH} bytes)", hint="use a shorter folder: --data DIR"
            )
        self._path, self._kind, self._handler = path, kind, handler
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind the socket; only the owner may connect. The owner's lock says that a leftover is stale."""
        beside = self._path.with_suffix(".new")  # nobody may connect before it is closed to others
        beside.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(beside), limit=MAX_LINE)
        beside.chmod(0o600)
        beside.rename(self._path)

    async def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while True:
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
                if not line:
                    return
                writer.write(msgspec.json.encode(await self._answer(line)) + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            return  # idle, gone, or a line over the limit
        except asyncio.CancelledError:
            return  # we stop; asyncio's own callback would report it as a failure
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": await self._handler(msgspec.json.decode(line, type=self._kind))}
        except msgspec.DecodeError as error:
            return {"error": {"code": "bad_input", "message": str(error), "hint": ""}}
        except TicktapeError as error:
            code = next((code for kind, code in _CODES if isinstance(error, kind)), "failed")
            return {"error": {"code": code, "message": error.message, "hint": error.hint}}


class Problem(msgspec.Struct, frozen=True):
    """What the other side says when it refuses."""

    code: str
    message: str
    hint: str = ""


class _Answer(msgspec.Struct, frozen=True):
    ok: msgspec.Raw = msgspec.Raw()
    error: Problem | None = None


class CallRefused(TicktapeError):
    """The other side understood and said no; `code` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message, problem.hint)
        self.code = problem.code


class Client:
    """Asks one process, one connection a question. `who` and `start` name it and the command that starts it."""

    def __init__(self, path: Path, who: str, start: str, timeout_s: float = TIMEOUT_S) -> None:
        self._path, self._who, self._start, self._timeout_s = path, who, start, timeout_s

    @property
    def expected(self) -> bool:
        """Whether somebody answers there, or died without taking its socket away."""
        return self._path.exists()

    async def ask(self, request: msgspec.Struct, timeout_s: float | None = None) -> msgspec.Raw:
        """Return what it answers, as JSON. Raises Unavailable, CallRefused."""
        patience = timeout_s or self._timeout_s
        try:
            async with asyncio.timeout(patience):
                line = await self._exchange(msgspec.json.encode(request) + b"\n")
        except TimeoutError:
            raise Unavailable(f"{self._who} did not answer in {patience:g} s", hint="ticktape doctor") from None
        except (OSError, ValueError) as error:
            raise Unavailable(f"{self._who} is not running", hint=self._start) from error
        return self._read(line)

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()

    def _read(self, line: bytes) -> msgspec.Raw:
        try:
            answer = msgspec.json.decode(line, type=_Answer)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self._who} broke off its answer", hint="ticktape doctor") from error
        if answer.error is not None:
            raise CallRefused(answer.error)
        return answer.ok.copy()
