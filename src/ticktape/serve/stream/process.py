"""`ticktape stream`: the hub in a process of its own, so that ten thousand clients slow neither capture nor answers.

Several can run beside each other: the system spreads new connections over all that listen on the port.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
from pathlib import Path

import structlog
from msgspec import Struct

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Misconfigured
from ticktape.serve.audit import Audit
from ticktape.serve.keys import KeyStore
from ticktape.serve.limits import Limits
from ticktape.serve.stream.feed import warm_kernels
from ticktape.serve.stream.handshake import Handshake
from ticktape.serve.stream.hub import Hub
from ticktape.serve.stream.listen import listen
from ticktape.serve.stream.settings import StreamSettings

log = structlog.get_logger("stream")

WAIT_S = 0.2
SPARE_FILES = 512


class StreamProcess(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one process that streams is told."""

    data: Path
    keys: Path | None = None  # where the API keys are, when not in `data`
    host: str = "127.0.0.1"
    port: int = 8878
    hosts: frozenset[str] | None = None  # names to answer to; None: any
    origins: frozenset[str] = frozenset()  # pages that may open a stream
    tls_cert: Path | None = None  # PEM, with `tls_key`
    tls_key: Path | None = None
    limits: StreamSettings = StreamSettings()


async def stream(
    settings: StreamProcess, stop: asyncio.Event, *, sock: socket.socket | None = None, clock: Clock | None = None
) -> None:
    """Stream until `stop` is set. `sock` is a bound socket to use. Raises Misconfigured, Damaged."""
    clock = clock or SystemClock()
    sock = sock or bind(settings.host, settings.port)
    _raise_file_limit(settings.limits.most_clients + SPARE_FILES)
    keys = KeyStore(settings.keys or settings.data, clock)
    try:
        audit = Audit(settings.keys or settings.data, keys.pepper, clock)
        hub = await opened(settings.data, keys, Limits(clock), clock, settings.limits, stop, audit)
        if hub is None:
            return
        server = await listen(hub, Handshake(keys, settings.hosts, settings.origins), sock, _tls(settings))
        log.info("stream.started", port=sock.getsockname()[1])
        try:
            running = asyncio.create_task(hub.run(stop), name="stream:hub")
            try:
                await audit.run(running)
            finally:
                running.cancel()  # nothing, once it has ended
            await running
        finally:
            server.close()
    finally:
        keys.close()
        sock.close()
    log.info("stream.stopped")


async def opened(
    data: Path,
    keys: KeyStore,
    limits: Limits,
    clock: Clock,
    settings: StreamSettings,
    stop: asyncio.Event,
    audit: Audit | None = None,
) -> Hub | None:
    """Return the hub once there is a tape; None when `stop` came first."""
    told = False
    while not stop.is_set():
        if (data / "tape" / "tape.json").exists() and (data / "tape" / "head").exists():
            await asyncio.to_thread(warm_kernels, data / "tape")
            return Hub(data, keys, limits, clock, settings, audit)
        if not told:
            told = True
            log.warning("stream.waiting_for_tape", folder=str(data / "tape"), hint="ticktape up")
        await asyncio.sleep(WAIT_S)  # the recorder makes it; nobody there can wake us
    return None


def bind(host: str, port: int, *, alone: bool = False) -> socket.socket:
    """Return a socket that other processes of ours may be bound to as well, unless `alone`. Raises Misconfigured."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if not alone:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise Misconfigured(f"{host}:{port}: {error.strerror}", hint="[serve] stream_port") from error
    return sock


def _tls(settings: StreamProcess) -> ssl.SSLContext | None:
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except OSError as error:  # an SSLError is one
        raise Misconfigured(f"{settings.tls_cert}: {error}", hint="[serve] tls_cert, tls_key") from error
    return context


def _raise_file_limit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < wanted:
        log.warning("stream.few_files", files=most, wanted=wanted, hint=f"ulimit -n {wanted}")
