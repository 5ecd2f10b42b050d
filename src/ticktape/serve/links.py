"""One-time links that sign the owner in on this machine: `http://127.0.0.1:8877/#k=<code>`.

A code is 24 random bytes, kept only as SHA-256, good once and for ten minutes. What it is exchanged for is a key with
every scope that works from loopback only, so that a copy of it is worth nothing on another machine.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from pathlib import Path

from ticktape.clock import Clock, SystemClock
from ticktape.serve.keys import Created, KeyStore
from ticktape.serve.rights import BadKey, Scope

GOOD_FOR_NS = 600 * 10**9
SESSION_S = 7 * 86_400.0  # a tab left open over a weekend is still signed in
SESSION_NAME = "desk on this machine"
LOOPBACK = ("127.0.0.0/8", "::1/128")
MOST_CODE_CHARS = 64

_SCHEMA = "create table if not exists links (digest blob primary key, ends_ns integer not null)"


class Links:
    """The codes of a data folder. Any process may make one; exactly one exchange of it succeeds."""

    def __init__(self, data: Path, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        path = data / "links.sqlite"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute(_SCHEMA)

    def make(self) -> str:
        """Return a new code; those that ended are forgotten."""
        now, code = self._clock.now_ns(), secrets.token_urlsafe(24)
        self._db.execute("delete from links where ends_ns <= ?", (now,))
        self._db.execute("insert into links values (?, ?)", (_digest(code), now + GOOD_FOR_NS))
        return code

    def exchange(self, code: str, keys: KeyStore) -> Created:
        """Return a session key for a code, which ends with it. Raises BadKey: never made, used before, or too old."""
        # Deleting is what decides: of two who come at once, one deletes a row and the other none.
        row = self._db.execute(
            "delete from links where digest = ? returning ends_ns", (_digest(code[:MOST_CODE_CHARS]),)
        ).fetchone()
        if row is None or row[0] <= self._clock.now_ns():
            raise BadKey("this link was used before or is older than ten minutes", hint="ticktape key create")
        return keys.create(SESSION_NAME, list(Scope), expires_s=SESSION_S, addresses=LOOPBACK)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()
