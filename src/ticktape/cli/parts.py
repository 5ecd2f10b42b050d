"""`ticktape record`, `serve`, `stream` and `keep`: the parts one by one, as `up` runs them together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ticktape.cli.options import DataOption

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Configuration, TOML.", exists=True, dir_okay=False)
]
LevelOption = Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")]
SupervisedOption = Annotated[bool, typer.Option("--supervised", hidden=True)]


def _config(config: Path | None, level: str) -> Any:
    from ticktape import config as configuration
    from ticktape.log import configure

    configure(level)
    return configuration.load(config)


def record(
    *,
    data: DataOption,
    config: ConfigOption = None,
    log_level: LevelOption = "info",
    supervised: SupervisedOption = False,
) -> None:
    """Run the sources and append what they send to the tape."""
    import structlog

    from ticktape.app.record import run_record, source_makers
    from ticktape.app.until import until_told
    from ticktape.config import world_of
    from ticktape.errors import Misconfigured

    settings = _config(config, log_level)
    makers, wrong = source_makers(settings)
    for error in wrong:
        structlog.get_logger("record").error("source.misconfigured", error=str(error))
    if not makers:
        raise wrong[0] if wrong else Misconfigured("no sources configured", hint="cp config.example.toml ticktape.toml")
    until_told(lambda stop: run_record(world_of(data), settings, makers, stop), supervised=supervised)


def serve(
    *,
    data: DataOption,
    config: ConfigOption = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Port of the API.")] = None,
    stream_workers: Annotated[
        int | None,
        typer.Option("--stream-workers", min=0, max=64, help="Processes that stream from the port after it."),
    ] = None,
    log_level: LevelOption = "info",
    supervised: SupervisedOption = False,
) -> None:
    """Answer queries from the tape."""
    import msgspec

    from ticktape.app.serve import run_serve
    from ticktape.app.until import until_told
    from ticktape.config import world_of

    settings = _config(config, log_level)
    given = {"port": port, "stream_workers": stream_workers}
    changed = {name: value for name, value in given.items() if value is not None}
    settings = msgspec.structs.replace(settings, serve=msgspec.structs.replace(settings.serve, **changed))
    options = ["--log-level", log_level, *(("--config", str(config)) if config is not None else ())]
    until_told(lambda stop: run_serve(world_of(data), settings, stop, options), supervised=supervised)


def stream(
    *,
    data: DataOption,
    config: ConfigOption = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="Port to stream from.")] = None,
    log_level: LevelOption = "info",
    supervised: SupervisedOption = False,
) -> None:
    """Stream what happens on the tape; several can run beside each other on one port."""
    import msgspec

    from ticktape.app.serve import run_stream
    from ticktape.app.until import until_told
    from ticktape.config import world_of

    settings = _config(config, log_level)
    if port is not None:
        settings = msgspec.structs.replace(settings, serve=msgspec.structs.replace(settings.serve, stream_port=port))
    until_told(lambda stop: run_stream(world_of(data), settings, stop), supervised=supervised)


def keep(
    *,
    data: DataOption,
    config: ConfigOption = None,
    log_level: LevelOption = "info",
    supervised: SupervisedOption = False,
) -> None:
    """Move the tape into the lake, and check what is kept."""
    from ticktape.app.keep import run_keep
    from ticktape.app.until import until_told
    from ticktape.config import world_of

    settings = _config(config, log_level)
    until_told(lambda stop: run_keep(world_of(data), settings, stop), supervised=supervised)
