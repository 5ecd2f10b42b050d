"""Dense ids checked one by one: what is missing on a day, and what the ledger of gaps says of it.

Days are joined by ids: the last id of the nearest day before and the first of the nearest after prove the ends of a
day, and that nothing was traded on a day without records. Ids missing between two days count where a gap says they were
lost, and on both days when no gap tells of them.
"""

from __future__ import annotations

import numpy as np

from ticktape.lake import certificate_ids as ids_of
from ticktape.lake.certificate_day import MOST_JUMP, DaySummary, Numbering
from ticktape.lake.certificate_form import Evidence, Explained, Findings, Missing, Verdict
from ticktape.model.gaps import Gap
from ticktape.model.records import GapCause, GapState, Ints

_RANK = {GapState.UNFILLABLE: 0, GapState.CLOSED: 1, GapState.OPENED: 2, GapState.FILLED: 3}
_MEANS = {
    Explained.CONFIRMED: "the venue's history does not have them either",
    Explained.UNFILLABLE: "they cannot be had any more",
    Explained.OPEN: "a gap that is not filled yet",
    Explained.LOST: "the ledger says filled, yet they are not stored",
    Explained.UNEXPLAINED: "no gap tells of them",
}


def judge_ids(evidence: Evidence) -> tuple[list[Missing], Findings]:
    """Return what is missing of a dense sequence, ascending, and what that means."""
    return _Ids(evidence).judged()


def arrays(day: DaySummary) -> list[Ints]:
    """Return the ids stored on a day, a range array for each numbering."""
    return [np.array(n.ranges, dtype=np.int64).reshape(-1, 2) for n in day.numberings]


def stored(gap: Gap, have: list[Ints]) -> int | None:
    """Return how many of a gap's ids are stored, None where its ids are not known."""
    if gap.first_missing is None or gap.last_missing is None:
        return None
    return sum(ids_of.size(ids_of.within(ranges, gap.first_missing, gap.last_missing)) for ranges in have)


