"""All clients of a process: who is in which group, who is slow, whose key ended. Knows nothing of sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog

from ticktape.clock import Clock
from ticktape.errors import BadInput, TicktapeError
from ticktape.serve.audit import Audit
from ticktape.serve.doors.errors import status_of
from ticktape.serve.keys import KeyStore
from ticktape.serve.limits import Limits
from ticktape.serve.rights import BadKey
from ticktape.serve.stream import protocol
from ticktape.serve.stream.bar_feed import BarFeed
from ticktape.serve.stream.feed import CHUNK, Feed, KeptBars
from ticktape.serve.stream.group import Group, Terms
from ticktape.serve.stream.past import Past, Span
from ticktape.serve.stream.player import MOST_EVENTS, Player
from ticktape.serve.stream.protocol import Policy
from ticktape.serve.stream.reel import Reel
from ticktape.serve.stream.replays import Replays
from ticktape.serve.stream.rows import Rows
from ticktape.serve.stream.session import Session
from ticktape.serve.stream.settings import Close, StreamSettings
from ticktape.serve.stream.wants import Wants, resolve
from ticktape.tape.reader import Reader

log = structlog.get_logger("stream")

BUSY_S, QUIET_S = 0.001, 0.02
LOOK_EVERY_S = 0.25
RELEASE_EVERY_S = 10.0
SHOWN_SYMBOLS = 1_000


class Hub:
    """Sends what comes to whoever asked for it."""

    def __init__(
        self, data: Path, keys: KeyStore, limits: Limits, clock: Clock, settings: StreamSettings,
        audit: Audit | None = None,
    ) -> None:  # fmt: skip
        """Open the tape in `data`. Raises Misconfigured while there is none."""
        self.settings = settings
        self.audit = audit
        self.feed = Feed(data / "tape")
        self.sessions: dict[Session, None] = {}
        self._data, self._keys, self._limits, self._clock = data, keys, limits, clock
        self._groups: dict[Terms, Group] = {}
        self._slow: dict[Session, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._replays = Replays(self, data, clock)
        self._turns = asyncio.Semaphore(settings.most_replays)
        self._looked_s = self._keys_s = self._released_s = self.now_s()
        self._known = len(self.feed.directory.all())

    def now_s(self) -> float:
        """Return seconds of a clock that no one sets."""
        return time.monotonic()

    @property
    def listening(self) -> int:
        """How many clients follow the tape."""
        return sum(len(group.members) for group in self._groups.values())

    # -- coming and going --------------------------------------------------------------------------

    def joined(self, session: Session) -> None:
        """Take in a client."""
        self.sessions[session] = None
        if len(self.sessions) > self.settings.most_clients:
            session.close(Close.SLOW, "too many clients")

    def left(self, session: Session) -> None:
        """Forget a client."""
        self.sessions.pop(session, None)
        self._slow.pop(session, None)
        self._leave(session)

    def _leave(self, session: Session) -> None:
        group, session.group, session.behind = session.group, None, None
        if group is not None:
            group.members.pop(session, None)
            if not group.members and not any(s.group is group for s in self._slow):
                self._groups.pop(group.terms, None)

    def code_of(self, error: TicktapeError) -> str:
        """Return the code of an error, as REST has it."""
        found = status_of(error)
        return found[1] if found else "internal"

    # -- what clients say --------------------------------------------------------------------------

    def answer(self, session: Session, op: protocol.Op) -> None:
        """Do what a client says. Raises TicktapeError for what cannot be."""
        if isinstance(op, protocol.Auth):
            self._auth(session, op)
            return
        session.require_key()
        match op:
            case protocol.Subscribe():
                self._subscribe(session, op)
                session.trail.asked(op)
            case protocol.Unsubscribe():
                self._unsubscribe(session, op)
            case protocol.Ping():
                session.tell({"type": "pong", "id": op.id, "position": self.feed.position - 1})
            case _:
                self._replays.steer(session, op)

    def _auth(self, session: Session, op: protocol.Auth) -> None:
        try:
            key = self._keys.check(f"Bearer {op.key}")
        except BadKey:
            self._limits.failed(session.address)
            raise
        session.admit(key)
        self.welcome(session, op.id)

    def welcome(self, session: Session, number: protocol.Id = None) -> None:
        """Tell a client that its key is good."""
        session.tell(
            {
                "type": "welcome", "id": number, "position": self.feed.position - 1,
                "sample": self.feed.reader.meta.sample, "channels": protocol.CHANNELS,
            }
        )  # fmt: skip

    def _subscribe(self, session: Session, op: protocol.Subscribe) -> None:
        key = session.require_key()
        added = protocol.parse_pairs(op.channels, op.symbols)
        exact = {pattern for _, pattern in added if not pattern.endswith("*")}
        key.require_symbols(sorted(exact))
        for symbol in sorted(exact):
            self.feed.directory.by_symbol(symbol)
        pairs = session.pairs | added
        if len(pairs) > self.settings.most_subscriptions:
            session.close(Close.POLICY, f"more than {self.settings.most_subscriptions} subscriptions")
            return
        self._terms(session, op)
        if op.start is not None or op.end is not None:
            self._replays.begin(session, op, pairs)
            return
        if session.playing is not None:
            raise BadInput("this connection is a replay", hint="another connection")
        if op.from_position is not None and op.from_position > self.feed.position:
            raise BadInput(f"the tape ends at {self.feed.position}", hint=f"from_position up to {self.feed.position}")
        self.spawn(self._live(session, op, pairs))

    def _terms(self, session: Session, op: protocol.Subscribe) -> None:
        rate, throttle = op.rate, op.throttle
        if rate is not None and not 0.01 <= rate <= self.settings.most_rate:
            raise BadInput(f"rate {rate:g} is not within 0.01 to {self.settings.most_rate:g}", hint='"rate": 100')
        if throttle is not None and not 0 <= throttle < 1:
            raise BadInput(f"throttle {throttle:g} is no share", hint='"throttle": 0.00001 is 0.001 %; 0 sends all')
        session.policy = session.policy if op.policy is None else op.policy
        session.rate = session.rate if rate is None else rate
        session.throttle = session.throttle if throttle is None else throttle

    def resolved(self, session: Session, pairs: frozenset[tuple[str, str]]) -> Wants:
        """Return what a client wants that its key may read, as there is now."""
        allowed = session.require_key().symbols
        return resolve(pairs, allowed, self.feed.directory.all(), self.feed.reader.heads)

    async def _live(self, session: Session, op: protocol.Subscribe, pairs: frozenset[tuple[str, str]]) -> None:
        wants = self.resolved(session, pairs)
        if wants.bars:
            await self.feed.watch_bars(list(wants.bars))
        if session.over:
            return
        pairs |= session.pairs  # another message may have added some meanwhile
        wants, start = self.resolved(session, pairs), self._stand(session)
        session.pairs = pairs
        start = op.from_position if start is None else start
        self.say_subscribed(session, op, wants, replay=False)
        if start is not None and start < self.feed.position:
            if standing := self.feed.standing(wants):
                session.send(protocol.events(session.encoding, "snapshot", standing, start - 1, 0))
            session.task = self.spawn(self._catch_up(session, wants, start))
            return
        self._join(session, wants)
        if op.snapshot and op.from_position is None:
            texts = self.feed.snapshot(self.resolved(session, protocol.parse_pairs(op.channels, op.symbols)))
            session.send(protocol.events(session.encoding, "snapshot", texts, self.feed.position - 1, 0))

    def _stand(self, session: Session) -> int | None:
        """Return where on the tape a client stands when that is not here, and take it from there."""
        if session.task is not None and session.player is not None:
            session.task.cancel()
            session.task = None
            return session.player.covered + 1
        group, behind = session.group, session.behind
        if group is not None:
            self._bring_up(group)
        if session.behind is not None:  # it may just have fallen behind
            behind = session.behind
        self._leave(session)
        return behind[0] if behind is not None else None

    def _bring_up(self, group: Group) -> None:
        while group.flush(self.now_s()):
            pass

    def say_subscribed(self, session: Session, op: protocol.Subscribe, wants: Wants, *, replay: bool) -> None:
        """Tell a client what it gets."""
        session.tell(
            {
                "type": "subscribed", "id": op.id, "position": self.feed.position - 1,
                "channels": sorted({channel for channel, _ in session.pairs}),
                "symbols": self.feed.symbols(wants, SHOWN_SYMBOLS), "policy": session.policy, "rate": session.rate,
                "throttle": session.throttle, "replay": replay,
            }
        )  # fmt: skip

    def _unsubscribe(self, session: Session, op: protocol.Unsubscribe) -> None:
        gone = protocol.parse_pairs(op.channels, op.symbols)
        if unknown := gone - session.pairs:
            channel, pattern = min(unknown)
            raise BadInput(f"{channel} of {pattern} was not subscribed", hint="unsubscribe what was subscribed")
        start = self._stand(session)
        session.pairs -= gone
        session.tell({"type": "unsubscribed", "id": op.id, "position": self.feed.position - 1})
        wants = self.resolved(session, session.pairs)
        if start is not None and session.pairs:
            session.task = self.spawn(self._catch_up(session, wants, start))
        elif session.pairs:
            self._join(session, wants)

    # -- following ---------------------------------------------------------------------------------

    def _join(self, session: Session, wants: Wants) -> None:
        """Let a client that has everything up to here go on with its group."""
        terms = Terms(
            session.pairs, session.require_key().symbols, session.policy, session.rate, session.throttle,
            session.encoding,
        )  # fmt: skip
        group = self._groups.get(terms)
        if group is None:
            group = self._groups[terms] = Group(terms, wants, self.feed)
            group.said_s = self.now_s()
        self._bring_up(group)
        session.group, session.task, session.player = group, None, None
        if session.slow_since_s:
            session.behind = (group.position, group.total)
            self._slow[session] = None
        else:
            group.members[session] = None

    async def _catch_up(self, session: Session, wants: Wants, start: int) -> None:
        """Send a client what it lacks, from the lake where the tape was trimmed, and let it join."""
        past = Past(self._data, self.feed.reader)
        if start < self.feed.reader.first and not past.needs_lake(Span(start)):
            first = self.feed.reader.first
            session.tell({"type": "gap", "from_position": start, "to_position": first - 1, "why": "trimmed"})
            start = first
        player = session.player = Player(session, session.encoding, self._clock, speed=float("inf"), replay=False)
        player.covered = start - 1
        if past.needs_lake(Span(start)) or not self.feed.has_bars(wants, start):
            async with self._turns:
                await self._from_afar(session, player, wants, Span(start))
        while player.covered + 1 < self.feed.position:
            reel = Reel(past, Span(player.covered + 1, self.feed.position), wants, self.feed.rows,
                        KeptBars(self.feed, wants), session.throttle)  # fmt: skip
            await player.play(reel.batches(MOST_EVENTS), blocking=False)
        self._join(session, wants)

    async def _from_afar(self, session: Session, player: Player, wants: Wants, span: Span) -> None:
        # With a reader of its own, because a thread uses it while ours lets go of what was trimmed.
        reader = await asyncio.to_thread(Reader, self.feed.folder)
        reader.follow()
        reel = Reel(
            Past(self._data, reader), span, wants, Rows(self.feed.directory), BarFeed(self.feed.directory),
            session.throttle,
        )  # fmt: skip
        await player.play(reel.batches(MOST_EVENTS), blocking=True)

    def fell_behind(self, session: Session) -> None:
        """A client does not read."""
        self._slow[session] = None
        group = session.group
        if group is None:
            return
        if session.policy is Policy.DISCONNECT:
            self._cut_slow(session)
            return
        session.behind = (group.position, group.total)
        group.members.pop(session, None)

    def reads_again(self, session: Session) -> None:
        """A client reads again."""
        self._slow.pop(session, None)
        group, behind = session.group, session.behind
        if group is None or behind is None or session.over:
            return
        session.behind = None
        if session.policy is Policy.CONFLATE:
            self._bring_up(group)
            group.members[session] = None
            data = group.caught_up(*behind)
            if data is not None:
                session.send(data)
            return
        self._leave(session)
        session.task = self.spawn(self._catch_up(session, group.wants, behind[0]))

    def _cut_slow(self, session: Session) -> None:
        group, behind = session.group, session.behind
        missed = group.total - behind[1] if group is not None and behind is not None else 0
        log.warning("stream.slow_client_cut", client=session.address, missed=missed)
        session.close(Close.SLOW, f"slow reader: missed {missed}")

    # -- the loop ----------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Follow the tape until `stop` is set; then tell everyone to come back."""
        try:
            while not stop.is_set():
                took = self.step()
                pause_s = 0.0 if took == CHUNK else BUSY_S if self.sessions else QUIET_S
                await asyncio.sleep(pause_s)
        finally:
            await self.close()

    def step(self) -> int:
        """Take in what came and send what is due. Returns how many records came."""
        took = self.feed.step()
        now = self.now_s()
        for group in list(self._groups.values()):
            if now >= group.due_s:
                group.flush(now)
        if now - self._looked_s > LOOK_EVERY_S:
            self._looked_s = now
            self._look(now)
        return took

    def _look(self, now: float) -> None:
        settings = self.settings
        alerts = self.feed.new_alerts()
        for group in list(self._groups.values()):
            if alerts and group.wants.alerts:
                group.alert(alerts, now)
            if now - group.said_s > settings.heartbeat_s:
                group.beat(now)
        for session in list(self._slow):
            if now - session.slow_since_s > settings.slow_after_s and session.playing is None:
                self._cut_slow(session)
        if now - self._keys_s > settings.keys_every_s:
            self._keys_s = now
            self._look_at_clients(now)
            self._look_for_instruments()
        if now - self._released_s > RELEASE_EVERY_S:
            self._released_s = now
            self.feed.reader.release()

    def _look_at_clients(self, now: float) -> None:
        alive: dict[str, bool] = {}
        for session in list(self.sessions):
            if session.key is None:
                if now - session.born_s > self.settings.auth_within_s:
                    session.close(Close.POLICY, "no key came")
                continue
            prefix = session.key.prefix
            if prefix not in alive:
                alive[prefix] = self._is_live(prefix)
            if not alive[prefix]:
                session.close(Close.POLICY, "the key was revoked or has expired")
            elif not session.pairs and now - max(session.heard_s, session.born_s) > self.settings.idle_after_s:
                session.close(Close.POLICY, "nothing was subscribed")
            elif now - session.alive_s > self.settings.silent_after_s:
                session.close(Close.POLICY, "no answer to a ping")
            elif now - session.alive_s > self.settings.ping_every_s:
                session.wire.ping()

    def _is_live(self, prefix: str) -> bool:
        try:
            return self._keys.find(prefix).is_live(self._clock.now_ns())
        except BadInput:  # it is gone altogether
            return False

    def _look_for_instruments(self) -> None:
        self.feed.directory.refresh()
        known = self.feed.directory.all()
        if len(known) == self._known:
            return
        self._known = len(known)
        for group in list(self._groups.values()):
            if any(pattern.endswith("*") for _, pattern in group.terms.pairs):
                self.spawn(self._rewant(group))

    async def _rewant(self, group: Group) -> None:
        wants = resolve(group.terms.pairs, group.terms.allowed, self.feed.directory.all(), self.feed.reader.heads)
        if wants.bars:
            await self.feed.watch_bars(list(wants.bars))
        self._bring_up(group)
        group.rewant(wants)

    # -- ending ------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Tell everyone to come back, and close the files."""
        for session in list(self.sessions):
            session.close(Close.RESTART, "the server stops: come back")
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self.feed.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what serves one client; it ends with the hub."""
        task = asyncio.create_task(work, name="stream:client")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("stream.client_failed", exc_info=error)
