"""What a dashboard needs besides the market: whose key this is, the machine and the lake, the sessions of a symbol."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from ticktape.errors import BadInput
from ticktape.lake.retention import RETAIN_DAYS
from ticktape.model.sessions import calendar
from ticktape.serve.rights import Key

MOST_SESSIONS = 2_000
_PAGE = resource.getpagesize()


class SelfAnswer(Struct, frozen=True, kw_only=True):
    """What the key of this request may do."""

    prefix: str
    name: str
    scopes: list[str]
    symbols: list[str] | None  # null: all
    expires_ns: int | None


class TableSize(Struct, frozen=True, kw_only=True):
    """One table of the lake, as files. `retain_days` 0: nothing is let go."""

    table: str
    files: int
    bytes: int
    retain_days: int


class Credential(Struct, frozen=True, kw_only=True):
    """A credential that ends, and when."""

    name: str
    expires_ns: int
    days_left: float


class HostAnswer(Struct, frozen=True, kw_only=True):
    """The machine under ticktape: bytes of disk and memory, the lake's tables, credentials that end."""

    as_of_position: int
    sample: bool
    disk_free: int
    disk_total: int
    memory_available: int | None  # null where the system does not say
    memory_total: int | None
    memory_used: int | None  # by the process that answers
    tape_bytes: int
    tables: list[TableSize]
    credentials: list[Credential]


class SessionRow(Struct, frozen=True, kw_only=True):
    """One stretch of trading, [open, close). `kind`: regular, short, extended ..."""

    open: int  # ns UTC
    close: int
    trade_date: str
    kind: str
    verified: bool


class SessionsAnswer(Struct, frozen=True, kw_only=True):
    """The sessions of a symbol's calendar in [start, end); none for one that is open round the clock."""

    symbol: str
    calendar: str
    start: int
    end: int
    sessions: list[SessionRow]
    missing: list[str]


def who(key: Key) -> SelfAnswer:
    """Return what a key may do, without anything that would help to guess it."""
    return SelfAnswer(
        prefix=key.prefix,
        name=key.name,
        scopes=sorted(key.scopes),
        symbols=None if key.symbols is None else sorted(key.symbols),
        expires_ns=key.expires_ns,
    )


def host(
    world: Path, common: tuple[int, bool], expiries: Mapping[str, int], retain_days: Mapping[str, int], now_ns: int
) -> HostAnswer:
    """Look at the machine. Walks the lake's folders: call it in a thread."""
    disk = shutil.disk_usage(world)
    memory = _memory()
    lake = world / "lake"
    tables = [_table(lake / name, name, retain_days.get(name, days)) for name, days in RETAIN_DAYS.items()]
    return HostAnswer(
        as_of_position=common[0],
        sample=common[1],
        disk_free=disk.free,
        disk_total=disk.total,
        memory_available=memory.get("MemAvailable"),
        memory_total=memory.get("MemTotal"),
        memory_used=_resident(),
        tape_bytes=_size(world / "tape")[1],
        tables=tables,
        credentials=[
            Credential(name=name, expires_ns=ns, days_left=round((ns - now_ns) / 86_400e9, 2))
            for name, ns in sorted(expiries.items(), key=lambda pair: pair[1])
        ],
    )


def sessions(symbol: str, name: str, start_ns: int, end_ns: int) -> SessionsAnswer:
    """Return the sessions of a calendar that touch a range. Raises BadInput for a range that is none."""
    if end_ns <= start_ns:
        raise BadInput("the range ends before it starts", hint="start_time < end_time")
    missing: list[str] = []
    try:
        rows = calendar(name).sessions(start_ns, end_ns) if name != "24/7" else []
    except BadInput as error:  # beyond the shipped table: said, and nothing is shaded
        rows, missing = [], [error.message]
    found = [
        SessionRow(
            open=row.open_ns,
            close=row.close_ns,
            trade_date=row.trade_date.isoformat(),
            kind=row.kind.name.lower(),
            verified=row.verified,
        )
        for row in rows[:MOST_SESSIONS]
    ]
    if len(rows) > MOST_SESSIONS:
        missing.append(f"{len(rows) - MOST_SESSIONS} later sessions: ask for a shorter range")
    return SessionsAnswer(symbol=symbol, calendar=name, start=start_ns, end=end_ns, sessions=found, missing=missing)


def _table(folder: Path, name: str, retain_days: int) -> TableSize:
    files, size = _size(folder)
    return TableSize(table=name, files=files, bytes=size, retain_days=retain_days)


def _size(folder: Path) -> tuple[int, int]:
    # What is deleted while we look is not counted; blocks, because segments are reserved in full.
    files = size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                about = os.stat(os.path.join(place, name))  # noqa: PTH116, PTH118 - a Path an entry costs ten times as much
            except FileNotFoundError:
                continue
            files += 1
            size += about.st_blocks * 512
    return files, size


def _memory() -> dict[str, int]:
    """Return what Linux says of its memory, bytes; empty elsewhere."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return {}
    pairs = (line.split() for line in text.splitlines())
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs if len(words) > 1 and words[1].isdigit()}


def _resident() -> int | None:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return None
