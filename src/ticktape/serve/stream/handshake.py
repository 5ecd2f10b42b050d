"""Who may open a stream: path, Host, Origin, encoding, key. The same on both ports."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from ticktape.errors import TicktapeError
from ticktape.serve.keys import KeyStore
from ticktape.serve.rights import BadKey, Key
from ticktape.serve.stream.protocol import Encoding

PATH = "/api/v1/stream"


class Refused(TicktapeError):
    """A handshake that is not for us."""

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status, self.code = status, code


def refusal_of(error: TicktapeError) -> tuple[int, str]:
    """Return the HTTP status and code with which a handshake is refused."""
    if isinstance(error, Refused):
        return error.status, error.code
    return (401, "bad_key") if isinstance(error, BadKey) else (503, "unavailable")


class Handshake:
    """Whom to let in: path, Host, Origin, encoding, key."""

    def __init__(self, keys: KeyStore, hosts: Iterable[str] | None, origins: Iterable[str]) -> None:
        self._keys = keys
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)

    def check(
        self, target: str, host: str, origin: str | None, authorization: str | None
    ) -> tuple[Encoding, Key | None]:
        """Return the encoding, and the key when a header carried one. Raises Refused, BadKey.

        A page in a browser can open a socket to us wherever it came from, and it says where: only ours may (X13).
        """
        parts = urlsplit(target)
        if parts.path != PATH:
            raise Refused(404, "not_found", "no such stream", PATH)
        if self._hosts is not None and _name(host) not in self._hosts:
            raise Refused(400, "bad_host", "this server does not answer to that name", "ws://127.0.0.1")
        if origin is not None and origin.lower() not in self._origins:
            raise Refused(403, "bad_origin", "this server does not talk to pages from there", "[serve] origins")
        names = parse_qs(parts.query).get("encoding", ["json"])
        if names[-1] not in set(Encoding):
            raise Refused(400, "bad_input", "no such encoding", "?encoding=json or msgpack")
        return Encoding(names[-1]), None if authorization is None else self._keys.check(authorization)


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def origins_of(hosts: Iterable[str] | None, ports: Iterable[int], more: Iterable[str] = ()) -> frozenset[str]:
    """Return the origins of our own pages: every name we answer to, at our ports."""
    own = {f"{scheme}://{host}:{port}" for scheme in ("http", "https") for host in hosts or () for port in ports}
    return frozenset(own | set(more))
