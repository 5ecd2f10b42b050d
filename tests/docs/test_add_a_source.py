"""The source that ADD_A_SOURCE.md builds works: its blocks are run, and the source reads a real socket."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ticktape.model.records import BadReason, Channel, Completeness, GapCause, Kind, Side
from ticktape.sources.contract import Batch, Source, Watched
from ticktape.tape.directory import TapeDirectory

PAGE = Path(__file__).parents[2] / "ADD_A_SOURCE.md"
NOW = 1_763_640_001_000_000_000
SENT = b"""\
{"type": "trade", "sym": "WIDGET", "id": 7, "t_us": 1763640000123456, "px": "10.25", "qty": "3", "maker": "B"}
{"type": "heartbeat"}
{"type": "trade", "sym": "WIDGET", "id": 8, "t_us": 1763640000223456, "px": "10.26", "qty": "1", "maker": "S"}
{"type": "trade", "sym": "NOBODY", "id": 1, "t_us": 1763640000223456, "px": "10.26", "qty": "1", "maker": "S"}
{"type": "trade", "sym": "WIDGET", "id": 9, "t_us": 1763640000223456, "px": "NaN", "qty": "1", "maker": "S"}
{"type": "trade", "sym": "WIDGET", "id": 9, "t_us": 1763640000223456, "px": "1", "qty": "1", "maker": "Q"}
{"type": "tra
"""


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.watched: Sequence[Watched] = []
        self.batches: list[Batch] = []

    def up(self, watched: Sequence[Watched]) -> None:
        self.watched = watched

    def frames(self, frames: list[bytes], ts_recv: int) -> None:
        self.batch(self.source.normalise(frames, ts_recv))

    def batch(self, batch: Batch) -> None:
        self.batches.append(batch)

    def lost(self, watched: Watched, cause: GapCause, detail: str) -> None:
        raise AssertionError((watched, cause, detail))

    def alive(self) -> None:
        pass

    def now_ns(self) -> int:
        return NOW


def built() -> dict[str, Any]:
    """Return what the page's Python blocks define."""
    names: dict[str, Any] = {"__name__": "acme"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)
    return names


async def played(directory: TapeDirectory) -> Kept:
    """Connect the page's source to a server that sends SENT and hangs up."""

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SENT)
        await writer.drain()
        writer.close()

    page = built()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        settings = page["AcmeSettings"](symbols=("WIDGET",), host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        source: Source = page["AcmeSource"](settings, directory)
        assert source.completeness == {Channel.TRADE: Completeness.SEQUENCE}
        kept = Kept(source)
        await asyncio.wait_for(source.connect(kept), 10)
    return kept


def test_the_source_of_the_page_records_trades_and_quarantines_the_rest(tape_folder: Path) -> None:
    directory = TapeDirectory(tape_folder)
    kept = asyncio.run(played(directory))
    instrument = directory.by_symbol("WIDGET")
    directory.close()
    assert list(kept.watched) == [Watched(instrument.id, Channel.TRADE)]
    first, second = (batch.records[0] for batch in kept.batches if len(batch.records))
    assert (first["kind"], first["side"], first["c"]) == (Kind.TRADE, Side.SELL, 7)
    assert (first["a"], first["b"]) == (1_025_000_000, 300_000_000)
    assert (first["ts_event"], first["ts_recv"]) == (1_763_640_000_123_456_000, NOW)
    assert (second["side"], second["c"]) == (Side.BUY, 8)
    reasons = [bad.reason for batch in kept.batches for bad in batch.bad]
    expected = [BadReason.UNKNOWN_SYMBOL, BadReason.BAD_NUMBER, BadReason.WRONG_TYPE, BadReason.NOT_JSON]
    assert reasons == expected
