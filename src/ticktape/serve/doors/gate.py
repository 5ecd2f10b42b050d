"""The gate before every route: host, size, key, rate; and after it: request id, headers, one error shape.

Default deny: a path that is not public needs a good key before anybody looks whether it exists.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ticktape.errors import TicktapeError
from ticktape.serve.audit import Audit, Entry, current, redacted
from ticktape.serve.doors import errors
from ticktape.serve.keys import BadKey, Key, KeyStore
from ticktape.serve.limits import Limits

log = structlog.get_logger("serve")

PUBLIC = frozenset({"/healthz", "/docs", "/openapi.json", "/desk/session"})
MOST_BODY_BYTES = 64 * 1024
MOST_TARGET_BYTES = 8 * 1024  # path and query
MOST_HEADER_BYTES, MOST_HEADERS = 16 * 1024, 100
PREFLIGHT_S = 600
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

# What is public and changes nothing is not written down. Signing in by a link is: it makes a key.
_UNWRITTEN = frozenset({"/healthz", "/docs", "/openapi.json"})
_UNROUTED = {"/mcp": "mcp", "/mcp/": "mcp"}  # doors that are no routes

_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]


# Said only over TLS: a browser that heard it does not come back without.
_OVER_TLS = (b"strict-transport-security", b"max-age=31536000")
_NAMES = frozenset(name for name, _ in [*_HEADERS, _OVER_TLS])


class Gate:
    """ASGI middleware. `hosts` are the names this server answers to; None: any. `origins`: pages besides our own."""

    def __init__(
        self, app: ASGIApp, keys: KeyStore, limits: Limits, hosts: Iterable[str] | None, audit: Audit | None = None,
        origins: Iterable[str] = (),
    ) -> None:  # fmt: skip
        self._app = app
        self._audit = audit
        self._origins = frozenset(origin.lower() for origin in origins)
        self._keys = keys
        self._limits = limits
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # no WebSocket door yet: what has no check of its own stays shut
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        out = _Out(send, request_id, over_tls=scope["scheme"] == "https")
        if self._audit is None or scope["path"] in _UNWRITTEN:
            await self._answered(scope, receive, out)
            return
        began, clock = self._audit.clock.monotonic_ns(), self._audit.clock
        entry = Entry(ts=clock.now_ns(), request_id=request_id, address=_address(scope))
        try:
            with current(entry):
                await self._answered(scope, receive, out)
        finally:
            self._audit.put(_filled(entry, scope, out, clock.monotonic_ns() - began))

    async def _answered(self, scope: Scope, receive: Receive, out: _Out) -> None:
        request_id = out.request_id
        try:
            if (preflight := self._origin(scope, out)) is not None:
                await preflight(scope, receive, out)
                return
            key = self._admit(scope)
            await self._answer(key, scope, receive, out)
        except Exception as error:  # the last place: what nobody expected is a 500 with an id
            answer = errors.of_error(error, request_id) if isinstance(error, TicktapeError) else None
            if answer is None:
                log.exception("serve.request_failed", request_id=request_id, path=redacted(scope["path"]))
                answer = errors.internal(request_id)
            elif isinstance(error, TicktapeError):
                out.code = (errors.status_of(error) or (0, ""))[1]
            if out.started:
                raise
            await answer(scope, receive, out)

    async def _answer(self, key: Key | None, scope: Scope, receive: Receive, out: Send) -> None:
        if key is None:
            await self._app(scope, _bounded(receive), out)
            return
        self._limits.begin(key)
        try:
            await self._app(scope, _bounded(receive), out)
        finally:
            self._limits.end(key)

    def _origin(self, scope: Scope, out: _Out) -> Response | None:
        """Refuse pages from elsewhere; let listed ones read the answer. Returns the answer to a page that asks first.

        A page cannot send a key without asking first, and no cookie opens anything here: this is the second lock.
        """
        if not (origin := _header(scope, b"origin").lower()):
            return None
        headers = Headers(scope=scope)
        if origin.partition("://")[2] == headers.get("host", "").lower():
            return None
        if origin not in self._origins:
            raise errors.Refused(403, "bad_origin", "this server does not talk to pages from there", "[serve] origins")
        out.readable_by = origin
        if scope["method"] != "OPTIONS" or "access-control-request-method" not in headers:
            return None
        self._check_host(headers.get("host", ""))
        self._limits.public(_address(scope))
        allowed = {
            "Access-Control-Allow-Methods": "GET, POST, DELETE",
            "Access-Control-Allow-Headers": "authorization, content-type, accept, last-event-id",
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        }
        return Response(status_code=204, headers=allowed)

    def _admit(self, scope: Scope) -> Key | None:
        """Return the key of a request, None where a path needs none."""
        path = scope["path"]
        self._check_host(_header(scope, b"host"))
        size = sum([len(name) + len(value) for name, value in scope["headers"]])
        if size > MOST_HEADER_BYTES or len(scope["headers"]) > MOST_HEADERS:
            raise errors.Refused(431, "headers_too_large", "the headers are too large", hint="send fewer of them")
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_TARGET_BYTES:
            raise errors.Refused(400, "too_long", "the address is too long", hint="fewer symbols in one call")
        address = _address(scope)
        if path in PUBLIC:
            self._limits.public(address)
            return None
        try:
            key = self._keys.check(_header(scope, b"authorization"))
        except BadKey:
            self._limits.failed(address)
            raise
        scope["state"]["key"] = key
        key.require_address(address)
        self._limits.request(key)
        return key

    def _check_host(self, host: str) -> None:
        # A page in a browser can name any host that resolves to us; only ours are answered (DNS rebinding).
        if self._hosts is None:
            return
        if _host_name(host) not in self._hosts:
            raise errors.Refused(400, "bad_host", "this server does not answer to that name", hint="http://127.0.0.1")


class _Out:
    # Adds our headers to whatever answers, and remembers whether it began.
    def __init__(self, send: Send, request_id: str, *, over_tls: bool = False) -> None:
        self._send = send
        self.request_id = request_id
        self.started = False
        self.status = self.bytes = 0
        self.code = ""
        self.readable_by = ""  # the origin of a page that may read the answer
        self._ours = [*_HEADERS, _OVER_TLS] if over_tls else _HEADERS

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started, self.status = True, message["status"]
            given = list(message.get("headers", ()))
            names = {name for name, _ in given}
            ours = self._ours if names.isdisjoint(_NAMES) else [pair for pair in self._ours if pair[0] not in names]
            if self.readable_by:
                ours = [*ours, (b"access-control-allow-origin", self.readable_by.encode()), (b"vary", b"Origin")]
            message["headers"] = [*given, *ours, (b"x-request-id", self.request_id.encode())]
        else:
            self.bytes += len(message.get("body", b""))
        await self._send(message)


def _header(scope: Scope, name: bytes) -> str:
    """Return the first header of a name in lower case, an empty text when there is none."""
    for given, value in scope["headers"]:
        if given == name:
            return value.decode("latin-1")
    return ""


@lru_cache(256)
def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _address(scope: Scope) -> str:
    return (scope.get("client") or ("", 0))[0]


def _filled(entry: Entry, scope: Scope, out: _Out, took_ns: int) -> Entry:
    """Return an entry with what came of its request."""
    key, route = scope["state"].get("key"), scope.get("route")
    if key is not None:
        entry.of_key(key)
    path = route.path if route is not None else scope["path"] if scope["path"] in _UNROUTED else None
    entry.door = _UNROUTED.get(scope["path"], entry.door)
    if path is not None:
        entry.route = f"{scope['method']} {path}"
        entry.say({**dict(parse_qsl(scope["query_string"].decode("latin-1"))), **scope.get("path_params", {})})
    entry.status, entry.code, entry.bytes, entry.us = out.status, out.code, out.bytes, took_ns // 1000
    return entry


def _bounded(receive: Receive) -> Receive:
    # A body without a content-length can still not be larger than agreed.
    left = MOST_BODY_BYTES

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise errors.Refused(413, "too_large", f"more than {MOST_BODY_BYTES} bytes", hint="several calls")
        return message

    return counted
