"""How a key stands in `keys.sqlite`, also in one that an earlier version made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from ticktape.serve.rights import Key, Scope

_SCHEMA = """
create table if not exists keys (
    prefix text primary key, digest blob not null, name text not null, scopes text not null, symbols text,
    per_s real not null, created_ns integer not null, expires_ns integer, revoked_ns integer, last_used_ns integer,
    addresses text, model text not null default '', at_once integer not null default 256
);
"""
# What stores made by earlier versions lack.
_ADDED = {"addresses": "text", "model": "text not null default ''", "at_once": "integer not null default 256"}
_COLUMNS = (
    "prefix", "name", "scopes", "symbols", "per_s", "created_ns", "expires_ns", "revoked_ns", "last_used_ns",
    "addresses", "model", "at_once",
)  # fmt: skip


class Row(msgspec.Struct, frozen=True):
    """A key, and the digest by which it is known."""

    digest: bytes
    info: Key


def prepare(db: sqlite3.Connection) -> None:
    """Make the table, or add what an earlier version's lacks."""
    db.executescript(_SCHEMA)
    _bring_up_to_date(db)


def insert(db: sqlite3.Connection, info: Key, digest: bytes) -> None:
    """Add a key."""
    row = {
        **{column: getattr(info, column) for column in _COLUMNS},
        "scopes": _json(info.scopes),
        "symbols": None if info.symbols is None else _json(info.symbols),
        "addresses": None if info.addresses is None else _json(info.addresses),
        "digest": digest,
    }
    names = ", ".join(row)
    db.execute(
        f"insert into keys ({names}) values ({', '.join('?' * len(row))})",  # noqa: S608  # our own names
        list(row.values()),
    )


def read(db: sqlite3.Connection) -> dict[str, Row]:
    """Return every key by its prefix."""
    rows = db.execute(f"select {', '.join(_COLUMNS)}, digest from keys").fetchall()  # noqa: S608
    return {row[0]: Row(row[-1], _info(*row[:-1])) for row in rows}


def _bring_up_to_date(db: sqlite3.Connection) -> None:
    if set(_ADDED) <= _columns_in(db):
        return
    db.execute("begin immediate")  # another process may be at it too
    for name in set(_ADDED) - _columns_in(db):
        db.execute(f"alter table keys add column {name} {_ADDED[name]}")
    db.execute("commit")


def _columns_in(db: sqlite3.Connection) -> set[str]:
    return {row[1] for row in db.execute("pragma table_info(keys)")}


def _info(
    prefix: str,
    name: str,
    scopes: str,
    symbols: str | None,
    per_s: float,
    created_ns: int,
    expires_ns: int | None,
    revoked_ns: int | None,
    last_used_ns: int | None,
    addresses: str | None,
    model: str,
    at_once: int,
) -> Key:
    return Key(
        prefix=prefix,
        name=name,
        scopes=msgspec.json.decode(scopes, type=frozenset[Scope]),
        symbols=None if symbols is None else msgspec.json.decode(symbols, type=frozenset[str]),
        per_s=per_s,
        created_ns=created_ns,
        expires_ns=expires_ns,
        revoked_ns=revoked_ns,
        last_used_ns=last_used_ns,
        addresses=None if addresses is None else msgspec.json.decode(addresses, type=tuple[str, ...]),
        model=model,
        at_once=at_once,
    )


def _json(values: Iterable[str]) -> str:
    return msgspec.json.encode(sorted(values)).decode()


NOBODY = _info("", "", "[]", None, 0.0, 0, 0, 0, None, None, "", 0)
