"""`ticktape replay`: the past, event by event, at a pace or as fast as it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ticktape.cli.options import DataOption, JsonOption

_HIDDEN = ("position", "kind", "instrument_id", "symbol", "ts_event", "ts_recv", "source", "flags")


def replay(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="Symbols, or beginnings and a star.")],
    *,
    data: DataOption,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="First moment, or position:N.")],
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="End, not included, or position:N.")] = None,
    speed: Annotated[float, typer.Option("--speed", min=0.0, max=1000.0, help="1 as it was, 0 flat out.")] = 0.0,
    channels: Annotated[str, typer.Option("--channels", help="Comma-separated.")] = "trades",
    as_json: JsonOption = False,
) -> None:
    """Print the past as it came, in the order of the tape."""
    import math

    from ticktape.app.replay import playing

    shown: Callable[[str], str] = (lambda text: text) if as_json else _line
    for texts in playing(data, symbols, channels.split(","), start, end, speed or math.inf):
        if texts:
            typer.echo("\n".join(map(shown, texts)))


def _line(text: str) -> str:
    import msgspec

    row: dict[str, Any] = msgspec.json.decode(text)
    rest = (f"{name} {_plain(value)}" for name, value in row.items() if name not in _HIDDEN)
    return f"{_time(row)}  {row.get('symbol') or '-':<12} {row['kind']:<6} {'  '.join(rest)}"


def _plain(value: Any) -> str:
    return "-" if value is None else str(value)


def _time(row: dict[str, Any]) -> str:
    from ticktape.serve.past.when import iso

    return iso(row.get("ts_event") or row.get("start") or 0)
