"""API keys in `<data>/keys.sqlite`: shown once, kept only as HMAC-SHA-256 under the pepper in `<data>/pepper`.

A key is `tt_`, 8 characters by which it is looked up, `_`, and 32 random bytes in base 62. Whoever reads the
database learns no key (X1); a right and a wrong prefix, and no header at all, take the same path (X2).
"""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import stat
import string
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from ticktape.clock import Clock, SystemClock
from ticktape.errors import BadInput, Misconfigured, TicktapeError
from ticktape.model.symbols import parse_symbol, shown

_ALPHABET = string.digits + string.ascii_letters
_PREFIX, _SECRET_BYTES, _SECRET_CHARS = 8, 32, 43  # 62**43 > 256**32
DEFAULT_PER_S = 2000.0
FLUSH_EVERY_NS = 30_000_000_000

_SCHEMA = """
create table if not exists keys (
    prefix text primary key, digest blob not null, name text not null, scopes text not null, symbols text,
    per_s real not null, created_ns integer not null, expires_ns integer, revoked_ns integer, last_used_ns integer
);
"""


class Scope(StrEnum):
    """What a key may do. A scope grants itself and nothing else."""

    REALTIME = "realtime"
    HISTORY = "history"
    STREAM = "stream"
    SQL = "sql"
    ADMIN = "admin"


class BadKey(TicktapeError):
    """No key, or not one of ours, or no longer good: which of these is nobody's business (HTTP 401)."""


class Forbidden(TicktapeError):
    """A good key that may not do this (HTTP 403)."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key; never the key itself."""

    prefix: str
    name: str
    scopes: frozenset[Scope]
    symbols: frozenset[str] | None  # None: all
    per_s: float  # requests per second
    created_ns: int
    expires_ns: int | None
    revoked_ns: int | None
    last_used_ns: int | None

    def require(self, scopes: Iterable[Scope]) -> None:
        """Raise Forbidden unless the key has one of the scopes."""
        wanted = list(scopes)
        if not self.scopes.intersection(wanted):
            names = " or ".join(wanted)
            raise Forbidden(f"this key lacks scope {names}", hint=f"ticktape key create --scopes {wanted[0]}")

    def require_symbols(self, symbols: Iterable[str]) -> None:
        """Raise Forbidden when the key is limited to other symbols."""
        refused = [] if self.symbols is None else [symbol for symbol in symbols if symbol not in self.symbols]
        if refused:
            raise Forbidden(f"this key may not read {shown(', '.join(refused))}", hint="ticktape key list")


class Created(msgspec.Struct, frozen=True):
    """A new key: `key` is shown now and never again."""

    key: str
    info: Key


class _Row(msgspec.Struct, frozen=True):
    digest: bytes
    info: Key


