"""What the handlers stand on, and the scopes that a route needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi import Path as InPath

from ticktape.clock import Clock
from ticktape.errors import Unavailable
from ticktape.model.symbols import parse_symbol
from ticktape.serve.alarms.watch import Watch
from ticktape.serve.audit import Audit
from ticktape.serve.control import Control, KeepControl
from ticktape.serve.doors.gate import LOOPBACK_HOSTS
from ticktape.serve.doors.stream import StreamDoor
from ticktape.serve.keys import Key, KeyStore, Scope
from ticktape.serve.limits import Limits
from ticktape.serve.links import Links
from ticktape.serve.past.desk import Desk
from ticktape.serve.queries import Queries

MOST_SYMBOLS = 50
_SYMBOL = r"^[A-Za-z0-9./_:=^@+#$-]{1,40}$"  # for the document; `parse_symbol` decides
Symbol = Annotated[
    str,
    InPath(
        description="a canonical symbol; a slash is part of it",
        examples=["BTCUSDT", "BRK/B", "/ES"],
        json_schema_extra={"pattern": _SYMBOL},
    ),
]
Symbols = Annotated[
    str,
    Query(
        description=f"canonical symbols, comma-separated, up to {MOST_SYMBOLS}",
        examples=["BTCUSDT"],
        json_schema_extra={"pattern": r"^[A-Za-z0-9./_:=^@+#$, -]+$"},
    ),
]


@dataclass(frozen=True)
class Surroundings:
    """What is told of the machine, and what signs in on it."""

    world: Path
    links: Links
    clock: Clock
    retain_days: Mapping[str, int]


@dataclass
class Parts:
    """What the door stands on. `queries` is None until there is a tape; `alive` answers /healthz."""

    keys: KeyStore
    limits: Limits
    control: Control
    queries: Queries | None = None
    hosts: frozenset[str] | None = LOOPBACK_HOSTS
    alive: Callable[[], bool] = field(default=lambda: True)
    desk: Desk | None = None
    stream: StreamDoor | None = None
    origins: tuple[str, ...] = ()  # of pages besides our own that may ask
    audit: Audit | None = None  # None: nothing is written down
    keep: KeepControl | None = None
    watch: Watch | None = None  # None until there is a tape
    around: Surroundings | None = None  # None: no pages, and nothing is told of the machine

    def ask(self) -> Queries:
        """Return the queries. Raises Unavailable while there is no tape."""
        if self.queries is None:
            raise Unavailable("there is no tape yet", hint="ticktape up")
        return self.queries

    def past(self) -> Desk:
        """Return what answers about the past. Raises Unavailable."""
        if self.desk is None:
            raise Unavailable("this server has no history", hint="ticktape serve")
        return self.desk


class Needs:
    """The scopes of which a key must have one. Every route under /api has exactly one of these."""

    def __init__(self, scopes: Sequence[Scope]) -> None:
        self.scopes = tuple(scopes)

    async def __call__(self, request: Request) -> Key:
        """Return the key that the gate let in. Raises Forbidden."""
        key: Key = request.scope["state"]["key"]
        key.require(self.scopes)
        return key


Realtime = Annotated[Key, Depends(Needs((Scope.REALTIME,)))]
History = Annotated[Key, Depends(Needs((Scope.HISTORY,)))]
Sql = Annotated[Key, Depends(Needs((Scope.SQL,)))]
Anyone = Annotated[Key, Depends(Needs(tuple(Scope)))]
Admin = Annotated[Key, Depends(Needs((Scope.ADMIN,)))]


def allowed(key: Key, symbol: str) -> str:
    """Return the symbol when the key may read it. Raises Forbidden, BadSymbol."""
    key.require_symbols([parse_symbol(symbol)])
    return symbol
