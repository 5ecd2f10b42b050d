"""`ticktape up`: everything at once, and what a person needs to know, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ticktape.cli.options import DataOption
from ticktape.cli.parts import ConfigOption, LevelOption

CaptureOption = Annotated[
    Path | None, typer.Option("--capture", metavar="FILE", help="Play a recording of frames instead of a live feed.")
]


def up(
    *,
    data: DataOption,
    config: ConfigOption = None,
    capture: CaptureOption = None,
    speed: Annotated[float, typer.Option("--speed", min=0.0, help="Of --capture: 1 as it was, 0 flat out.")] = 1.0,
    sample: Annotated[bool, typer.Option("--sample", help="Use the simulated venue even when online.")] = False,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Port of the API, on loopback.")] = None,
    log_level: LevelOption = "warning",
) -> None:
    """Record, serve and keep: live from Binance, or SAMPLE data where there is no internet."""
    import msgspec

    from ticktape import config as configuration
    from ticktape import start
    from ticktape.log import configure

    configure(log_level)
    settings = configuration.load(config)
    if port is not None:
        settings = msgspec.structs.replace(settings, serve=msgspec.structs.replace(settings.serve, port=port))
    plan = start.plan(data, settings, capture=capture, sample=sample, speed=speed)
    key = _first_key(data)
    _banner(plan, data, key)
    _run(plan, key, log_level)


def _first_key(data: Path) -> str | None:
    """Return a new key with every scope when there is none yet, else None."""
    from ticktape.serve.keys import KeyStore, Scope

    store = KeyStore(data)
    try:
        if any(key.revoked_ns is None for key in store.list()):
            return None
        return store.create("owner", list(Scope)).key
    finally:
        store.close()


def _link(data: Path) -> str:
    """Return a code that signs in on this machine, once and within ten minutes."""
    from ticktape.serve.links import Links

    links = Links(data)
    try:
        return links.make()
    finally:
        links.close()


def _banner(plan: Any, data: Path, key: str | None) -> None:
    from ticktape.config import stream_port

    base = f"http://{plan.config.serve.host}:{plan.config.serve.port}"
    what = {
        "live": "LIVE from Binance" if "binance" in plan.config.sources else "LIVE",
        "sample": "SAMPLE data from the simulated venue, not real",
        "replay": "REPLAY of a recording",
    }[plan.kind]
    symbol = "BTCUSDT"
    shown = key or "created earlier, shown once; another: ticktape key create"
    lines = [
        ("ticktape", f"{what} ({plan.why})"),
        ("Desk", f"{base}/#k={_link(data)}"),
        ("API", f"{base}/api/v1"),
        ("Docs", f"{base}/docs"),
        ("Stream", f"ws://{plan.config.serve.host}:{stream_port(plan.config)}/api/v1/stream"),
        ("API key", shown),
        ("Data", str(data.resolve())),
        (
            "Try",
            f"curl -H 'Authorization: Bearer {key or '$KEY'}' '{base}/api/v1/ticks/realtime?symbols={symbol}&limit=5'",
        ),
        ("Stop", "Ctrl-C"),
    ]
    for name, value in lines:
        typer.echo(f"{name:<9}{value}", err=True)


def _run(plan: Any, key: str | None, log_level: str) -> None:
    import asyncio

    from ticktape.app.until import until_told
    from ticktape.cli.watch import watch
    from ticktape.supervise import Supervisor, environment

    for child in plan.children:
        if child.name != "venue":
            child.command = [*child.command, "--log-level", log_level]
    supervisor = Supervisor(plan.children, environment())

    async def main(stop: asyncio.Event) -> None:
        watching = asyncio.create_task(watch(plan, stop), name="up:watch")
        try:
            await supervisor.run(stop)
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    until_told(main)
    typer.echo("stopped: everything accepted is on the tape", err=True)
