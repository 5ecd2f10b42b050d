"""Keep's words in the world's book of alerts. Its steps run in threads, and the book takes one at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from ticktape.alerts import Alert, AlertBook, Severity
from ticktape.clock import Clock
from ticktape.errors import Unavailable

log = structlog.get_logger("keep")

# The watch of `serve` raises what concerns flushes: it sees a keeper that is gone, too.
KINDS = ("spot_miss", "tidy_failure", "quality_failure", "backup_failure", "drill_failure")


class Alerts:
    """Raises and clears. What went wrong was logged by whoever saw it; a change of an alert is a line of its own."""

    def __init__(self, world: Path, clock: Clock) -> None:
        self._book, self._one = AlertBook(world, clock), threading.Lock()

    def close(self) -> None:
        """Close the book."""
        self._book.close()

    def start(
        self, kind: str, subject: str, message: str, severity: Severity = Severity.WARNING,
        detail: Mapping[str, Any] | None = None,
    ) -> bool:  # fmt: skip
        """Raise an alert. Returns False when it stands already."""
        alert = self._booked(lambda: self._book.start(kind, subject, message, severity, detail))
        if alert is not None:
            log.warning("alert.raised", kind=kind, subject=subject, message=message)
        return alert is not None

    def clear(self, kind: str, subject: str) -> bool:
        """Say that it is over. Returns False when none stood."""
        alert = self._booked(lambda: self._book.clear(kind, subject))
        if alert is not None:
            log.info("alert.cleared", kind=kind, subject=subject)
        return alert is not None

    def _booked(self, change: Callable[[], Alert | None]) -> Alert | None:
        # An alert that finds no room ends no part of keep: what it tells of is tried again, and told again.
        with self._one:
            try:
                return change()
            except Unavailable as error:
                log.error("alert.not_booked", error=error.message)
                return None

    def standing(self) -> list[Alert]:
        """Return keep's alerts that are not over, oldest first."""
        with self._one:
            return [alert for alert in self._book.standing() if alert.kind in KINDS]
