"""API keys in `<data>/keys.sqlite`: shown once, kept only as HMAC-SHA-256 under the pepper (see pepper.py).

A key is `tt_`, 8 characters by which it is looked up, `_`, and 32 random bytes in base 62. Whoever reads the
database learns no key (X1); a right and a wrong prefix, and no header at all, take the same path (X2).
"""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import string
from collections.abc import Iterable
from pathlib import Path

import msgspec
import structlog

from ticktape.clock import Clock, SystemClock
from ticktape.errors import BadInput
from ticktape.model.symbols import parse_symbol, shown
from ticktape.serve import key_rows
from ticktape.serve.addresses import parse_networks
from ticktape.serve.key_rows import Row
from ticktape.serve.pepper import read_pepper
from ticktape.serve.rights import DEFAULT_AT_ONCE, BadKey, Forbidden, Key, Scope

__all__ = ["BadKey", "Created", "Forbidden", "Key", "KeyStore", "Scope"]

log = structlog.get_logger("serve")

_ALPHABET = string.digits + string.ascii_letters
_PREFIX, _SECRET_BYTES, _SECRET_CHARS = 8, 32, 43  # 62**43 > 256**32
DEFAULT_PER_S = 2000.0
MOST = 4e9  # seconds, requests a second, requests at once: 126 years fit into ns
FLUSH_EVERY_NS = 30_000_000_000


class Created(msgspec.Struct, frozen=True):
    """A new key: `key` is shown now and never again."""

    key: str
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
        key_rows.prepare(self._db)
        self._pepper = read_pepper(data / "pepper", used=bool(self._db.execute("select 1 from keys").fetchone()))
        # Stands in for a prefix nobody has, so that an unknown one is compared like any other.
        self._nobody = Row(secrets.token_bytes(32), key_rows.NOBODY)
        self._rows: dict[str, Row] = {}
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
        *,
        addresses: Iterable[str] | None = None,
        model: str = "",
        at_once: int = DEFAULT_AT_ONCE,
    ) -> Created:
        """Make a key. Raises BadInput for a scope, an address or a number that cannot be, BadSymbol."""
        if not _is_name(name) or not (model == "" or _is_name(model)):
            raise BadInput(f"not a name for a key: '{shown(name)}'", hint="1-100 printable characters")
        if not (per_s > 0 and at_once > 0 and (expires_s is None or expires_s > 0)):
            raise BadInput("a key that may never ask is none", hint="rates, numbers and days above 0")
        if max(per_s, at_once, expires_s or 0) > MOST:
            raise BadInput(f"more than {MOST:g} is no limit", hint="leave it out: --expires-days, --at-once")
        now = self._clock.now_ns()
        info = Key(
            prefix=_random(_PREFIX),
            name=name,
            scopes=frozenset(_scopes(scopes)),
            symbols=None if symbols is None else frozenset(parse_symbol(symbol) for symbol in symbols),
            per_s=per_s,
            created_ns=now,
            expires_ns=None if expires_s is None else now + int(expires_s * 1e9),
            revoked_ns=None,
            last_used_ns=None,
            addresses=None if addresses is None else parse_networks(addresses),
            model=model,
            at_once=at_once,
        )
        return self._insert(info)

    def _insert(self, info: Key) -> Created:
        key = f"tt_{info.prefix}_{_base62(secrets.token_bytes(_SECRET_BYTES))}"
        key_rows.insert(self._db, info, self._digest(key))
        self._load()
        return Created(key, self._rows[info.prefix].info)

    def list(self) -> list[Key]:
        """Return every key, revoked and expired ones too, oldest first."""
        self.flush()
        self._load()
        return sorted((row.info for row in self._rows.values()), key=lambda key: (key.created_ns, key.prefix))

    def known(self) -> Iterable[Key]:
        """Return every key as it was last read: without the last uses that are not written down yet."""
        self._refresh()
        return [row.info for row in self._rows.values()]

    def find(self, prefix: str) -> Key:
        """Return a key by its prefix, with or without `tt_`. Raises BadInput when there is none."""
        self._refresh()
        wanted = prefix.removeprefix("tt_")[:_PREFIX]
        if wanted not in self._rows:
            raise BadInput(f"no key with prefix '{shown(prefix[:11])}'", hint="ticktape key list")
        return self._rows[wanted].info

    def revoke(self, prefix: str) -> Key:
        """End a key. Raises BadInput when there is none."""
        wanted = self.find(prefix).prefix
        self._db.execute(
            "update keys set revoked_ns = coalesce(revoked_ns, ?) where prefix = ?", (self._clock.now_ns(), wanted)
        )
        self._load()
        return self._rows[wanted].info

    def rotate(self, prefix: str, overlap_s: float) -> Created:
        """Make a key with the rights and the end of another, which ends after `overlap_s`. Raises BadInput."""
        now, old = self._clock.now_ns(), self.find(prefix)
        if not old.is_live(now):
            raise BadInput(f"tt_{old.prefix} is revoked or expired", hint="ticktape key create")
        if not 0 <= overlap_s <= MOST:
            raise BadInput(f"an overlap below 0 or above {MOST:g} s", hint="--overlap 24h")
        ends = now + int(overlap_s * 1e9)
        new = msgspec.structs.replace(old, prefix=_random(_PREFIX), created_ns=now, last_used_ns=None)
        self._db.execute("begin immediate")  # both or neither
        try:
            self._db.execute(
                "update keys set expires_ns = min(coalesce(expires_ns, ?), ?) where prefix = ?",
                (ends, ends, old.prefix),
            )
            made = self._insert(new)
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")
        return made

    @property
    def pepper(self) -> bytes:
        """The secret of this store, for what else is sealed with it."""
        return self._pepper

    # -- checking ----------------------------------------------------------------------------------

    def check(self, header: str | None) -> Key:
        """Return the key that an `Authorization: Bearer tt_...` header carries. Raises BadKey."""
        self._refresh()
        key = _bearer(header)
        row = self._rows.get(key[3 : 3 + _PREFIX], self._nobody)
        matches = hmac.compare_digest(row.digest, self._digest(key))
        now = self._clock.now_ns()  # a clock set back brings no expired key back (X30)
        live = row.info.is_live(now)
        if not (matches and live):
            raise BadKey("no valid API key", hint="Authorization: Bearer tt_...  (ticktape key create)")
        self._used[row.info.prefix] = now
        return row.info

    def flush(self) -> None:
        """Write down when keys were last used. Where that cannot be, it waits for the next time."""
        self._flushed_ns = self._clock.monotonic_ns()
        if not self._used:
            return
        try:
            self._db.executemany(
                "update keys set last_used_ns = ? where prefix = ?", [(ns, p) for p, ns in self._used.items()]
            )
        except sqlite3.OperationalError as error:  # a full disk shuts nobody out
            log.error("keys.last_use_not_written", error=str(error))
            return
        self._used = {}

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
        self._rows = key_rows.read(self._db)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= 100 and text.isprintable()


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
