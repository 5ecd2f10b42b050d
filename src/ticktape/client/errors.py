"""What the API refuses, as exceptions: the fields of its one error shape, under the tree of `ticktape.errors`.

TicktapeError
└── ApiError     code, message, hint, request_id, status
    ├── Denied   no good key, or one that may not do this (401, 403): another key
    ├── Refused  the question cannot be answered as it is (other 4xx); also a BadInput
    └── Away     not there or busy (429, 5xx, no connection): later, after retry_after_s; also an Unavailable
"""

from __future__ import annotations

import msgspec

from ticktape.errors import BadInput, TicktapeError, Unavailable


class ApiError(TicktapeError):
    """What the server answered instead."""

    def __init__(
        self, message: str, hint: str = "", *, code: str = "", status: int = 0, request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message, hint)
        self.code, self.status, self.request_id, self.retry_after_s = code, status, request_id, retry_after_s


class Denied(ApiError):
    """The key is not good, or not for this."""


class Refused(ApiError, BadInput):
    """The question cannot be answered as it is."""


class Away(ApiError, Unavailable):
    """The server is not there, or has no time now."""


class _Body(msgspec.Struct):
    code: str = ""
    message: str = ""
    hint: str = ""
    request_id: str = ""


class _Shape(msgspec.Struct):
    error: _Body


def kind_of(status: int) -> type[ApiError]:
    """Return the exception of an HTTP status."""
    if status in (401, 403):
        return Denied
    return Away if status == 429 or status >= 500 else Refused


def of_answer(status: int, body: bytes, retry_after: str | None = None) -> ApiError:
    """Return the exception of an answer that is no answer."""
    try:
        found = msgspec.json.decode(body, type=_Shape).error
    except msgspec.DecodeError:
        found = _Body(code=f"http_{status}", message=f"HTTP {status}", hint="is that address ticktape's?")
    wait = float(retry_after) if retry_after and retry_after.isdigit() else None
    return kind_of(status)(
        found.message, found.hint, code=found.code, status=status, request_id=found.request_id, retry_after_s=wait
    )
