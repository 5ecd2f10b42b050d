"""What a key may do: scopes, symbols, addresses, how much; and the two ways in which it is refused."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from ticktape.errors import TicktapeError
from ticktape.model.symbols import shown
from ticktape.serve.addresses import is_within

DEFAULT_AT_ONCE = 256


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
    addresses: tuple[str, ...] | None = None  # networks it may be used from; None: any
    model: str = ""  # which model asks with it, where that is more than the name says
    at_once: int = DEFAULT_AT_ONCE  # requests under way

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

    def require_address(self, address: str) -> None:
        """Raise Forbidden when the key is limited to other addresses than the caller's."""
        if self.addresses is not None and not is_within(address, self.addresses):
            raise Forbidden(
                f"this key may not be used from {shown(address or 'nowhere')}", hint="ticktape key create --from ..."
            )

    def is_live(self, now_ns: int) -> bool:
        """Say whether the key is neither revoked nor expired."""
        return self.revoked_ns is None and (self.expires_ns is None or now_ns < self.expires_ns)
