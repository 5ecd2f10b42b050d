"""What `record` asks of a source, and what a source may ask of `record`. See ADD_A_SOURCE.md.

A source is one object per configured venue. It owns its socket for the length of one connection and
nothing else: reconnecting, back-off, the watchdog, judging, gaps and storage belong to `record`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ticktape.model.instruments import Instrument, Listing
from ticktape.model.records import BadReason, Channel, Completeness, GapCause, Records


class Bad(NamedTuple):
    """Bytes that cannot be a record, and why; they go to quarantine."""

    reason: BadReason
    detail: str
    payload: bytes


@dataclass(slots=True)
class Batch:
    """Records in arrival order, and what could not become one.

    The normaliser fills every field of a record but `back` and `source`; flags only where the venue
    or the wire says so (NO_VENUE_TIME, SNAPSHOT, FIRST, LAST, BACKFILLED): quality is the judge's.
    """

    records: Records
    bad: list[Bad] = field(default_factory=list[Bad])


class Hole(NamedTuple):
    """Ids missing of one channel, both ends included; with `parts` only those of these ranges are missing."""

    instrument_id: int
    channel: Channel
    first_id: int
    last_id: int
    parts: tuple[tuple[int, int], ...] = ()  # ascending and apart, the first and the last at the hole's ends


class Watched(NamedTuple):
    """One thing subscribed: the unit of the watchdog."""

    instrument_id: int
    channel: Channel


class Directory(Protocol):
    """The instruments, as a source sees them."""

    def find(self, vendor: str, name: str) -> Instrument | None:
        """Return the instrument a vendor calls `name` now, or None: never a guess."""
        ...

    def find_at(self, vendor: str, name: str, at_ns: int) -> Instrument | None:
        """Return the instrument a vendor called `name` at a time, or None."""
        ...

    def name_of(self, vendor: str, instrument_id: int) -> str | None:
        """Return what a vendor calls an instrument now, or None."""
        ...

    def enrol(self, vendor: str, name: str, listing: Listing) -> Instrument:
        """Return the instrument, created and stored when it is new. Raises BadSymbol."""
        ...


class Sink(Protocol):
    """Where a connected source delivers. Everything here is synchronous: when it returns, it is stored."""

    def up(self, watched: Sequence[Watched]) -> None:
        """The socket is open and the subscription for `watched` was accepted (again, after a change)."""
        ...

    def frames(self, frames: list[bytes], ts_recv: int) -> None:
        """Frames of one socket read, in order. Calls the source's `normalise` and appends the batch."""
        ...

    def batch(self, batch: Batch) -> None:
        """Records that did not come as frames of the socket (a REST snapshot, a file)."""
        ...

    def lost(self, watched: Watched, cause: GapCause, detail: str) -> None:
        """The source knows that this channel missed something the judge cannot see (a book out of sync)."""
        ...

    def alive(self) -> None:
        """The venue gave a sign of life that is not a record (ping, heartbeat)."""
        ...

    def now_ns(self) -> int:
        """Our clock, ns UTC, never going back."""
        ...


class Source(Protocol):
    """One venue, as configured."""

    @property
    def name(self) -> str:
        """The key in the configuration and in every answer: `binance`."""
        ...

    @property
    def completeness(self) -> Mapping[Channel, Completeness]:
        """The class of each channel this source can deliver."""
        ...

    @property
    def symbols(self) -> list[str]:
        """Symbols configured now, in the venue's spelling."""
        ...

    @property
    def finished(self) -> bool:
        """Whether there is nothing more to connect for: a file was played to its end."""
        ...

    async def connect(self, sink: Sink) -> None:
        """Live one connection: connect, subscribe, deliver until the venue ends it.

        Returns when the venue ended it in good order (24 h limit, planned restart, end of a file); raises
        Unavailable (Throttled with a pause) for any other end, Misconfigured when trying again cannot
        help. Cancelling it closes the socket. Nothing of a connection survives in the object.
        """
        ...

    def normalise(self, frames: list[bytes], ts_recv: int) -> Batch:
        """Frames to records, without I/O and without a clock. Never raises for what the venue sent."""
        ...

    def fill(self, hole: Hole) -> AsyncIterator[Batch]:
        """Yield what the venue's history has of a hole, ascending, flagged BACKFILLED.

        What lies between its parts may come too, and need not be asked for. An end without all ids means that
        the venue confirms the rest as missing. Raises Unavailable or Throttled when it cannot tell now;
        Misconfigured only where there is no history of the channel at all: then the hole is given up.
        """
        ...

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Change the symbols, also while connected. Raises UnknownSymbol or BadSymbol, changing nothing."""
        ...
