"""`ticktape serve`: waits for a tape, follows it, opens the doors; stops within five seconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from collections.abc import Generator
from pathlib import Path

import structlog
import uvicorn
import uvloop
from msgspec import Struct

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Misconfigured
from ticktape.serve.alarms.run import Alarms, AlarmSettings
from ticktape.serve.audit import Audit
from ticktape.serve.control import Control, KeepControl
from ticktape.serve.doors import rest
from ticktape.serve.doors.gate import LOOPBACK_HOSTS
from ticktape.serve.doors.parts import Surroundings
from ticktape.serve.doors.stream import StreamDoor
from ticktape.serve.keys import KeyStore
from ticktape.serve.limits import Limits
from ticktape.serve.links import Links
from ticktape.serve.live import Live
from ticktape.serve.past.asks import Allowance
from ticktape.serve.past.desk import Desk
from ticktape.serve.past.pool import Pool, PoolSettings
from ticktape.serve.past.recall import recall
from ticktape.serve.queries import Queries
from ticktape.serve.stream.handshake import origins_of
from ticktape.serve.stream.settings import StreamSettings
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

log = structlog.get_logger("serve")

WAIT_S = 0.2
STOP_S = 3  # for requests under way; with what surrounds it, less than five
STUCK_NS = 10_000_000_000


class ServeSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `serve` is told."""

    data: Path
    keys: Path | None = None  # where the API keys are, when not in `data`
    host: str = "127.0.0.1"
    port: int = 8877
    hosts: tuple[str, ...] = ()  # names to answer to besides loopback; needed behind a reverse proxy
    trusted_proxies: tuple[str, ...] = ()  # addresses whose X-Forwarded-For is believed
    tls_cert: Path | None = None  # PEM: our certificate and those above it; with `tls_key`
    tls_key: Path | None = None
    failed_keys_per_minute: float = 30.0  # by address
    most_connections: int = 2000
    past: Allowance = Allowance()  # what one question about the past may take
    past_workers: int = 2
    past_queue: int = 8  # questions that wait for a worker
    past_per_key: int = 4
    stream: StreamSettings = StreamSettings()
    stream_port: int = 8878  # where the hub has its own port: pages from there may open streams
    origins: tuple[str, ...] = ()  # other pages that may, as https://desk.example
    alarms: AlarmSettings = AlarmSettings()
    retain_days: dict[str, int] = {}  # as keep has it, by table, where it is not the default


class _Server(uvicorn.Server):
    # Signals belong to whoever handed in `stop`.
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, "serve.http_said", said=record.getMessage(), exc_info=record.exc_info)


async def serve(
    settings: ServeSettings, stop: asyncio.Event, *, listen: socket.socket | None = None, clock: Clock | None = None
) -> None:
    """Answer until `stop` is set. `listen` is a bound socket to use instead of host and port.

    Raises Misconfigured (a taken port, a lost pepper, a tape of another format) and Damaged.
    """
    clock = clock or SystemClock()
    _check_tls(settings)
    sock = listen or _bind(settings)
    # Accepted sockets inherit it. Without it an answer in two pieces waits 40 ms for the client's delayed ACK.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    keys = KeyStore(settings.keys or settings.data, clock)
    links = Links(settings.keys or settings.data, clock)
    pool = Pool(settings.data, PoolSettings(settings.past_workers, settings.past_queue, settings.past_per_key))
    try:
        limits = Limits(clock, failed_per_minute=settings.failed_keys_per_minute)
        control = Control(settings.data / "record.sock")
        desk = Desk(settings.data, pool, control, allowance=settings.past, retain_days=settings.retain_days)
        audit = Audit(settings.keys or settings.data, keys.pepper, clock)
        parts = rest.Parts(
            keys, limits, control, hosts=hosts_of(settings), desk=desk, keep=KeepControl(settings.data / "keep.sock"),
            audit=audit, origins=settings.origins,
            around=Surroundings(settings.data, links, clock, settings.retain_days),
        )  # fmt: skip
        door = parts.stream = _stream_door(settings, keys, limits, clock, sock, audit)
        server = _Server(_uvicorn_config(door.before(rest.build(parts)), settings))
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(_follow(settings, parts, pool, clock, stop), name="serve:live")
            answering = tasks.create_task(server.serve(sockets=[sock]), name="serve:http")
            tasks.create_task(audit.run(answering), name="serve:audit")
            tasks.create_task(door.run(stop), name="serve:stream")
            host, port = sock.getsockname()[:2]
            log.info("serve.started", address=f"{'https' if settings.tls_cert else 'http'}://{host}:{port}")
            await stop.wait()
            server.should_exit = True
            await follower
        audit.flush()  # streams that ended last
    finally:
        await pool.close()
        links.close()
        keys.close()
        sock.close()
    log.info("serve.stopped")


