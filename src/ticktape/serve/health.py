"""How the system is doing, in a form a person reads: recorder, tape, sources, and what is wrong in words."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from ticktape import __version__
from ticktape.lake.figures import KeepStat
from ticktape.serve import answers as a
from ticktape.serve.live import Live
from ticktape.serve.provenance import Provenance

SKEW_TOLD_NS = 1_000_000_000
PASS_RATE = 0.999  # of spot checks: the target
MOST_ALERTS = 5  # of keep's, told in words
BEHIND_TOLD = 1_000_000  # records


def iso(ns: int) -> str | None:
    """Return ns UTC as ISO 8601 with all nine digits, or None for 0."""
    if ns <= 0:
        return None
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def sources(live: Live, provenance: Provenance, now_ns: int) -> list[a.SourceStatus]:
    """Return every source that ever wrote, by id."""
    names = provenance.read_sources()
    writing = live.board.recorder_status(live.reader.writer_pid, now_ns) in ("up", "silent")
    numbers = sorted({*names, *live.board.sources} - {0})
    return [_source(live, provenance, number, writing=writing) for number in numbers]


def _source(live: Live, provenance: Provenance, number: int, *, writing: bool) -> a.SourceStatus:
    state, tally = live.board.sources.get(number), live.board.tallies[number]
    status = state.status if state else "unknown"
    ts_recv = int(tally["last_ts_recv"])
    return a.SourceStatus(
        source_id=number,
        name=provenance.source_name(number),
        # A recorder that died could not say that its sources went with it.
        status="down" if not writing and status in ("up", "starting") else status,
        since=iso(state.since) if state else None,
        records=int(tally["records"]),
        per_s=state.per_s if state else 0.0,
        doubtful=int(tally["doubtful"]),
        quarantined=int(tally["quarantined"]),
        last_ts_event=int(tally["last_ts_event"]) or None,
        last_ts_recv=ts_recv or None,
        age_s=provenance.age_s(ts_recv) if ts_recv else None,
        skew_s=state.skew_ns / 1e9 if state and state.skew_ns is not None else None,
    )


def status(live: Live, provenance: Provenance, now_ns: int, instruments: int) -> a.StatusAnswer:
    """Return how everything is; `ok` says that nobody needs to look."""
    state, listed = recorder(live, now_ns), sources(live, provenance, now_ns)
    problems = _recorder_problems(state) + _source_problems(listed)
    if live.behind > BEHIND_TOLD:
        problems.append(f"serve is {live.behind} records behind the tape")
    opened = live.gaps.open_count()
    if opened:
        problems.append(f"{opened} gaps are open")
    reader = live.reader
    return a.StatusAnswer(
        ok=not problems,
        problems=problems,
        now=iso(now_ns) or "",
        version=__version__,
        **provenance.common(),
        recorder=state,
        tape=a.Tape(
            tape_id=reader.meta.tape_id, first=reader.first, end=reader.end, durable=reader.durable, behind=live.behind
        ),
        sources=listed,
        instruments=instruments,
        open_gaps=opened,
        keep=msgspec.Raw(b"null"),
    )


def recorder(live: Live, now_ns: int) -> a.Recorder:
    """Return how the process that writes is doing."""
    state, pid = live.board.recorder, live.reader.writer_pid
    return a.Recorder(
        status=live.board.recorder_status(pid, now_ns),
        since=iso(state.since),
        pid=pid,
        disk_full=state.disk_full,
        low_space=live.reader.low_space,
        sync_failures=state.sync_failures,
        clock_steps=state.clock_steps,
    )


def _recorder_problems(recorder: a.Recorder) -> list[str]:
    found: list[str] = []
    if recorder.status != "up":
        found.append(f"the recorder is {recorder.status}: ticktape record")
    if recorder.disk_full or recorder.low_space:
        found.append("the disk is full or nearly so")
    return found


def keep_problems(stat: KeepStat) -> list[str]:
    """Return what is wrong with keep, in words."""
    figures, found = stat.figures, list[str]()
    if figures.failures_in_a_row:
        found.append(f"keep cannot flush, {figures.failures_in_a_row} times in a row: {figures.last_error}")
    if stat.spot_pass_rate is not None and stat.spot_pass_rate < PASS_RATE:
        found.append(f"{stat.spot_pass_rate:.3%} of spot checks passed, less than {PASS_RATE:.1%}")
    told = [f"{alert.kind} {alert.subject}: {alert.message}" for alert in stat.alerts[:MOST_ALERTS]]
    more = len(stat.alerts) - len(told)
    return found + told + ([f"{more} more alerts of keep"] if more else [])


def _source_problems(listed: list[a.SourceStatus]) -> list[str]:
    found = [f"source {s.name} is {s.status} since {s.since}" for s in listed if s.status in ("down", "starting")]
    skewed = [s for s in listed if s.skew_s is not None and abs(s.skew_s) * 1e9 > SKEW_TOLD_NS]
    return found + [f"the clock of {s.name} differs from ours by {s.skew_s} s" for s in skewed]
