"""The watch of a server, wired: the book of its world, the keeper's word, the ends of keys, the owner's webhook."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import msgspec

from ticktape.alerts import AlertBook
from ticktape.clock import Clock
from ticktape.control import CallRefused
from ticktape.errors import Unavailable
from ticktape.lake.figures import KeepStat
from ticktape.serve.alarms.rules import Keep, Thresholds
from ticktape.serve.alarms.watch import Watch
from ticktape.serve.alarms.webhook import Webhook, WebhookSettings
from ticktape.serve.control import KeepControl, KeepRequest
from ticktape.serve.keys import KeyStore
from ticktape.serve.links import SESSION_NAME
from ticktape.serve.live import Live
from ticktape.tape.directory import TapeDirectory

STAT_S = 2.0
KEEP_EVERY_NS = 10 * 10**9  # the keeper is asked less often than the tape is looked at


class AlarmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When alerts begin, and who is told besides the book and the stream."""

    thresholds: Thresholds = Thresholds()
    webhook: WebhookSettings | None = None


class Alarms:
    """One server's watch and webhook."""

    def __init__(
        self,
        world: Path,
        live: Live,
        directory: TapeDirectory,
        clock: Clock,
        settings: AlarmSettings,
        keep: KeepControl | None,
        keys: KeyStore,
    ) -> None:
        """Open the book. Raises Misconfigured for a webhook that cannot be."""
        self._clock, self._keep, self._keys = clock, keep, keys
        self._told: Keep | None = None
        self._asked_ns: int | None = None
        self._hook = None if settings.webhook is None else Webhook(settings.webhook, clock)
        self.watch = Watch(
            live, directory, AlertBook(world, clock), clock, thresholds=settings.thresholds, keep=self._ask_keep,
            expiries=self._expiries, push=None if self._hook is None else self._hook.push,
        )  # fmt: skip

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set."""
        sending = None if self._hook is None else asyncio.create_task(self._hook.run(), name="serve:webhook")
        try:
            await self.watch.run(stop)
        finally:
            if sending is not None:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
            self.watch.book.close()

    async def _ask_keep(self) -> Keep | None:
        now = self._clock.monotonic_ns()
        if self._asked_ns is None or now - self._asked_ns >= KEEP_EVERY_NS:
            self._asked_ns, self._told = now, await self._keep_now()
        return self._told

    async def _keep_now(self) -> Keep | None:
        if self._keep is None or not self._keep.expected:  # nobody keeps this world: no fault of keep's
            return None
        try:
            stat = msgspec.json.decode(await self._keep.ask(KeepRequest("stat"), STAT_S), type=KeepStat)
        except (Unavailable, CallRefused, msgspec.MsgspecError) as error:
            return Keep(1, f"keep does not answer ({error})".replace("\n", " "), None, 0.0)
        figures = stat.figures
        return Keep(figures.failures_in_a_row, figures.last_error, stat.seconds_since_flush, stat.flush_every_s)

    def _expiries(self) -> dict[str, int]:
        return {
            f"API key {key.prefix} ({key.name})": key.expires_ns
            for key in self._keys.known()
            if key.expires_ns is not None
            and key.revoked_ns is None
            and self._clock.wall_ns() < key.expires_ns
            and key.name != SESSION_NAME  # whoever signed in by a link does so again
        }
