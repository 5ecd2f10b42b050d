"""What the audit keeps of one client of the stream: that it came in, what it asked for, how it ended.

`OPEN`, one `SUBSCRIBE` for each subscription or replay, and `CLOSE` with how many messages were sent; all three carry
the same `request_id`. Server-sent events have no `CLOSE`: the line of their HTTP request is that.
"""

from __future__ import annotations

import secrets

from ticktape.serve.audit import Audit, Entry, redacted
from ticktape.serve.rights import Key
from ticktape.serve.stream.protocol import Subscribe

_SHOWN = 50  # channels or symbols of one message


class Trail:
    """The lines of one client. Without an audit nothing is written."""

    __slots__ = ("_address", "_audit", "_began_ns", "_closed", "_door", "_id", "_key", "_path")

    def __init__(self, audit: Audit | None, address: str, door: str, path: str) -> None:
        self._audit, self._address, self._door, self._path = audit, address, door, path
        self._key: Key | None = None
        self._id = secrets.token_hex(8) if audit is not None else ""
        self._began_ns = audit.clock.monotonic_ns() if audit is not None else 0
        self._closed = audit is None

    def opened(self, key: Key) -> None:
        """Note that a good key came in."""
        self._key = key
        self._put("OPEN", status=200)

    def refused(self, status: int, code: str) -> None:
        """Note that a client was not let in at all."""
        if not self._closed:
            self._closed = True
            self._put("OPEN", status=status, code=code)

    def asked(self, op: Subscribe, code: str = "") -> None:
        """Note what was subscribed or replayed; `code` says why it was refused."""
        said = {"channels": ",".join(op.channels[:_SHOWN]), "symbols": ",".join(op.symbols[:_SHOWN])}
        more = {"from": op.start, "to": op.end, "speed": op.speed, "from_position": op.from_position}
        said |= {name: str(value) for name, value in more.items() if value is not None}
        self._put("SUBSCRIBE", status=400 if code else 200, code=code, said=said)

    def closed(self, messages: int, code: int, reason: str) -> None:
        """Note how it ended, once. `code` is the WebSocket's, 0 where the client just went."""
        if self._closed:
            return
        self._closed = True
        if self._door != "sse":
            self._put("CLOSE", status=code, code=reason, rows=messages)

    def _put(
        self, what: str, *, status: int, code: str = "", rows: int | None = None, said: dict[str, str] | None = None
    ) -> None:
        audit = self._audit
        if audit is None:
            return
        entry = Entry(
            ts=audit.clock.now_ns(), request_id=self._id, address=self._address, door=self._door,
            route=f"{what} {self._path}", status=status, code=redacted(code), rows=rows,
            said={name: redacted(value) for name, value in (said or {}).items()},
            us=(audit.clock.monotonic_ns() - self._began_ns) // 1000,
        )  # fmt: skip
        if self._key is not None:
            entry.of_key(self._key)
        audit.put(entry)
