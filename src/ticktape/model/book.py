"""A price book read from BOOK records, level by level.

The rule of the tape: a record flagged SNAPSHOT and FIRST clears the book; a message whose update id (`c`)
is not above the book's is old and ignored; any other sets quantities, where 0 removes. A message flagged
AFTER_GAP without SNAPSHOT follows a hole: the book is out of sync until the next snapshot.
"""

from __future__ import annotations

from ticktape.model.records import Flag, Kind, Records, Side

_OPENS_SNAPSHOT = Flag.SNAPSHOT | Flag.FIRST


class Book:
    """One instrument's levels as price -> size, both integers at the instrument's scales."""

    def __init__(self, instrument_id: int) -> None:
        self.instrument_id = instrument_id
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}
        self.update_id = -1
        self.synced = False
        self._skipping = False

    def apply(self, records: Records) -> None:
        """Apply records in tape order; those of other instruments and kinds are passed over."""
        mine = records[(records["kind"] == Kind.BOOK) & (records["instrument"] == self.instrument_id)]
        columns = (mine[name].tolist() for name in ("a", "b", "c", "flags", "side"))
        for price, size, update_id, flags, side in zip(*columns, strict=True):
            if flags & Flag.FIRST:
                self._open(update_id, flags)
            if self._skipping:
                continue
            levels = self.bids if side == Side.BUY else self.asks
            if size:
                levels[price] = size
            else:
                levels.pop(price, None)

    def lose(self) -> None:
        """Say that messages are missing: out of sync until the next snapshot."""
        self.synced = False

    def _open(self, update_id: int, flags: int) -> None:
        if flags & _OPENS_SNAPSHOT == _OPENS_SNAPSHOT:
            self.bids, self.asks = {}, {}
            self.synced, self._skipping = True, False
        else:
            self.synced = self.synced and not flags & Flag.AFTER_GAP
            self._skipping = update_id <= self.update_id
        if not self._skipping:
            self.update_id = update_id

    def best(self) -> tuple[int | None, int | None]:
        """Return the highest bid price and the lowest ask price."""
        return max(self.bids, default=None), min(self.asks, default=None)

    def levels(self, side: Side, most: int) -> list[tuple[int, int]]:
        """Return up to `most` levels of a side as (price, size), best first."""
        bids = side == Side.BUY
        return sorted((self.bids if bids else self.asks).items(), reverse=bids)[:most]
