"""What a tool stands on, and how a range and a cursor are said to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from ticktape.errors import BadInput
from ticktape.model.symbols import parse_symbol
from ticktape.serve.doors.parts import Parts
from ticktape.serve.keys import Key, Scope
from ticktape.serve.mcp import shapes as s
from ticktape.serve.past import when
from ticktape.serve.past.desk import Desk, Said
from ticktape.serve.past.pool import Body
from ticktape.serve.queries import Queries


class Asked(NamedTuple):
    """Who asks, and what answers."""

    key: Key
    parts: Parts

    @property
    def queries(self) -> Queries:
        """The live state. Raises Unavailable while there is none."""
        return self.parts.ask()

    @property
    def desk(self) -> Desk:
        """What knows the past. Raises Unavailable."""
        return self.parts.past()

    def symbols(self, names: Sequence[str]) -> list[str]:
        """Return the symbols, each once. Raises BadSymbol, and Forbidden where the key may not read one."""
        wanted = list(dict.fromkeys(parse_symbol(name) for name in names))
        self.key.require_symbols(wanted)
        return wanted


Run = Callable[[Asked, Any], Awaitable[s.Answer]]


class Tool(NamedTuple):
    """One tool: what a model is told of it, which scopes open it, and what runs."""

    name: str
    scopes: tuple[Scope, ...]
    args: type[s.Args]
    answer: type[s.Answer]
    run: Run
    says: str


class Range(NamedTuple):
    """A range with both ends fixed, and where in it to go on."""

    start_ns: int
    end_ns: int
    after: str | None = None

    def said(self, symbols: Sequence[str], limit: int, known: str | None) -> Said:
        """Return the range as a desk is asked for it."""
        return Said(symbols, str(self.start_ns), str(self.end_ns), limit, self.after, known)

    def cursor(self, after: str | None) -> str | None:
        """Return a cursor that brings its range along: `last` means another one with every call."""
        return None if after is None else f"{self.start_ns}.{self.end_ns}.{after}"


def range_of(asked: Any, now_ns: int, cursor: str | None = None) -> Range:
    """Return the range that `start`, `end` and `last` of some arguments name. Raises BadInput."""
    if cursor is not None:
        return _from_cursor(cursor)
    if (asked.start is None) == (asked.last is None):
        raise BadInput("give either start or last", hint='"start": "2025-11-20T14:30:00Z", or "last": "1h"')
    if asked.last is None:
        return Range(*when.parse_range(asked.start, asked.end, now_ns))
    end = now_ns if asked.end is None else when.parse_time(asked.end, "end")
    return Range(max(0, end - when.parse_width(asked.last)), end)


def _from_cursor(cursor: str) -> Range:
    start, _, rest = cursor.partition(".")
    end, _, after = rest.partition(".")
    if not (after and all(n.isascii() and n.isdigit() and len(n) < 20 for n in (start, end))):
        raise BadInput("this is no cursor of ours", hint="cursor: next_cursor of the answer before, unchanged")
    return Range(int(start), int(end), after)


def whole(body: Body) -> bytes:
    """Return an answer about the past in one piece."""
    return b"".join(body.pieces)


def convert(found: Any, kind: type[Any]) -> Any:
    """Return the arguments of a call as their type. Raises BadInput naming the field."""
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise BadInput(f"arguments: {error}", hint="see the tool's input schema") from None
