"""With a certificate the hub speaks TLS, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import websockets
from serve_support import House
from stream_support import HOSTS, Client

from ticktape.errors import Misconfigured
from ticktape.serve.stream.process import StreamProcess, stream


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for loopback, with the openssl that Debian has."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.mark.asyncio
async def test_with_a_certificate_it_is_tls_or_nothing(house: House, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    house.trades(house.enrol("BTCUSDT"), 1)
    sock, stop = socket.socket(), asyncio.Event()
    sock.bind(("127.0.0.1", 0))
    sock.listen(8)
    port = sock.getsockname()[1]
    told = StreamProcess(data=house.data, hosts=HOSTS, tls_cert=cert, tls_key=key)
    task = asyncio.create_task(stream(told, stop, sock=sock, clock=house.clock))
    headers = {"Authorization": f"Bearer {house.key()}"}
    context = ssl.create_default_context(cafile=cert)
    async with websockets.connect(
        f"wss://127.0.0.1:{port}/api/v1/stream", ssl=context, additional_headers=headers
    ) as ws:
        await Client(ws).hear("welcome")
    with pytest.raises((OSError, websockets.InvalidMessage)):
        await websockets.connect(f"ws://127.0.0.1:{port}/api/v1/stream")
    stop.set()
    await task


@pytest.mark.asyncio
async def test_a_certificate_that_is_none_is_told_at_the_start(house: House, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not one")
    told = StreamProcess(data=house.data, port=0, tls_cert=tmp_path / "cert.pem", tls_key=tmp_path / "cert.pem")
    with pytest.raises(Misconfigured, match=r"cert\.pem"):
        await stream(told, asyncio.Event())
