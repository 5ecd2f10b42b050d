"""A stretch of records in tape order, whether it lies on the tape or was read from the lake."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ticktape.model.records import Ints, Records, empty
from ticktape.tape.reader import Found, Reader


class Piece(NamedTuple):
    """Places [start, stop) of `records`, of which records[0] stands at place `base`.

    A place is a position of the tape, unless `positions` says which position each has (indexed by place - base).
    """

    records: Records
    base: int
    start: int
    stop: int
    positions: Ints | None = None

    def positions_of(self, places: Ints) -> Ints:
        """Return the tape's positions of some places."""
        return places if self.positions is None else self.positions[places - self.base]

    def position_of(self, place: int) -> int:
        """Return the tape's position of a place."""
        return place if self.positions is None else int(self.positions[place - self.base])

    def of(self, places: Ints) -> Records:
        """Return copies of the records at some places."""
        return self.records[places - self.base]

    def latest(self, instrument: int, chain: int, n: int) -> Found:
        """Return nothing: a stretch of the lake has no chains, so that a correction there revises no bar."""
        return Found(empty(0), np.empty(0, dtype=np.int64))


def of_tape(reader: Reader, start: int, stop: int) -> Piece:
    """Return [start, stop) of the tape, as far as it is there."""
    start = max(start, reader.first)
    return Piece(reader.records, reader.base, start, max(start, min(stop, reader.end)))
