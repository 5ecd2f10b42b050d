"""`ticktape import`: files onto the tape, through the same judge as everything else."""

from __future__ import annotations

import asyncio
import hashlib
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

if TYPE_CHECKING:
    from ticktape.app.importing import Imported
    from ticktape.record.process import SourceMaker

DONE = "imports.json"  # in the world: which files were imported to their end, by SHA-256
BYTES_A_FRAME, BYTES_A_ROW, BYTES_A_PARQUET_ROW = 60, 80, 15  # about, as they lie on the disk
FilesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Binance archives, recorded frames, exported CSV or Parquet.")
]


def import_files(
    files: FilesArgument,
    *,
    data: DataOption,
    again: Annotated[bool, typer.Option("--again", help="Also files that were imported before.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring files onto the tape: judged, nothing stored twice. Nobody may be recording meanwhile."""
    import msgspec

    from ticktape import log
    from ticktape.app.importing import Imported, run_source, sample_world
    from ticktape.errors import Misconfigured

    log.configure("error")
    world = world_to_fill(data)
    sample = sample_world(world)
    makers = {path: _maker(path, sample=sample) for path in files}  # all are known before the first is read
    results: list[dict[str, Any]] = []
    for path, (kind, make, rows) in makers.items():
        digest = _digest(path)
        if not again and digest in _done(world):
            results.append(_said(path, kind, Imported(), skipped=True, json=json))
            continue
        if sample and kind == "archive":
            raise Misconfigured(f"{world} holds SAMPLE data and never takes real data", hint="--data DIR/live")
        with show.progress(f"importing {path.name}") as tell:
            done = asyncio.run(run_source(world, make, sample=sample, tell=_estimated(tell, rows)))
        if done.ok:
            _note(world, digest, path, msgspec.to_builtins(done))
        results.append(_said(path, kind, done, skipped=False, json=json))
    if json:
        show.as_json(results)
    if any(not result["ok"] for result in results):
        raise typer.Exit(1)


def world_to_fill(data: Path) -> Path:
    """Return the world in use; in an empty data folder the real one is made."""
    from ticktape.config import use_world, world_of

    world = world_of(data)
    return world if world != data or (data / "tape").exists() else use_world(data, "live")


def _maker(path: Path, *, sample: bool) -> tuple[str, SourceMaker, int]:
    """Return what kind of file it is, what reads it, and about how many rows it has. Raises Misconfigured."""
    from ticktape.app.importing import HistoryArchive
    from ticktape.errors import Misconfigured
    from ticktape.sources.archive.files import contents_of
    from ticktape.sources.archive.source import ArchiveSettings
    from ticktape.sources.capture.source import CaptureSettings, CaptureSource
    from ticktape.sources.exported.source import ExportedSettings, ExportedSource

    if not path.is_file():
        raise Misconfigured(f"{path}: no such file", hint="ticktape import FILE...")
    if path.suffix == ".zip" and not zipfile.is_zipfile(path):
        raise Misconfigured(f"{path}: damaged zip, or none", hint="download it again")
    size = path.stat().st_size
    if path.suffix in (".zip", ".csv"):
        try:
            contents_of(path)
        except Misconfigured:
            if path.suffix == ".zip":
                raise
        else:
            rows = size // BYTES_A_ROW * (5 if path.suffix == ".zip" else 1)
            return "archive", lambda d: HistoryArchive(ArchiveSettings(paths=(str(path),)), d), rows
    if path.suffix in (".csv", ".parquet", ".arrow"):
        settings = ExportedSettings(path=str(path), sample=sample)
        each = BYTES_A_ROW if path.suffix == ".csv" else BYTES_A_PARQUET_ROW
        return "exported", lambda d: ExportedSource(settings, d), size // each
    return "capture", lambda d: CaptureSource(CaptureSettings(path=str(path), speed=0.0), d), size // BYTES_A_FRAME


def _estimated(tell: Callable[[int, int], None], rows: int) -> Callable[[int], None]:
    # Files do not say how many rows they have: the end is where it is.
    return lambda done: tell(done, max(rows, done + 1))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _done(world: Path) -> dict[str, Any]:
    import msgspec

    from ticktape.errors import Damaged

    try:
        return msgspec.json.decode((world / DONE).read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except msgspec.DecodeError as error:
        raise Damaged(f"{world / DONE}: {error}", hint=f"rm {world / DONE}, which forgets what was imported") from None


def _note(world: Path, digest: str, path: Path, counts: dict[str, Any]) -> None:
    import msgspec

    from ticktape.lake.disk import Disk

    found = _done(world) | {digest: {"file": path.name, "at_ns": time.time_ns(), **counts}}
    Disk().place(world / DONE, [memoryview(msgspec.json.encode(found))])


def _said(path: Path, kind: str, done: Imported, *, skipped: bool, json: bool) -> dict[str, Any]:
    import msgspec

    answer = {"file": str(path), "kind": kind, "skipped": skipped, **msgspec.to_builtins(done), "ok": done.ok}
    if json:
        return answer
    if skipped:
        typer.echo(f"{path}: was imported before; --again reads it once more")
        return answer
    typer.echo(
        f"{path}: {done.stored:,} rows stored, {done.duplicates:,} duplicates, {done.quarantined:,} quarantined,"
        f" {done.gaps:,} gaps"
    )
    if done.trouble:
        typer.echo(f"  ended early: {done.trouble}", err=True)
    return answer
