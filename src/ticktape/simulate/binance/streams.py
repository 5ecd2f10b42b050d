"""Stream names and the control messages that change them.

binance-spot-api-docs, web-socket-streams.md, "Live Subscribing/Unsubscribing to streams" and its table of
error messages. A name that does not exist is accepted and stays silent, as the real venue does.
"""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
ID_LENGTH = 36


class Target(Struct, frozen=True):
    """What a connection's path and query ask for."""

    combined: bool
    streams: tuple[str, ...]
    micro: bool


class Refused(Exception):
    """A control message the venue answers with an error object."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def target(path: str) -> Target | None:
    """Read /ws, /ws/<a>/<b>, /stream?streams=a/b; None is a 404."""
    parts = urlsplit(path)
    # Not parse_qs: it turns the plus of kline_1m@+08:00 into a space.
    query = {key: unquote(value) for key, _, value in (pair.partition("=") for pair in parts.query.split("&"))}
    micro = query.get("timeUnit", "").upper() == "MICROSECOND"
    route = parts.path.rstrip("/")
    if route == "/stream":
        return Target(True, tuple(name for name in query.get("streams", "").split("/") if name), micro)
    if route == "/ws" or route.startswith("/ws/"):
        return Target(False, tuple(unquote(name) for name in route[4:].split("/") if name), micro)
    return None


class Subscriptions:
    """One connection's streams, in the order they were asked for, and its `combined` property."""

    def __init__(self, combined: bool, limit: int) -> None:
        self.names: dict[str, None] = {}
        self.combined = combined
        self.over = False  # a request went past the limit
        self._limit = limit

    def answer(self, raw: bytes) -> bytes:
        """Carry out one control message and return the venue's reply."""
        try:
            request: object = msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            return _error(3, f"Invalid JSON: {error}", None)
        if not isinstance(request, dict):
            return _error(2, "Invalid request: expected an object", None)
        fields = cast("dict[str, Any]", request)
        try:
            request_id = _request_id(fields)
        except Refused as refused:
            return _error(refused.code, refused.message, None)
        try:
            result = self._carry_out(fields)
        except Refused as refused:
            return _error(refused.code, refused.message, request_id)
        return msgspec.json.encode({"result": result, "id": request_id})

    def _carry_out(self, fields: dict[str, Any]) -> object:
        if "method" not in fields:
            raise Refused(2, "Invalid request: missing field `method` at line 1 column 1")
        method = fields["method"]
        if method == "SUBSCRIBE":
            return self.subscribe(_names(fields))
        if method == "UNSUBSCRIBE":
            for name in _names(fields):
                self.names.pop(name, None)
            return None
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.names)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(str(method), fields.get("params"))
        expected = ", ".join(f"`{name}`" for name in METHODS)
        raise Refused(2, f"Invalid request: unknown variant `{method}`, expected one of {expected} at line 1 column 1")

    def subscribe(self, names: list[str]) -> None:
        """Add streams; nothing is added when the result would be over the limit."""
        wanted = {**self.names, **dict.fromkeys(names)}
        if len(wanted) > self._limit:
            self.over = True
            raise Refused(2, f"Invalid request: too many streams, the limit is {self._limit} per connection")
        self.names = wanted

    def _property(self, method: str, params: object) -> object:
        values = cast("list[object]", params) if isinstance(params, list) else []
        if not values or not isinstance(values[0], str):
            raise Refused(2, "Invalid request: property name must be a string")
        if len(values) > (2 if method == "SET_PROPERTY" else 1):
            raise Refused(2, "Invalid request: too many parameters")
        if values[0] != "combined":
            raise Refused(0, "Unknown property")
        if method == "GET_PROPERTY":
            return self.combined
        if len(values) < 2 or not isinstance(values[1], bool):
            raise Refused(1, "Invalid value type: expected Boolean")
        self.combined = values[1]
        return None


def _request_id(fields: dict[str, Any]) -> int | str | None:
    value = fields.get("id", False)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, str) and len(value) <= ID_LENGTH:
        return value
    raise Refused(2, "Invalid request: request ID must be an unsigned integer")


def _names(fields: dict[str, Any]) -> list[str]:
    params: object = fields.get("params")
    if not isinstance(params, list):
        raise Refused(2, "Invalid request: missing field `params` at line 1 column 1")
    names = cast("list[object]", params)
    if not all(isinstance(name, str) for name in names):
        raise Refused(2, "Invalid request: invalid type, expected a string")
    return cast("list[str]", names)


def _error(code: int, message: str, request_id: int | str | None) -> bytes:
    body: dict[str, object] = {"code": code, "msg": message}
    if request_id is not None:
        body["id"] = request_id
    return msgspec.json.encode(body)
