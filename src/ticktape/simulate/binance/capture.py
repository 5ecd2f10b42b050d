"""The capture format: lines `<receive ns> <json>`, combined frames and REST depth snapshots (no `stream`).

It is hftbacktest's (its examples/spot) and ours; fixtures/README.md describes the real one.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import IO, BinaryIO, cast

import msgspec
import zstandard
from msgspec import Struct

from ticktape.errors import BadInput
from ticktape.simulate.binance.feed import Snapshot
from ticktape.simulate.sample import SCALE

COMBINED = b'{"stream":"'


class CapturedTrade(Struct):
    """The trade frame's fields the ledger needs."""

    s: str
    t: int
    p: Decimal
    q: Decimal
    T: int
    m: bool


class CapturedDiff(Struct):
    """A depth diff."""

    s: str
    U: int
    u: int
    b: list[tuple[Decimal, Decimal]]
    a: list[tuple[Decimal, Decimal]]


class CapturedBook(Struct, rename={"last_update_id": "lastUpdateId"}):
    """A REST depth snapshot."""

    last_update_id: int
    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]


class Frame(Struct):
    """A combined frame; `data` stays as it came."""

    stream: str
    data: msgspec.Raw


FRAME = msgspec.json.Decoder(Frame)
TRADE = msgspec.json.Decoder(CapturedTrade)
DIFF = msgspec.json.Decoder(CapturedDiff)
BOOK = msgspec.json.Decoder(CapturedBook)


def _unpacked(path: Path, raw: BinaryIO) -> IO[bytes]:
    """The file's text by its suffix; .zst may be several frames, as a recorder that appends leaves them."""
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    if path.suffix == ".zst":
        reader = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(cast("io.RawIOBase", reader), 1 << 16)
    return raw


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(receive ns, json) of a capture, plain, .gz or .zst. Raises BadInput for a line that is neither."""
    with path.open("rb") as raw, _unpacked(path, raw) as file:
        for number, line in enumerate(file, 1):
            stamp, space, body = line.rstrip(b"\n").partition(b" ")
            if not space or not stamp.isdigit():
                raise BadInput(f"{path}: line {number} is not `<receive ns> <json>`")
            yield int(stamp), body


def stream_of(body: bytes) -> str | None:
    """The stream of a combined frame; None for a snapshot."""
    if not body.startswith(COMBINED):
        return None
    return body[len(COMBINED) : body.index(b'"', len(COMBINED))].decode()


def scaled(value: Decimal) -> int:
    """A decimal at 1e-8."""
    return int(value * SCALE)


class CapturedState:
    """The book a capture leads to: the snapshot, then every diff that reaches past it."""

    def __init__(self) -> None:
        self.last_id = 0
        self.known = False
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}

    def load(self, book: CapturedBook, diffs: list[CapturedDiff]) -> None:
        """Take the snapshot and the diffs seen before it."""
        self.last_id, self.known = book.last_update_id, True
        self.bids = {scaled(price): scaled(size) for price, size in book.bids}
        self.asks = {scaled(price): scaled(size) for price, size in book.asks}
        for diff in diffs:
            self.apply(diff)

    def apply(self, diff: CapturedDiff) -> None:
        """One diff; those before the snapshot change nothing."""
        if not self.known or diff.u <= self.last_id:
            return
        for side, changes in ((self.bids, diff.b), (self.asks, diff.a)):
            for price, size in changes:
                if size:
                    side[scaled(price)] = scaled(size)
                else:
                    side.pop(scaled(price), None)
        self.last_id = diff.u

    def snapshot(self, limit: int) -> Snapshot:
        """The book now."""
        bids = sorted(self.bids.items(), reverse=True)[:limit]
        asks = sorted(self.asks.items())[:limit]
        return Snapshot(self.last_id, bids, asks)
