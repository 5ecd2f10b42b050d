"""The way in from the other processes: a Unix socket in the data folder, one JSON object a line each way.

{"call": "sources"}                                          -> {"ok": [{"name": ...}, ...]}
{"call": "start" | "stop" | "restart", "name": "binance"}    -> {"ok": {...}}
{"call": "symbols", "name": ..., "add": [...], "remove": [...]}
any error                                                    -> {"error": {"code", "message", "hint"}}
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from ticktape.errors import BadInput, Misconfigured, TicktapeError, Unavailable, UnknownSymbol

MAX_LINE = 1 << 20
IDLE_S = 30.0
MAX_PATH = 107  # sun_path of unix(7), without its closing zero


class Call(msgspec.Struct, forbid_unknown_fields=True):
    """A request."""

    call: str
    name: str = ""
    add: list[str] = []
    remove: list[str] = []


Handler = Callable[[Call], Awaitable[Any]]

_CODES: tuple[tuple[type[TicktapeError], str], ...] = (
    (UnknownSymbol, "not_found"),
    (BadInput, "bad_input"),
    (Unavailable, "unavailable"),
)


class Control:
    """Serves calls until closed."""

    def __init__(self, path: Path, handler: Handler) -> None:
        if len(os.fsencode(path)) > MAX_PATH:
            raise Misconfigured(
                f"{path}: too long for a Unix socket ({MAX_PATH} bytes)", hint="use a shorter folder: --data DIR"
            )
        self._path, self._handler = path, handler
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind the socket; only the owner may connect. The writer's lock says that a leftover is stale."""
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
            return  # the recorder stops; asyncio's own callback would report it as a failure
        finally:
            self._serving.discard(task)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            return {"ok": await self._handler(msgspec.json.decode(line, type=Call))}
        except msgspec.DecodeError as error:
            return {"error": {"code": "bad_input", "message": str(error), "hint": ""}}
        except TicktapeError as error:
            code = next((code for kind, code in _CODES if isinstance(error, kind)), "failed")
            return {"error": {"code": code, "message": error.message, "hint": error.hint}}
