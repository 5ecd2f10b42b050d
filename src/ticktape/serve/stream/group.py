"""Clients that asked for the same get the same bytes: a group follows the tape once for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ticktape.model.records import Ints, Kind
from ticktape.serve.stream import protocol
from ticktape.serve.stream import stream_kernel as kernel
from ticktape.serve.stream.past import EVER
from ticktape.serve.stream.protocol import Encoding, Policy
from ticktape.serve.stream.wants import Pairs, Wants

if TYPE_CHECKING:
    from ticktape.serve.stream.feed import Feed
    from ticktape.serve.stream.session import Session

MOST_EVENTS = 2_000  # in one message


class Terms(NamedTuple):
    """What makes clients alike."""

    pairs: Pairs
    allowed: frozenset[str] | None
    policy: Policy
    rate: float
    throttle: float
    encoding: Encoding


class Group:
    """Where a group is on the tape. Everything below `position` was sent to the members, or counted as missed."""

    def __init__(self, terms: Terms, wants: Wants, feed: Feed) -> None:
        self.terms = terms
        self.members: dict[Session, None] = {}
        self.position = feed.position
        self.total = 0  # events that there were, sent or not
        self.due_s = 0.0
        self.said_s = 0.0
        self._feed = feed
        self.rewant(wants)
        self._out: Ints = np.empty(MOST_EVENTS, dtype=np.int64)

    def rewant(self, wants: Wants) -> None:
        """Take in that instruments came, after everything until now was sent."""
        self.wants = wants
        self._rest = wants.without_newest()
        self._quoted: Ints = np.zeros((len(wants.mask), 2), dtype=np.int64)
        self._counts = self._feed.counts_of(wants.chains)

    def flush(self, now_s: float) -> bool:
        """Send what is new. Returns whether more is waiting than one message holds."""
        self.due_s = now_s + 1.0 / self.terms.rate
        if self.position >= self._feed.position:
            return False
        if self.terms.policy is Policy.CONFLATE:
            texts, missed = self._conflated(self.position)
            covered = self._feed.position
        else:
            texts, covered = self._every()
            missed = 0
        self.total += len(texts) + missed
        self.position = covered
        if texts or missed:
            self._send(protocol.events(self.terms.encoding, "update", texts, covered - 1, missed), now_s)
        return covered < self._feed.position

    def _send(self, data: bytes, now_s: float) -> None:
        self.said_s = now_s
        binary = self.terms.encoding is Encoding.MSGPACK
        for member in list(self.members):  # one that cannot take it leaves the group meanwhile
            member.sent += 1
            member.wire.send(data, binary=binary)

    def alert(self, texts: list[str], now_s: float) -> None:
        """Send alerts, behind everything up to here."""
        while self.flush(now_s):
            pass
        self._send(protocol.events(self.terms.encoding, "update", texts, self.position - 1, 0), now_s)

    def beat(self, now_s: float) -> None:
        """Tell members that nothing happened, when nothing was said for a while."""
        data = protocol.message(self.terms.encoding, {"type": "heartbeat", "position": self.position - 1})
        self._send(data, now_s)

    # -- every event -------------------------------------------------------------------------------

    def _every(self) -> tuple[list[str], int]:
        reader = self._feed.reader
        place, count, _ = kernel.choose(
            reader.records, reader.base, max(self.position, reader.first), self._feed.position, self.wants.mask, -EVER,
            EVER, self._quoted, self.terms.throttle, self._out,
        )  # fmt: skip
        covered = int(place)
        texts = self._feed.texts(self._out[:count].tolist(), self._feed.bars(self.wants, self.position, covered))
        return texts, covered

    # -- the newest only ---------------------------------------------------------------------------

    def _conflated(self, position: int) -> tuple[list[str], int]:
        """Return the newest of everything since `position`, and how many events that leaves out."""
        now = self._feed.counts_of(self.wants.chains)
        new = int((now - self._counts).sum())
        self._counts = now
        newest = self._newest(position)
        kept, passed = self._throttled(newest)
        return self._texts(kept, position), max(0, new - len(kept) - passed)

    def _newest(self, position: int) -> list[int]:
        heads = self._feed.heads_of(self.wants.chains)
        return np.sort(heads[heads >= max(position, self._feed.reader.first)]).tolist()

    def _texts(self, newest: list[int], position: int) -> list[str]:
        feed, reader = self._feed, self._feed.reader
        places, at = newest, max(position, reader.first)
        while at < feed.position:  # what is never left out: gaps and statuses
            at, count, _ = kernel.choose(
                reader.records, reader.base, at, feed.position, self._rest, -EVER, EVER, self._quoted, 0.0, self._out
            )
            places = places + self._out[:count].tolist()
        texts = feed.texts(sorted(places), feed.bars(self.wants, position, feed.position))
        return texts + feed.books(self.wants.books, position)

    def _throttled(self, places: list[int]) -> tuple[list[int], int]:
        if self.terms.throttle <= 0:
            return places, 0
        reader = self._feed.reader
        keep: list[int] = []
        for place in places:
            record = reader.records[place - reader.base]
            if record["kind"] == Kind.QUOTE and not self._moved(int(record["instrument"]), record["a"], record["b"]):
                continue
            keep.append(place)
        return keep, len(places) - len(keep)

    def _moved(self, who: int, bid: int, ask: int) -> bool:
        last, throttle = self._quoted[who], self.terms.throttle
        if abs(bid - last[0]) <= throttle * abs(last[0]) and abs(ask - last[1]) <= throttle * abs(last[1]):
            return False
        self._quoted[who] = bid, ask
        return True

    def caught_up(self, position: int, total: int) -> bytes | None:
        """Return what brings a conflated member that stopped at `position` here; None when there is nothing."""
        texts = self._texts(self._newest(position), position)
        missed = max(0, self.total - total - len(texts))
        if not texts and not missed:
            return None
        return protocol.events(self.terms.encoding, "update", texts, self._feed.position - 1, missed)
