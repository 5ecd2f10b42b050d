"""What is said of alerts and of how feeds and parts are doing. The types are the schema of the API's document."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ticktape.alerts import Alert, AlertBook
from ticktape.serve.alarms.rules import KINDS, Known, Thresholds

BY_SYMBOL = ("spot_miss",)  # kinds whose subject is a symbol
_PARTS = {  # which kinds speak of which part
    "record": ("recorder_down", "disk_full"),
    "feeds": ("feed_down", "feed_stale", "gap", "spike"),
    "serve": ("lag",),
    "keep": ("flush_failure", "spot_miss", "tidy_failure", "quality_failure", "backup_failure", "drill_failure"),
    "disk": ("disk",),
    "credentials": ("credential_expiry",),
}


class AlertRow(Struct, frozen=True, kw_only=True):
    """One alert. `cleared` is null while it stands; `change` rises with every change of any alert."""

    id: int
    kind: str
    subject: str
    severity: str  # warning, critical
    message: str
    detail: dict[str, Any]
    raised: int  # ns UTC
    cleared: int | None
    change: int


class AlertsAnswer(Struct, frozen=True, kw_only=True):
    """Alerts, newest first. The last 1,000 are kept."""

    as_of_position: int
    sample: bool
    standing: int
    alerts: list[AlertRow]


class PartHealth(Struct, frozen=True, kw_only=True):
    """One part of the pipeline and what is wrong with it."""

    name: str
    ok: bool
    alerts: list[str]


class HealthAnswer(Struct, frozen=True, kw_only=True):
    """How the parts are doing: `healthy`, `degraded` (warnings) or `failing` (data are being lost, or soon will be)."""

    as_of_position: int
    sample: bool
    ok: bool
    state: str
    parts: list[PartHealth]


class FeedHealth(Struct, frozen=True, kw_only=True):
    """One feed."""

    name: str
    status: str
    healthy: bool
    expected: bool  # its market is open: it should be sending
    age_s: float | None  # since its newest tick
    lag_s: float | None  # from the venue's time to ours, of its newest tick
    per_s: float
    open_gaps: int
    doubtful: int
    quarantined: int
    alerts: list[str]


class FeedHealthAnswer(Struct, frozen=True, kw_only=True):
    """How each feed is doing. A feed is stale after `stale_after_s` without a tick while its market is open."""

    as_of_position: int
    sample: bool
    stale_after_s: float
    feeds: list[FeedHealth]


def alert_row(alert: Alert) -> AlertRow:
    """Return an alert as it is answered."""
    return AlertRow(**{name: getattr(alert, name) for name in AlertRow.__struct_fields__})


def _allowed(alerts: list[Alert], symbols: frozenset[str] | None) -> list[Alert]:
    # A key for some symbols learns nothing of others; what concerns all it may know.
    return [each for each in alerts if symbols is None or each.kind not in BY_SYMBOL or each.subject in symbols]


def alerts(
    book: AlertBook, state: str, limit: int, common: tuple[int, bool], symbols: frozenset[str] | None = None
) -> AlertsAnswer:
    """Return the alerts that stand, or the last of all; `symbols` are the only ones to speak of."""
    standing = _allowed(book.standing(), symbols)
    shown = standing[::-1][:limit] if state == "standing" else _allowed(book.recent(limit), symbols)
    if state == "cleared":
        shown = [each for each in shown if each.cleared is not None]
    position, sample = common
    return AlertsAnswer(
        as_of_position=position, sample=sample, standing=len(standing), alerts=[alert_row(each) for each in shown]
    )


def health(book: AlertBook, common: tuple[int, bool], symbols: frozenset[str] | None = None) -> HealthAnswer:
    """Return how the parts are doing, by the alerts that stand."""
    standing = _allowed(book.standing(), symbols)
    parts = [
        PartHealth(name=name, ok=not told, alerts=told)
        for name, kinds in _PARTS.items()
        for told in [[each.message for each in standing if each.kind in kinds]]
    ]
    failing = any(each.severity == "critical" for each in standing)
    position, sample = common
    return HealthAnswer(
        as_of_position=position,
        sample=sample,
        ok=not standing,
        state="failing" if failing else "degraded" if standing else "healthy",
        parts=parts,
    )


def feeds(book: AlertBook, known: Known, thresholds: Thresholds, common: tuple[int, bool]) -> FeedHealthAnswer:
    """Return how each feed is doing."""
    told: dict[str, list[str]] = {}
    for each in book.standing():
        if each.kind in KINDS:
            told.setdefault(each.subject, []).append(each.kind)
    rows = [
        FeedHealth(
            name=feed.status.name,
            status=feed.status.status,
            healthy=feed.status.status == "up" and not told.get(feed.status.name),
            expected=feed.expected,
            age_s=feed.status.age_s,
            lag_s=None if feed.lag_s is None else round(feed.lag_s, 3),
            per_s=feed.status.per_s,
            open_gaps=known.open_gaps.get(feed.status.name, 0),
            doubtful=feed.status.doubtful,
            quarantined=feed.status.quarantined,
            alerts=sorted(told.get(feed.status.name, [])),
        )
        for feed in known.feeds
    ]
    position, sample = common
    return FeedHealthAnswer(as_of_position=position, sample=sample, stale_after_s=thresholds.stale_s, feeds=rows)
