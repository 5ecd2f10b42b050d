"""What certificates read of lake and tape as one, and how far those who wrote a channel can prove it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ticktape.lake.certificate_day import KINDS
from ticktape.lake.certificate_gaps import GapTimes, ledger
from ticktape.lake.history import Snapshot
from ticktape.lake.tail import Tape
from ticktape.model.gaps import Gap
from ticktape.model.records import Channel, Completeness, Records

TABLE = {Channel.TRADE: "trades", Channel.AGG_TRADE: "trades", Channel.QUOTE: "quotes", Channel.BOOK: "book"}
BEGIN_NS, EVER_NS = -(2**63), 2**63 - 1
CLASSES = tuple(Completeness)  # strongest first


class LakePast:
    """One version of the lake and a tape, and the ledger of gaps of some instruments. Raises Damaged, Trimmed."""

    def __init__(self, snapshot: Snapshot, tape: Tape, instruments: Iterable[int]) -> None:
        self.snapshot, self.tape = snapshot, tape
        positions, records = snapshot.records("gaps", [0, *instruments], BEGIN_NS, EVER_NS, tape=tape)
        self.rows = ledger(records, positions)
        self._times: dict[int, GapTimes] = {}  # by instrument

    def records(self, instrument_id: int, channel: Channel, start_ns: int, end_ns: int) -> Records:
        """Return all records of a channel in [start, end)."""
        table = TABLE[channel]
        _, found = self.snapshot.records(table, [instrument_id], start_ns, end_ns, tape=self.tape)
        return found[np.isin(found["kind"], KINDS[channel])]

    def gaps(self, instrument_id: int, start_ns: int, end_ns: int) -> Sequence[Gap]:
        """Return the gaps that touch a window: of the instrument, of whole sources, of the recorder."""
        if instrument_id not in self._times:
            mine = (row for row in self.rows if row.instrument_id in (0, instrument_id))
            self._times[instrument_id] = GapTimes(mine)
        return self._times[instrument_id].touching(start_ns, end_ns)


def weakest(
    channel: Channel, wrote: Iterable[str], classes: Mapping[str, Mapping[str, str]]
) -> tuple[Completeness, list[str]]:
    """Return how far a channel can be proven by the weakest of its sources, and which of them never told."""
    name = channel.name.lower()
    found: list[Completeness] = []
    silent: list[str] = []
    for source in wrote:
        told = classes.get(source, {}).get(name)
        known = next((each for each in CLASSES if each == told), None)
        if known is None:
            silent.append(source)
        else:
            found.append(known)
    return max(found, key=CLASSES.index, default=Completeness.NONE), silent
