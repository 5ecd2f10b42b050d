"""What keep noted of days, for certificates: their summaries while they still match the data, spot checks, findings.

A summary is used only while the print of its partition is the one it was made of, the tape holds no later row of its
channel and day, and the venue is known to have numbered anew at the same times as then. Anything else is read from
the rows. That a file's bytes are still what was written is `ticktape certify --deep`'s to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec
import numpy as np
from google_crc32c import value as crc32c

from ticktape.errors import Damaged
from ticktape.lake import notes
from ticktape.lake.catalogue import Entry
from ticktape.lake.certificate import SpotChecks
from ticktape.lake.certificate_day import KINDS, DaySummary, decode, resets_of
from ticktape.lake.certificate_form import Finding
from ticktape.lake.certificate_past import TABLE, LakePast
from ticktape.lake.certificate_spot import Miss
from ticktape.lake.history import Snapshot
from ticktape.lake.notes import Note, Noted, Print
from ticktape.lake.tail import Tape
from ticktape.model.records import Channel
from ticktape.model.sessions import DAY_NS, day_number

EPOCH = date(1970, 1, 1).toordinal()
MOST_MISSES = 20  # named in a certificate; the counts are of all

_findings = msgspec.json.Decoder(Finding)
_misses = msgspec.json.Decoder(list[Miss])


def mark_of(resets: Sequence[tuple[int, bool]]) -> int:
    """Return what a summary notes of the resets that it was made with; 0 for none."""
    return int(crc32c(repr(list(resets)).encode())) + 1 if resets else 0


class Kept:
    """The notes about some instruments in [start_ns, end_ns)."""

    def __init__(
        self, snapshot: Snapshot, tape: Tape | None, instruments: Sequence[int], start_ns: int, end_ns: int
    ) -> None:
        self.damaged: list[str] = []  # files that notes could not be read from
        self._snapshot = snapshot
        self._prints = {name: notes.prints(snapshot.versions[name]) for name in notes.TICK_TABLES}
        self._late = _late(snapshot, tape, end_ns)
        self._summaries: dict[tuple[int, int], dict[int, Note]] = {}  # of a channel, by start of the day
        self._findings: dict[tuple[int, int], list[Note]] = {}
        self._spots: dict[int, list[Note]] = {}
        kinds = (Noted.SUMMARY, Noted.FINDING, Noted.SPOT)
        for note in notes.read(snapshot, kinds, instruments, start_ns, end_ns, on_damage=self._lost):
            self._take(note)

    def _lost(self, entry: Entry, error: Damaged) -> None:
        del entry
        self.damaged.append(error.message)

    def _take(self, note: Note) -> None:
        if note.kind == Noted.SUMMARY:
            of_channel = self._summaries.setdefault((note.instrument_id, note.side), {})
            of_channel[note.ts_event] = note  # the last word counts
        elif note.kind == Noted.SPOT:
            self._spots.setdefault(note.instrument_id, []).append(note)
        else:
            self._findings.setdefault((note.instrument_id, note.ts_event), []).append(note)

    def summary(self, past: LakePast, instrument_id: int, channel: Channel, day: date) -> DaySummary | None:
        """Return the summary of a day of UTC when it is still true, else None."""
        start = day_number(day) * DAY_NS
        note = self._summaries.get((instrument_id, int(channel)), {}).get(start)
        if note is None or note.body is None:
            return None
        if Print(note.a, note.b) != self._prints[TABLE[channel]].get(day.isoformat(), Print(0, 0)):
            return None
        if (instrument_id, int(channel), start) in self._late:
            return None
        if mark_of(resets_of(past.gaps(instrument_id, start, start + DAY_NS), channel)) != note.d:
            return None
        return decode(note.body)

    def summaries(self, past: LakePast, instrument_id: int, channel: Channel) -> list[DaySummary]:
        """Return all summaries of a channel that are still true, by day."""
        starts = sorted(self._summaries.get((instrument_id, int(channel)), ()))
        days = [date.fromordinal(EPOCH + start // DAY_NS) for start in starts]
        found = (self.summary(past, instrument_id, channel, day) for day in days)
        return [summary for summary in found if summary is not None]

    def spots(self, instrument_id: int, start_ns: int, end_ns: int) -> SpotChecks | None:
        """Return how the spot checks of a window went, the last of each minute and sort; None when there were none."""
        last: dict[tuple[int, int], Note] = {}
        for note in self._spots.get(instrument_id, ()):
            if start_ns <= note.ts_event < end_ns:
                last[note.ts_event, note.side] = note
        if not last:
            return None
        checked, passed = sum(n.a for n in last.values()), sum(n.b for n in last.values())
        missed = [miss for _, note in sorted(last.items()) if note.body for miss in _misses.decode(note.body)]
        told = [f"{m.what}: {m.key}: {m.field} {m.left} and {m.right}" for m in missed[:MOST_MISSES]]
        return SpotChecks(checked=checked, passed=passed, pass_rate=passed / checked if checked else None, misses=told)

    def findings(self, instrument_id: int, day: date) -> list[Finding] | None:
        """Return what was found unusual about a day; None when nobody looked at it."""
        start = day_number(day) * DAY_NS
        looked = [self._summaries.get((instrument_id, int(channel)), {}).get(start) for channel in TABLE]
        newest = max((note.ts_recv for note in looked if note is not None), default=None)
        if newest is None:
            return None
        found = [n for n in self._findings.get((instrument_id, start), ()) if n.body and n.ts_recv == newest]
        return [_findings.decode(note.body) for note in found if note.body]


def _late(snapshot: Snapshot, tape: Tape | None, end_ns: int) -> set[tuple[int, int, int]]:
    """Return (instrument, channel, start of its day) of the rows before `end_ns` that only the tape has."""
    found: set[tuple[int, int, int]] = set()
    if tape is None:
        return found
    for channel, table in TABLE.items():
        records = tape.view(min(max(snapshot.position(table), tape.first), tape.end), tape.end)
        mine = np.isin(records["kind"], KINDS[channel]) & (records["ts_event"] < end_ns)
        days = records["ts_event"][mine] // DAY_NS
        pairs = np.unique(np.stack((records["instrument"][mine].astype(np.int64), days)), axis=1)
        found |= {(who, int(channel), day * DAY_NS) for who, day in pairs.T.tolist()}
    return found
