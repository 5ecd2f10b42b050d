"""`ticktape bench`: what does this machine reach, and what do others reach on it?"""

from __future__ import annotations

import signal
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from ticktape.bench.catalogue import Entry

HEADER = ("bench", "value", "unit", "p50", "p99", "max", "goal", "")
PEER_HEADER = ("peer", "peer value", "ratio")
VERDICT = {True: "reached", False: "BELOW", None: ""}
TERMINATED = 143  # 128 + SIGTERM


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which ones; all when none is named.")
    ] = None,
    *,
    data: DataOption,
    json: JsonOption = False,
    peers: Annotated[bool, typer.Option("--peers", help="Measure the peers too, in the same run.")] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="List the benches and their goals, and measure nothing.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: does it run? The figures mean nothing.")] = False,
) -> None:
    """Measure this machine: each bench within a minute, in a folder that is gone afterwards."""
    from ticktape.bench.catalogue import chosen

    entries = chosen(names or [])
    if listed:
        _list(entries, json=json)
        return
    from ticktape.bench.run import run
    from ticktape.log import configure

    configure("error")
    signal.signal(signal.SIGTERM, _terminated)
    found: list[dict[str, Any]] = []
    with closing(run(entries, data, _say, peers=peers, quick=quick)) as lines:
        for figures in lines:
            found.append(figures)
            if json:
                show.as_json(figures)
                sys.stdout.flush()
            if "error" in figures:
                _say(f"{figures['bench']}: {figures['error']}")
    if not json:
        show.rows((*HEADER, *PEER_HEADER) if peers else HEADER, [_row(figures, peers=peers) for figures in found])
        for figures in found:
            if figures.get("why"):
                _say(f"{figures['bench']}: beside {figures['peer'] or 'nobody'}: {figures['why']}")
    if any("error" in figures for figures in found):
        raise typer.Exit(1)


def _terminated(number: int, frame: FrameType | None) -> None:
    sys.exit(TERMINATED)  # as an exception, so that what was begun is tidied up


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _list(entries: Sequence[Entry], *, json: bool) -> None:
    for entry in entries if json else ():
        goals = [goal.text() for goal in entry.goals]
        show.as_json(
            {
                "bench": entry.name,
                "what": entry.what,
                "unit": entry.unit,
                "goals": goals,
                "peer": entry.peer_name or None,
            }
        )
    if not json:
        body = [(e.name, ", ".join(g.text() for g in e.goals), e.unit, e.peer_name, e.what) for e in entries]
        show.rows(("bench", "goal", "unit", "peer", "what"), body)


def _row(figures: dict[str, Any], *, peers: bool) -> list[str]:
    if "error" in figures:
        cells = [figures["bench"], "failed", figures["unit"], *[""] * (len(HEADER) - 3)]
    else:
        numbers = [_number(figures.get(name)) for name in ("p50", "p99", "max")]
        cells = [figures["bench"], _number(figures["value"]), figures["unit"], *numbers]
        cells += [figures["goal"], VERDICT[figures["reached"]]]
    if peers:
        ratio = _number(figures.get("ratio"))
        cells += [figures.get("peer") or "", _number(figures.get("peer_value")), f"{ratio}x" if ratio else ""]
    return cells


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
