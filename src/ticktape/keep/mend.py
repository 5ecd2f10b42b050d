"""Damaged files are made again from the tape where it still has their rows, and put into quarantine.

What the tape no longer has stays in the log: every answer that would need it says so, until it is restored.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ticktape.errors import Damaged
from ticktape.keep.flush import Flusher
from ticktape.lake.catalogue import Catalogue, Entry
from ticktape.lake.notes import holds_notes
from ticktape.lake.verify import BadFile, Report


class Mended(msgspec.Struct):
    """What was made good, and what could not be."""

    logs: list[str] = []
    files: list[str] = []
    beyond: list[str] = []  # not on the tape any more: restore from a backup


def mend_logs(lake: Path, tables: dict[str, Catalogue]) -> list[str]:
    """Put damaged files of the logs back from their copies. Raises Damaged."""
    return [f"{name}/{log}" for name, catalogue in tables.items() if catalogue.exists for log in catalogue.proof.mend()]


def mend(flusher: Flusher, report: Report) -> Mended:
    """Make the damaged files of a report again from the tape. Only for the keeper."""
    done = Mended()
    for bad in report.damaged:
        name = f"{bad.table}/{bad.path}"
        (done.files if _again(flusher, bad) else done.beyond).append(name)
    return done


def _again(flusher: Flusher, bad: BadFile) -> bool:
    catalogue, reader = flusher.tables[bad.table], flusher.reader
    version = catalogue.version()
    entry = next((e for e in version.files if e.path == bad.path), None)
    if entry is None:  # compacted or expired since
        return True
    if bad.table == "bars" or bad.first_position < reader.first or holds_notes(entry):
        return False  # what keep noted itself is on no tape
    _quarantine(catalogue, entry)
    written = flusher.write_rows(catalogue, bad.first_position, bad.end_position, bad.partition)
    if [file.path for file in written] == [entry.path]:  # the same content has the same name: it is in its place
        return True
    # Other files of the partition may hold some of these positions, after a compaction by batches.
    if sum(file.rows for file in written) != entry.rows:
        return False
    catalogue.commit(version.number, written, [entry], note={"ticktape": {"mended": entry.path}})
    return True


def _quarantine(catalogue: Catalogue, entry: Entry) -> None:
    path = catalogue.folder / entry.path
    if not path.exists():
        return
    home = catalogue.folder.parent / "quarantine" / catalogue.table.name
    home.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, home / path.name)  # readers of older versions meet it where it was, and say that it is damaged
    except FileExistsError:
        return
    except OSError as error:
        raise Damaged(f"{path}: cannot be put into quarantine: {error.strerror}") from error
