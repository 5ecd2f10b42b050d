"""How answers look: JSON on one line, tables on a terminal, tab-separated lines in a pipe, progress on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import typer

PATIENCE_S = 2.0  # what is done sooner needs no progress
LINES = 10  # of progress at most, where there is no terminal


def as_json(value: object) -> None:
    """Print a value as one line of JSON."""
    import msgspec

    typer.echo(msgspec.json.encode(value).decode())


def rows(header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    """Print a table: aligned on a terminal, separated by tabs in a pipe."""
    if not sys.stdout.isatty():
        for row in (header, *body):
            typer.echo("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False)
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def pairs(body: Sequence[tuple[str, str]]) -> None:
    """Print names and values, aligned."""
    width = max(len(name) for name, _ in body)
    for name, value in body:
        typer.echo(f"{name:<{width}}  {value}")


@contextmanager
def progress(what: str) -> Generator[Callable[[int, int], None]]:
    """Give a function to be called with (done, total): a bar on a terminal, a few plain lines otherwise."""
    if not sys.stderr.isatty():
        yield _lines(what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str) -> Callable[[int, int], None]:
    said, start = 0, time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal said
        tenth = LINES * done // max(total, 1)
        if said < tenth < LINES and time.monotonic() - start > PATIENCE_S:
            said = tenth
            typer.echo(f"{what}: {100 * tenth // LINES} %", err=True)

    return advance
