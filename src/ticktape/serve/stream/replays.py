"""Replays of a hub's clients: set up, steered, counted. Each has a reader of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ticktape.clock import Clock
from ticktape.errors import BadInput, Unavailable
from ticktape.serve.stream import protocol
from ticktape.serve.stream.bar_feed import BarFeed
from ticktape.serve.stream.past import EVER, Past, Span, span_of
from ticktape.serve.stream.player import MOST_EVENTS, Player
from ticktape.serve.stream.reel import Reel
from ticktape.serve.stream.rows import Rows
from ticktape.tape.reader import Reader

if TYPE_CHECKING:
    from ticktape.serve.stream.hub import Hub
    from ticktape.serve.stream.session import Session
    from ticktape.serve.stream.wants import Wants


class Replays:
    """Those of one hub; no more at once than its settings say."""

    def __init__(self, hub: Hub, data: Path, clock: Clock) -> None:
        self._hub, self._data, self._clock = hub, data, clock
        self._playing = 0

    def begin(self, session: Session, op: protocol.Subscribe, pairs: frozenset[tuple[str, str]]) -> None:
        """Play to a client what it asks for. Raises BadInput, Unavailable."""
        if session.group is not None or session.task is not None or session.player is not None:
            raise BadInput("a replay needs a connection of its own", hint="another connection")
        if self._playing >= self._hub.settings.most_replays:
            raise Unavailable(f"{self._playing} replays are playing", hint="later, or ticktape serve --stream-workers")
        span = span_of(op.start, op.end)
        player = Player(
            session, session.encoding, self._clock, speed=protocol.parse_speed(op.speed), replay=True
        )  # fmt: skip
        if op.paused:
            player.pause()
        session.pairs, session.player = pairs, player
        wants = self._hub.resolved(session, pairs)
        self._hub.say_subscribed(session, op, wants, replay=True)
        session.task = self._hub.spawn(self._play(session, player, wants, span, loop=op.loop))

    async def _play(self, session: Session, player: Player, wants: Wants, span: Span, *, loop: bool) -> None:
        self._playing += 1
        session.playing = (span, wants, loop)
        try:
            while True:
                reader = await asyncio.to_thread(Reader, self._hub.feed.folder)
                reader.follow()
                stop = min(span.stop, reader.end)  # what comes later is not the past
                past = Past(self._data, reader)
                here = span._replace(stop=stop)
                rows, bars = Rows(self._hub.feed.directory), BarFeed(self._hub.feed.directory)
                reel = Reel(past, here, wants, rows, bars, session.throttle)
                blocking = bool(wants.bars) or past.needs_lake(here)
                await player.play(reel.batches(MOST_EVENTS), blocking=blocking)
                session.tell({"type": "end", "position": player.covered, "replay": True, "loop": loop})
                if not loop:
                    return
        finally:
            self._playing -= 1

    def steer(self, session: Session, op: protocol.Op) -> None:
        """Do what a client says of its replay. Raises BadInput."""
        player = session.require_player()
        match op:
            case protocol.Pause():
                player.pause()
            case protocol.Resume():
                player.resume()
            case protocol.Step():
                if not 1 <= op.events <= MOST_EVENTS:
                    raise BadInput(f"a step of {op.events} events", hint=f"1 to {MOST_EVENTS}")
                player.step(op.events)
            case protocol.Speed():
                player.hurry(protocol.parse_speed(op.speed))
            case protocol.Seek():
                self._seek(session, player, op)
            case _:
                raise AssertionError(op)
        kind = type(op).__name__.lower()
        session.tell({"type": "ok", "id": op.id, "op": kind, "position": player.covered})

    def _seek(self, session: Session, player: Player, op: protocol.Seek) -> None:
        ns, position = protocol.parse_place(op.to, "to")
        if session.playing is None:
            raise BadInput("the replay is still being set up", hint="again")
        span, wants, loop = session.playing
        moved = span._replace(first=position or 0, since=-EVER if ns is None else ns)
        if session.task is not None:
            session.task.cancel()
        player.restart()
        session.task = self._hub.spawn(self._play(session, player, wants, moved, loop=loop))
