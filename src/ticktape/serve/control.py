"""The way to the recorder: one JSON object a line each way over `<data>/record.sock`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import msgspec

from ticktape.errors import TicktapeError, Unavailable

TIMEOUT_S = 5.0
MOST_BYTES = 1 << 20

Call = Literal["sources", "start", "stop", "restart", "symbols"]


class Problem(msgspec.Struct, frozen=True):
    """What the recorder says when it refuses."""

    code: str
    message: str
    hint: str = ""


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of the recorder."""

    call: Call
    name: str = ""
    add: list[str] = []
    remove: list[str] = []


class _Answer(msgspec.Struct, frozen=True):
    ok: msgspec.Raw = msgspec.Raw()
    error: Problem | None = None


class RecordRefused(TicktapeError):
    """The recorder understood and said no; `code` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message, problem.hint)
        self.code = problem.code


class Control:
    """Asks the recorder, one connection a question."""

    def __init__(self, socket_path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s

    async def ask(self, request: Request) -> msgspec.Raw:
        """Return what the recorder answers, as JSON. Raises Unavailable, RecordRefused."""
        try:
            async with asyncio.timeout(self._timeout_s):
                line = await self._exchange(msgspec.json.encode(request) + b"\n")
        except TimeoutError:
            raise Unavailable(f"the recorder did not answer in {self._timeout_s:g} s", hint="ticktape doctor") from None
        except (OSError, ValueError) as error:
            raise Unavailable("the recorder is not running", hint="ticktape record") from error
        return _read(line)

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path, limit=MOST_BYTES)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()


def _read(line: bytes) -> msgspec.Raw:
    try:
        answer = msgspec.json.decode(line, type=_Answer)
    except msgspec.DecodeError as error:
        raise Unavailable("the recorder broke off its answer", hint="ticktape doctor") from error
    if answer.error is not None:
        raise RecordRefused(answer.error)
    return answer.ok.copy()
