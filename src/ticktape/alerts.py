"""What a person should know of now: `alerts.sqlite` in a world's folder, written and read by any process.

An alert is raised once and stands until what raised it is over; then it is cleared, and stays in the book. One of a
kind about one subject stands at a time, whoever raises it. The last `MOST_KEPT` are kept.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from ticktape.clock import Clock, SystemClock
from ticktape.errors import Unavailable

MOST_KEPT = 1000

_SCHEMA = """
create table if not exists alerts (
    id integer primary key autoincrement, kind text not null, subject text not null, severity text not null,
    message text not null, detail text not null, raised_ns integer not null, cleared_ns integer, change integer not null
);
create unique index if not exists standing on alerts (kind, subject) where cleared_ns is null;
create index if not exists changes on alerts (change);
"""
_COLUMNS = "id, kind, subject, severity, message, detail, raised_ns, cleared_ns, change"


class Severity(StrEnum):
    """How soon somebody should look."""

    WARNING = "warning"  # today
    CRITICAL = "critical"  # now: data are being lost, or soon will be


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert. `cleared` is None while it stands; `change` rises with every change of any alert."""

    id: int
    kind: str
    subject: str  # a source, a symbol, a part: what it is about
    severity: Severity
    message: str
    detail: dict[str, Any]
    raised: int  # ns UTC
    cleared: int | None  # ns UTC
    change: int


class AlertBook:
    """The alerts of a world. What writes raises Unavailable where the book cannot be written, and changes nothing."""

    def __init__(self, world: Path, clock: Clock | None = None, *, most: int = MOST_KEPT) -> None:
        self._clock, self._most = clock or SystemClock(), most
        world.mkdir(parents=True, exist_ok=True)
        # One thread at a time uses it; keep's steps run in a thread of their own.
        self._db = sqlite3.connect(
            world / "alerts.sqlite", isolation_level=None, check_same_thread=False, timeout=5, cached_statements=16
        )
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # -- writing -----------------------------------------------------------------------------------

    def start(
        self,
        kind: str,
        subject: str,
        message: str,
        severity: Severity = Severity.WARNING,
        detail: Mapping[str, Any] | None = None,
    ) -> Alert | None:
        """Raise an alert. Returns it, or None when one of its kind and subject stands: that one stays as it is."""
        with self._transaction():
            made = self._db.execute(
                "insert or ignore into alerts (kind, subject, severity, message, detail, raised_ns, change)"
                " values (?, ?, ?, ?, ?, ?, (select coalesce(max(change), 0) + 1 from alerts))",
                (kind, subject, severity, message, _json(detail or {}), self._clock.wall_ns()),
            )
            if not made.rowcount:
                return None
            # What stands is never forgotten; it cannot be many, and somebody has to clear it.
            self._db.execute(
                "delete from alerts where cleared_ns is not null"
                " and id <= (select id from alerts order by id desc limit 1 offset ?)",
                (self._most,),
            )
            return self._one(made.lastrowid)

    def clear(self, kind: str, subject: str) -> Alert | None:
        """Say that it is over. Returns the alert, or None when none stood."""
        with self._transaction():
            row = self._db.execute(
                "select id from alerts where kind = ? and subject = ? and cleared_ns is null", (kind, subject)
            ).fetchone()
            if row is None:
                return None
            self._db.execute(
                "update alerts set cleared_ns = ?, change = (select max(change) + 1 from alerts) where id = ?",
                (self._clock.wall_ns(), row[0]),
            )
            return self._one(row[0])

    def tell(
        self,
        kind: str,
        subject: str,
        message: str | None,
        severity: Severity = Severity.WARNING,
        detail: Mapping[str, Any] | None = None,
    ) -> Alert | None:
        """Raise it where there is a message, clear it where there is none. Returns what changed."""
        return self.clear(kind, subject) if message is None else self.start(kind, subject, message, severity, detail)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        try:
            self._db.execute("begin immediate")
            yield
            self._db.execute("commit")
        except sqlite3.OperationalError as error:  # a full disk, or somebody holds it for too long
            self._roll_back()
            raise Unavailable(f"the book of alerts cannot be written: {error}", hint="df -h") from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # SQLite has done it itself where the disk is full
            self._db.execute("rollback")

    # -- reading -----------------------------------------------------------------------------------

    def standing(self) -> list[Alert]:
        """Return what stands, oldest first."""
        return self._select("where cleared_ns is null order by id", ())

    def recent(self, limit: int = 100) -> list[Alert]:
        """Return the last alerts raised, newest first."""
        return self._select("order by id desc limit ?", (limit,))

    def changes(self, after: int, limit: int = 1000) -> list[Alert]:
        """Return what was raised or cleared after a `change`, in that order: how a stream follows the book."""
        return self._select("where change > ? order by change limit ?", (after, limit))

    def last_change(self) -> int:
        """Return the newest `change`, 0 when there is none."""
        return int(self._db.execute("select coalesce(max(change), 0) from alerts").fetchone()[0])

    def _select(self, where: str, values: tuple[int, ...]) -> list[Alert]:
        return [_alert(row) for row in self._db.execute(f"select {_COLUMNS} from alerts {where}", values)]  # noqa: S608

    def _one(self, number: int | None) -> Alert:
        return _alert(self._db.execute(f"select {_COLUMNS} from alerts where id = ?", (number,)).fetchone())  # noqa: S608


def _alert(row: tuple[Any, ...]) -> Alert:
    number, kind, subject, severity, message, detail, raised, cleared, change = row
    return Alert(
        id=number,
        kind=kind,
        subject=subject,
        severity=Severity(severity),
        message=message,
        detail=msgspec.json.decode(detail),
        raised=raised,
        cleared=cleared,
        change=change,
    )


def _json(detail: Mapping[str, Any]) -> str:
    return msgspec.json.encode(detail).decode()