def _check_tls(settings: ServeSettings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise Misconfigured("serve.tls_cert and serve.tls_key belong together", hint="see config.example.toml")
    if settings.tls_cert is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"{settings.tls_cert}, {settings.tls_key}: {error}", hint="both PEM, and of one another"
        ) from None


def _bind(settings: ServeSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((settings.host, settings.port))
    except OSError as error:
        sock.close()
        raise Misconfigured(f"{settings.host}:{settings.port}: {error.strerror}", hint="--port 8878") from error
    return sock


def _stream_door(
    settings: ServeSettings, keys: KeyStore, limits: Limits, clock: Clock, sock: socket.socket, audit: Audit
) -> StreamDoor:
    hosts, ports = hosts_of(settings), (sock.getsockname()[1], settings.stream_port)
    origins = origins_of(hosts or LOOPBACK_HOSTS, ports, settings.origins)
    return StreamDoor(
        settings.data, keys, limits, clock, hosts=hosts, origins=origins, settings=settings.stream, audit=audit
    )


def hosts_of(settings: ServeSettings) -> frozenset[str] | None:
    """Return the names a server answers to; None: any."""
    # Bound to loopback, only loopback's names; elsewhere any, unless names are given.
    if settings.host in LOOPBACK_HOSTS:
        return LOOPBACK_HOSTS | {host.lower() for host in settings.hosts}
    return LOOPBACK_HOSTS | {settings.host, *(host.lower() for host in settings.hosts)} if settings.hosts else None


def _uvicorn_config(app: object, settings: ServeSettings) -> uvicorn.Config:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], False
    logging.getLogger("uvicorn.error").addHandler(_ToStructlog(logging.WARNING))
    return uvicorn.Config(
        app,  # pyright: ignore[reportArgumentType]
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=settings.stream.most_message_bytes,
        ws_ping_interval=settings.stream.ping_every_s,
        ws_ping_timeout=settings.stream.silent_after_s - settings.stream.ping_every_s,
        ws_per_message_deflate=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        limit_concurrency=settings.most_connections,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=STOP_S,
    )


async def _follow(settings: ServeSettings, parts: rest.Parts, pool: Pool, clock: Clock, stop: asyncio.Event) -> None:
    folder = settings.data / "tape"
    reader = await _open(folder, stop)
    if reader is None:
        return
    directory = TapeDirectory(folder)
    try:
        live = Live(reader, clock)
        await asyncio.to_thread(live.warm)  # nobody else has it yet
        parts.queries = Queries(live, directory, clock)
        alarms = Alarms(settings.data, live, directory, clock, settings.alarms, parts.keep, parts.keys)
        parts.watch = alarms.watch
        parts.alive = lambda: clock.monotonic_ns() - live.polled_ns < STUCK_NS
        log.info("serve.tape_opened", first=reader.first, end=reader.end, sample=reader.meta.sample)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(live.run(stop), name="serve:tail")
            tasks.create_task(_flush_keys(parts.keys, stop), name="serve:keys")
            tasks.create_task(alarms.run(stop), name="serve:alarms")
            recalling = tasks.create_task(recall(live, directory, pool, clock, stop), name="serve:recall")
            await stop.wait()
            recalling.cancel()  # a worker may be long at it
    finally:
        parts.queries = parts.watch = None
        directory.close()


async def _open(folder: Path, stop: asyncio.Event) -> Reader | None:
    # The recorder makes the tape; until then there is nothing to answer from, and that is no fault.
    told = False
    while not stop.is_set():
        if (folder / "tape.json").exists() and (folder / "head").exists():
            return await asyncio.to_thread(Reader, folder)
        if not told:
            told = True
            log.warning("serve.waiting_for_tape", folder=str(folder), hint="ticktape up")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), WAIT_S)
    return None


async def _flush_keys(keys: KeyStore, stop: asyncio.Event) -> None:
    while not stop.is_set():
        keys.flush_if_due()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)


async def _main(settings: ServeSettings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)


def main(settings: ServeSettings) -> None:
    """Serve until SIGINT or SIGTERM."""
    uvloop.run(_main(settings))
