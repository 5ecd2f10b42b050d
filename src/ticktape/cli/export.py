"""`ticktape export`: a range of one instrument as a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

FORMS = ("parquet", "csv", "ndjson", "arrow")
TABLES = ("trades", "quotes", "book")
OutOption = Annotated[Path, typer.Option("--out", metavar="FILE", help="It must not exist yet.", dir_okay=False)]


def export(
    symbol: Annotated[str, typer.Argument(help="BTCUSDT")],
    *,
    data: DataOption,
    out: OutOption,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="Date, RFC 3339 or ns; included.")],
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Not included.", show_default="now")] = None,
    form: Annotated[
        str, typer.Option("--format", help="parquet, csv, ndjson or arrow.", show_default="by FILE's name")
    ] = "",
    table: Annotated[str, typer.Option("--table", help="trades, quotes or book.")] = "trades",
    json: JsonOption = False,
) -> None:
    """Write a range of an instrument to a file, from lake and tape as one, exact."""
    from ticktape.config import world_of
    from ticktape.errors import BadInput
    from ticktape.keep.export import export as write
    from ticktape.serve.past.when import parse_range
    from ticktape.tape import meta
    from ticktape.tape.directory import TapeDirectory

    form = form or out.suffix.removeprefix(".")
    if form not in FORMS or table not in TABLES:
        raise BadInput(f"no such format or table: {form[:20]!a}, {table[:20]!a}", hint="ticktape export --help")
    world = world_of(data)
    start_ns, end_ns = parse_range(start, end, time.time_ns())
    meta.load(world / "tape")  # no tape: say so, and create nothing
    directory = TapeDirectory(world / "tape")
    try:
        instrument = directory.by_symbol(symbol)
        sources = {0: "ticktape"} | {source.id: source.name for source in directory.sources()}
    finally:
        directory.close()
    with show.progress(f"exporting {symbol}") as tell:
        rows = write(world, instrument, table, start_ns, end_ns, form, out, sources=sources, tell=tell)
    answer: dict[str, Any] = {"file": str(out), "rows": rows, "bytes": out.stat().st_size, "format": form}
    if json:
        show.as_json(answer)
    else:
        typer.echo(f"{out}: {rows:,} rows of {table}, {answer['bytes']:,} bytes")
