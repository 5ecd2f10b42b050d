"""`ticktape key create|list|revoke`: who may ask, and for what."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ticktape.cli import show
from ticktape.cli.options import DataOption, JsonOption

if TYPE_CHECKING:
    from ticktape.serve.keys import KeyStore

SCOPES = "realtime,history,stream"
DAY_S = 86_400
HEADER = ("prefix", "name", "state", "scopes", "symbols", "created", "expires", "last used")

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


@contextmanager
def _store(data: Path) -> Generator[KeyStore]:
    from ticktape.config import keys_of
    from ticktape.serve.keys import KeyStore

    store = KeyStore(keys_of(data))
    try:
        yield store
    finally:
        store.close()


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")] = "key",
    *,
    data: DataOption,
    scopes: Annotated[str, typer.Option("--scopes", help="What it opens: also sql, admin.")] = SCOPES,
    symbols: Annotated[str, typer.Option("--symbols", help="Only these symbols.", show_default="all")] = "",
    expires: Annotated[float | None, typer.Option("--expires-days", min=0, help="When it ends.")] = None,
    json: JsonOption = False,
) -> None:
    """Make a key and print it: it is shown now and never again."""
    with _store(data) as store:
        expires_s = None if expires is None else expires * DAY_S
        made = store.create(name, _parts(scopes), _parts(symbols) or None, expires_s)
    if json:
        show.as_json({"key": made.key})
        return
    typer.echo(made.key)
    typer.echo("shown now and never again; send it as `Authorization: Bearer KEY`", err=True)


@app.command("list")
def list_keys(*, data: DataOption, json: JsonOption = False) -> None:
    """List the keys: what they may do, and when they were last used."""
    with _store(data) as store:
        found = store.list()
    if json:
        show.as_json(found)
        return
    now = time.time_ns()
    body = [
        (
            *(f"tt_{key.prefix}", key.name, _state(key.revoked_ns, key.expires_ns, now)),
            *(",".join(sorted(key.scopes)), ",".join(sorted(key.symbols)) if key.symbols is not None else "all"),
            *(_day(key.created_ns), _day(key.expires_ns), _day(key.last_used_ns)),
        )
        for key in found
    ]
    show.rows(HEADER, body)


@app.command()
def revoke(
    prefix: Annotated[str, typer.Argument(help="The first characters of the key: tt_ and 8 more.")],
    *,
    data: DataOption,
    json: JsonOption = False,
) -> None:
    """End a key at once, in every process."""
    with _store(data) as store:
        ended = store.revoke(prefix)
    if json:
        show.as_json({"revoked": ended.prefix})
    else:
        typer.echo(f"revoked tt_{ended.prefix} ({ended.name})")


def _state(revoked_ns: int | None, expires_ns: int | None, now_ns: int) -> str:
    if revoked_ns is not None:
        return "revoked"
    return "expired" if expires_ns is not None and expires_ns <= now_ns else "good"


def _day(ns: int | None) -> str:
    return "-" if ns is None else time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(ns // 10**9))
