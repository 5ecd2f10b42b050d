"""Tells a venue that began to number anew, with ids and times the tape has had, from one that repeats itself.

The judge takes an id it has seen, at a time that is not newer, for a repeat. Where nothing but repeats comes, each of
them is compared with what the tape has under its id: a repeat says the same. Three in a row that say something else
are another numbering. What came until then is lost, and declared. Of ids further back than `MOST_BACK` records, or
trimmed, nobody can tell: they count as repeats.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ticktape.model.records import RECORD, Ints, Records
from ticktape.record.append import Appender, Twin
from ticktape.sources.contract import Watched
from ticktape.tape import kernels
from ticktape.tape.kernels import CHAINS
from ticktape.tape.reader import Reader

LEAST_REPEATS = 20  # without anything new between: what comes twice after a reconnection is over sooner
CERTAIN = 3  # repeats that say something else
MOST_BACK = 1_000_000
AT_ONCE = 50_000
SAME_NS = 1_000_000  # a time may come again in a coarser unit


class Renumbered:
    """Looks at the repeats of one source's dense channels, once a second."""

    def __init__(self, appender: Appender, reader: Reader) -> None:
        self._appender, self._reader = appender, reader
        self._differed: dict[Watched, list[int]] = {}  # ids whose repeat said something else

    def look(self, watched: Iterable[Watched]) -> list[Watched]:
        """Return the channels that began to number anew."""
        found: list[Watched] = []
        for one in watched:
            twin = self._appender.twin(*one)
            if twin.repeats < LEAST_REPEATS:
                self._differed.pop(one, None)
                continue
            differed = self._differed.setdefault(one, [])
            if twin.id in differed:
                continue
            if not self._differs(one, twin):
                differed.clear()
                continue
            differed.append(twin.id)
            if len(differed) == CERTAIN:
                found.append(one)
                del self._differed[one]
        return found

    def _differs(self, one: Watched, twin: Twin) -> bool:
        record = self._stored(one, twin.id)
        if record is None:
            return False
        said = (int(record["a"]), int(record["b"]))
        return said != (twin.price, twin.size) or abs(int(record["ts_event"]) - twin.ts_event) >= SAME_NS

    def _stored(self, one: Watched, number: int) -> Records | None:
        """Return the newest record of a channel with an id, or None."""
        reader, heads = self._reader, self._appender.tape.heads
        reader.refresh()
        position = int(heads[one.instrument_id * CHAINS + one.channel - 1])
        records: Records = np.empty(AT_ONCE, RECORD)
        positions: Ints = np.empty(AT_ONCE, np.int64)
        for _ in range(MOST_BACK // AT_ONCE):
            if not reader.first <= position < reader.end:
                return None
            n = kernels.walk_back(reader.records, reader.base, reader.first, position, records, positions)
            if n == 0:
                return None
            hits = np.flatnonzero(records["c"][AT_ONCE - n :] == number)
            if len(hits):
                return records[AT_ONCE - n + int(hits[-1])]
            oldest = positions[AT_ONCE - n]
            position = int(oldest) - int(records[AT_ONCE - n]["back"]) if records[AT_ONCE - n]["back"] else -1
        return None
