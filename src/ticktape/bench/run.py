"""Runs benches one after the other: one line of figures each, come what may."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ticktape.bench.catalogue import INSTALL_PEERS, Entry
from ticktape.bench.place import Place, place
from ticktape.bench.result import Beside, Measured, failed, figures
from ticktape.errors import TicktapeError

Say = Callable[[str], None]


def run(
    entries: Sequence[Entry], data: Path, say: Say, *, peers: bool = False, quick: bool = False
) -> Generator[dict[str, Any]]:
    """Yield a line of figures for each bench as it ends; one that cannot be measured yields its error.

    They share a folder, which is gone when the last has ended or the caller closes this.
    """
    with ExitStack() as stack:
        try:
            here = stack.enter_context(place(data, lambda text: say(f"    {text}"), quick=quick))
        except (TicktapeError, OSError) as error:
            yield from (failed(entry, str(error)) for entry in entries)
            return
        for number, entry in enumerate(entries, 1):
            say(f"[{number}/{len(entries)}] {entry.name}: {entry.what}")
            yield _line(entry, here, peers=peers)


def _line(entry: Entry, here: Place, *, peers: bool) -> dict[str, Any]:
    try:
        measured: Measured = entry.function()(here)
        found = beside(entry, here, measured) if peers else None
    except (TicktapeError, OSError) as error:
        return failed(entry, str(error))
    row = figures(entry, measured, found)
    return row | {"reached": None} if here.quick else row  # tiny sizes reach and miss nothing


def beside(entry: Entry, here: Place, measured: Measured) -> Beside:
    """Measure the peer of a bench. A peer that is missing or fails is told, and fails nothing."""
    if not entry.peer:
        return Beside(peer=None, why="nothing comparable")
    here.say(f"beside {entry.peer_name}")
    try:
        found: Beside = entry.peer_function()(here, measured)
    except ImportError:
        return Beside(peer=entry.peer_name, why=f"not installed; {INSTALL_PEERS}")
    except (TicktapeError, OSError) as error:
        return Beside(peer=entry.peer_name, why=str(error))
    return found
