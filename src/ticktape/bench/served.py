"""A real `ticktape serve` in its own process, and the smallest client that keeps a connection: a socket."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ticktape.bench.child import Child
from ticktape.errors import Unavailable
from ticktape.serve.keys import KeyStore, Scope

PER_S = 1e6  # what the key allows: a bench measures the server, not its limits
START_S = 60.0
_READ = 1 << 16


class Client:
    """HTTP/1.1 over one connection, one request at a time. It only looks for the status and the length."""

    def __init__(self, port: int, key: str) -> None:
        self.port, self.key = port, key
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, path: str) -> bytes:
        """Return the bytes to send for a path."""
        return (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n\r\n".encode()
        )

    def ask(self, request: bytes) -> bytes:
        """Send a request and return the body. Raises Unavailable for any answer but 200."""
        self._socket.sendall(request)
        data = self._socket.recv(_READ)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
        pieces, have = [data[end + 4 :]], len(data) - end - 4
        while have < length:
            pieces.append(self._more())
            have += len(pieces[-1])
        if not head.startswith(b"http/1.1 200"):
            raise Unavailable(f"serve: {head[:30].decode()} {b''.join(pieces)[:300].decode(errors='replace')}")
        return b"".join(pieces)

    def get(self, path: str) -> dict[str, Any]:
        """Return an answer as plain data."""
        return msgspec.json.decode(self.ask(self.request(path)), type=dict[str, Any])

    def _more(self) -> bytes:
        data = self._socket.recv(_READ)
        if not data:
            raise Unavailable("serve closed the connection")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@contextmanager
def serving(data: Path) -> Generator[tuple[Child, Client]]:
    """Start `ticktape serve` on a data folder and give its process and a client once it answers from the tape."""
    keys = KeyStore(data)
    key = keys.create("bench", [Scope.REALTIME, Scope.HISTORY], per_s=PER_S).key
    keys.close()
    port = _free_port()
    command = [sys.executable, "-m", "ticktape.cli.main", "serve", "--data", str(data), "--port", str(port)]
    command += ["--stream-workers", "0"]
    with Child([*command, "--log-level", "error", "--supervised"], data / "serve.log") as child:
        client = _connected(child, port, key)
        try:
            yield child, client
        finally:
            client.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _connected(child: Child, port: int, key: str) -> Client:
    deadline = time.monotonic() + START_S
    while True:
        child.alive()
        try:
            return _answered(Client(port, key))
        except (OSError, Unavailable):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _answered(client: Client) -> Client:
    try:
        client.get("/api/v1/status")
    except BaseException:
        client.close()
        raise
    return client
