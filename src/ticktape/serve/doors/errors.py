"""The one error shape, `{"error": {"code", "message", "hint", "request_id"}}`, and which error becomes which status."""

from __future__ import annotations

import math
from http import HTTPStatus

import msgspec
from starlette.responses import Response

from ticktape.control import CallRefused
from ticktape.errors import (
    BadInput,
    BadSymbol,
    Damaged,
    DiskFull,
    TicktapeError,
    TooCostly,
    Unavailable,
    UnknownSymbol,
)
from ticktape.serve.audit import without_keys
from ticktape.serve.keys import BadKey, Forbidden
from ticktape.serve.limits import TooMany
from ticktape.serve.past.pool import Overloaded


class Refused(TicktapeError):
    """The request itself is refused at the gate, before anything looked at it."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong, for a program (`code`) and for a person."""

    code: str
    message: str
    hint: str
    request_id: str


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The shape of every error."""

    error: ErrorBody


# What the recorder or keep may refuse, by its code; anything else it says is a 422.
_CALL_STATUS = {
    "unknown_source": 404,
    "unknown_symbol": 404,
    "not_found": 404,
    "busy": 409,
    "unavailable": 503,
    "disk_full": 503,
    "failed": 503,  # its own fault, told in its own log
}

# Most particular first.
_STATUS: list[tuple[type[TicktapeError], int, str]] = [
    (BadKey, 401, "bad_key"),
    (Forbidden, 403, "forbidden"),
    (UnknownSymbol, 404, "unknown_symbol"),
    (BadSymbol, 422, "bad_symbol"),
    (TooCostly, 422, "too_costly"),
    (BadInput, 422, "bad_input"),
    (TooMany, 429, "too_many"),
    (Overloaded, 503, "overloaded"),
    (Damaged, 503, "damaged"),
    (Unavailable, 503, "unavailable"),
    (DiskFull, 503, "disk_full"),
]

# (message, hint) for what the framework refuses by itself.
_BY_STATUS = {
    404: ("not_found", "no such route", "/docs"),
    405: ("method_not_allowed", "this route has other methods", "/docs"),
}


def status_of(error: TicktapeError) -> tuple[int, str] | None:
    """Return the HTTP status and code of an error, or None when it is our own fault."""
    if isinstance(error, Refused):
        return error.status, error.code
    if isinstance(error, CallRefused):
        return _CALL_STATUS.get(error.code, 422), error.code
    return next(((status, code) for kind, status, code in _STATUS if isinstance(error, kind)), None)


def response(status: int, code: str, message: str, hint: str, request_id: str) -> Response:
    """Return the error answer."""
    # A message repeats what was sent, and it may end in somebody's log: no key of ours stands in it (X5).
    body = ErrorAnswer(ErrorBody(code, without_keys(message), hint, request_id))
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def of_error(error: TicktapeError, request_id: str) -> Response | None:
    """Return the answer to an expected error, or None when it is our own fault."""
    found = status_of(error)
    if found is None:
        return None
    answer = response(*found, error.message, error.hint, request_id)
    if isinstance(error, BadKey):
        answer.headers["WWW-Authenticate"] = 'Bearer realm="ticktape"'
    if isinstance(error, TooMany | Overloaded):
        answer.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return answer


def of_status(status: int, request_id: str) -> Response:
    """Return the answer to what the framework refused."""
    name = HTTPStatus(status).phrase
    code, message, hint = _BY_STATUS.get(status, (name.lower().replace(" ", "_"), name, "/docs"))
    return response(status, code, message, hint, request_id)


def internal(request_id: str) -> Response:
    """Return what the outside learns of our own fault: that it happened, and the id to look for in the log."""
    return response(
        500, "internal", "something went wrong on our side", f"look for {request_id} in the log", request_id
    )
