"""`websockets.broadcast`: the strongest pure-Python way to send one message to many."""

from __future__ import annotations

import numpy as np
import uvloop
import websockets
from websockets.asyncio.server import ServerConnection, broadcast

from ticktape.bench.place import Place
from ticktape.bench.result import Beside, Measured
from ticktape.bench.stream_send import UPDATE, bound, crowd, timed, until


async def _timed(place: Place) -> list[float]:
    there: set[ServerConnection] = set()

    async def stay(connection: ServerConnection) -> None:
        there.add(connection)
        await connection.wait_closed()

    with place.scratch("send-websockets") as folder:
        sock = bound()
        text = UPDATE.decode()
        server = websockets.serve(stay, sock=sock, compression=None)
        async with server, crowd(place, folder, sock, "", "{}") as count:
            await until(lambda: len(there) == count)
            return await timed(place, count, lambda: broadcast(there, text), lambda: None)


def send(place: Place, ours: Measured) -> Beside:
    """Return its processor time a send."""
    peer = float(np.median(uvloop.run(_timed(place))))
    return Beside(peer="websockets", peer_value=peer, ratio=peer / ours.value)
