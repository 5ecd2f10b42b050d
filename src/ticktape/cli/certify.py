"""`ticktape certify`: the certificate of one instrument's day, as `GET /api/v1/completeness` answers it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

SECONDS, MEMORY_MB, ROWS = 3600.0, 4096, 2_000_000_000  # nobody waits beside a command


def certify(
    symbol: Annotated[str, typer.Argument(help="BTCUSDT")],
    day: Annotated[str, typer.Argument(metavar="DATE", help="2025-11-20, UTC")],
    *,
    data: DataOption,
    trade_date: Annotated[bool, typer.Option("--trade-date", help="DATE is the venue's business date.")] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Check every byte, and trust no summary.")] = False,
    json: JsonOption = False,
) -> None:
    """Prove what is stored of a day, and say why; exit 1 when it is incomplete."""
    from ticktape.config import world_of

    world = world_of(data)
    damaged = _damaged(world) if deep else []
    for line in damaged:
        typer.echo(line, err=True)
    answer = _answer(world, symbol, _date(day), "trade_date" if trade_date else "utc", deep=deep)
    if json:
        show.as_json(answer)
    else:
        _print(answer)
    if damaged or answer["verdict"] == "incomplete":
        raise typer.Exit(1)


def _date(text: str) -> str:
    from datetime import date

    from ticktape.errors import BadInput

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise BadInput(f"not a date: {text[:40]!a}", hint="ticktape certify BTCUSDT 2025-11-20") from None


def _damaged(world: Path) -> list[str]:
    from ticktape.lake.verify import verify as verify_lake
    from ticktape.tape.verify import verify as verify_tape

    with show.progress("checking the tape") as advance:
        tape = verify_tape(world / "tape", advance)
    with show.progress("checking the lake") as advance:
        lake = verify_lake(world / "lake", advance)
    found = [] if tape.ok else ["the tape is not all as written: ticktape tape verify"]
    return found + ([] if lake.ok else ["the lake is not all as written: ticktape lake verify"])


def _answer(
    world: Path, symbol: str, day: str, basis: Literal["utc", "trade_date"], *, deep: bool = False
) -> dict[str, Any]:
    import msgspec

    from ticktape.serve.answers import Freshness
    from ticktape.serve.control import Control
    from ticktape.serve.past.asks import Allowance, AskDay, Fact
    from ticktape.serve.past.day import answer_day
    from ticktape.serve.past.desk import Classes
    from ticktape.serve.past.view import World
    from ticktape.tape import meta
    from ticktape.tape.directory import TapeDirectory

    sample = meta.load(world / "tape").sample  # no tape: say so, and create nothing
    directory = TapeDirectory(world / "tape")
    try:
        instrument = directory.by_symbol(symbol)
        sources = {source.id: source.name for source in directory.sources()}
    finally:
        directory.close()
    ask = AskDay(
        now_ns=time.time_ns(),
        allowance=Allowance(seconds=SECONDS, memory_mb=MEMORY_MB, rows_read=ROWS),
        sources=sources,
        fact=Fact(
            instrument=instrument, freshness=Freshness(None, None, None), trades_until=0, quotes_until=0, sources=[]
        ),
        date=day,
        basis=basis,
        classes=asyncio.run(Classes(world, Control(world / "record.sock")).known()),
        sample=sample,
        deep=deep,
    )
    _, body = answer_day(ask, World(world).view(ask))
    return msgspec.json.decode(body)


def _print(answer: dict[str, Any]) -> None:
    made = answer["certificate"]
    running = " (the day still runs: of what was recorded)" if answer["running"] else ""
    typer.echo(f"{answer['symbol']} {answer['date']}: {answer['verdict']}{running}")
    for reason in [*made["reasons"], *answer["notes"]]:
        typer.echo(f"  {reason}")
    header = ("channel", "class", "verdict", "records", "expected", "missing", "backfilled", "duplicates", "gaps")
    names = ("channel", "completeness", "verdict", "records", "expected", "missing", "backfilled", "duplicates")
    body = [[*(_cell(proof[name]) for name in names), str(len(proof["gaps"]))] for proof in made["channels"]]
    show.rows(header, body)
    _print_checks(made)
    typer.echo(f"hash {made['hash']} ({made['hash_version']})")
    typer.echo(f"certificate {made['certificate']}")


def _print_checks(made: dict[str, Any]) -> None:
    spots, quality = made["spot_checks"], made["quality"]
    if spots is not None:
        typer.echo(f"spot checks: {spots['passed']:,} of {spots['checked']:,} values passed")
        for miss in spots["misses"]:
            typer.echo(f"  {miss}")
    if quality is not None:
        typer.echo("quality: as usual" if not quality else "quality:")
        for finding in quality:
            typer.echo(f"  {finding['channel']} {finding['check']}: {finding['message']}")


def _cell(value: Any) -> str:
    return "-" if value is None else str(value)
