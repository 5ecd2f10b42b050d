"""`ticktape gaps list|fill`: what is missing, why, and whether it came back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

if TYPE_CHECKING:
    from ticktape.lake.history import Snapshot
    from ticktape.model.gaps import Gap
    from ticktape.tape.reader import Reader

STATES = ("opened", "closed", "filled", "unfillable")
HEADER = ("gap_id", "state", "cause", "channel", "symbol", "source", "start", "end", "missing", "rows")
TRIES = 5
EVER = (-(2**63), 2**63 - 1)

app = typer.Typer(help="List what is missing, and have it filled.", no_args_is_help=True)


@app.command("list")
def list_gaps(
    *,
    data: DataOption,
    symbol: Annotated[str | None, typer.Option("--symbol", help="Only of this one and of whole sources.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="opened, closed, filled or unfillable.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 100,
    json: JsonOption = False,
) -> None:
    """List gaps: cause, window, instrument, state, ids missing, and how many of them are stored now."""
    from ticktape.config import world_of
    from ticktape.errors import BadInput

    if state is not None and state not in STATES:
        raise BadInput(f"no state '{state[:40]!a}'", hint=f"--state {' | '.join(STATES)}")
    found = _found(world_of(data), symbol, state, limit)
    if json:
        show.as_json(found)
        return
    show.rows(HEADER, [[_cell(row[name], name) for name in HEADER] for row in found])


def _cell(value: Any, name: str) -> str:
    from ticktape.serve.past.when import iso

    if name in ("start", "end"):
        return "open" if value is None else iso(value)
    return "-" if value is None else str(value)


def _found(world: Path, symbol: str | None, state: str | None, limit: int) -> list[dict[str, Any]]:
    from ticktape.lake.certificate_gaps import ledger
    from ticktape.lake.history import Lake
    from ticktape.lake.tail import Trimmed
    from ticktape.tape import meta
    from ticktape.tape.directory import TapeDirectory
    from ticktape.tape.reader import Reader

    meta.load(world / "tape")  # no tape: say so, and create nothing
    directory = TapeDirectory(world / "tape")
    try:
        ids = None if symbol is None else [0, directory.by_symbol(symbol).id]
        for left in reversed(range(TRIES)):
            try:
                snapshot, reader = Lake(world / "lake").snapshot(), Reader(world / "tape")
                positions, records = snapshot.records("gaps", ids, *EVER, tape=reader)
                rows = [row for row in ledger(records, positions) if state in (None, row.state.name.lower())]
                sources = {0: "ticktape"} | {source.id: source.name for source in directory.sources()}
                symbols = {instrument.id: instrument.symbol for instrument in directory.all()}
                return [_row(row, sources, symbols, snapshot, reader) for row in rows[-limit:]]
            except Trimmed:  # between the two looks: a newer version of the lake has it
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")
    finally:
        directory.close()


def _row(
    row: Gap, sources: dict[int, str], symbols: dict[int, str], snapshot: Snapshot, reader: Reader
) -> dict[str, Any]:
    from ticktape.model.gaps import FOREVER_NS

    first, last = row.first_missing, row.last_missing
    return {
        "gap_id": row.gap_id,
        "state": row.state.name.lower(),
        "cause": row.cause.name.lower(),
        "channel": row.channel.name.lower(),
        "instrument_id": row.instrument_id,
        "symbol": symbols.get(row.instrument_id),
        "source": sources.get(row.source_id, f"source-{row.source_id}"),
        "start": row.start_ns,
        "end": None if row.end_ns == FOREVER_NS else row.end_ns,
        "first_missing": first,
        "last_missing": last,
        "missing": None if first is None or last is None else last - first + 1,
        "rows": _stored(row, snapshot, reader),
    }


def _stored(row: Gap, snapshot: Snapshot, reader: Reader) -> int | None:
    """Return how many of a gap's ids are stored now; None where no ids are known."""
    import numpy as np

    from ticktape.lake.certificate_day import KINDS
    from ticktape.model.records import Channel

    if row.first_missing is None or row.last_missing is None or row.channel not in (Channel.TRADE, Channel.AGG_TRADE):
        return None
    columns = ["kind", "venue_id"]
    page = snapshot.read("trades", [row.instrument_id], row.start_ns, row.end_ns, columns=columns, tape=reader)
    ids, kinds = (page.rows.column(name).to_numpy() for name in ("venue_id", "kind"))
    mine = np.isin(kinds, KINDS[row.channel]) & (ids >= row.first_missing) & (ids <= row.last_missing)
    return len(np.unique(ids[mine]))


@app.command()
def fill(*, data: DataOption, json: JsonOption = False) -> None:
    """Have the recorder try every gap that waits again now, without waiting for its turn."""
    import msgspec

    from ticktape.config import world_of
    from ticktape.serve.control import Control, Request

    told = asyncio.run(Control(world_of(data) / "record.sock").ask(Request("fill")))
    answer = msgspec.json.decode(told)
    if json:
        show.as_json(answer)
    else:
        typer.echo(f"{answer['waiting']} gap(s) are tried again now; see ticktape gaps list")
