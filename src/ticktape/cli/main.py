"""`ticktape`: the commands, and what every one of them has in common.

Exit codes: 0 fine, 1 something was found or failed, 2 misuse, 130 Ctrl-C, 141 the reader of our output went away.
A command's module imports what is heavy inside its function, so that `--help` stays under 0.3 s.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from ticktape.cli import (
    audit,
    backup,
    bench,
    bootstrap,
    certify,
    doctor,
    export,
    gaps,
    imports,
    instruments,
    key,
    lake,
    mcp,
    parts,
    replay,
    tape,
    up,
    version,
)
from ticktape.errors import BadInput, Misconfigured, TicktapeError

FOUND, MISUSE, BROKEN_PIPE = 1, 2, 141


class Commands(TyperGroup):
    """Runs a command and turns our errors into one message on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except TicktapeError as error:
            typer.echo(f"ticktape: {error}", err=True)
            raise typer.Exit(MISUSE if isinstance(error, BadInput | Misconfigured) else FOUND) from error
        except BrokenPipeError:
            # `ticktape ... | head` is no error; what is still buffered has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        return result


app = typer.Typer(
    cls=Commands,
    name="ticktape",
    help="Record, prove, query and replay the market.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich would double the time that --help takes
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("record")(parts.record)
app.command("serve")(parts.serve)
app.command("stream")(parts.stream)
app.command("keep")(parts.keep)
app.command("replay")(replay.replay)
app.add_typer(tape.app, name="tape")
app.add_typer(lake.app, name="lake")
app.add_typer(gaps.app, name="gaps")
app.command("certify")(certify.certify)
app.command("import")(imports.import_files)
app.command("export")(export.export)
app.command("bootstrap")(bootstrap.bootstrap)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("instruments")(instruments.instruments)
app.add_typer(key.app, name="key")
app.add_typer(audit.app, name="audit")
app.command("mcp")(mcp.mcp)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.command("version")(version.version)


def main() -> None:
    """Run `ticktape`."""
    app(prog_name="ticktape")


if __name__ == "__main__":
    main()
