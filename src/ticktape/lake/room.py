"""Memory for decoded columns that comes back when nobody looks at it any more.

Fresh pages cost as much as decoding into them: a year read with them took 33 ns a row, with kept ones 20.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import numpy as np
import pyarrow as pa

MOST_BLOCKS = 32  # kept while nobody uses them; beyond, the longest unused goes
GRAIN = 1 << 20


class Room:
    """Gives out blocks, from any thread. Without a lock: a block may come back in the middle of anything."""

    def __init__(self, most: int = MOST_BLOCKS) -> None:
        self._free: deque[Any] = deque(maxlen=most)

    def take(self, size: int) -> pa.Buffer:
        """Return `size` bytes to write to; they come back when the last array or view of them is gone."""
        block = self._fitting(size)
        if block is None:
            block = np.empty(-(-size // GRAIN) * GRAIN, dtype=np.uint8)
        given = block[:size]
        weakref.finalize(given, self._free.append, block).atexit = False
        # Behind a buffer: NumPy would lead a view of an array to the block, past what is watched.
        return pa.py_buffer(given)

    def _fitting(self, size: int) -> Any:
        for _ in range(len(self._free)):
            try:
                block = self._free.popleft()
            except IndexError:  # another thread took the last one
                return None
            if size <= len(block) <= 2 * size + GRAIN:
                return block
            self._free.append(block)
        return None
