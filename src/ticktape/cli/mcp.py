"""`ticktape mcp`: the tools for an assistant that starts programs and speaks to them on standard input."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ticktape.cli.options import PORT, DataOption

KEY_DAYS = 30  # an own key is revoked at the end; this is for an end that nobody saw


def mcp(
    *,
    data: DataOption,
    address: Annotated[
        str, typer.Option("--address", metavar="URL", help="Where serve is.", envvar="TICKTAPE_ADDRESS")
    ] = f"http://127.0.0.1:{PORT}",
) -> None:
    """Answer an assistant on standard input and output."""
    import uvloop

    from ticktape import log
    from ticktape.app.mcp import run_mcp

    log.configure("warning")
    signal.signal(signal.SIGTERM, _end)
    with _key(data) as key:
        uvloop.run(run_mcp(address, key))


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)  # runs what stands in `finally`: the key is revoked


@contextmanager
def _key(data: Path) -> Generator[str]:
    """Give TICKTAPE_API_KEY, or else a key of the local data folder that ends with us."""
    if named := os.environ.get("TICKTAPE_API_KEY"):
        yield named
        return
    from ticktape.config import keys_of, world_of
    from ticktape.errors import Misconfigured
    from ticktape.serve.keys import KeyStore

    folder = keys_of(world_of(data))
    if not (folder / "keys.sqlite").exists():
        raise Misconfigured(f"no API key, and no data in {data} to make one for", hint="TICKTAPE_API_KEY=tt_...")
    store = KeyStore(folder)
    try:
        made = store.create("ticktape mcp", ["realtime", "history", "sql"], expires_s=KEY_DAYS * 86_400)
        try:
            yield made.key
        finally:
            store.revoke(made.info.prefix)
    finally:
        store.close()
