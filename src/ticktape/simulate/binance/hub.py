"""Fan-out: who listens to which stream, frames through the faults, then to every listener once encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ticktape.simulate.binance.connection import Connection
from ticktape.simulate.binance.faults import Faults
from ticktape.simulate.binance.wire import Message, combined, framed


class Hub:
    """The connections of a venue and the only way frames reach them."""

    def __init__(self, faults: Faults) -> None:
        self.connections: list[Connection] = []
        self.micro = False  # somebody wants microseconds
        self.sent = 0  # frames handed to connections
        self._faults = faults
        self._listeners: dict[str, list[Connection]] = {}
        self._change = asyncio.Event()

    def joined(self, connection: Connection) -> None:
        """A client is in."""
        self.connections.append(connection)

    def left(self, connection: Connection) -> None:
        """A client is gone."""
        if connection in self.connections:
            self.connections.remove(connection)
        self.changed(connection)

    def changed(self, connection: Connection) -> None:
        """Subscriptions, properties or liveness differ from before."""
        self._listeners = {}
        for one in self.connections:
            for name in one.subscriptions.names:
                self._listeners.setdefault(name, []).append(one)
        self.micro = any(one.micro for one in self.connections)
        self._change.set()

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait for something about the connections to become as wanted."""
        while not ready():
            self._change.clear()
            await self._change.wait()

    @property
    def simple(self) -> bool:
        """No fault wants to see single frames, so ready blocks may go straight to the connections."""
        return self._faults.idle

    def wants(self, stream: str) -> bool:
        """Whether anybody listens."""
        return stream in self._listeners

    def streams(self) -> Iterable[str]:
        """All streams somebody listens to."""
        return list(self._listeners)

    def publish(self, message: Message) -> None:
        """Send one payload to its listeners, through the faults; without listeners nothing happens."""
        if message.stream not in self._listeners:
            return
        if self._faults.idle:
            self._fan_out(message)
            return
        for frame in self._faults.apply(message):
            self._fan_out(frame)

    def release(self, messages: Iterable[Message]) -> None:
        """Send frames a cleared fault had held, past the other faults."""
        for message in messages:
            self._fan_out(message)

    def announce(self, message: Message) -> None:
        """Send to every connection whatever it subscribed."""
        for connection in self.connections:
            connection.push(_encoded(message, connection.subscriptions.combined, connection.micro))

    async def drained(self) -> None:
        """Wait until every connection can take more: what the real venue would not do, for flat-out runs."""
        for connection in list(self.connections):
            if not connection.stalled:
                await connection.writable.wait()

    def _fan_out(self, message: Message) -> None:
        encoded: dict[tuple[bool, bool], bytes] = {}
        for connection in self._listeners.get(message.stream, ()):
            key = (connection.subscriptions.combined, connection.micro)
            if key not in encoded:
                encoded[key] = _encoded(message, *key)
            connection.push(encoded[key])
            self.sent += 1


def _encoded(message: Message, wrapped: bool, micro: bool) -> bytes:
    data = message.micro if micro and message.micro is not None else message.data
    return framed(combined(message.stream, data) if wrapped else data)
