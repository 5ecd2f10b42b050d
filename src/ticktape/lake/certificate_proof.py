"""What one channel of a day proves: expected against stored, as far as its completeness class can tell.

| class | what is expected | best verdict |
| --- | --- | --- |
| sequence | every id from the last one before the day to the first one after it, checked one by one | complete |
| count | the number of records, or the volume, that the venue says | complete |
| rising | ids rise: repeats are excluded, holes are not | not provable |
| heartbeat | a sign of life through all open time | not provable |
| none | nothing | not provable |

Whatever the class, open time that a known gap took and nobody filled makes a day incomplete.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ticktape.lake.certificate_day import DaySummary
from ticktape.lake.certificate_dense import arrays, judge_ids, stored
from ticktape.lake.certificate_form import (
    MOST_LISTED,
    ChannelProof,
    Evidence,
    Explained,
    Findings,
    GapProof,
    Missing,
    Verdict,
)
from ticktape.model.gaps import FOREVER_NS, Gap
from ticktape.model.records import Completeness, GapState, Ints
from ticktape.model.sessions import Calendar


def prove(evidence: Evidence, calendar: Calendar, source_names: dict[int, str] | None = None) -> ChannelProof:
    """Judge one channel's day."""
    day, names = evidence.summary, source_names or {}
    missing, findings = judge_ids(evidence) if evidence.completeness == Completeness.SEQUENCE else ([], Findings())
    touching = [gap for gap in evidence.gaps if evidence.touches(gap)]
    have = arrays(day) if touching else []
    gaps = [_gap_proof(gap, day, have, calendar) for gap in touching[:MOST_LISTED]]
    expected_ns = calendar.expected_open_ns(day.start_ns, day.end_ns)
    covered_ns = expected_ns - _uncovered(evidence, touching, missing, calendar)
    _judge_edges(evidence, calendar, findings)
    if evidence.completeness == Completeness.COUNT:
        _judge_total(evidence, findings)
    elif evidence.completeness != Completeness.SEQUENCE:
        _judge_liveness(evidence, touching, expected_ns, covered_ns, findings)
    _judge_open_gaps(touching, findings)
    count = sum(n.count for n in day.numberings)
    lacking = sum(m.count for m in missing)
    return ChannelProof(
        channel=day.channel,
        completeness=evidence.completeness,
        verdict=findings.verdict(),
        recorded=findings.recorded(),
        reasons=findings.reasons or [_all_well(evidence, count)],
        records=day.records,
        first_ts=day.first_ts,
        last_ts=day.last_ts,
        first_id=day.numberings[0].first_id if day.numberings else None,
        last_id=day.numberings[-1].last_id if day.numberings else None,
        expected=_expected(evidence, count, lacking),
        missing=_lacking(evidence, lacking),
        missing_ranges=missing[:MOST_LISTED],
        duplicates=day.duplicates,
        late=day.flags.get("late", 0),
        corrected=day.corrected,
        cancelled=day.cancelled,
        backfilled=day.flags.get("backfilled", 0),
        flags=day.flags,
        sources={names.get(number, f"source-{number}"): n for number, n in sorted(day.sources.items())},
        gaps=gaps,
        expected_open_ns=expected_ns,
        covered_open_ns=covered_ns,
        longest_silence_ns=day.silences[0].open_ns if day.silences else 0,
        volume=day.volume,
        hash=day.hash,
        stored_hash=day.stored_hash,
    )


# -- time --------------------------------------------------------------------------------------------


def _gap_proof(gap: Gap, day: DaySummary, have: list[Ints], calendar: Calendar) -> GapProof:
    start, end = max(gap.start_ns, day.start_ns), min(gap.end_ns, day.end_ns)
    return GapProof(
        gap_id=gap.gap_id,
        cause=gap.cause.name.lower(),
        state=gap.state.name.lower(),
        start=gap.start_ns,
        end=None if gap.end_ns == FOREVER_NS else gap.end_ns,
        first_missing=gap.first_missing,
        last_missing=gap.last_missing,
        stored=stored(gap, have),
        open_ns=calendar.expected_open_ns(start, end) if end > start else 0,
    )


def _uncovered(evidence: Evidence, gaps: Sequence[Gap], missing: Sequence[Missing], calendar: Calendar) -> int:
    """Return the open time of the day that nobody recorded and nobody filled, ns."""
    day, dense = evidence.summary, evidence.completeness == Completeness.SEQUENCE
    lacking = {m.gap_id for m in missing if m.explained != Explained.CONFIRMED}
    stretches: list[tuple[int, int]] = []
    for gap in gaps:
        if gap.state == GapState.FILLED and gap.gap_id not in lacking:
            continue
        if dense and gap.state != GapState.OPENED and gap.gap_id not in lacking:
            continue  # the ids go on where they ended: nothing was missed
        stretches.append((gap.start_ns, min(gap.end_ns, evidence.until_ns)))
    if evidence.since_ns is not None:
        stretches.append((day.start_ns, evidence.since_ns))
    stretches.append((evidence.until_ns, day.end_ns))
    total, at = 0, day.start_ns
    for start, end in sorted(stretches):
        start, end = max(start, at), min(end, day.end_ns)  # noqa: PLW2901
        if end > start:
            total += calendar.expected_open_ns(start, end)
            at = end
    return total


