"""API keys over REST, for keys with the scope admin: list, create, rotate, revoke, and what was asked with one.

What a new key is, is in the answer that made it and nowhere else: not in the log, not in the audit.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Path, Query, Request
from fastapi.responses import Response

from ticktape.errors import BadInput, Unavailable
from ticktape.model.symbols import shown
from ticktape.serve import audit_chain
from ticktape.serve.audit import note
from ticktape.serve.doors.parts import Admin, Parts
from ticktape.serve.keys import DEFAULT_PER_S
from ticktape.serve.rights import DEFAULT_AT_ONCE, Forbidden, Key

T = TypeVar("T")
DAY_S = 86_400.0
MOST_HISTORY = 1000

Prefix = Annotated[str, Path(pattern=r"^(tt_)?[0-9A-Za-z]{8}$", description="the key's first characters")]
Newest = Annotated[int, Query(ge=1, le=MOST_HISTORY, description="entries, the newest ones")]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST keys."""

    name: str
    scopes: list[str]
    symbols: list[str] | None = None  # null: all
    addresses: list[str] | None = None  # null: from anywhere
    expires_days: float | None = None
    per_s: float = DEFAULT_PER_S
    at_once: int = DEFAULT_AT_ONCE
    model: str = ""


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST keys/{prefix}/rotate; may be left out."""

    overlap_s: float = DAY_S


class KeysAnswer(msgspec.Struct, frozen=True):
    """Every key, oldest first."""

    keys: list[Key]


class Revoked(msgspec.Struct, frozen=True):
    """The prefix of the key that ended."""

    revoked: str


class KeyHistory(msgspec.Struct, frozen=True):
    """Lines of the audit, oldest first; `whole` is false when there is or may be more."""

    prefix: str
    name: str
    entries: list[dict[str, Any]]
    whole: bool


class KeysRest:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def list(self, key: Admin) -> Response:
        """Return every key: what it may do, when it was last used; never the key itself."""
        _for_all(key)
        found = self._parts.keys.list()
        note(rows=len(found))
        return _json(KeysAnswer(found))

    async def create(self, key: Admin, request: Request) -> Response:
        """Make a key: {"name": "...", "scopes": ["realtime"]}. The key is in the answer, now and never again."""
        _for_all(key)
        asked = await _body(request, NewKey, '{"name": "bot", "scopes": ["realtime"]}')
        made = self._parts.keys.create(
            asked.name, asked.scopes, asked.symbols, None if asked.expires_days is None else asked.expires_days * DAY_S,
            asked.per_s, addresses=asked.addresses, model=asked.model, at_once=asked.at_once,
        )  # fmt: skip
        return _json(made)

    async def rotate(self, key: Admin, prefix: Prefix, request: Request) -> Response:
        """Make a key with the same rights: {"overlap_s": 86400}; the old one ends after the overlap."""
        _for_all(key)
        asked = await _body(request, Rotation, '{"overlap_s": 86400}') if await request.body() else Rotation()
        return _json(self._parts.keys.rotate(prefix, asked.overlap_s))

    async def revoke(self, key: Admin, prefix: Prefix) -> Response:
        """End a key at once, in every process."""
        _for_all(key)
        return _json(Revoked(self._parts.keys.revoke(prefix).prefix))

    async def history(self, key: Admin, prefix: Prefix, limit: Newest = 100) -> Response:
        """Return what was asked with a key, oldest first; `whole` is false when there is or may be more."""
        _for_all(key)
        audit = self._parts.audit
        if audit is None:
            raise Unavailable("this server writes nothing down", hint="ticktape serve")
        found = self._parts.keys.find(prefix)
        entries, whole = await asyncio.to_thread(audit_chain.history, audit.folder, found.prefix, limit)
        note(rows=len(entries))
        return _json(KeyHistory(found.prefix, found.name, entries, whole))


def _for_all(key: Key) -> None:
    # A key for some symbols could otherwise make itself one for all.
    if key.symbols is not None:
        raise Forbidden("a key for some symbols manages no keys", hint="ticktape key create --scopes admin")


async def _body(request: Request, kind: type[T], hint: str) -> T:
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"body: {shown(str(error), 200)}", hint=hint) from None


def _json(answer: object) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
