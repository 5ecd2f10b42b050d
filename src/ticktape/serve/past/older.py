"""What `serve` lacks after a start on a trimmed tape: bars, gaps and statuses that only the lake has.

The shapes that a worker fills and `serve` takes in; nothing here imports Arrow. Everything is as it was at one tape
position, where the lake's bars end, so that the tape from there on completes it and nothing is counted twice.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from ticktape.model.records import RECORD, Ints, Records

MOST_MB = 256  # of rings in one answer; what has no room is named


class Ring(msgspec.Struct, frozen=True, kw_only=True):
    """The newest bars of one instrument and basis, by timeframe; arrays of BAR as bytes."""

    instrument_id: int
    basis: int
    aggregated: bool  # made of aggregated trades
    frames: list[bytes]
    whole: list[bool]  # there are none before these


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """Records of the lake, oldest first, and where they stood."""

    positions: bytes = b""
    records: bytes = b""

    def read(self) -> tuple[Ints, Records]:
        """Return (positions, records)."""
        positions: Ints = np.frombuffer(self.positions, dtype=np.int64)
        return positions, np.frombuffer(self.records, dtype=RECORD)


class Older(msgspec.Struct, frozen=True, kw_only=True):
    """What the lake has from before `position`."""

    position: int  # -1: the lake has nothing
    gaps_before: int  # gaps and statuses are those from before this position, where the tape began
    rings: list[Ring] = []
    gaps: Noted = Noted()
    statuses: Noted = Noted()
    newest: tuple[int, int] | None = None  # (ts_event, ts_recv) of the newest tick: how far apart the clocks were
    missing: list[str] = []


_decoder = msgspec.msgpack.Decoder(Older)


def encode(older: Older) -> bytes:
    """Return the body of a worker's answer."""
    return msgspec.msgpack.encode(older)


def decode(body: bytes) -> Older:
    """Read the body of a worker's answer."""
    return _decoder.decode(body)


def noted(positions: Any, records: Records) -> Noted:
    """Return records for the way."""
    order = np.argsort(positions, kind="stable")
    return Noted(positions=positions[order].tobytes(), records=records[order].tobytes())
