"""Archive files as a source: read once, in order, in batches; then the source is finished."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from msgspec import Struct

from ticktape.errors import Misconfigured
from ticktape.model.records import BadReason, Channel, Completeness, empty
from ticktape.sources import decimals
from ticktape.sources.archive.files import contents_of, opened, verify
from ticktape.sources.archive.rows import LAYOUT, Reader
from ticktape.sources.capture.source import Enrolling
from ticktape.sources.contract import Bad, Batch, Directory, Hole, Sink, Watched

CHANNEL = {"aggTrades": Channel.AGG_TRADE, "trades": Channel.TRADE}
BYTES_A_ROW = 80  # about
MAX_LINE_BYTES = 1 << 20


class ArchiveSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[sources.archive]`."""

    paths: tuple[str, ...]  # files as downloaded from data.binance.vision, in the order to read them
    venue: str = "binance"
    rows_a_batch: int = 50_000  # about


class ArchiveSource:
    """`Source` for archive files."""

    def __init__(self, settings: ArchiveSettings, directory: Directory, name: str = "archive") -> None:
        self.settings = settings
        self._name = name
        self._directory = Enrolling(directory)
        self._contents = {path: contents_of(Path(path)) for path in settings.paths}
        self.finished = False  # every file was read to its end

    @property
    def name(self) -> str:
        """The key in the configuration."""
        return self._name

    @property
    def completeness(self) -> Mapping[Channel, Completeness]:
        """Ids are dense."""
        return {CHANNEL[contents.kind]: Completeness.SEQUENCE for contents in self._contents.values()}

    @property
    def symbols(self) -> list[str]:
        """Symbols the files' names say."""
        return list(dict.fromkeys(contents.symbol for contents in self._contents.values()))

    async def connect(self, sink: Sink) -> None:
        """Read every file; returns after the last. Raises Misconfigured for a file that cannot be used."""
        await asyncio.to_thread(decimals.warm)
        self.finished = False
        watched: dict[Watched, None] = {}
        for path, contents in self._contents.items():
            await asyncio.to_thread(verify, Path(path))
            instrument = self._directory.find_at(self.settings.venue, contents.symbol, contents.begins_ns)
            if instrument is None:
                raise Misconfigured(f"{path}: not a symbol: {contents.symbol}")
            watched[Watched(instrument.id, CHANNEL[contents.kind])] = None
            sink.up(list(watched))
            reader = Reader(LAYOUT[contents.kind], instrument)
            with opened(Path(path)) as file:
                for text in _blocks(file, self.settings.rows_a_batch * BYTES_A_ROW):
                    sink.batch(_tagged(reader.batch(text, sink.now_ns()), path))
                    await asyncio.sleep(0)
        self.finished = True

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        """Refuse every frame: an archive has rows."""
        return Batch(empty(0), [Bad(BadReason.UNKNOWN_MESSAGE, "an archive has no frames", f) for f in frames])

    async def fill(self, hole: Hole) -> AsyncIterator[Batch]:
        """Raise Misconfigured: a file has no more than it holds."""
        raise Misconfigured(f"{self._name}: an archive file has no history to fill a hole from")
        yield  # pragma: no cover  # makes this an async generator, as the contract has it

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Raise Misconfigured: files hold what they hold."""
        raise Misconfigured(f"{self._name}: archive files hold the symbols they hold")


def _blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield whole lines, about `size` bytes at a time. Raises Misconfigured for a line without an end."""
    rest = b""
    while block := file.read(size):
        cut = block.rfind(b"\n") + 1
        if not cut and len(rest) + len(block) > size + MAX_LINE_BYTES:
            raise Misconfigured(f"archive: no end of line in {len(rest) + len(block)} bytes")
        if cut:
            yield rest + block[:cut]
            rest = block[cut:]
        else:
            rest += block
    if rest:
        yield rest


def _tagged(batch: Batch, path: str) -> Batch:
    """Return the batch with the file's name in front of each complaint."""
    name = Path(path).name
    return Batch(batch.records, [Bad(bad.reason, f"{name}: {bad.detail}", bad.payload) for bad in batch.bad])