class KeyStore:
    """The keys of a data folder. Any process may create and revoke; every other sees it at its next check."""

    def __init__(self, data: Path, clock: Clock | None = None) -> None:
        """Open or create the store. Raises Misconfigured when the pepper is lost or open to others."""
        data.mkdir(parents=True, exist_ok=True)
        self._clock = clock or SystemClock()
        path = data / "keys.sqlite"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._db.execute("pragma journal_mode = wal")
        self._db.executescript(_SCHEMA)
        self._pepper = _pepper(data / "pepper", used=bool(self._db.execute("select 1 from keys").fetchone()))
        # Stands in for a prefix nobody has, so that an unknown one is compared like any other.
        self._nobody = _Row(secrets.token_bytes(32), _info("", "", "[]", None, 0.0, 0, 0, 0, None))
        self._rows: dict[str, _Row] = {}
        self._used: dict[str, int] = {}
        self._flushed_ns = self._clock.monotonic_ns()
        self._version = -1
        self._refresh()

    # -- managing ----------------------------------------------------------------------------------

    def create(
        self,
        name: str,
        scopes: Iterable[str],
        symbols: Iterable[str] | None = None,
        expires_s: float | None = None,
        per_s: float = DEFAULT_PER_S,
    ) -> Created:
        """Make a key. Raises BadInput for a scope that does not exist, BadSymbol."""
        if not name or len(name) > 100 or not name.isprintable():
            raise BadInput(f"not a name for a key: '{shown(name)}'", hint="1-100 printable characters")
        granted = _scopes(scopes)
        listed = None if symbols is None else sorted({parse_symbol(symbol) for symbol in symbols})
        prefix, secret = _random(_PREFIX), _base62(secrets.token_bytes(_SECRET_BYTES))
        key, now = f"tt_{prefix}_{secret}", self._clock.wall_ns()
        expires = None if expires_s is None else now + int(expires_s * 1e9)
        self._db.execute(
            "insert into keys values (?, ?, ?, ?, ?, ?, ?, ?, null, null)",
            (
                prefix,
                self._digest(key),
                name,
                _json(granted),
                None if listed is None else _json(listed),
                per_s,
                now,
                expires,
            ),
        )
        self._load()
        return Created(key, self._rows[prefix].info)

    def list(self) -> list[Key]:
        """Return every key, revoked and expired ones too, oldest first."""
        self.flush()
        self._load()
        return sorted((row.info for row in self._rows.values()), key=lambda key: (key.created_ns, key.prefix))

    def revoke(self, prefix: str) -> Key:
        """End a key, by its prefix with or without `tt_`. Raises BadInput when there is none."""
        wanted = prefix.removeprefix("tt_")[:_PREFIX]
        self._db.execute(
            "update keys set revoked_ns = coalesce(revoked_ns, ?) where prefix = ?", (self._clock.wall_ns(), wanted)
        )
        self._load()
        if wanted not in self._rows:
            raise BadInput(f"no key with prefix '{shown(prefix[:11])}'", hint="ticktape key list")
        return self._rows[wanted].info

    # -- checking ----------------------------------------------------------------------------------

    def check(self, header: str | None) -> Key:
        """Return the key that an `Authorization: Bearer tt_...` header carries. Raises BadKey."""
        self._refresh()
        key = _bearer(header)
        row = self._rows.get(key[3 : 3 + _PREFIX], self._nobody)
        matches = hmac.compare_digest(row.digest, self._digest(key))
        now = self._clock.wall_ns()
        live = row.info.revoked_ns is None and (row.info.expires_ns is None or now < row.info.expires_ns)
        if not (matches and live):
            raise BadKey("no valid API key", hint="Authorization: Bearer tt_...  (ticktape key create)")
        self._used[row.info.prefix] = now
        return row.info

    def flush(self) -> None:
        """Write down when keys were last used."""
        used, self._used = self._used, {}
        self._flushed_ns = self._clock.monotonic_ns()
        if used:
            self._db.executemany(
                "update keys set last_used_ns = ? where prefix = ?", [(ns, p) for p, ns in used.items()]
            )

    def flush_if_due(self) -> None:
        """Write down when keys were last used, if that was not done for a while."""
        if self._used and self._clock.monotonic_ns() - self._flushed_ns > FLUSH_EVERY_NS:
            self.flush()

    def close(self) -> None:
        """Write down last use and close the file."""
        self.flush()
        self._db.close()

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._pepper, key.encode(), "sha256")

    def _refresh(self) -> None:
        # Changes of other processes show in data_version: one page in shared memory, 3 us.
        version = self._db.execute("pragma data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._load()

    def _load(self) -> None:
        rows = self._db.execute(
            "select prefix, name, scopes, symbols, per_s, created_ns, expires_ns, revoked_ns, last_used_ns, digest"
            " from keys"
        ).fetchall()
        self._rows = {row[0]: _Row(row[-1], _info(*row[:-1])) for row in rows}


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
    )


def _json(values: Iterable[str]) -> str:
    return msgspec.json.encode(sorted(values)).decode()


def _scopes(names: Iterable[str]) -> set[Scope]:
    listed = list(names)
    unknown = [name for name in listed if name not in set(Scope)]
    if unknown or not listed:
        what = f"no scope '{shown(unknown[0])}'" if unknown else "a key without a scope opens nothing"
        raise BadInput(what, hint=f"scopes: {', '.join(Scope)}")
    return {Scope(name) for name in listed}


def _bearer(header: str | None) -> str:
    # What is not a key becomes "", which is looked up and compared like one.
    scheme, _, key = (header or "").partition(" ")
    well_formed = scheme.lower() == "bearer" and len(key) == 3 + _PREFIX + 1 + _SECRET_CHARS and key.isascii()
    return key if well_formed else ""


def _random(n: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(n))


def _base62(data: bytes) -> str:
    number, digits = int.from_bytes(data), ""
    while number or len(digits) < _SECRET_CHARS:
        number, digit = divmod(number, 62)
        digits = _ALPHABET[digit] + digits
    return digits


def _pepper(path: Path, *, used: bool) -> bytes:
    if not path.exists():
        if used:
            raise Misconfigured(
                f"{path} is gone, and without it no stored key can be checked",
                hint=f"restore it, or remove {path.with_name('keys.sqlite')} and create new keys",
            )
        _write_pepper(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Misconfigured(f"{path} can be read by others", hint=f"chmod 600 {path}")
    pepper = path.read_bytes()
    if len(pepper) != 32:
        raise Misconfigured(f"{path} holds {len(pepper)} bytes, not 32", hint="restore it from a backup")
    return pepper


def _write_pepper(path: Path) -> None:
    beside = path.with_name(f"pepper.{_random(8)}.new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, secrets.token_bytes(32))
        os.fsync(fd)
        os.link(beside, path)  # fails where another process was first: then its pepper is the one
    except FileExistsError:
        pass
    finally:
        os.close(fd)
        beside.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
