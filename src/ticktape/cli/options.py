"""The options that several commands share, and where the data folder is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

PORT = 8877


def default_data() -> Path:
    """Return where data go when nobody says: TICKTAPE_DATA, else the user's data folder by the XDG rules."""
    if named := os.environ.get("TICKTAPE_DATA"):
        return Path(named)
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "ticktape"


def tape_of(data: Path) -> Path:
    """Return the folder of the tape in use in a data folder, or the folder itself when it is a tape."""
    from ticktape.config import world_of

    return data if (data / "tape.json").exists() else world_of(data) / "tape"


DataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="DIR",
        default_factory=default_data,
        show_default="$TICKTAPE_DATA or ~/.local/share/ticktape",
        help="Data folder.",
        file_okay=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PortOption = Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the API, on loopback.")]
