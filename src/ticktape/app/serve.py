"""Wires the answering process, and the processes that stream beside it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from ticktape.config import Config, PastConfig, convert, keys_of, stream_port
from ticktape.errors import Misconfigured
from ticktape.serve.alarms.rules import Thresholds
from ticktape.serve.alarms.run import AlarmSettings
from ticktape.serve.alarms.webhook import WebhookSettings
from ticktape.serve.past.asks import Allowance
from ticktape.serve.process import ServeSettings, hosts_of, serve
from ticktape.serve.stream.handshake import origins_of
from ticktape.serve.stream.process import StreamProcess, bind, stream
from ticktape.supervise import Child, Supervisor, environment

log = structlog.get_logger("serve")

PORT_TRIES, PORT_PAUSE_S = 40, 0.25


def _settings(world: Path, config: Config) -> ServeSettings:
    return ServeSettings(
        data=world,
        keys=keys_of(world),
        host=config.serve.host,
        port=config.serve.port,
        stream_port=stream_port(config),
        origins=config.serve.origins,
        tls_cert=Path(config.serve.tls_cert) if config.serve.tls_cert else None,
        tls_key=Path(config.serve.tls_key) if config.serve.tls_key else None,
        retain_days=config.keep.retain_days,
        alarms=_alarms(config),
        **_past(config.serve.past),
    )


def _alarms(config: Config) -> AlarmSettings:
    hook = config.serve.webhook
    return AlarmSettings(
        thresholds=convert(config.serve.alerts, Thresholds, "serve.alerts"),
        webhook=convert(hook, WebhookSettings, "serve.webhook") if hook.get("url") else None,
    )


def _past(past: PastConfig) -> dict[str, Any]:
    return {
        "past": Allowance(
            seconds=past.seconds, memory_mb=past.memory_mb, rows_read=past.rows_read, answer_mb=past.answer_mb
        ),
        "past_workers": past.workers,
        "past_queue": past.queue,
        "past_per_key": past.per_key,
    }


async def run_serve(world: Path, config: Config, stop: asyncio.Event, options: Sequence[str] = ()) -> None:
    """Answer until `stop` is set, with `stream_workers` processes beside it that are given `options` too."""
    settings, workers = _settings(world, config), config.serve.stream_workers
    if workers == 0:
        await serve(settings, stop)
        return
    command = [sys.executable, "-m", "ticktape.cli.main", "stream", "--data", str(world), "--supervised", *options]
    children = [Child(f"stream-{number}", command) for number in range(1, workers + 1)]
    told = {"TICKTAPE_SERVE__PORT": str(settings.port), "TICKTAPE_SERVE__STREAM_PORT": str(settings.stream_port)}
    supervisor = Supervisor(children, environment() | told)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_stream_beside(supervisor, settings, stop), name="serve:workers")
        await serve(settings, stop)


async def _stream_beside(supervisor: Supervisor, settings: ServeSettings, stop: asyncio.Event) -> None:
    # Were the port somebody else's, the system would share out the clients between them and us. Workers of a server
    # that was killed let go of it within a moment.
    taken: Misconfigured | None = None
    for _ in range(PORT_TRIES):
        try:
            bind(settings.host, settings.stream_port, alone=True).close()
        except Misconfigured as error:
            taken = error
        else:
            await supervisor.run(stop)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PORT_PAUSE_S)
        if stop.is_set():
            return
    log.error("stream.port_taken", error=str(taken))


async def run_stream(world: Path, config: Config, stop: asyncio.Event) -> None:
    """Stream until `stop` is set."""
    settings = _settings(world, config)
    hosts = hosts_of(settings)
    ports = (settings.port, settings.stream_port)
    told = StreamProcess(
        data=world,
        keys=settings.keys,
        host=settings.host,
        port=settings.stream_port,
        hosts=hosts,
        origins=origins_of(hosts, ports, settings.origins),
        tls_cert=settings.tls_cert,
        tls_key=settings.tls_key,
    )
    await stream(told, stop)
