"""A second copy of each commit, named by its checksum: a flipped bit in the log is found, and mended by its keeper.

The log decides which rows count, and Delta has no checksum of it. After each commit the keeper copies what is new in
`_delta_log` to `<lake>/proof/<table>/<name>.<crc>`. Readers compare the log's files with those names.
"""

from __future__ import annotations

import re
from pathlib import Path

from google_crc32c import value as crc32c

from ticktape.errors import Damaged
from ticktape.lake.disk import Disk

_COPY = re.compile(r"(.+)\.([0-9a-f]{8})")
_COMMIT = re.compile(r"(\d{20})\.(json|checkpoint\.parquet)")


class Proof:
    """The copies of one table's log."""

    def __init__(self, folder: Path, log: Path, disk: Disk) -> None:
        self._folder, self._log, self._disk = folder, log, disk
        self._good: dict[str, tuple[int, int, int]] = {}  # name -> what stat said when it was proven

    def _copies(self) -> dict[str, Path]:
        if not self._folder.is_dir():
            return {}
        found = ((_COPY.fullmatch(path.name), path) for path in self._folder.iterdir())
        return {match[1]: path for match, path in found if match}

    def _needed(self) -> list[Path]:
        """Return the log's files that say what the table is now: the newest checkpoint and what follows it."""
        names = [path for path in self._log.iterdir() if _COMMIT.fullmatch(path.name)]
        newest = max((path.name[:20] for path in names if path.suffix == ".parquet"), default="")
        return sorted(path for path in names if path.name[:20] > newest or path.name[:20] == newest != "")

    def check(self) -> None:
        """Compare what the log says now with the copies' names. Raises Damaged.

        What has no copy yet was committed a moment ago, or just before a crash: the keeper copies it next time.
        """
        if not self._log.is_dir():
            return
        fresh: list[tuple[Path, tuple[int, int, int]]] = []
        for path in self._needed():
            try:
                stat = path.stat()
            except FileNotFoundError:  # cleaned up since it was listed
                continue
            mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if self._good.get(path.name) != mark:
                fresh.append((path, mark))
        if not fresh:
            return
        copies = self._copies()
        for path, mark in fresh:
            copy = copies.get(path.name)
            if copy is None:
                continue
            if _sum(path) != copy.name[-8:]:
                raise Damaged(f"{path}: is not what was committed", hint="ticktape lake verify --mend")
            self._good[path.name] = mark

    def note(self) -> int:
        """Copy what is new in the log. Returns how many files."""
        self._folder.mkdir(parents=True, exist_ok=True)
        copies = self._copies()
        count = 0
        for path in self._needed():
            if path.name not in copies:
                data = path.read_bytes()
                name = f"{path.name}.{crc32c(data):08x}"
                self._disk.place(self._folder / name, [memoryview(data)])
                count += 1
        return count

    def mend(self) -> list[str]:
        """Put back each file of the log that is not what its copy's name says, or gone. Returns their names.

        Raises Damaged when the copy is no better.
        """
        mended: list[str] = []
        for name, copy in sorted(self._copies().items()):
            path = self._log / name
            if path.exists() and _sum(path) == copy.name[-8:]:
                continue
            data = copy.read_bytes()
            if f"{crc32c(data):08x}" != copy.name[-8:]:
                raise Damaged(f"{path}: is not what was committed, nor is its copy", hint="ticktape restore")
            self._disk.place(path, [memoryview(data)])
            mended.append(name)
        return mended

    def forget(self) -> None:
        """Delete the copies of what the log no longer needs."""
        needed = {path.name for path in self._needed()}
        for name, copy in self._copies().items():
            if name not in needed:
                copy.unlink()


def _sum(path: Path) -> str:
    try:
        return f"{crc32c(path.read_bytes()):08x}"
    except FileNotFoundError:
        return ""
