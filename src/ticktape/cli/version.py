"""`ticktape version`: which ticktape, on which Python."""

from __future__ import annotations

import platform

from ticktape import __version__
from ticktape.cli import show
from ticktape.cli.options import JsonOption


def version(*, json: JsonOption = False) -> None:
    """Print the versions of ticktape, the tape format and Python."""
    from ticktape.tape.segment import VERSION

    if json:
        show.as_json({"ticktape": __version__, "tape_format": VERSION, "python": platform.python_version()})
        return
    show.pairs([("ticktape", __version__), ("tape format", str(VERSION)), ("python", platform.python_version())])
