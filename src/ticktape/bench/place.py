"""Where a bench works: a folder of its own on the data disk that is gone afterwards, however it ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ticktape.errors import DiskFull

SPARE_BYTES = 1 << 30  # what a bench leaves free


@dataclass(frozen=True, slots=True)
class Place:
    """What a bench is handed: its folder, whether sizes are tiny, and where to say what it is doing."""

    folder: Path
    quick: bool
    say: Callable[[str], None]

    def size(self, full: int, quick: int) -> int:
        """Return the size to work at."""
        return quick if self.quick else full

    def seconds(self, full: float, quick: float = 0.4) -> float:
        """Return how long to go on."""
        return quick if self.quick else full

    def kept(self, name: str, need_bytes: int, make: Callable[[Path], None]) -> Path:
        """Return a folder that `make` fills when it is first asked for; it stays for the other benches of the run."""
        path = self.folder / name
        if not path.exists():
            with self.scratch(f"{name}.new", need_bytes) as fresh:
                make(fresh)
                fresh.rename(path)
        return path

    @contextmanager
    def scratch(self, name: str, need_bytes: int = 0) -> Generator[Path]:
        """Give a folder and take it away afterwards. Raises DiskFull when the disk has not so much to give."""
        free = shutil.disk_usage(self.folder).free
        if free < need_bytes + (SPARE_BYTES if need_bytes else 0):
            need = (need_bytes + SPARE_BYTES) >> 20
            raise DiskFull(
                f"{self.folder}: {free >> 20} MiB free, this bench needs {need}", hint="ticktape bench --data DIR"
            )
        path = self.folder / name
        path.mkdir()
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def place(data: Path, say: Callable[[str], None], *, quick: bool) -> Generator[Place]:
    """Make a folder in `data`, which is made too when it is not there, and remove what was made."""
    made = [folder for folder in (data, *data.parents) if not folder.exists()]
    data.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory(prefix="ticktape-bench-", dir=data, ignore_cleanup_errors=True) as folder:
            yield Place(Path(folder), quick, say)
    finally:
        for folder in made:
            with suppress(OSError):  # somebody else put something in
                folder.rmdir()
