"""Rows as JSON text for all that writes many: learns the names that `text_kernel.py` needs, and calls it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from ticktape.errors import UnknownSymbol
from ticktape.model.instruments import Instrument
from ticktape.model.records import RECORD, Ints, Records
from ticktape.serve import text_kernel as kernel
from ticktape.serve.encode import flag_names

_AT_ONCE = 4096  # rows, so that what is written into stays within 4 MiB


class RowTexts:
    """Keeps what it learned. `source_of` gives a source's name by its id."""

    def __init__(self, instrument_of: Callable[[int], Instrument], source_of: Callable[[int], str]) -> None:
        self._instrument_of, self._source_of = instrument_of, source_of
        self._names: Any = np.zeros(0, dtype=np.uint8)
        self._who: Ints = np.zeros((64, 4), dtype=np.int64)
        self._source: Ints = np.zeros((16, 2), dtype=np.int64)
        self._flags: Ints = np.zeros((0, 3), dtype=np.int64)
        self._longest = [0, 0, 0]  # bytes of an instrument's text, a source's, flags'

    def of(self, records: Records, positions: Ints) -> list[str]:
        """Return each trade, quote or level as the text of an `answers` row; of another kind: an empty text.

        Raises UnknownSymbol.
        """
        if len(records) <= _AT_ONCE:
            return self._written(records, positions)
        found: list[str] = []
        for start in range(0, len(records), _AT_ONCE):
            found += self._written(records[start : start + _AT_ONCE], positions[start : start + _AT_ONCE])
        return found

    def _written(self, records: Records, positions: Ints) -> list[str]:
        count, done = len(records), 0
        ends: Ints = np.empty(count, dtype=np.int64)
        out: Any = None
        while True:
            most = count * (kernel.MOST_BYTES + sum(self._longest))
            if out is None or len(out) < most:  # a longer name was learned
                out, done = np.empty(most, dtype=np.uint8), 0
            done = kernel.write(
                records, positions, done, self._who, self._source, self._flags, len(self._flags), self._names, out, ends
            )
            if done == count:
                break
            self._learn(records[done])
        # Names may be of any script: their bytes are cut, not their characters.
        text = out[: ends[-1] if count else 0].tobytes()
        if text.isascii():
            whole = text.decode("ascii")
            return [whole[start:stop] for start, stop in pairwise([0, *ends.tolist()])]
        return [text[start:stop].decode() for start, stop in pairwise([0, *ends.tolist()])]

    # -- names -------------------------------------------------------------------------------------

    def _learn(self, record: Any) -> None:
        who, source, flags = (int(record[name]) for name in ("instrument", "source", "flags"))
        if who >= len(self._who) or not self._who[who, 1]:
            about = self._instrument_of(who)
            at = self._keep(0, f'"instrument_id":{who},"symbol":{_quoted(about.symbol)}')
            self._who = _grown(self._who, who)
            self._who[who] = *at, about.price_scale, about.size_scale
        if source >= len(self._source) or not self._source[source, 1]:
            self._source = _grown(self._source, source)
            self._source[source] = self._keep(1, _quoted(self._source_of(source)))
        if flags not in self._flags[:, 0]:
            at = self._keep(2, msgspec.json.encode(flag_names(flags)).decode())
            self._flags = np.vstack([self._flags, np.array([(flags, *at)], dtype=np.int64)])

    def _keep(self, what: int, text: str) -> tuple[int, int]:
        data = np.frombuffer(text.encode(), dtype=np.uint8)
        start = len(self._names)
        self._names = np.concatenate([self._names, data])
        self._longest[what] = max(self._longest[what], len(data))
        return start, start + len(data)


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


def _grown(table: Ints, number: int) -> Ints:
    if number < len(table):
        return table
    found: Ints = np.zeros((max(number + 1, 2 * len(table)), table.shape[1]), dtype=np.int64)
    found[: len(table)] = table
    return found


def warm() -> None:
    """Load (the first time: compile) the kernel, so that no request waits for it."""
    RowTexts(_nobody, str).of(np.empty(0, dtype=RECORD), np.empty(0, dtype=np.int64))


def _nobody(number: int) -> Instrument:
    raise UnknownSymbol(f"no instrument with id {number}", hint="ticktape instruments")
