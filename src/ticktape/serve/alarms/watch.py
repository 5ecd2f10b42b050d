"""Looks once a second at how everything is, and keeps the book of alerts true.

Several servers of one world may watch: the book lets one alert of a kind and subject stand, whoever raised it, and
only who raised or cleared it tells the webhook.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress

import numpy as np
import structlog

from ticktape.alerts import Alert, AlertBook
from ticktape.clock import Clock
from ticktape.errors import Unavailable
from ticktape.model.sessions import quiet_allowed
from ticktape.serve import health
from ticktape.serve.alarms.rules import KINDS, NS, Disk, Feed, Keep, Known, Thresholds, wrong
from ticktape.serve.live import Live
from ticktape.serve.provenance import Provenance
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.kernels import CHAIN_OTHER, CHAINS

log = structlog.get_logger("serve")

EVERY_S = 1.0
CALENDARS_EVERY_NS = 60 * NS
SKEW_IS_LAG_S = 60.0  # beyond it a clock is wrong, and nobody can say how late a tick is

AskKeep = Callable[[], Awaitable[Keep | None]]
Expiries = Callable[[], Mapping[str, int]]


async def no_keeper() -> Keep | None:
    """Say that nothing is known of a keeper."""
    return None


class Watch:
    """One watch on one world."""

    def __init__(
        self,
        live: Live,
        directory: TapeDirectory,
        book: AlertBook,
        clock: Clock,
        *,
        thresholds: Thresholds | None = None,
        keep: AskKeep = no_keeper,
        expiries: Expiries = dict,
        push: Callable[[Alert], None] | None = None,
    ) -> None:
        self._live, self._directory, self.book, self._clock = live, directory, book, clock
        self.thresholds = thresholds or Thresholds()
        self._keep, self.expiries, self._push = keep, expiries, push
        self._from = Provenance(live, directory, clock)
        self._spikes: dict[str, tuple[int, int]] = {}  # by source: tally, and when it last rose (monotonic)
        self._calendars: dict[int, frozenset[str]] = {}  # by source
        self._mapped_ns: int | None = None
        self._began = self._unbooked = False

    async def run(self, stop: asyncio.Event) -> None:
        """Look each second until `stop` is set."""
        while not stop.is_set():
            if self._live.behind == 0 or self._began:  # not while the past is being read
                await self.look()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_S)

    async def look(self) -> list[Alert]:
        """Raise what is wrong, clear what is not any more. Returns what changed."""
        known = await self.known()
        self._began = True
        try:
            return self._booked(known)
        except Unavailable as error:  # a full disk: what is wrong is found again at the next look
            if not self._unbooked:
                log.error("alert.not_booked", error=error.message)
            self._unbooked = True
            return []

    def _booked(self, known: Known) -> list[Alert]:
        found = {(each.kind, each.subject): each for each in wrong(known, self.thresholds)}
        changed: list[Alert] = []
        standing = {(each.kind, each.subject): each for each in self.book.standing() if each.kind in KINDS}
        for key in standing.keys() - found.keys():
            cleared = self.book.clear(*key)
            changed += [cleared] if cleared else []
        for key in found.keys() - standing.keys():
            each = found[key]
            raised = self.book.start(each.kind, each.subject, each.message, each.severity, each.detail)
            changed += [raised] if raised else []
        self._unbooked = False
        for alert in changed:
            self._say(alert)
        return changed

    def _say(self, alert: Alert) -> None:
        if alert.cleared is None:
            log.warning("alert.raised", kind=alert.kind, subject=alert.subject, message=alert.message)
        else:
            log.info("alert.cleared", kind=alert.kind, subject=alert.subject)
        if self._push is not None:
            self._push(alert)

    # -- what is known -----------------------------------------------------------------------------

    async def known(self) -> Known:
        """Return what the rules look at, now."""
        live, now_ns = self._live, self._clock.now_ns()
        keep = await self._keep()
        disk = shutil.disk_usage(live.reader.folder)
        names = self._from.source_name
        return Known(
            now_ns=now_ns,
            recorder=health.recorder(live, now_ns),
            feeds=list(self._feeds(now_ns)),
            behind=live.behind,
            open_gaps={names(number) if number else "record": n for number, n in live.gaps.open_by_source().items()},
            spikes=self._spiked(),
            disk=Disk(disk.free, disk.total),
            keep=keep,
            expiries=self.expiries(),
        )

    def _feeds(self, now_ns: int) -> Iterator[Feed]:
        calendars = self._calendars_by_source()
        for status in health.sources(self._live, self._from, now_ns):
            names = calendars.get(status.source_id, frozenset())
            expected = any(not quiet_allowed(name, now_ns) for name in names)
            lag_s = None
            if status.last_ts_event is not None and status.last_ts_recv is not None:
                lag_s = (status.last_ts_recv - status.last_ts_event) / NS
            yield Feed(status, expected, None if lag_s is None or lag_s > SKEW_IS_LAG_S else lag_s)

    def _spiked(self) -> dict[str, tuple[int, float]]:
        now, tallies = self._clock.monotonic_ns(), self._live.board.tallies
        found: dict[str, tuple[int, float]] = {}
        for number in np.flatnonzero(tallies["spikes"]).tolist():
            name, count = self._from.source_name(number), int(tallies[number]["spikes"])
            # At the first look nobody knows how old they are: they count as the past.
            before, at = self._spikes.get(name, (0 if self._began else count, -(10**18)))
            if count > before:
                at = now
            self._spikes[name] = (count, at)
            found[name] = (count, (now - at) / NS)
        return found

    def _calendars_by_source(self) -> dict[int, frozenset[str]]:
        """Return the calendars of what each source wrote last. Once a minute: it looks at every instrument."""
        now = self._clock.monotonic_ns()
        if self._mapped_ns is None or now - self._mapped_ns > CALENDARS_EVERY_NS:
            self._mapped_ns = now
            found: dict[int, set[str]] = {}
            for source_id, calendar in self._last_writers():
                found.setdefault(source_id, set()).add(calendar)
            self._calendars = {source_id: frozenset(names) for source_id, names in found.items()}
        return self._calendars

    def _last_writers(self) -> Iterator[tuple[int, str]]:
        reader = self._live.reader
        last = reader.heads.reshape(-1, CHAINS)[:, :CHAIN_OTHER].max(axis=1)
        instruments = {each.id: each.calendar for each in self._directory.all()}
        known = [number for number in np.flatnonzero(last >= reader.first).tolist() if number in instruments]
        sources = reader.records["source"][last[known] - reader.base].tolist()
        yield from {(source, instruments[number]) for number, source in zip(known, sources, strict=True)}
