"""Runs benches one after the other: each in its own folder, one line of figures each, come what may."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ticktape.bench.catalogue import INSTALL_PEERS, Entry
from ticktape.bench.place import Place, place
from ticktape.bench.result import Beside, Measured, failed, figures
from ticktape.errors import TicktapeError

Say = Callable[[str], None]


def run(
    entries: Sequence[Entry], data: Path, say: Say, *, peers: bool = False, quick: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield a line of figures for each bench as it ends; one that cannot be measured yields its error."""
    for number, entry in enumerate(entries, 1):
        say(f"[{number}/{len(entries)}] {entry.name}: {entry.what}")
        try:
            with place(data, lambda text: say(f"    {text}"), quick=quick) as here:
                measured: Measured = entry.function()(here)
                found = beside(entry, here, measured) if peers else None
        except (TicktapeError, OSError) as error:
            yield failed(entry, str(error))
        else:
            row = figures(entry, measured, found)
            yield row | {"reached": None} if quick else row  # tiny sizes reach and miss nothing


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
