"""The one tree of errors. Each name says what the catcher should do.

TicktapeError
├── BadInput          refuse it and tell the caller: exit 2, HTTP 422
│   ├── BadFrame      quarantine the frame, keep the feed up
│   ├── BadSymbol     not a symbol by the grammar
│   ├── UnknownSymbol well formed, but nobody enrolled it (HTTP 404)
│   └── TooCostly     it would take more rows, memory or time than one question may: ask for less
├── Misconfigured     name the part, start the others
├── Busy              another process owns it; says who
├── Damaged           bytes on disk are not what was written; run verify / repair
├── Unavailable       the other side is away or refuses for now: retry later
│   └── Throttled     the other side told us when to come back
└── DiskFull          stop acknowledging, keep answering, resume when there is room
"""

from __future__ import annotations


class TicktapeError(Exception):
    """What went wrong and where; `hint` is the next command, ready to paste."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class BadInput(TicktapeError):
    """What came from outside cannot be accepted."""


class BadFrame(BadInput):
    """A venue's frame that breaks its contract; goes to quarantine with the reason."""


class BadSymbol(BadInput):
    """Text that is not a symbol by the grammar in `model/symbols.py`."""


class UnknownSymbol(BadInput):
    """A well-formed symbol that no instrument carries at that time."""


class TooCostly(BadInput):
    """A question that would take more rows, memory or time than one may."""


class Misconfigured(TicktapeError):
    """A setting or secret is missing or wrong; the message names it."""


class Busy(TicktapeError):
    """Another process owns the thing; the message names the owner."""


class Damaged(TicktapeError):
    """Bytes on disk differ from what was written."""


class Unavailable(TicktapeError):
    """The other side is away; trying again later may help."""


class Throttled(Unavailable):
    """The other side asked for a pause of `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float, hint: str = "") -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class DiskFull(TicktapeError):
    """There is no room for the next append; nothing was accepted."""
