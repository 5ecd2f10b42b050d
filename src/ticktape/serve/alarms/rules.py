"""What is wrong now, as pure functions of what is known: the same state, the same alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ticktape.alerts import Severity
from ticktape.serve import answers as a

NS = 10**9


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an alert begins."""

    stale_s: float = 10.0  # a feed without a tick for so long, while its market is open
    lag_s: float = 5.0  # a tick that reached us so long after the venue's time, or a server so far behind
    behind_records: int = 1_000_000
    disk_free: float = 0.05  # of the disk
    disk_free_bytes: int = 2 << 30
    spike_s: float = 60.0  # for how long one spike stands
    expiry_h: tuple[float, ...] = (48.0, 24.0, 6.0)  # hours left of a credential


class Wrong(NamedTuple):
    """One thing that is wrong: becomes an alert, and is one until it is not found any more."""

    kind: str
    subject: str
    message: str
    severity: Severity
    detail: Mapping[str, Any]


class Feed(NamedTuple):
    """A source as the rules see it."""

    status: a.SourceStatus
    expected: bool  # its market is open: it should be sending
    lag_s: float | None  # between the venue's time and ours of its newest tick, less the skew of their clocks


class Keep(NamedTuple):
    """The keeper as it says of itself."""

    failures_in_a_row: int
    last_error: str
    seconds_since_flush: float | None
    flush_every_s: float


class Disk(NamedTuple):
    """The disk under the data folder, bytes."""

    free: int
    total: int


class Known(NamedTuple):
    """Everything the rules look at."""

    now_ns: int
    recorder: a.Recorder
    feeds: list[Feed]
    behind: int
    open_gaps: dict[str, int]  # by source
    spikes: dict[str, tuple[int, float]]  # by source: how many lately, and seconds since the last
    disk: Disk
    keep: Keep | None
    expiries: Mapping[str, int]  # what a credential is called, and when it ends, ns


def wrong(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    """Yield what is wrong now."""
    for rule in RULES:
        yield from rule(known, limits)


def _recorder(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    del limits
    if known.recorder.status != "up":
        message = f"the recorder is {known.recorder.status}: nothing is being recorded"
        yield Wrong("recorder_down", "record", message, Severity.CRITICAL, {"status": known.recorder.status})
    if known.recorder.disk_full:
        yield Wrong("disk_full", "record", "the disk is full: the recorder sheds ticks", Severity.CRITICAL, {})


def _feeds(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    if known.recorder.status != "up":
        return  # said already, and it says all
    for feed in known.feeds:
        status = feed.status
        if status.status in ("down", "starting"):
            message = f"{status.name} is {status.status} since {status.since}"
            yield Wrong("feed_down", status.name, message, Severity.CRITICAL, {"since": status.since})
        elif status.status == "up" and feed.expected and status.age_s is not None and status.age_s > limits.stale_s:
            # No age in the words: they are said once, when it begins.
            message = f"no tick from {status.name} for more than {limits.stale_s:g} s, and its market is open"
            yield Wrong("feed_stale", status.name, message, Severity.CRITICAL, {"last_ts_recv": status.last_ts_recv})


def _lag(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    for feed in known.feeds:
        if feed.status.status == "up" and feed.expected and feed.lag_s is not None and feed.lag_s > limits.lag_s:
            message = f"ticks of {feed.status.name} reach us {feed.lag_s:.1f} s late"
            yield Wrong("lag", feed.status.name, message, Severity.WARNING, {"lag_s": round(feed.lag_s, 3)})
    if known.behind > limits.behind_records:
        message = f"serve is {known.behind} records behind the tape"
        yield Wrong("lag", "serve", message, Severity.WARNING, {"records": known.behind})


def _gaps(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    del limits
    for source, count in known.open_gaps.items():
        if count:
            message = f"{count} gaps of {source} are open: data are missing now"
            yield Wrong("gap", source, message, Severity.CRITICAL, {"open": count})


def _spikes(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    for source, (count, ago_s) in known.spikes.items():
        if count and ago_s < limits.spike_s:
            message = f"{source} sent a price far from the one before: it is flagged SPIKE"
            yield Wrong("spike", source, message, Severity.WARNING, {"count": count})


def _disk(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    disk = known.disk
    if known.recorder.low_space or disk.free < limits.disk_free_bytes or disk.free < limits.disk_free * disk.total:
        message = f"{disk.free / 2**30:.1f} GiB of {disk.total / 2**30:.1f} GiB are free on the disk of the data"
        yield Wrong("disk", "data", message, Severity.CRITICAL, {"free": disk.free, "total": disk.total})


def _keep(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    del limits
    keep = known.keep
    if keep is None:
        return
    if keep.failures_in_a_row:
        message = f"flushes fail, and the tape keeps what they would have moved: {keep.last_error}"
        yield Wrong("flush_failure", "keep", message, Severity.CRITICAL, {"in_a_row": keep.failures_in_a_row})
    elif keep.seconds_since_flush is not None and keep.seconds_since_flush > 3 * keep.flush_every_s + 60:
        message = f"nothing was flushed for {keep.seconds_since_flush:.0f} s"
        yield Wrong("flush_failure", "keep", message, Severity.WARNING, {"since_s": round(keep.seconds_since_flush)})


def _expiry(known: Known, limits: Thresholds) -> Iterator[Wrong]:
    for name, ends_ns in known.expiries.items():
        left_h = (ends_ns - known.now_ns) / (3600 * NS)
        reached = [hours for hours in limits.expiry_h if left_h <= hours]
        if not reached:
            continue
        # Each threshold is a subject of its own, so that each is told once.
        subject, severity = f"{name}:{min(reached):g}h", Severity.WARNING
        message = f"{name} ends in less than {min(reached):g} h"
        if left_h <= 0:
            subject, message, severity = f"{name}:ended", f"{name} has ended", Severity.CRITICAL
        yield Wrong("credential_expiry", subject, message, severity, {"ends": ends_ns})


Rule = Callable[[Known, Thresholds], Iterable[Wrong]]
RULES: tuple[Rule, ...] = (_recorder, _feeds, _lag, _gaps, _spikes, _disk, _keep, _expiry)
KINDS = (
    "recorder_down",
    "disk_full",
    "feed_down",
    "feed_stale",
    "lag",
    "gap",
    "spike",
    "disk",
    "flush_failure",
    "credential_expiry",
)
