"""One client, whatever it came in by: who it is, what it asked for, where it is on the tape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from ticktape.errors import BadInput, TicktapeError
from ticktape.serve.rights import BadKey, Forbidden, Key, Scope
from ticktape.serve.stream import protocol
from ticktape.serve.stream.handshake import PATH
from ticktape.serve.stream.protocol import Encoding, Policy
from ticktape.serve.stream.settings import Close
from ticktape.serve.stream.trail import Trail

if TYPE_CHECKING:
    from ticktape.serve.stream.group import Group
    from ticktape.serve.stream.hub import Hub
    from ticktape.serve.stream.past import Span
    from ticktape.serve.stream.player import Player
    from ticktape.serve.stream.wants import Wants

_REASON_BYTES = 120


class Wire(Protocol):
    """What carries messages to a client. It calls `heard`, `paused`, `resumed` and `gone` of the session."""

    def send(self, data: bytes, *, binary: bool) -> None:
        """Send one message."""
        ...

    def ping(self) -> None:
        """Ask whether the client is there; `alive_s` of the session says when it last was."""
        ...

    def close(self, code: Close, reason: str) -> None:
        """Say why and end; whoever does not answer is dropped a little later."""
        ...


class Session:
    """One client."""

    __slots__ = (
        "address", "alive_s", "allowance", "behind", "born_s", "encoding", "errors", "group", "heard_s", "hub", "key",
        "over", "pairs", "player", "playing", "policy", "rate", "sent", "slow_since_s", "task", "throttle", "trail",
        "wire", "writable",
    )  # fmt: skip

    def __init__(
        self, hub: Hub, wire: Wire, encoding: Encoding, address: str, *, door: str = "stream", path: str = PATH
    ) -> None:
        self.hub, self.wire, self.encoding, self.address = hub, wire, encoding, address
        self.key: Key | None = None
        self.pairs: frozenset[tuple[str, str]] = frozenset()
        self.policy, self.rate, self.throttle = Policy.EVERY, hub.settings.rate, hub.settings.throttle
        self.group: Group | None = None
        self.behind: tuple[int, int] | None = None  # (position, total) of the group when it fell behind
        self.player: Player | None = None
        self.playing: tuple[Span, Wants, bool] | None = None  # what a replay plays, and whether again and again
        self.task: asyncio.Task[None] | None = None
        self.born_s = self.heard_s = self.alive_s = hub.now_s()
        self.slow_since_s = 0.0
        self.allowance = hub.settings.most_messages_per_s
        self.errors = self.sent = 0
        self.trail = Trail(hub.audit, address, door, path)
        self.over = False
        self.writable: asyncio.Event | _Always = ALWAYS

    # -- what the wire tells -----------------------------------------------------------------------

    def heard(self, data: bytes, *, binary: bool) -> None:
        """Take in a message."""
        if self.over or not self.may_speak():
            return
        op: protocol.Op | None = None
        try:
            op = protocol.parse(data, binary=binary)
            self.hub.answer(self, op)
        except TicktapeError as error:
            self.complain(error, op)

    def may_speak(self) -> bool:
        """Count a message of the client; a flood ends it."""
        now, limit = self.hub.now_s(), self.hub.settings.most_messages_per_s
        self.allowance = min(limit, self.allowance + (now - self.heard_s) * limit) - 1
        self.heard_s = now
        if self.allowance < 0:
            self.close(Close.POLICY, f"more than {limit:g} messages a second")
        return not self.over

    def complain(self, error: TicktapeError, op: protocol.Op | None) -> None:
        """Answer with an error; too many of them, or a bad key, end it."""
        code = self.hub.code_of(error)
        self.tell(
            {
                "type": "error",
                "id": op.id if op is not None else None,
                "error": {"code": code, "message": error.message, "hint": error.hint},
            }
        )
        if isinstance(op, protocol.Subscribe):
            self.trail.asked(op, code)
        self.errors += 1
        if isinstance(error, BadKey) or (isinstance(error, Forbidden) and self.key is None):
            self.close(Close.POLICY, error.message)
        elif self.errors > self.hub.settings.most_errors:
            self.close(Close.POLICY, "too many messages that make no sense")

    def paused(self) -> None:
        """The client does not read: its buffer is full."""
        if self.slow_since_s == 0.0:
            self.slow_since_s = self.hub.now_s()
            self.writable = asyncio.Event()
            self.hub.fell_behind(self)

    def resumed(self) -> None:
        """The client reads again."""
        if self.slow_since_s:
            self.slow_since_s = 0.0
            event, self.writable = self.writable, ALWAYS
            event.set()
            self.hub.reads_again(self)

    def gone(self) -> None:
        """The connection is over."""
        self.over = True
        self.trail.closed(self.sent, 0, "")
        if self.task is not None:
            self.task.cancel()
        self.writable.set()
        self.hub.left(self)

    # -- what the hub does -------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send a message as it is."""
        if not self.over:
            self.sent += 1
            self.wire.send(data, binary=self.encoding is Encoding.MSGPACK)

    def tell(self, what: dict[str, Any]) -> None:
        """Send a message that is no update."""
        self.send(protocol.message(self.encoding, what))

    def close(self, code: Close, reason: str) -> None:
        """End it and say why."""
        if not self.over:
            self.over = True
            self.trail.closed(self.sent, int(code), reason)
            if self.task is not None:
                self.task.cancel()
            self.wire.close(code, reason.encode()[:_REASON_BYTES].decode(errors="ignore"))
            self.hub.left(self)

    def admit(self, key: Key) -> None:
        """Let a key in. Raises Forbidden."""
        key.require([Scope.STREAM])
        key.require_address(self.address)
        self.key = key
        self.trail.opened(key)

    def require_key(self) -> Key:
        """Return the key. Raises BadKey while there is none."""
        if self.key is None:
            raise BadKey("no key yet", hint='{"op": "auth", "key": "tt_..."}')
        return self.key

    def require_player(self) -> Player:
        """Return the replay. Raises BadInput when this is none."""
        if self.player is None:
            raise BadInput("this is not a replay", hint='{"op": "subscribe", "from": "2025-11-20T14:30:00Z", ...}')
        return self.player


class _Always:
    """An event that is always set, shared by all who read as they should."""

    __slots__ = ()

    async def wait(self) -> None:
        """Return at once."""

    def set(self) -> None:
        """Stay set."""


ALWAYS = _Always()