class _Ids:
    def __init__(self, evidence: Evidence) -> None:
        self._e, self._day = evidence, evidence.summary
        named = sorted((gap for gap in evidence.gaps if gap.has_ids), key=lambda gap: _RANK[gap.state])
        self._here = [gap for gap in named if evidence.touches(gap)]
        self._elsewhere = [gap for gap in named if not evidence.touches(gap)]
        self._have = arrays(self._day)
        self._missing: list[Missing] = []
        self._findings = Findings()

    def judged(self) -> tuple[list[Missing], Findings]:
        for numbering, have in zip(self._day.numberings, self._have, strict=True):
            self._hidden(numbering, have)
            holes = ids_of.holes(have)
            if len(holes):
                self._explain(ids_of.without(holes, self._neighbours(numbering)))
        self._edges()
        if len(self._day.numberings) > 1:
            self._unproven("the venue numbered anew within the day", "what lay between the two numberings")
        self._say()
        return self._missing, self._findings

    def _hidden(self, numbering: Numbering, have: Ints) -> None:
        hidden = ids_of.size(have) - numbering.count if numbering.cut else 0
        if hidden:
            first, last = numbering.first_id, numbering.last_id
            self._missing.append(Missing(first, last, hidden, Explained.UNEXPLAINED))

    def _neighbours(self, numbering: Numbering) -> Ints:
        # Venues send ids out of order by a little: around midnight a hole here can be a record over there.
        pairs = [
            pair
            for day in (self._e.before, self._e.after)
            if day is not None
            for other in day.numberings
            if other.first_id <= numbering.last_id and other.last_id >= numbering.first_id
            for pair in other.ranges
        ]
        return ids_of.ranges(pairs)

    # -- the ends of the day -------------------------------------------------------------------------

    def _edges(self) -> None:
        before = self._e.before.numberings[-1] if self._e.before else None
        after = self._e.after.numberings[0] if self._e.after else None
        here = self._day.numberings
        if not here:
            if before and after:
                self._join(before, after, "around the day")
            elif self._day.records == 0 and not self._e.unfinished():
                self._unproven("no id is stored before and after the day", "whether anything happened")
            return
        if before:
            self._join(before, here[0], "before the day")
        elif here[0].first_id > 1 and not self._e.began_late():
            self._unproven("nothing is stored before the day", f"what came before id {here[0].first_id}", end=True)
        if after:
            self._join(here[-1], after, "after the day")
        elif not self._e.unfinished():
            self._unproven("nothing is stored after the day yet", f"what came after id {here[-1].last_id}", end=True)

    def _join(self, first: Numbering, second: Numbering, where: str) -> None:
        anew = any(
            gap.cause == GapCause.RESET and gap.end_ns >= first.to_ns and gap.start_ns <= second.from_ns
            for gap in self._e.gaps
        )
        if second.first_id > first.last_id + 1 and not anew and second.first_id - first.last_id <= MOST_JUMP:
            self._explain(np.array([[first.last_id + 1, second.first_id - 1]], dtype=np.int64), edge=True)
        elif second.first_id != first.last_id + 1 and (anew or self._repeats(first, second)):
            begins = "" if second.first_id <= 1 else f" and before id {second.first_id}"
            self._unproven(f"the venue numbered anew {where}", f"what came after id {first.last_id}{begins}")

    def _repeats(self, first: Numbering, second: Numbering) -> bool:
        # The same id on two days is another numbering; ids in each other's holes are a venue's disorder.
        if second.last_id < first.first_id or second.first_id - first.last_id > MOST_JUMP:
            return True
        one = np.array(first.ranges, dtype=np.int64)
        two = np.array(second.ranges, dtype=np.int64)
        return ids_of.size(ids_of.without(two, one)) < ids_of.size(two)

    def _unproven(self, why: str, what: str, *, end: bool = False) -> None:
        self._findings.add(Verdict.NOT_PROVABLE, f"{why}: {what} cannot be told", end=end)

    # -- the ledger ----------------------------------------------------------------------------------

    def _explain(self, holes: Ints, *, edge: bool = False) -> None:
        for gap in self._here:
            holes, told = _parted(holes, gap)
            self._missing += [Missing(a, b, b - a + 1, self._meaning(gap), gap.gap_id) for a, b in told.tolist()]
        for gap in self._elsewhere if edge else ():
            holes, _ = _parted(holes, gap)  # lost on another day
        self._missing += [Missing(a, b, b - a + 1, Explained.UNEXPLAINED) for a, b in holes.tolist()]

    def _meaning(self, gap: Gap) -> Explained:
        if gap.state == GapState.FILLED:
            return Explained.LOST
        if gap.state == GapState.UNFILLABLE:
            return Explained.CONFIRMED if self._e.has_history else Explained.UNFILLABLE
        return Explained.OPEN

    def _say(self) -> None:
        self._missing.sort(key=lambda m: m.first_id)
        for kind in Explained:
            chosen = [m for m in self._missing if m.explained == kind]
            count = sum(m.count for m in chosen)
            if count:
                verdict = Verdict.AFTER_FILL if kind == Explained.CONFIRMED else Verdict.INCOMPLETE
                ids = "1 id" if count == 1 else f"{count} ids"
                self._findings.add(verdict, f"{ids} missing, {_places(chosen)}: {_MEANS[kind]}")
        rows = self._day.flags.get("backfilled", 0)
        filled = [gap for gap in self._here if gap.state == GapState.FILLED and stored(gap, self._have)]
        if filled and rows:
            gaps = "1 gap was" if len(filled) == 1 else f"{len(filled)} gaps were"
            self._findings.add(Verdict.AFTER_FILL, f"{gaps} filled, {rows} records came from history")


def _parted(holes: Ints, gap: Gap) -> tuple[Ints, Ints]:
    """Return (what a gap does not tell of, what it tells of)."""
    if not len(holes):
        return holes, holes
    rest = ids_of.without(holes, np.array([[gap.first_missing, gap.last_missing]], dtype=np.int64))
    return rest, ids_of.without(holes, rest)


def _places(missing: list[Missing]) -> str:
    shown = [f"{m.first_id}-{m.last_id}" if m.last_id > m.first_id else f"{m.first_id}" for m in missing[:3]]
    return ", ".join(shown) + (f" and {len(missing) - 3} more ranges" if len(missing) > 3 else "")
