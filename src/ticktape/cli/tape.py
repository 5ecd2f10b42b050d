"""`ticktape tape verify|stat|repair`: what is on the tape, and whether it is what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption, tape_of

if TYPE_CHECKING:
    from ticktape.tape.reader import Reader
    from ticktape.tape.verify import Report

app = typer.Typer(help="Verify, describe and repair the tape.", no_args_is_help=True)


@app.command()
def verify(*, data: DataOption, json: JsonOption = False) -> None:
    """Check every byte of the tape; exit 1 when something is found. Safe while it records."""
    from ticktape.tape.verify import verify as examine

    folder = tape_of(data)
    with show.progress(f"verifying {folder}") as advance:
        report = examine(folder, advance)
    if json:
        show.as_json(_verdict(report))
    else:
        _print_report(report)
    if not report.ok:
        raise typer.Exit(1)


def _verdict(report: Report) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(report) | {"ok": report.ok}


def _print_report(report: Report) -> None:
    for text in report.headers_bad:
        typer.echo(text)
    for bad in report.damaged:
        typer.echo(f"segment {bad.segments}: positions {bad.start}-{bad.stop - 1} differ from their checksum")
    for position in report.bad_blobs_at:
        typer.echo(f"the blob of position {position} differs from its checksum")
    if report.torn_bytes:
        typer.echo(f"{report.torn_bytes} bytes after position {report.position} belong to no whole batch")
    size = (
        f"{report.segments} segments, {report.records:,} records in {report.batches:,} batches, {report.blobs:,} blobs"
    )
    typer.echo(
        f"{size}: "
        + ("all as written" if report.ok else "not all as written")
        + (" (and being recorded to)" if report.writing else "")
    )
    if not report.ok:
        typer.echo("  hint: ticktape tape repair", err=True)


@app.command()
def repair(*, data: DataOption, json: JsonOption = False) -> None:
    """Cut a torn tail, void what is damaged (a copy is kept), and say so on the tape. Needs the recorder stopped."""
    from ticktape import log
    from ticktape.clock import SystemClock
    from ticktape.tape import repair as mending

    log.configure("error")  # what was mended is the answer, not a log
    folder = tape_of(data)
    done = mending.repair(folder, SystemClock())
    found = done.found
    if json:
        damaged = [{"start": each.start, "stop": each.stop} for each in found.damaged]
        answer = {"torn_bytes": found.cut_bytes, "damaged": damaged, "made_anew": done.made_anew, "gaps": done.gaps}
        show.as_json(answer | {"position": found.position})
        return
    for name in done.made_anew:
        typer.echo(f"{name} was missing or unreadable: made anew")
    if done.gaps:
        voided = sum(each.stop - each.start for each in found.damaged)
        typer.echo(f"cut {found.cut_bytes} bytes, voided {voided} records in {len(found.damaged)} ranges")
        typer.echo(f"the tape says so in {done.gaps} gaps; the bytes are kept in {folder}/damage-*.bin")
    elif not done.made_anew:
        typer.echo("nothing to repair")


@app.command()
def stat(*, data: DataOption, json: JsonOption = False) -> None:
    """Say how long the tape is, what it holds and how far it is safe."""
    from ticktape.tape import segment
    from ticktape.tape.reader import Reader
    from ticktape.tape.verify import owner_alive

    folder = tape_of(data)
    reader = Reader(folder)
    with show.progress(f"reading {folder}") as advance:
        kinds = _count(reader, advance)
    numbers = segment.numbers(folder)
    files = [*(segment.path_of(folder, n) for n in numbers), *(segment.blob_path(folder, n) for n in numbers)]
    answer: dict[str, Any] = {
        "folder": str(folder),
        "tape_id": reader.meta.tape_id,
        "sample": reader.meta.sample,
        "segments": len(numbers),
        "first": reader.first,
        "position": reader.end,
        "durable": reader.durable,
        "disk_bytes": sum(path.stat().st_blocks * 512 for path in files if path.exists()),
        "writing": owner_alive(folder),
        "low_space": reader.low_space,
        "kinds": kinds,
    }
    if json:
        show.as_json(answer)
        return
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "empty"
    show.pairs([(name, str(value)) for name, value in answer.items() if name != "kinds"] + [("kinds", counted)])


def _count(reader: Reader, advance: Any) -> dict[str, int]:
    """Return how many records there are of each kind."""
    import numpy as np

    from ticktape.model.records import Kind

    total = np.zeros(256, dtype=np.int64)
    capacity = reader.meta.capacity
    for start in range(reader.first, reader.end, capacity):
        stop = min(start + capacity, reader.end)
        total += np.bincount(reader.view(start, stop)["kind"], minlength=256)
        advance(stop - reader.first, reader.end - reader.first)
    names = {int(kind): kind.name.lower() for kind in Kind}
    return {names.get(number, f"kind_{number}"): int(total[number]) for number in np.flatnonzero(total).tolist()}
