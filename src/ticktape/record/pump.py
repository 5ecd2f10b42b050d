"""From one source to the tape: normalise, stamp, judge, append; what cannot be a record goes to quarantine.

A pump is the source's Sink. Everything in it is synchronous, so the bound of what is in flight is the socket's own
buffer: while we append, nothing is read, and the venue feels it (policy: pause).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import structlog

from ticktape.clock import Clock
from ticktape.errors import DiskFull
from ticktape.model.records import (
    BadReason,
    Channel,
    Completeness,
    Flag,
    GapCause,
    Kind,
    Records,
    Status,
    empty,
)
from ticktape.record import judge
from ticktape.record.append import Appender
from ticktape.record.raw import RawFrames
from ticktape.sources.contract import Bad, Batch, Source, Watched

log = structlog.get_logger("record")

MAX_KEPT_BYTES = 1 << 16  # of one bad frame; its full length is kept with it
MAX_QUARANTINE_BYTES = 64 << 20  # an hour and source; beyond it bad frames are counted, not kept
SKEW_STEP_NS = 100_000_000  # latency's jitter is less
_HOUR_NS = 3600 * 10**9

RULES = {Completeness.SEQUENCE: judge.RULE_DENSE, Completeness.RISING: judge.RULE_RISING}


class Trouble(NamedTuple):
    """The last thing that went wrong with a source."""

    at_ns: int
    what: str


class Pump:
    """Delivers one source's frames to the tape and keeps its counts."""

    def __init__(
        self, source: Source, source_id: int, appender: Appender, clock: Clock, *, sample: bool, raw: RawFrames | None
    ) -> None:
        self.source = source
        self.source_id = source_id
        self.appender = appender
        self.watched: set[Watched] = set()
        self.frames_read = 0
        self.quarantined = 0
        self.shed = 0
        self.raw_lost = 0
        self.connects = 0
        self.trouble: Trouble | None = None
        self.up_since_ns = 0
        self.last_frame_ns = 0
        self.last_sign_ns = 0  # of life, on the monotonic clock
        self.pings = 0  # signs of life of this connection that were no records
        self.state = Status.SOURCE_STOPPED
        self._clock, self._raw = clock, raw
        self._made_ns = clock.now_ns()
        self._stamp = Flag.SYNTHETIC if sample else Flag(0)
        self._skews: deque[int] = deque(maxlen=255)
        self._said_skew = 0
        self._kept_bytes, self._kept_hour = 0, 0
        self._unsaid: set[Watched] = set()  # channels whose gap the full disk kept us from writing down
        for channel, completeness in source.completeness.items():
            appender.rule(source_id, channel, RULES.get(completeness, judge.RULE_NONE))

    # -- the Sink a source sees --------------------------------------------------------------------

    def up(self, watched: Sequence[Watched]) -> None:
        """The venue accepted the subscription."""
        if self.state is Status.SOURCE_UP:
            self.declare(sorted(self.watched - set(watched)), GapCause.STOPPED)  # from now on not recorded
        # What the tape has of a channel that is new to us ends with an earlier run: until now it was not recorded.
        fresh = sorted(set(watched) - self.watched)
        self.declare([w for w in fresh if 0 < self.appender.last_recv_ns(*w) <= self._made_ns], GapCause.RESTART)
        self.watched = set(watched)
        if self.state is not Status.SOURCE_UP:
            self.connects += 1
            self.pings = 0
            self.up_since_ns = self._clock.now_ns()
            self.status(Status.SOURCE_UP, len(watched))
            log.info("source.connected", source=self.source.name, channels=len(watched), connects=self.connects)
        self.alive_since_now()

    def frames(self, frames: list[bytes], ts_recv: int) -> None:
        """One socket read."""
        self.frames_read += len(frames)
        self.last_frame_ns = ts_recv
        self.alive_since_now()
        if self._raw is not None:
            self._keep_raw(self._raw, frames, ts_recv)
        self.store(self.source.normalise(frames, ts_recv))

    def batch(self, batch: Batch) -> None:
        """Records in order, and what could not become one."""
        self.alive_since_now()
        self.store(batch)

    def store(self, batch: Batch) -> None:
        """Put a batch on the tape; it says nothing of the connection."""
        records = batch.records
        if len(records):
            records["source"] = self.source_id
            if self._stamp:
                records["flags"] |= np.uint32(self._stamp)
            self._append(records)
            self._note_skew(records[-1])
        for bad in batch.bad:
            self._quarantine(bad)

    def lost(self, watched: Watched, cause: GapCause, detail: str) -> None:
        """The source saw a hole that the judge cannot see."""
        self.trouble = Trouble(self._clock.now_ns(), detail)
        self.declare([watched], cause)

    def alive(self) -> None:
        """A sign of life that is not a record."""
        self.pings += 1
        self.alive_since_now()

    def alive_since_now(self) -> None:
        """Let silence count from now."""
        self.last_sign_ns = self._clock.monotonic_ns()

    def now_ns(self) -> int:
        """Our clock."""
        return self._clock.now_ns()

    # -- storing -----------------------------------------------------------------------------------

    def _keep_raw(self, raw: RawFrames, frames: list[bytes], ts_recv: int) -> None:
        try:
            raw.write(frames, ts_recv)
        except OSError as error:  # what they would have meant is on the tape; they are an extra
            self.raw_lost += len(frames)
            self._note_trouble(f"raw frames: {error}")

    def _append(self, records: Records) -> None:
        if self.appender.tape.low_space:
            records = self._shed(records)
        done = self._looked_at()
        try:
            self.appender.append(records)
        except DiskFull as error:
            self._full(len(records) - (self._looked_at() - done), error)

    def _looked_at(self) -> int:
        tally = self.appender.counts[self.source_id]
        return int(tally[judge.STORED] + tally[judge.DUPLICATES])

    def _shed(self, records: Records) -> Records:
        # The last segment is for what cannot be had again: quotes and book go first.
        keep = (records["kind"] == Kind.TRADE) | (records["kind"] == Kind.AGG_TRADE)
        dropped = len(records) - int(keep.sum())
        if dropped:
            self.shed += dropped
            self.declare([w for w in self.watched if w.channel in (Channel.QUOTE, Channel.BOOK)], GapCause.DISK_FULL)
        return records[keep]

    def _full(self, refused: int, error: DiskFull) -> None:
        self._note_trouble(error.message)
        self.shed += refused
        self.declare(sorted(self.watched), GapCause.DISK_FULL)

    def _note_trouble(self, what: str) -> None:
        if self.trouble is None or self.trouble.what != what:
            log.error("record.troubled", source=self.source.name, error=what)
        self.trouble = Trouble(self._clock.now_ns(), what)

    def _quarantine(self, bad: Bad) -> None:
        self.quarantined += 1
        now = self._clock.now_ns()
        if self.quarantined in (1, 10, 100) or self.quarantined % 1000 == 0:
            log.warning(
                "record.quarantined", source=self.source.name, reason=bad.reason.name.lower(),
                detail=bad.detail[:200], count=self.quarantined,
            )  # fmt: skip
        if now // _HOUR_NS != self._kept_hour:
            self._kept_bytes, self._kept_hour = 0, now // _HOUR_NS
        if self._kept_bytes > MAX_QUARANTINE_BYTES:
            return
        kept = (
            f"{bad.detail[:500]}\n{len(bad.payload)}\n".encode(errors="backslashreplace") + bad.payload[:MAX_KEPT_BYTES]
        )
        self._kept_bytes += len(kept)
        self._keep(kept, bad.reason, now)

    def _keep(self, kept: bytes, reason: BadReason, now: int) -> None:
        tape = self.appender.tape
        record = self._own(Kind.QUARANTINE, now)
        try:
            at = tape.blob(kept)
            record["a"], record["b"], record["c"], record["d"] = at.offset, at.length, at.checksum, reason
            tape.append(record)
        except DiskFull:
            self.shed += 1

    # -- saying ------------------------------------------------------------------------------------

    def declare(self, watched: Sequence[Watched], cause: GapCause) -> None:
        """Open a gap for each channel that has none open."""
        try:
            opened = self.appender.open_gaps(self.source_id, watched, cause, self._clock.now_ns())
        except DiskFull:
            self._unsaid |= set(watched)  # said as soon as there is room
            return
        self._unsaid -= set(watched)
        if opened:
            say = log.info if cause in (GapCause.RESTART, GapCause.STOPPED) else log.warning  # these were asked for
            say("gap.opened", source=self.source.name, cause=cause.name.lower(), channels=opened)

    def renumber(self, watched: Watched) -> None:
        """Take what comes next of a channel for the first of a new numbering, and declare what was lost until now."""
        try:
            self.appender.renumber(self.source_id, watched.instrument_id, watched.channel, self._clock.now_ns())
        except DiskFull:
            return  # what comes is still called a repeat, and is looked at again
        log.warning(
            "source.renumbered", source=self.source.name, instrument_id=watched.instrument_id,
            channel=watched.channel.name.lower(),
        )  # fmt: skip

    @property
    def numbered(self) -> list[Watched]:
        """The watched channels whose ids are dense."""
        return [w for w in self.watched if self.source.completeness.get(w.channel) is Completeness.SEQUENCE]

    def say_again(self) -> None:
        """Write down what a full disk kept us from saying."""
        if self._unsaid:
            self.declare(sorted(self._unsaid), GapCause.DISK_FULL)

    def say_skew(self) -> None:
        """Put the skew on the tape when it has moved."""
        skew = self.skew_ns
        if abs(skew - self._said_skew) >= SKEW_STEP_NS:
            self._said_skew = skew
            self._say(Status.SKEW, skew)

    def status(self, status: Status, detail: int = 0) -> None:
        """Put what happened to the source on the tape."""
        self.state = status
        self._say(status, detail)

    def _say(self, status: Status, detail: int) -> None:
        record = self._own(Kind.STATUS, self._clock.now_ns())
        record["a"], record["b"] = status, detail
        try:
            self.appender.tape.append(record, system=True)
        except DiskFull:
            self.trouble = Trouble(self._clock.now_ns(), "disk full")

    def _own(self, kind: Kind, now: int) -> Records:
        record = empty(1)
        record["kind"], record["source"] = kind, self.source_id
        record["ts_event"] = record["ts_recv"] = now
        record["flags"] = int(self._stamp)
        return record

    def close(self) -> None:
        """End the raw frames' file whole."""
        if self._raw is not None:
            try:
                self._raw.close()
            except OSError as error:
                self._note_trouble(f"raw frames: {error}")

    # -- measuring ---------------------------------------------------------------------------------

    def _note_skew(self, last: Records) -> None:
        if not int(last["flags"]) & (Flag.NO_VENUE_TIME | Flag.BACKFILLED | Flag.SNAPSHOT):
            self._skews.append(int(last["ts_event"]) - int(last["ts_recv"]))

    @property
    def skew_ns(self) -> int:
        """Venue clock minus ours as last seen, ns, the median of recent records. Latency makes it smaller."""
        return sorted(self._skews)[len(self._skews) // 2] if self._skews else 0

    def counts(self) -> dict[str, int]:
        """Return what was counted since the start of the process."""
        row = self.appender.counts[self.source_id].tolist()
        return dict(zip(judge.COUNTED, row, strict=True)) | {
            "frames": self.frames_read,
            "quarantined": self.quarantined,
            "shed": self.shed,
            "raw_lost": self.raw_lost,
            "connects": self.connects,
        }
