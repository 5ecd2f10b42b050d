"""What keep says of itself, as `keep.sock` answers it and as `serve` passes it on. Plain data: loads nothing."""

from __future__ import annotations

from msgspec import Struct, field


class SpotFigures(Struct, kw_only=True):
    """How many comparisons of one sort passed: since keep started, and in the 30 days before."""

    checked: int = 0
    passed: int = 0
    samples: int = 0

    @property
    def pass_rate(self) -> float | None:
        """Return the share that passed, None when nothing was compared."""
        return self.passed / self.checked if self.checked else None


class BackupFigures(Struct, kw_only=True):
    """The schedule of backups since keep started, and the last of them. Times in ns UTC."""

    made: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    last_name: str = ""
    last_ns: int | None = None
    last_error: str = ""
    drills: int = 0
    drill_failures: int = 0
    last_drill_ns: int | None = None
    last_drill_ok: bool | None = None
    running: bool = False


class KeepFigures(Struct, kw_only=True):
    """What a keeper did since it started. Times in ns UTC."""

    flushes: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0  # spent in flushes
    position: int = -1  # of the tape: up to it, every table has the rows; -1 before the first flush
    lag_records: int = 0  # on the tape, not in every table yet; -1: it cannot be told
    last_flush_ns: int | None = None
    last_error: str = ""
    compactions: int = 0
    expiries: int = 0
    deleted_files: int = 0
    tidy_failures: int = 0
    spots: dict[str, SpotFigures] = {}  # tape, venue, bars: what the lake was compared with
    spot_failures: int = 0  # samples that could not be taken
    venue_away: int = 0  # samples for which the venue could not be asked
    quality_days: int = 0
    quality_findings: int = 0
    quality_failures: int = 0
    backup: BackupFigures = field(default_factory=BackupFigures)


class KeepAlert(Struct, frozen=True, kw_only=True):
    """An alert of keep's that is not over."""

    kind: str  # spot_miss, tidy_failure, quality_failure, backup_failure, drill_failure
    subject: str
    message: str
    raised: int  # ns UTC


class KeepStat(Struct, kw_only=True):
    """The answer to `stat`."""

    started_ns: int
    flush_every_s: float
    seconds_since_flush: float | None
    figures: KeepFigures
    spot_pass_rate: float | None  # of all comparisons; the target is 0.999
    alerts: list[KeepAlert]  # oldest first
