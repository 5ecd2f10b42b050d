"""`ticktape key create|list|rotate|revoke|history`: who may ask, and for what."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticktape.cli import audit, show
from ticktape.cli.options import DataOption, JsonOption

if TYPE_CHECKING:
    from ticktape.serve.keys import KeyStore

SCOPES = "realtime,history,stream"
DAY_S = 86_400
HEADER = ("prefix", "name", "model", "state", "scopes", "symbols", "from", "created", "expires", "last used")

PrefixArgument = Annotated[str, typer.Argument(help="The first characters of the key: tt_ and 8 more.")]

app = typer.Typer(help="Create, list, rotate and revoke API keys.", no_args_is_help=True)


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
    addresses: Annotated[str, typer.Option("--from", help="Only from here: 127.0.0.1,10.0.0.0/8")] = "",
    model: Annotated[str, typer.Option("--model", help="Which model asks with it.")] = "",
    per_s: Annotated[float | None, typer.Option("--per-second", min=0, help="Requests a second.")] = None,
    at_once: Annotated[int | None, typer.Option("--at-once", min=1, help="Requests under way.")] = None,
    json: JsonOption = False,
) -> None:
    """Make a key and print it: it is shown now and never again."""
    limits: dict[str, Any] = {"per_s": per_s, "at_once": at_once}
    with _store(data) as store:
        made = store.create(
            name, _parts(scopes), _parts(symbols) or None, None if expires is None else expires * DAY_S,
            addresses=_parts(addresses) or None, model=model,
            **{name: value for name, value in limits.items() if value is not None},
        )  # fmt: skip
    _show_once(made.key, json=json)


@app.command()
def rotate(
    prefix: PrefixArgument,
    *,
    data: DataOption,
    overlap: Annotated[str, typer.Option("--overlap", help="How long the old key still opens: 0, 30m, 24h.")] = "24h",
    json: JsonOption = False,
) -> None:
    """Make a key with the same rights; the old one ends after the overlap."""
    with _store(data) as store:
        made = store.rotate(prefix, _seconds(overlap))
    _show_once(made.key, json=json)


def _show_once(key: str, *, json: bool) -> None:
    if json:
        show.as_json({"key": key})
        return
    typer.echo(key)
    typer.echo("shown now and never again; send it as `Authorization: Bearer KEY`", err=True)


def _seconds(text: str) -> float:
    from ticktape.errors import BadInput

    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smhd]?)", text)
    if found is None:
        raise BadInput(f"not a time: '{text[:20]}'", hint="--overlap 24h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": DAY_S}[found[2]]


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
            *(f"tt_{key.prefix}", key.name, key.model or "-", _state(key.revoked_ns, key.expires_ns, now)),
            *(",".join(sorted(key.scopes)), ",".join(sorted(key.symbols)) if key.symbols is not None else "all"),
            ",".join(key.addresses) if key.addresses is not None else "anywhere",
            *(_day(key.created_ns), _day(key.expires_ns), _day(key.last_used_ns)),
        )
        for key in found
    ]
    show.rows(HEADER, body)


@app.command()
def revoke(
    prefix: PrefixArgument,
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


app.command("history")(audit.history)


def _state(revoked_ns: int | None, expires_ns: int | None, now_ns: int) -> str:
    if revoked_ns is not None:
        return "revoked"
    return "expired" if expires_ns is not None and expires_ns <= now_ns else "good"


def _day(ns: int | None) -> str:
    return "-" if ns is None else time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(ns // 10**9))
