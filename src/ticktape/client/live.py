"""The stream: events as they come, or a replay of them. Goes on by itself where it was cut, none lost, none twice.

Every message of the server says up to which position it is complete, so the position after it is where a new
connection begins. The server says something every five seconds; after a longer silence the connection counts as dead.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal

import msgspec

from ticktape.client.errors import ApiError, Away, Denied, Refused
from ticktape.client.records import Event, Lost, Missed, Other, Tape
from ticktape.client.settings import Settings
from ticktape.client.socket import Closed, Socket, opened
from ticktape.errors import BadInput

PATH = "/api/v1/stream"
SILENT_S = 15.0  # three heartbeats
FIRST_WAIT_S, MOST_WAIT_S = 0.1, 10.0
_POLICY, _TOO_BIG = 1008, 1009  # close codes after which coming back would end the same way

Speed = float | Literal["max"]
_events = msgspec.json.Decoder(list[Tape])


class Said(msgspec.Struct):
    """A message of the server, of any type."""

    type: str
    position: int = -1
    missed: int = 0
    events: msgspec.Raw = msgspec.Raw(b"[]")
    from_position: int = -1
    to_position: int = -1
    why: str = ""
    loop: bool = False
    error: dict[str, Any] = {}


_said = msgspec.json.Decoder(Said)


class Subscription:
    """What to send, and how it goes on after position P."""

    def __init__(
        self, symbols: Sequence[str], channels: Sequence[str], *, from_position: int | None = None,
        start: str | int | None = None, end: str | int | None = None, speed: Speed | None = None, **more: Any,
    ) -> None:  # fmt: skip
        if isinstance(symbols, str) or isinstance(channels, str):
            raise BadInput("symbols and channels are lists", hint='live(["BTCUSDT"], ["trades"])')
        self.replay = start is not None or end is not None
        self._fixed = {"op": "subscribe", "symbols": list(symbols), "channels": list(channels), **more}
        self._fixed |= {"to": end, "speed": speed} if self.replay else {}
        self._start, self._from = start, from_position

    def message(self, position: int | None) -> bytes:
        """Return what to say on a new connection, with everything up to `position` there already."""
        place: dict[str, Any] = {}
        if self.replay:
            place["from"] = self._start if position is None else f"position:{position + 1}"
        elif position is not None or self._from is not None:
            place["from_position"] = self._from if position is None else position + 1
        given = {**self._fixed, **place}
        return msgspec.json.encode({name: value for name, value in given.items() if value is not None})


class Feed:
    """An endless (a replay: ended) iterator of events. `position`, `missed` and `reconnects` say how it goes."""

    def __init__(self, settings: Settings, subscription: Subscription) -> None:
        self._settings = settings
        self.subscription = subscription
        self.position: int | None = None  # complete up to here
        self.missed = 0
        self.reconnects = 0
        self._socket: Socket | None = None
        self._closed = False

    def __aiter__(self) -> AsyncGenerator[Event]:
        """Yield events. Raises ApiError for what coming back would not change."""
        return self._run()

    async def close(self) -> None:
        """End it: the iterator stops."""
        self._closed = True
        if self._socket is not None:
            await self._socket.close()

    async def send(self, **op: Any) -> None:
        """Say something on the connection, as `op="pause"` to a replay. Raises Away when there is none."""
        if self._socket is None:
            raise Away("not connected", hint="iterate first")
        self._socket.send(msgspec.json.encode(op))

    async def _run(self) -> AsyncGenerator[Event]:
        wait_s = FIRST_WAIT_S
        while not self._closed:
            try:
                async for said in self._connected():
                    wait_s = FIRST_WAIT_S
                    for event in self.taken(said):
                        yield event
                    if said.type == "end" and not said.loop:
                        return
            except Away:
                # Spread, so that a crowd that was cut off together does not come back together.
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))
                wait_s = min(2 * wait_s, MOST_WAIT_S)
            self.reconnects += 1

    async def _connected(self) -> AsyncGenerator[Said]:
        """Yield the messages of one connection. Raises Away when it is over, ApiError when it makes no sense."""
        socket = await self._open()
        try:
            self._socket = socket
            socket.send(self.subscription.message(self.position))
            while True:
                async with asyncio.timeout(SILENT_S):
                    data = await socket.recv()
                yield understood(data)
        except TimeoutError:
            raise Away(f"no word for {SILENT_S:g} s", code="silent") from None
        except Closed as error:
            if not self._closed:
                raise _ended(error) from error
        finally:
            self._socket = None
            await socket.close()

    async def _open(self) -> Socket:
        stream = self._settings.stream
        return await opened(stream if stream.endswith(PATH) else stream + PATH, self._settings.key)

    def taken(self, said: Said) -> list[Event]:
        """Return the events of a message, and remember how far it is complete."""
        found: list[Event] = []
        if said.type in ("update", "snapshot"):
            found = _decoded(bytes(said.events))
            self.missed += said.missed
            if said.missed:
                found.append(Missed(position=said.position, count=said.missed))
        elif said.type == "gap":
            found = [Lost(position=said.from_position, to_position=said.to_position, why=said.why)]
            self.position = said.to_position
            return found
        if said.type in ("update", "snapshot", "heartbeat") and said.position >= 0:
            self.position = said.position
        return found


def understood(data: bytes) -> Said:
    """Return a message of the server. Raises ApiError when it is an error, or none of ours."""
    try:
        said = _said.decode(data)
    except msgspec.DecodeError as error:
        raise Refused(f"not a message of ticktape: {error}", hint="TICKTAPE_STREAM", code="not_understood") from error
    if said.type == "error":
        code = str(said.error.get("code", ""))
        kind = Denied if code in ("bad_key", "forbidden") else Away if code in ("unavailable", "too_many") else Refused
        raise kind(str(said.error.get("message", "")), str(said.error.get("hint", "")), code=code)
    return said


def _decoded(events: bytes) -> list[Event]:
    try:
        return list(_events.decode(events))
    except msgspec.ValidationError:
        return [_one(raw) for raw in msgspec.json.decode(events, type=list[msgspec.Raw])]


def _one(raw: msgspec.Raw) -> Event:
    # A kind of event that is newer than this client is handed on as it is.
    try:
        return msgspec.json.decode(raw, type=Tape)
    except msgspec.ValidationError:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
        name, position = str(fields.get("kind", "")), fields.get("position", -1)
        return Other(position=position if isinstance(position, int) else -1, name=name, fields=fields)


def _ended(closed: Closed) -> ApiError:
    code, reason = closed.code, closed.reason
    if code == _POLICY:
        return Denied(reason or "closed by the server's policy", hint="ticktape key list", code="closed", status=code)
    kind = Refused if code == _TOO_BIG else Away
    return kind(reason or f"closed with {code}", code="closed", status=code)
