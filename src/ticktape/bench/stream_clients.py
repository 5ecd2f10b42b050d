"""WebSocket clients of a bench in a process of their own: they connect, subscribe and note how late updates are.

`python -m ticktape.bench.stream_clients '{...}'`. One JSON line says each step; it ends with its standard input.
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
import time

import msgspec
import numpy as np
import uvloop
from picows import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    ws_connect,  # pyright: ignore[reportUnknownVariableType]
)

AT_ONCE = 200  # connections under way
_TIME = re.compile(rb'"ts_recv":(\d+)')


class Crowd(msgspec.Struct, frozen=True):
    """How many clients, what each says, how many stop reading, and how long to listen."""

    url: str
    key: str
    subscribe: list[str]  # client k says line k modulo their number
    clients: int
    deaf: int = 0
    seconds: float = 10.0
    warm_s: float = 2.0


class Member(WSListener):
    """One client: notes how late the newest event of each message is."""

    def __init__(self, late: list[float], says: bytes) -> None:
        self._late, self._says = late, says
        self.messages = self.events = 0
        self.transport: WSTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Subscribe."""
        self.transport = transport
        transport.send(WSMsgType.TEXT, self._says)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Note it."""
        if frame.msg_type is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        if frame.msg_type is not WSMsgType.TEXT:
            return
        data = frame.get_payload_as_bytes()
        if data.startswith(b'{"type":"update"'):
            self.messages += 1
            times = _TIME.findall(data)
            if times:
                self.events += len(times)
                self._late.append((time.time_ns() - int(times[-1])) / 1e6)


async def _connect(told: Crowd, late: list[float]) -> list[Member]:
    members: list[Member] = []
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            member = Member(late, told.subscribe[number % len(told.subscribe)].encode())
            headers = {"Authorization": f"Bearer {told.key}"}
            await ws_connect(lambda: member, told.url, extra_headers=headers)
            members.append(member)

    async with asyncio.TaskGroup() as tasks:
        for number in range(told.clients):
            tasks.create_task(one(number))
    return members


async def listen(told: Crowd) -> dict[str, float]:
    """Connect, listen, and return the figures."""
    late: list[float] = []
    began = time.perf_counter()
    members = await _connect(told, late)
    connected_s = time.perf_counter() - began
    _say(connected=len(members), seconds=connected_s)
    for member in members[: told.deaf]:
        if member.transport is not None:
            member.transport.underlying_transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
    await asyncio.sleep(told.warm_s)
    late.clear()
    before = sum(member.events for member in members), sum(member.messages for member in members)
    await asyncio.sleep(told.seconds)
    found = np.array(late or [0.0])
    return {
        "connected_s": connected_s,
        "messages_per_s": (sum(m.messages for m in members) - before[1]) / told.seconds,
        "events_per_s": (sum(m.events for m in members) - before[0]) / told.seconds,
        "p50": float(np.percentile(found, 50)),
        "p99": float(np.percentile(found, 99)),
        "max": float(found.max()),
    }


def _say(**what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Entry point."""
    told = msgspec.json.decode(sys.argv[1], type=Crowd)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _say(**uvloop.run(listen(told)))
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