def _judge_edges(evidence: Evidence, calendar: Calendar, findings: Findings) -> None:
    day, since, until = evidence.summary, evidence.since_ns, evidence.until_ns
    if since is not None and since > day.start_ns and (since < day.end_ns or evidence.before is None):
        lost = calendar.expected_open_ns(day.start_ns, min(since, day.end_ns))
        if lost:
            findings.add(
                Verdict.INCOMPLETE, f"recording began at {_time(since)}, {_span(lost)} into the open time", end=True
            )
    if until < day.end_ns:
        left = calendar.expected_open_ns(max(until, day.start_ns), day.end_ns)
        if left:
            findings.add(
                Verdict.INCOMPLETE, f"the day is in up to {_time(until)}: {_span(left)} of open time to go", end=True
            )


def _judge_open_gaps(gaps: Sequence[Gap], findings: Findings) -> None:
    opened = [gap for gap in gaps if gap.state == GapState.OPENED]
    if opened:
        causes = ", ".join(sorted({gap.cause.name.lower() for gap in opened}))
        findings.add(Verdict.INCOMPLETE, f"{len(opened)} gap(s) still open since {_time(opened[0].start_ns)}: {causes}")


def _judge_liveness(
    evidence: Evidence, gaps: Sequence[Gap], expected_ns: int, covered_ns: int, findings: Findings
) -> None:
    day = evidence.summary
    lost = [gap for gap in gaps if gap.state in (GapState.CLOSED, GapState.UNFILLABLE)]
    if lost and covered_ns < expected_ns:
        reason = f"{_span(expected_ns - covered_ns)} of {_span(expected_ns)} open time not recorded: {len(lost)} gap(s)"
        findings.add(Verdict.INCOMPLETE, reason)
    if evidence.completeness == Completeness.NONE:
        findings.add(Verdict.NOT_PROVABLE, "the source gives nothing to prove completeness by")
    elif evidence.completeness == Completeness.RISING:
        findings.add(Verdict.NOT_PROVABLE, "ids rise but are not dense: repeats are excluded, holes are not")
    elif expected_ns:
        alive = f"{_span(covered_ns)} of {_span(expected_ns)} open time"
        findings.add(Verdict.NOT_PROVABLE, f"only liveness is known: there for {alive}")
    if day.records == 0 and expected_ns:
        findings.add(Verdict.NOT_PROVABLE, f"not one record in {_span(expected_ns)} of open time")


def _judge_total(evidence: Evidence, findings: Findings) -> None:
    total, day = evidence.total, evidence.summary
    if total is None or (total.records is None and total.volume is None):
        findings.add(Verdict.NOT_PROVABLE, "the venue's total of the day is not known")
        return
    for what, said, have in (
        ("records", total.records, day.records - day.corrected - day.cancelled - day.duplicates),
        ("volume", total.volume, int(day.volume)),
    ):
        if said is not None and said != have:
            findings.add(Verdict.INCOMPLETE, f"{what}: {have} stored, the venue says {said}")
    filled = [gap for gap in evidence.gaps if evidence.touches(gap) and gap.state == GapState.FILLED]
    if filled and day.flags.get("backfilled", 0):
        findings.add(Verdict.AFTER_FILL, f"{len(filled)} gap(s) filled, {day.flags['backfilled']} records from history")


def _expected(evidence: Evidence, count: int, lacking: int) -> int | None:
    if evidence.completeness == Completeness.SEQUENCE:
        return count + lacking
    return evidence.total.records if evidence.completeness == Completeness.COUNT and evidence.total else None


def _lacking(evidence: Evidence, lacking: int) -> int | None:
    if evidence.completeness == Completeness.SEQUENCE:
        return lacking
    said = evidence.total.records if evidence.completeness == Completeness.COUNT and evidence.total else None
    return None if said is None else max(said - evidence.summary.records, 0)


def _all_well(evidence: Evidence, count: int) -> str:
    if evidence.completeness == Completeness.COUNT:
        return "what is stored is what the venue says"
    if count == 0:
        return "nothing happened: the ids before and after the day follow each other"
    return f"all {count} ids are stored, from the last one before the day to the first one after it"


def _time(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _span(ns: int) -> str:
    seconds = ns / 1e9
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
