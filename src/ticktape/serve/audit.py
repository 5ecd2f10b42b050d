"""Who asked what, and got how much: every request that needs a key leaves one line, also one that is refused.

Nobody waits for it. A request puts its entry into a queue of `MOST_WAITING`; one task writes what has gathered, a few
times a second, and syncs. The policy of a full queue is `count`: the newest is left out, and how many were is itself
written. Several processes may write to one audit: each batch takes the lock and goes on where the chain ends.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog

from ticktape.clock import Clock
from ticktape.errors import Damaged
from ticktape.model.symbols import shown
from ticktape.serve import audit_chain as chain
from ticktape.serve.audit_chain import Head, Seal
from ticktape.serve.keys import Key

log = structlog.get_logger("serve")

MOST_WAITING = 10_000
EVERY_S = 0.25
MOST_TEXT, MOST_NAME = 500, 40
_KEY = re.compile(r"(tt_[0-9A-Za-z]{8})_[0-9A-Za-z]{43}")
# What of a question is written down, by its name: all else could be a secret, and only its number is told.
PARAMETERS = frozenset({
    "symbols", "symbol", "limit", "timeframe", "basis", "state", "start_time", "end_time", "interval", "kind",
    "as_known_at", "format", "date", "name", "prefix", "channel", "channels", "policy", "rate", "most",
    "start", "end", "last", "time", "trades", "downsample", "query",
})  # fmt: skip


class Entry(msgspec.Struct, kw_only=True):
    """One request. Times are int ns UTC; `us` how long it took, microseconds."""

    ts: int
    request_id: str
    address: str
    door: str = "rest"
    route: str = ""  # its template; empty: no such route
    key: str = ""  # the prefix; empty: no good key
    name: str = ""
    model: str = ""
    said: dict[str, str] = {}
    unsaid: int = 0  # parameters that are not written down
    status: int = 0  # 0: the client left before there was one
    code: str = ""
    rows: int | None = None
    bytes: int = 0
    us: int = 0

    def of_key(self, key: Key) -> None:
        """Note whose request it is."""
        self.key, self.name, self.model = key.prefix, key.name, key.model

    def say(self, given: Mapping[str, str]) -> None:
        """Note what was asked for."""
        for name, value in given.items():
            if name.rpartition(".")[2] in PARAMETERS:
                self.said[name if len(name) <= MOST_NAME else "..."] = redacted(value)
            else:
                self.unsaid += 1


# The entry of the request under way, for handlers that know more than the gate.
_current: ContextVar[Entry | None] = ContextVar("audit_entry", default=None)


@contextmanager
def current(entry: Entry) -> Generator[None]:
    """Let handlers add to an entry."""
    token = _current.set(entry)
    try:
        yield
    finally:
        _current.reset(token)


def note(*, rows: int | None = None, said: str | None = None) -> None:
    """Add to the entry of the request under way: how many rows it gets, what its body asks."""
    entry = _current.get()
    if entry is not None:
        entry.rows = rows if rows is not None else entry.rows
        if said is not None:
            entry.said["body"] = redacted(said)


def note_tool(tool: str, arguments: Mapping[str, Any]) -> None:
    """Add a tool's name and its arguments to the entry of the request under way."""
    entry = _current.get()
    if entry is not None:
        entry.said["tool"] = redacted(tool)
        entry.say(dict(_leaves(arguments)))


