"""`ticktape bootstrap`: the recent past of a symbol from its venue, for a store that has none yet."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

BINANCE = "https://api.binance.com"


TRIES = 5
EVER = (-(2**63), 2**63 - 1)


def bootstrap(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="BTCUSDT ETHUSDT")],
    *,
    data: DataOption,
    trades: Annotated[str, typer.Option("--trades", metavar="SPAN", help="How far back: 30m, 6h, 2d.")] = "1h",
    rest_url: Annotated[str, typer.Option("--rest-url", help="The venue's REST address.")] = BINANCE,
    share: Annotated[float, typer.Option("--share", min=0.01, max=1.0, help="Of the venue's weight a minute.")] = 0.5,
    json: JsonOption = False,
) -> None:
    """Fetch the last trades from Binance, through the judge; broken off, it goes on where it ended."""
    from ticktape import log
    from ticktape.app.importing import run_source, sample_world
    from ticktape.cli.imports import world_to_fill
    from ticktape.serve.past.when import parse_width
    from ticktape.sources.binance.bootstrap import BootstrapSettings, BootstrapSource

    log.configure("error")
    span_s = parse_width(trades) / 1e9
    world = world_to_fill(data)
    sample = sample_world(world)
    settings = BootstrapSettings(
        symbols=tuple(symbols), span_s=span_s, rest_url=rest_url, weight_share=share, synthetic=sample,
        venue="sample" if sample else "binance",
    )  # fmt: skip
    asked: list[int] = []
    with show.progress(f"fetching {', '.join(symbols)}") as tell:
        done = asyncio.run(
            run_source(
                world,
                lambda directory: BootstrapSource(
                    settings,
                    directory,
                    lambda who, first, last: missing(world, who, first, last),
                    name="sample" if sample else "binance",
                    found=asked.append,
                ),
                sample=sample,
                tell=lambda count: tell(count, max(asked[0] if asked else 0, count + 1)),
                tries=TRIES,
            )
        )
    wanted = asked[0] if asked else 0  # what a venue refused is asked for again, and told again
    answer: dict[str, Any] = {"asked": wanted, "stored": done.stored, "duplicates": done.duplicates, "ok": done.ok}
    if json:
        show.as_json(answer | {"trouble": done.trouble})
    else:
        typer.echo(f"{wanted:,} trades of the last {trades} were missing, {done.stored:,} stored")
        if done.trouble:
            typer.echo(f"  ended early: {done.trouble}\n  the same command goes on from there", err=True)
    if not done.ok:
        raise typer.Exit(1)


def missing(world: Path, instrument_id: int, first_id: int, last_id: int) -> Sequence[tuple[int, int]]:
    """Return the ranges of trade ids in [first, last] that neither lake nor tape has."""
    import numpy as np

    from ticktape.lake import certificate_ids as ids_of
    from ticktape.lake.history import Lake, Limits
    from ticktape.lake.tail import Trimmed
    from ticktape.model.records import Kind
    from ticktape.tape.reader import Reader

    limits = Limits(rows=2**62, memory_bytes=2**62, seconds=3600.0)
    for left in reversed(range(TRIES)):
        try:
            reader = Reader(world / "tape")
            page = (
                Lake(world / "lake")
                .snapshot()
                .read("trades", [instrument_id], *EVER, columns=["kind", "venue_id"], tape=reader, limits=limits)
            )
        except Trimmed:
            if not left:
                raise
            continue
        ids, kinds = (page.rows.column(name).to_numpy() for name in ("venue_id", "kind"))
        have = ids_of.of_ids(ids[(kinds == Kind.TRADE) & (ids >= first_id) & (ids <= last_id)])
        whole = np.array([[first_id, last_id]], dtype=np.int64)
        return [(int(a), int(b)) for a, b in ids_of.without(whole, have).tolist()]
    raise AssertionError("the last try returns or raises")
