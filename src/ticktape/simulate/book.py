"""A venue's order book by price level, in ticks and steps; every change of a level takes one update id.

`dirty` holds the levels changed since the last diff, so a diff is exactly the difference of two book states
(binance-spot-api-docs, web-socket-streams.md, "Diff. Depth Stream").
"""

from __future__ import annotations

from bisect import bisect_left, insort

Level = tuple[int, int]  # price in ticks, size in steps


class Half:
    """One side of a book; `sign` is +1 for bids so that the best key is always the largest."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[int] = []  # ascending, best last
        self._size: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def best(self) -> Level:
        """The level that trades first."""
        price = self._keys[-1] * self._sign
        return price, self._size[price]

    def size(self, price: int) -> int:
        """Size at a price, 0 when the level does not exist."""
        return self._size.get(price, 0)

    def put(self, price: int, size: int) -> None:
        """Set a level; size 0 removes it."""
        if size <= 0:
            if self._size.pop(price, 0):
                del self._keys[bisect_left(self._keys, price * self._sign)]
            return
        if price not in self._size:
            insort(self._keys, price * self._sign)
        self._size[price] = size

    def levels(self, limit: int) -> list[Level]:
        """The best `limit` levels, best first."""
        return [(key * self._sign, self._size[key * self._sign]) for key in self._keys[: -limit - 1 : -1]]

    def worst(self) -> int:
        """Price of the level that trades last."""
        return self._keys[0] * self._sign


class Book:
    """Both sides and the update id they stand at."""

    def __init__(self, update_id: int) -> None:
        self.update_id = update_id
        self.bids = Half(1)
        self.asks = Half(-1)
        self.dirty_bids: dict[int, int] = {}
        self.dirty_asks: dict[int, int] = {}

    def put(self, bid: bool, price: int, size: int) -> None:
        """Change one level and take the next update id."""
        half, dirty = (self.bids, self.dirty_bids) if bid else (self.asks, self.dirty_asks)
        half.put(price, max(size, 0))
        dirty[price] = max(size, 0)
        self.update_id += 1

    def top(self) -> tuple[int, int, int, int]:
        """Bid price, bid size, ask price, ask size."""
        return (*self.bids.best(), *self.asks.best())

    def take_dirty(self) -> tuple[list[Level], list[Level]]:
        """Levels changed since the last call, bids from the best down, asks from the best up."""
        bids = sorted(self.dirty_bids.items(), reverse=True)
        asks = sorted(self.dirty_asks.items())
        self.dirty_bids, self.dirty_asks = {}, {}
        return bids, asks
