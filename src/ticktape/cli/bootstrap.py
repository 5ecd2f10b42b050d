"""`ticktape bootstrap`: the recent past of a symbol from its venue, for a store that has none yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

if TYPE_CHECKING:
    from ticktape.app.klines import Fetched
    from ticktape.sources.binance.bootstrap import BootstrapSettings

BINANCE = "https://api.binance.com"
TRIES = 5
EVER = (-(2**63), 2**63 - 1)


def bootstrap(
    symbols: Annotated[list[str], typer.Argument(metavar="SYMBOL...", help="BTCUSDT ETHUSDT")],
    *,
    data: DataOption,
    bars: Annotated[str, typer.Option("--bars", metavar="SPAN", help="Bars, how far back: 90d; 0 for none.")] = "90d",
    trades: Annotated[
        str, typer.Option("--trades", metavar="SPAN", help="Trades, how far back: 30m, 6h, 2d; 0 for none.")
    ] = "1h",
    rest_url: Annotated[str, typer.Option("--rest-url", help="The venue's REST address.")] = BINANCE,
    share: Annotated[float, typer.Option("--share", min=0.01, max=1.0, help="Of the venue's weight a minute.")] = 0.5,
    json: JsonOption = False,
) -> None:
    """Fetch the last trades and bars from Binance; broken off, it goes on where it ended."""
    from ticktape import log
    from ticktape.app.importing import sample_world
    from ticktape.cli.imports import world_to_fill
    from ticktape.sources.binance.bootstrap import BootstrapSettings

    log.configure("error")
    bars_ns, trades_ns = _span(bars), _span(trades)
    world = world_to_fill(data)
    sample = sample_world(world)
    settings = BootstrapSettings(
        symbols=tuple(symbols), span_s=trades_ns / 1e9, rest_url=rest_url, weight_share=share, synthetic=sample,
        venue="sample" if sample else "binance",
    )  # fmt: skip
    answer = _trades(world, settings, trades, json=json)
    trouble = [answer["trouble"]]
    if answer["ok"] and bars_ns:
        answer["bars"] = _bars(world, settings, bars_ns, bars, json=json)
        trouble.append(answer["bars"]["trouble"])
    answer["ok"] = not any(trouble)
    if json:
        show.as_json(answer)
    elif not answer["ok"]:
        typer.echo(f"  ended early: {trouble[-1]}\n  the same command goes on from there", err=True)
    if not answer["ok"]:
        raise typer.Exit(1)


def _span(text: str) -> int:
    """Return a span in ns; 0 for none. Raises BadInput."""
    from ticktape.serve.past.when import parse_width

    return 0 if text == "0" else parse_width(text)


def _trades(world: Path, settings: BootstrapSettings, span: str, *, json: bool) -> dict[str, Any]:
    """Fetch the trades; with none to fetch, the symbols are enrolled all the same."""
    from ticktape.app.importing import run_source
    from ticktape.sources.binance.bootstrap import BootstrapSource

    asked: list[int] = []
    with show.progress(f"trades of {', '.join(settings.symbols)}") as tell:
        done = asyncio.run(
            run_source(
                world,
                lambda directory: BootstrapSource(
                    settings,
                    directory,
                    lambda who, first, last: missing(world, who, first, last),
                    name=settings.venue,
                    found=asked.append,
                ),
                sample=settings.synthetic,
                tell=lambda count: tell(count, max(asked[0] if asked else 0, count + 1)),
                tries=TRIES,
            )
        )
    wanted = asked[0] if asked else 0  # what a venue refused is asked for again, and told again
    if not json and settings.span_s > 0:
        typer.echo(f"{wanted:,} trades of the last {span} were missing, {done.stored:,} stored")
    return {
        "asked": wanted, "stored": done.stored, "duplicates": done.duplicates, "ok": done.ok, "trouble": done.trouble
    }  # fmt: skip


def _bars(world: Path, settings: BootstrapSettings, span_ns: int, span: str, *, json: bool) -> dict[str, Any]:
    from ticktape.app.klines import fetch_bars
    from ticktape.sources.binance.rest import BinanceRest
    from ticktape.sources.binance.source import binance_symbol
    from ticktape.sources.binance.weights import Weights

    names = [binance_symbol(symbol) for symbol in settings.symbols]

    async def fetch(tell: Callable[[int, int], None]) -> Fetched:
        async with BinanceRest(
            settings.rest_url, Weights(settings.weight_share), timeout_s=settings.answer_timeout_s
        ) as rest:
            return await fetch_bars(world, names, span_ns, rest, vendor=settings.venue, tell=tell, tries=TRIES)

    with show.progress(f"bars of {', '.join(settings.symbols)}") as tell:
        done = asyncio.run(fetch(tell))
    if not json:
        typer.echo(f"{done.asked:,} minutes of the last {span} were missing, bars of {done.stored:,} stored")
    return {"asked": done.asked, "stored": done.stored, "trouble": done.trouble}


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
