"""`ticktape backup` and `ticktape restore`: a world to somewhere safe and back, with every byte proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

if TYPE_CHECKING:
    from ticktape.keep.backup import Made
    from ticktape.keep.backup_pin import World
    from ticktape.keep.restore import Drill, Restored

ToOption = Annotated[str | None, typer.Option("--to", metavar="DIR|s3://...", help="Folder or bucket, incremental.")]
ArchiveOption = Annotated[
    Path | None, typer.Option("--archive", metavar="FILE.tar.xz", help="All of it in one new file.", dir_okay=False)
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A configuration to take along.", dir_okay=False)
]
FromArgument = Annotated[str, typer.Argument(metavar="FROM", help="A folder, s3://bucket/prefix or FILE.tar.xz.")]


def backup(
    *,
    data: DataOption,
    to: ToOption = None,
    archive: ArchiveOption = None,
    keep: Annotated[int, typer.Option("--keep", min=0, help="Backups kept in --to.", show_default="all")] = 0,
    config: ConfigOption = None,
    secrets: Annotated[bool, typer.Option("--with-secrets", help="Take the pepper of the API keys too.")] = False,
    drill: Annotated[bool, typer.Option("--drill", help="Restore it elsewhere, compare, and delete that.")] = False,
    json: JsonOption = False,
) -> None:
    """Back up a world while it is recorded: tape, lake, instruments, keys and configuration, without secrets."""
    from ticktape.errors import Misconfigured
    from ticktape.keep.backup import backup as run
    from ticktape.keep.backup import backup_archive_of
    from ticktape.keep.backup_store import store_of

    if to is None and archive is None:
        raise Misconfigured("where to? Neither --to nor --archive was given", hint="ticktape backup --to DIR")
    if secrets:
        raise Misconfigured(
            "secrets are not written in clear, and nothing that ticktape depends on can encrypt them",
            hint=f"cp {data}/pepper to where your passwords are",
        )
    world = _world(data, config)
    answers: list[dict[str, Any]] = []
    made: list[Made] = []
    if to is not None:
        with show.progress(f"backing up to {to}") as tell:
            made.append(run(world, store_of(to), keep=keep, tell=tell))
    if archive is not None:
        with show.progress(f"writing {archive}") as tell:
            made.append(backup_archive_of(world, archive, tell=tell))
    for each in made:
        drilled = _drill(each, world.folder) if drill else None
        answers.append(_made(each, drilled, json=json))
    if json:
        show.as_json(answers[0] if len(answers) == 1 else answers)
    if not all(answer["ok"] for answer in answers):
        raise typer.Exit(1)


def _world(data: Path, config: Path | None) -> World:
    from ticktape.config import keys_of, world_of
    from ticktape.keep.backup_pin import World

    folder = world_of(data)
    keys = keys_of(folder)
    return World(folder, folder.name if keys != folder else "", keys, config)


def _drill(made: Made, world: Path) -> Drill:
    from ticktape.keep.restore import drill, source_of

    name = "" if made.where.endswith(".tar.xz") else made.name
    with show.progress("restoring elsewhere") as tell, source_of(made.where, name) as source:
        return drill(source, world, tell=tell)


def _made(made: Made, drilled: Drill | None, *, json: bool) -> dict[str, Any]:
    import dataclasses

    import msgspec

    answer = dataclasses.asdict(made)
    answer["ok"] = not made.damaged and (drilled is None or drilled.ok)
    answer["drill"] = None if drilled is None else msgspec.to_builtins(drilled) | {"ok": drilled.ok}
    if json:
        return answer
    typer.echo(
        f"{made.name} in {made.where}: up to position {made.position:,}, {made.files:,} files, {_mib(made.size)};"
        f" {made.copied:,} were new ({_mib(made.copied_bytes)})"
    )
    for name in made.forgotten:
        typer.echo(f"let go of {name}")
    for path in made.damaged:
        typer.echo(f"{path} was damaged before it was taken")
    if made.left_out:
        typer.echo(f"left out, keep them elsewhere: {', '.join(made.left_out)}", err=True)
    if drilled is not None:
        _print_drill(drilled)
    return answer


def _print_drill(drilled: Drill) -> None:
    for line in [*drilled.restored.wrong, *drilled.differs]:
        typer.echo(line)
    verdict = "the same" if drilled.ok else "not the same"
    typer.echo(
        f"drill: {drilled.restored.files:,} files restored and verified, {drilled.compared_records:,} records and"
        f" {drilled.compared_files:,} files of the lake compared: {verdict}"
    )


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"


def restore(
    source: FromArgument,
    *,
    data: DataOption,
    check: Annotated[bool, typer.Option("--check", help="Compare every hash, write nothing.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="Say which backups there are.")] = False,
    name: Annotated[str, typer.Option("--name", help="Which backup.", show_default="the newest")] = "",
    json: JsonOption = False,
) -> None:
    """Put a backup into an empty data folder, or only check it; exit 1 when it is not what was backed up."""
    from ticktape.keep import restore as restoring

    if listing:
        _list(source, json=json)
        return
    if not check:
        restoring.empty_or_refuse(data)
    with restoring.source_of(source, name) as opened:
        if check:
            with show.progress(f"checking {source}") as tell:
                count = restoring.check(opened, tell)
            _checked(opened.manifest.name, count, opened.manifest.size, json=json)
            return
        with show.progress(f"restoring to {data}") as tell:
            done = restoring.restore(opened, data, tell=tell)
    _restored(done, data, json=json)
    if not done.ok:
        raise typer.Exit(1)


def _list(source: str, *, json: bool) -> None:
    from ticktape.keep.backup_manifest import described
    from ticktape.keep.restore import listed

    found = described(listed(source))
    if json:
        show.as_json(found)
        return
    header = ("name", "world", "position", "files", "bytes")
    show.rows(header, [[str(each[column]) for column in header] for each in found])


def _checked(name: str, count: int, size: int, *, json: bool) -> None:
    if json:
        show.as_json({"name": name, "files": count, "bytes": size, "ok": True})
    else:
        typer.echo(f"{name}: {count:,} files, {_mib(size)}: all as backed up")


def _restored(done: Restored, data: Path, *, json: bool) -> None:
    import msgspec

    if json:
        show.as_json(msgspec.to_builtins(done) | {"ok": done.ok})
        return
    for line in done.wrong:
        typer.echo(line)
    rows = ", ".join(f"{count:,} {name}" for name, count in done.lake_rows.items() if count) or "none"
    typer.echo(f"{done.name}: {done.files:,} files, {_mib(done.size)}; rows in the lake: {rows}")
    verdict = "all as backed up" if done.ok else "not all as backed up"
    typer.echo(f"the tape ends at position {done.position:,}, {done.tape_records:,} records: {verdict}")
    if done.left_out:
        typer.echo(f"left out of the backup, bring them yourself: {', '.join(done.left_out)}", err=True)
    typer.echo(f"next: ticktape up --data {data}", err=True)
