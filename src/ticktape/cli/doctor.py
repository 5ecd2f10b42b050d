"""`ticktape doctor`: will it run well here? And `--warm`: compile every kernel now rather than at the first start."""

from __future__ import annotations

from typing import Annotated

import typer

from ticktape.cli import show
from ticktape.cli.options import PORT, DataOption, JsonOption, PortOption, tape_of

MARK = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def doctor(
    *,
    data: DataOption,
    port: PortOption = PORT,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask whether the venue answers.")] = False,
    warm: Annotated[bool, typer.Option("--warm", help="Compile the kernels now, and check nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Check this machine; exit 1 when something would keep ticktape from running."""
    if warm:
        from ticktape.cli.warm import warm as compile_kernels

        compile_kernels()
        return
    from ticktape.cli.checks import checks
    from ticktape.sources.binance.settings import BinanceSettings

    venue = "" if offline else BinanceSettings().rest_url
    found = [check() for check in checks(data, tape_of(data), port, venue)]
    good = all(check.state != "fail" for check in found)
    if json:
        show.as_json({"checks": [check._asdict() for check in found], "ok": good})
    else:
        for check in found:
            typer.echo(f"{MARK[check.state]}  {check.name:<8} {check.detail}")
            if check.hint:
                typer.echo(f"      {'':<8} hint: {check.hint}")
    if not good:
        raise typer.Exit(1)
