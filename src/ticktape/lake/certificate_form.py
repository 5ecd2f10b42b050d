"""The parts of a certificate: what goes into judging one channel's day, and what comes out. Its JSON is stable."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from ticktape.lake.certificate_day import DaySummary
from ticktape.model.gaps import FOREVER_NS, Gap
from ticktape.model.records import Completeness

PROVABLE = (Completeness.SEQUENCE, Completeness.COUNT)
MOST_LISTED = 100  # missing ranges and gaps in one certificate; the counts are of all


class Verdict(StrEnum):
    """What a certificate says in one word or three."""

    COMPLETE = "complete"
    AFTER_FILL = "complete after fill"
    INCOMPLETE = "incomplete"
    NOT_PROVABLE = "not provable"


WORST = (Verdict.COMPLETE, Verdict.AFTER_FILL, Verdict.NOT_PROVABLE, Verdict.INCOMPLETE)


class Explained(StrEnum):
    """What the ledger of gaps says of missing ids."""

    CONFIRMED = "confirmed"  # the venue's history does not have them either: they never were
    UNFILLABLE = "unfillable"  # nobody has them any more
    OPEN = "open"  # known to be missing, not filled yet
    LOST = "lost"  # the ledger says filled, and they are not there
    UNEXPLAINED = "unexplained"  # no gap tells of them


class Missing(Struct, frozen=True):
    """Ids that are not stored, both ends included, and how the ledger explains them."""

    first_id: int
    last_id: int
    count: int
    explained: Explained
    gap_id: int | None = None


class GapProof(Struct, frozen=True):
    """A gap that touches the day, and what became of it."""

    gap_id: int
    cause: str
    state: str
    start: int  # ns
    end: int | None  # ns; null while it is open
    first_missing: int | None
    last_missing: int | None
    stored: int | None  # of the ids between: how many are stored now; null where no ids are known
    open_ns: int  # how much of it lies in the day's open time


class VenueTotal(Struct, frozen=True):
    """What the venue says of a whole day."""

    records: int | None = None
    volume: int | None = None  # at the instrument's size scale


class Evidence(Struct, frozen=True, kw_only=True):
    """What is known of a channel's day. Neighbours are the nearest days that have ids, however far."""

    completeness: Completeness
    summary: DaySummary
    before: DaySummary | None = None
    after: DaySummary | None = None
    gaps: Sequence[Gap] = ()  # of this channel (certificate_gaps.concerning), touching the day or between neighbours
    has_history: bool = False  # the source can ask the venue's history: unfillable then means confirmed by it
    since_ns: int | None = None  # when recording of this channel began; None: long before
    until_ns: int = FOREVER_NS  # up to which venue time the data are in
    total: VenueTotal | None = None

    def touches(self, gap: Gap) -> bool:
        """Whether a gap lies, in part, within the day."""
        return gap.start_ns < self.summary.end_ns and gap.end_ns >= self.summary.start_ns

    def began_late(self) -> bool:
        """Whether recording began within the day or after it."""
        return self.since_ns is not None and self.since_ns > self.summary.start_ns

    def unfinished(self) -> bool:
        """Whether the day is not over, as far as the data go."""
        return self.until_ns < self.summary.end_ns


class ChannelProof(Struct, frozen=True, kw_only=True):
    """One channel of a certificate. Counts are of stored records."""

    channel: str
    completeness: str
    verdict: Verdict
    recorded: Verdict  # of the part of the day that was recorded
    reasons: list[str]
    records: int
    first_ts: int | None
    last_ts: int | None
    first_id: int | None
    last_id: int | None
    expected: int | None  # ids from first to last, and those missing at the day's ends; or the venue's count
    missing: int | None  # of the expected, whatever explains them
    missing_ranges: list[Missing]
    duplicates: int
    late: int
    corrected: int
    cancelled: int
    backfilled: int
    flags: dict[str, int]
    sources: dict[str, int]
    gaps: list[GapProof]
    expected_open_ns: int
    covered_open_ns: int
    longest_silence_ns: int
    volume: str
    hash: str
    stored_hash: str


class Check(StrEnum):
    """What was looked at."""

    VOLUME = "volume"
    RECORDS = "records"
    MISSING_INTERVAL = "missing_interval"
    SILENT = "silent"
    OUTSIDE = "outside_session"
    DUPLICATES = "duplicates"


class Finding(Struct, frozen=True, kw_only=True):
    """Something that is not as usual."""

    check: Check
    instrument_id: int
    channel: str
    message: str
    seen: float
    usual: float | None = None
    start: int | None = None  # ns, where it is about a stretch of time
    end: int | None = None
    known_gap: bool = False  # the ledger tells of a gap there


class Findings:
    """Reasons, and the worst of what they mean."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self._all, self._inner = [Verdict.COMPLETE], [Verdict.COMPLETE]

    def add(self, verdict: Verdict, reason: str, *, end: bool = False) -> None:
        """Take in one finding, in words; `end`: it is about what lies before or after what was recorded."""
        self.reasons.append(reason)
        self._all.append(verdict)
        if not end:
            self._inner.append(verdict)

    def verdict(self) -> Verdict:
        """Return the worst; complete when nothing was found."""
        return max(self._all, key=WORST.index)

    def recorded(self) -> Verdict:
        """Return the worst of what was recorded, its ends left out."""
        return max(self._inner, key=WORST.index)
