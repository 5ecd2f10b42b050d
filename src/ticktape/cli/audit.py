"""`ticktape audit verify`, and the history of a key: who asked what, and whether the record of it is whole."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

if TYPE_CHECKING:
    from ticktape.serve.audit_chain import Seal

HEADER = ("when", "key", "route", "asked", "status", "rows", "bytes", "ms", "from")
FOUND = 1

app = typer.Typer(help="The audit: every request, chained so that nothing can be taken out.", no_args_is_help=True)


def audit_of(data: Path) -> tuple[Path, Seal]:
    """Return the folder of the audit and what its hashes are made with. Raises Misconfigured."""
    from ticktape.config import keys_of
    from ticktape.errors import Misconfigured
    from ticktape.serve.audit_chain import Seal
    from ticktape.serve.pepper import read_pepper

    folder = keys_of(data)
    if not (folder / "audit").is_dir():
        raise Misconfigured(f"{folder / 'audit'}: nothing was asked yet", hint="ticktape serve")
    return folder / "audit", Seal(read_pepper(folder / "pepper", used=True))


@app.command()
def verify(*, data: DataOption, json: JsonOption = False) -> None:
    """Find lines that were changed, removed, moved or cut off, and say where. Exit 1 when there are any."""
    from ticktape.serve import audit_chain

    lines, findings = audit_chain.verify(*audit_of(data))
    if json:
        show.as_json({"lines": lines, "ok": not findings, "findings": [each._asdict() for each in findings]})
    else:
        for each in findings:
            typer.echo(f"{each.file}:{each.line}: {each.what}")
        typer.echo(f"{lines} lines, " + (f"{len(findings)} findings" if findings else "all as they were written"))
    if findings:
        raise typer.Exit(FOUND)


def history(
    who: Annotated[str, typer.Argument(metavar="PREFIX|NAME", help="A key's prefix, its name, or its model.")],
    *,
    data: DataOption,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The newest so many.")] = 100,
    json: JsonOption = False,
) -> None:
    """Show what was asked with a key, oldest first, and what it got."""
    from ticktape.serve import audit_chain

    entries, whole = audit_chain.history(audit_of(data)[0], who, limit)
    if json:
        show.as_json(entries)
        return
    show.rows(HEADER, [_row(entry) for entry in entries])
    if not whole:
        typer.echo(f"the newest {len(entries)}; --limit shows more", err=True)


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    asked = " ".join(f"{name}={value}" for name, value in entry["said"].items())
    return (
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry["ts"] // 10**9)),
        f"tt_{entry['key']}",
        entry["route"],
        asked,
        str(entry["status"]),
        "-" if entry["rows"] is None else str(entry["rows"]),
        str(entry["bytes"]),
        f"{entry['us'] / 1000:.1f}",
        entry["address"],
    )