def _leaves(given: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        if isinstance(value, dict):
            yield from _leaves(cast("dict[str, Any]", value), f"{under}{name}.")
        else:
            text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
            yield f"{under}{name}", text


def redacted(text: str) -> str:
    """Return text of bounded length, printable, and without the secret part of any of our keys."""
    if len(text) <= MOST_NAME and text.isascii() and text.isalnum():
        return text  # a key has an underscore
    return shown(without_keys(text), MOST_TEXT)


def without_keys(text: str) -> str:
    """Return text without the secret part of any of our keys."""
    return _KEY.sub(r"\1_...", text)


class Audit:
    """The audit of one folder of keys, as one process writes it."""

    def __init__(self, data: Path, pepper: bytes, clock: Clock, most_waiting: int = MOST_WAITING) -> None:
        self.folder = data / "audit"
        self.clock = clock
        self.seal = Seal(pepper)
        self.left_out = 0
        self._waiting: deque[Entry] = deque()
        self._most = most_waiting
        self._failed = False
        self._last = chain.NOTHING

    def put(self, entry: Entry) -> None:
        """Have an entry written, soon."""
        if len(self._waiting) >= self._most:
            self.left_out += 1
            return
        self._waiting.append(entry)

    async def run(self, until: asyncio.Task[None]) -> None:
        """Write what gathers, until a task has ended that puts entries in."""
        while not until.done():
            await asyncio.wait({until}, timeout=EVERY_S)
            await asyncio.to_thread(self.flush)

    def flush(self) -> None:
        """Write what has gathered. What cannot be written waits for the next time."""
        entries, left_out = list(self._waiting), self.left_out
        if not entries and not left_out:
            return
        lines = [msgspec.to_builtins(entry) for entry in entries]
        if left_out:
            lines.append({"ts": self.clock.now_ns(), "door": "audit", "left_out": left_out})
        try:
            self._append(lines)
        except OSError as error:
            if not self._failed:  # said once, not four times a second
                log.error("serve.audit_failed", error=str(error), waiting=len(entries))
            self._failed = True
            return
        self._failed = False
        for _ in entries:
            self._waiting.popleft()
        self.left_out -= left_out

    # -- the file ----------------------------------------------------------------------------------

    def _append(self, lines: list[dict[str, Any]]) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            head, extra = self._resumed()
            day = max(head.day, datetime.fromtimestamp(self.clock.now_ns() / 1e9, UTC).strftime("%Y-%m-%d"))
            n, last, out = head.n, head.hash, list[bytes]()
            for line in [*extra, *lines]:
                entry = self.seal.sealed({**line, "n": (n := n + 1), "prev": last})
                last = entry["hash"]
                out.append(chain.canonical(entry) + b"\n")
            _append(self.folder / f"{day}.jsonl", b"".join(out))
            self._last = Head(n, last, day)
            chain.write_head(self.folder, self.seal, self._last)

    @contextmanager
    def _locked(self) -> Generator[None]:
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _resumed(self) -> tuple[Head, list[dict[str, Any]]]:
        """Return where to go on, and lines that declare what a crash left: a torn line is cut off, and told."""
        extra, files = list[dict[str, Any]](), chain.days(self.folder)
        try:
            head = chain.read_head(self.folder, self.seal)
        except Damaged:
            head = chain.NOTHING
        if head.n < self._last.n:
            head = self._last  # what was written since is gone: the jump in the numbers tells
        if not files:
            return head, extra
        if head == chain.NOTHING:
            extra.append({"ts": self.clock.now_ns(), "door": "audit", "head_lost": True})
        torn = _cut_torn(files[-1])
        if torn:
            extra.append({"ts": self.clock.now_ns(), "door": "audit", "torn_bytes": torn})
        last = chain.last_entry(files[-1])
        if last is not None and last["n"] > head.n and self.seal.holds(last):
            head = Head(last["n"], last["hash"], files[-1].stem)  # written, and the crash came before the head
        return head._replace(day=max(head.day, files[-1].stem)), extra


def _append(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        try:
            _write_all(fd, data)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)  # all or nothing: the batch is tried again
            raise
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _cut_torn(path: Path) -> int:
    """Cut off what follows the last whole line. Returns how many bytes."""
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        keep = end
        while keep > 0:
            start = max(0, keep - 4096)
            file.seek(start)
            place = file.read(keep - start).rfind(b"\n")
            if place >= 0:
                keep = start + place + 1
                break
            keep = start
        if keep < end:
            file.truncate(keep)
            file.flush()
            os.fsync(file.fileno())
        return end - keep
