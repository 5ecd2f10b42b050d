"""`ticktape lake stat|verify|compact|expire|quality`: what history holds, and keeping it true and small."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption, tape_of

if TYPE_CHECKING:
    from ticktape.keep.process import Keeper
    from ticktape.lake.history import Snapshot
    from ticktape.lake.notes import Note
    from ticktape.lake.verify import Report

app = typer.Typer(help="Describe, verify, compact, expire and judge history.", no_args_is_help=True)

MendOption = Annotated[bool, typer.Option("--mend", help="Make good what can be; needs the keeper stopped.")]


def _lake_of(data: Path) -> Path:
    return tape_of(data).parent / "lake"


@contextmanager
def _keeper(data: Path) -> Generator[Keeper]:
    """Be the keeper for a while. Raises Busy when there is one."""
    from ticktape import log
    from ticktape.config import load
    from ticktape.keep.process import Keeper, KeepSettings
    from ticktape.tape.reader import Reader

    log.configure("error")
    folder = tape_of(data)
    run = folder.parent / "run.json"  # what `up` was told
    keep = load(run if run.exists() else None).keep
    settings = KeepSettings(data=folder.parent, hot_hours=keep.hot_hours, retain_days=keep.retain_days)
    keeper = Keeper(settings, Reader(folder))
    try:
        yield keeper
    finally:
        keeper.close()


@app.command()
def stat(*, data: DataOption, json: JsonOption = False) -> None:
    """Say what each table holds and up to which position of the tape."""
    from ticktape.lake.history import Lake

    snapshot = Lake(_lake_of(data)).snapshot()
    found: list[dict[str, Any]] = [
        {
            "table": name,
            "rows": version.rows,
            "files": len(version.files),
            "bytes": sum(entry.size for entry in version.files),
            "bytes_a_row": round(sum(entry.size for entry in version.files) / max(version.rows, 1), 2),
            "first": min((entry.partition for entry in version.files), default=""),
            "last": max((entry.partition for entry in version.files), default=""),
            "position": version.position,
            "version": version.number,
        }
        for name, version in snapshot.versions.items()
    ]
    if json:
        show.as_json({"folder": str(snapshot.folder), "tables": found})
        return
    show.rows(list(found[0]), [[f"{v:,}" if isinstance(v, int) else str(v) for v in row.values()] for row in found])


@app.command()
def verify(*, data: DataOption, mend: MendOption = False, json: JsonOption = False) -> None:
    """Check every byte of the lake; exit 1 when something is found. Safe while it is written to."""
    from ticktape.lake.verify import verify as examine

    lake = _lake_of(data)
    mended: list[str] = []
    if mend:
        mended = _mend(data)
    with show.progress(f"verifying {lake}") as advance:
        report = examine(lake, advance)
    if json:
        _as_json(report, mended)
    else:
        _print(report, mended)
    if not report.ok:
        raise typer.Exit(1)


def _mend(data: Path) -> list[str]:
    from ticktape.keep.mend import mend, mend_logs
    from ticktape.lake.catalogue import Catalogue
    from ticktape.lake.schema import TABLES
    from ticktape.lake.verify import verify as examine

    lake = _lake_of(data)
    logs = mend_logs(lake, {name: Catalogue(lake, name) for name in TABLES})
    with _keeper(data) as keeper:
        return logs + mend(keeper.flusher, examine(lake)).files


def _as_json(report: Report, mended: list[str]) -> None:
    import msgspec

    show.as_json(msgspec.to_builtins(report) | {"mended": mended, "ok": report.ok})


def _print(report: Report, mended: list[str]) -> None:
    for text in mended:
        typer.echo(f"{text}: made good")
    for text in report.logs_damaged:
        typer.echo(text)
    for bad in report.damaged:
        span = f"positions {bad.first_position}-{bad.end_position - 1}"
        typer.echo(f"{bad.why}; it held {bad.rows:,} rows of {bad.table}, {span}")
    verdict = "all as written" if report.ok else "not all as written"
    counted = f"{report.tables} tables, {report.files:,} files, {report.rows:,} rows, {report.bytes:,} bytes"
    typer.echo(f"{counted}: {verdict}")
    if not report.ok:
        typer.echo("  hint: ticktape lake verify --mend", err=True)


@app.command()
def compact(*, data: DataOption, json: JsonOption = False) -> None:
    """Make few files of the many that closed days have. Needs the keeper stopped; it does this by itself."""
    from ticktape.keep import compact as compaction
    from ticktape.keep.process import SETTLE_NS
    from ticktape.lake.disk import Disk
    from ticktape.lake.files import Maker

    found: list[dict[str, Any]] = []
    with _keeper(data) as keeper, show.progress("compacting") as advance:
        tables = keeper.flusher.tables
        work = [(name, p) for name, c in tables.items() for p in compaction.due(c, keeper.now_ns(), SETTLE_NS)]
        for k, (name, partition) in enumerate(work):
            done = compaction.compact(tables[name], partition, Disk(), Maker())
            found += [done._asdict()] if done is not None else []
            advance(k + 1, len(work))
    _show(found, "nothing to compact", json=json)


@app.command()
def expire(*, data: DataOption, json: JsonOption = False) -> None:
    """Let go of what is older than each table keeps. Needs the keeper stopped; it does this by itself."""
    from ticktape.keep.expire import expire as let_go
    from ticktape.keep.expire import retention, vacuum
    from ticktape.lake.disk import Disk

    found: list[dict[str, Any]] = []
    with _keeper(data) as keeper:
        days = retention(keeper.flusher.tables, keeper.settings.retain_days)
        for name, catalogue in keeper.flusher.tables.items():
            gone = let_go(catalogue, days[name], keeper.now_ns(), Disk())
            deleted = vacuum(catalogue, Disk())
            row: dict[str, Any] = {"table": name, "partitions": 0, "rows": 0, "bytes": 0, "deleted_files": deleted}
            if gone is not None:
                row |= {"partitions": len(gone.partitions), "rows": gone.rows, "bytes": gone.size}
            if gone is not None or deleted:
                found.append(row)
    _show(found, "nothing to expire", json=json)


def _show(found: list[dict[str, Any]], nothing: str, *, json: bool) -> None:
    if json:
        show.as_json(found)
    elif found:
        show.rows(list(found[0]), [[str(value) for value in row.values()] for row in found])
    else:
        typer.echo(nothing)


@app.command()
def quality(
    *,
    data: DataOption,
    days: Annotated[int, typer.Option("--days", min=1, help="How many settled days, the last ones.")] = 7,
    json: JsonOption = False,
) -> None:
    """Say how spot checks went and what was unusual about settled days; exit 1 when something was."""
    from ticktape.lake.history import Lake
    from ticktape.lake.notes import With
    from ticktape.tape.directory import TapeDirectory

    folder = tape_of(data)
    directory = TapeDirectory(folder)
    symbols = {instrument.id: instrument.symbol for instrument in directory.all()}
    directory.close()
    reports, spots = _noted(Lake(folder.parent / "lake").snapshot(), list(symbols), days)
    rates: dict[str, dict[str, Any]] = {}
    for with_ in With:
        mine = [note for note in spots if note.side == with_]
        checked, passed = sum(note.a for note in mine), sum(note.b for note in mine)
        rate = passed / checked if checked else None
        rates[with_.name.lower()] = {"samples": len(mine), "checked": checked, "passed": passed, "pass_rate": rate}
    if json:
        show.as_json({"spots": rates, "days": reports})
    else:
        _print_quality(rates, reports, symbols)
    if any(report["findings"] for report in reports) or any(r["passed"] < r["checked"] for r in rates.values()):
        raise typer.Exit(1)


def _noted(snapshot: Snapshot, instruments: list[int], days: int) -> tuple[list[dict[str, Any]], list[Note]]:
    """Return the reports of the last settled days, newest word each, and the spot checks of those days."""
    import msgspec

    from ticktape.lake.notes import Noted, read

    ever = 2**62
    latest = {note.ts_event: note.body for note in read(snapshot, [Noted.SETTLED], [0], -ever, ever) if note.body}
    chosen = sorted(latest)[-days:]
    reports = [msgspec.json.decode(latest[start], type=dict[str, Any]) for start in chosen]
    spots = read(snapshot, [Noted.SPOT], instruments, chosen[0] if chosen else -ever, ever, bodies=False)
    return reports, spots


def _print_quality(rates: dict[str, Any], reports: list[dict[str, Any]], symbols: dict[int, str]) -> None:
    header = ("compared with", "samples", "values", "passed", "rate")
    rows = [
        [name, f"{r['samples']:,}", f"{r['checked']:,}", f"{r['passed']:,}", _rate(r["pass_rate"])]
        for name, r in rates.items()
    ]
    show.rows(header, rows)
    for report in reports:
        covered = ", ".join(f"{c['source']} {_rate(c['covered'])}" for c in report["coverage"]) or "no source"
        typer.echo(
            f"{report['date']}: {report['checked']} channels, {len(report['findings'])} unusual; covered: {covered}"
        )
        for finding in report["findings"]:
            symbol = symbols.get(finding["instrument_id"], str(finding["instrument_id"]))
            typer.echo(f"  {symbol} {finding['channel']} {finding['check']}: {finding['message']}")
    if not reports:
        typer.echo("no day was settled yet")


def _rate(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
